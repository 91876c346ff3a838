from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

import pytest

from fedmed.errors import ProcessFailed
from fedmed.supervision.processes import (
    Program,
    children,
    free_ports,
    fresh_flower_home,
    is_listening,
    run_to_end,
    wait_until,
)

SLEEPER = "import time; time.sleep(600)"
# Starts a child of its own and tells its process id; both ignore the polite request.
STUBBORN = (
    "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print(subprocess.Popen([sys.executable, '-c', 'import signal, time;"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)']).pid, flush=True); time.sleep(600)"
)


def program(folder: Path, code: str, name: str = "p") -> Program:
    return Program(name=name, command=(sys.executable, "-c", code), log=folder / f"{name}.log")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for_text(path: Path) -> str:
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return path.read_text()


def test_a_group_ends_with_all_that_its_leader_started(tmp_path: Path) -> None:
    with children() as running:
        leader = running.start(program(tmp_path, STUBBORN))
        inner = int(wait_for_text(tmp_path / "p.log"))
        assert is_alive(leader)
        assert is_alive(inner)
        running.stop(grace_s=0.2)
        assert running.pids() == {}
    assert not is_alive(leader)
    assert not is_alive(inner)


def test_nothing_is_left_when_the_body_fails(tmp_path: Path) -> None:
    pids: list[int] = []

    def fail() -> None:
        with children() as running:
            pids.append(running.start(program(tmp_path, SLEEPER)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not is_alive(pids[0])


def test_a_child_that_ends_is_noticed(tmp_path: Path) -> None:
    with children() as running:
        running.start(program(tmp_path, "print(1); raise SystemExit(3)", "short"))
        running.start(program(tmp_path, SLEEPER, "long"))
        wait_for_text(tmp_path / "short.log")
        with pytest.raises(ProcessFailed, match="short ended with exit code 3"):
            wait_until(lambda: False, timeout_s=10, what="its end", while_waiting=running.require_alive)
        assert [p.name for p in running.ended()] == ["short"]
        assert list(running.pids()) == ["long"]


def test_logs_are_closed_to_others_and_grow(tmp_path: Path) -> None:
    for word in ("one", "two"):
        assert run_to_end(program(tmp_path, f"print('{word}')"), timeout_s=30) == f"{word}\n"
    assert (tmp_path / "p.log").read_text() == "one\ntwo\n"
    assert (tmp_path / "p.log").stat().st_mode & 0o777 == 0o600


def test_a_command_that_fails_or_hangs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ProcessFailed, match="exit code 7"):
        run_to_end(program(tmp_path, "raise SystemExit(7)"), timeout_s=30)
    with pytest.raises(ProcessFailed, match="TimeoutExpired"):
        run_to_end(program(tmp_path, SLEEPER), timeout_s=0.3)
    missing = Program(name="none", command=("/no/such/program",), log=tmp_path / "none.log")
    with pytest.raises(ProcessFailed), children() as running:
        running.start(missing)


def test_waiting_has_an_end(tmp_path: Path) -> None:
    with pytest.raises(ProcessFailed, match="the moon: not within 0 s"):
        wait_until(lambda: False, timeout_s=0.2, what="the moon", while_waiting=lambda: None)
    wait_until(lambda: True, timeout_s=0.0, what="it", while_waiting=lambda: None)


def test_free_ports_differ_and_a_listener_is_seen() -> None:
    one, other = free_ports(2)
    assert one != other
    assert not is_listening("127.0.0.1", one)
    with socket.create_server(("127.0.0.1", one)):
        assert is_listening("127.0.0.1", one)


def test_a_flower_home_for_one_task_is_new_and_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLWR_HOME", str(tmp_path))
    seen = []
    for _ in range(2):
        with fresh_flower_home():
            seen.append(Path(os.environ["FLWR_HOME"]))
            assert seen[-1].parent == tmp_path
            assert list(seen[-1].iterdir()) == []
            (seen[-1] / "apps").mkdir()
    assert seen[0] != seen[1]
    assert list(tmp_path.iterdir()) == []
    assert os.environ["FLWR_HOME"] == str(tmp_path)
    monkeypatch.delenv("FLWR_HOME")
    with pytest.raises(ProcessFailed, match="FLWR_HOME"), fresh_flower_home():
        pass
