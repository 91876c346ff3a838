from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedmed.cli.edge import run
from fedmed.crypto.supernode_key import make_supernode_key
from fedmed.supervision.guard import Guard
from fedmed.supervision.processes import free_ports
from tests.server.test_home import card_text

FEDMED = Path(sys.executable).parent / "fedmed"
NAMES = ("shanghai", "jiangsu", "anhui")


def make(folder: Path, *words: str) -> list[str]:
    """The words of ``fedmed server init`` for three cards."""
    for name in NAMES:
        (folder / f"{name}.toml").write_text(card_text(name))
        (folder / f"{name}.pub").write_bytes(make_supernode_key(name).public_key)
    nodes = [word for name in NAMES for word in ("--node", name)]
    return ["server", "init", str(folder / "home"), "--cards", str(folder), *nodes, *words]


def test_init_prints_the_digest_that_provinces_pin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = make(tmp_path, "--address", "localhost", "--json")
    assert run(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["roster_digest"]) == 64
    assert Path(told["roster"]).exists()
    capsys.readouterr()
    assert run(words) == 2, "a second init overwrites nothing"
    assert "is a coordinator's home already; nothing was changed" in capsys.readouterr().err
    (tmp_path / "jiangsu.pub").unlink()
    assert run([*words[:2], str(tmp_path / "other"), *words[3:]]) == 2
    assert "jiangsu.pub; a province sends NODE.toml, its card, and NODE.pub" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_commands_say_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = tmp_path / "study.toml"
    study.write_text("")
    for words in (["up"], ["status"], ["stop"], ["launch"]):
        arguments = [*words, str(tmp_path / "none"), *([str(study)] if words == ["launch"] else [])]
        assert run(["server", *arguments]) == 2
        assert "fedmed server init" in capsys.readouterr().err


def test_nothing_runs_on_a_new_home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(make(tmp_path, "--address", "localhost")) == 0
    home = str(tmp_path / "home")
    assert run(["server", "status", home]) == 1
    assert run(["server", "stop", home]) == 0
    assert "nothing runs" in capsys.readouterr().out


def wait_for(process: subprocess.Popen[bytes], home: Path, *, seconds: float) -> dict[str, int]:
    """Wait until the coordinator tells its processes."""
    deadline = time.monotonic() + seconds
    while not (home / "run" / "processes.json").exists():
        assert process.poll() is None, "the coordinator ended"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    told: dict[str, int] = json.loads((home / "run" / "processes.json").read_text())
    return told


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_a_coordinator_comes_up_mends_itself_and_goes_down(tmp_path: Path, guard: Guard) -> None:
    ports = free_ports(2)
    words = make(tmp_path, "--address", "localhost", "--host", "127.0.0.1")
    assert run([*words, "--port", str(ports[0]), "--superlink-port", str(ports[1])]) == 0
    home = tmp_path / "home"
    process = _started(home, guard)
    try:
        told = wait_for(process, home, seconds=120)
        assert set(told) == {"coordinator", "superlink", "superexec", "front-door"}
        assert run(["server", "up", str(home)]) == 2, "one coordinator a home"
        _is_mended(home, told["front-door"], port=ports[0])
        process = _killed_and_started_again(process, home, guard)
        done = subprocess.run(
            [str(FEDMED), "server", "status", str(home), "--json"], capture_output=True, check=True
        )
        assert json.loads(done.stdout)["nodes"] == dict.fromkeys(NAMES, "registered")
        pids = json.loads(done.stdout)["processes"].values()
        assert run(["server", "stop", str(home)]) == 0
        assert process.wait(30) == 0
        assert not any(is_alive(pid) for pid in pids)
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def guard() -> Iterator[Guard]:
    with Guard() as made:
        yield made


def _started(home: Path, guard: Guard) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([str(FEDMED), "server", "up", str(home)], start_new_session=True)
    guard.watch(process.pid)
    return process


def _killed_and_started_again(
    process: subprocess.Popen[bytes], home: Path, guard: Guard
) -> subprocess.Popen[bytes]:
    """What a killed coordinator watched ends with it, and another one starts."""
    before = json.loads((home / "run" / "processes.json").read_text())
    process.kill()
    process.wait()
    left = [pid for name, pid in before.items() if name != "coordinator"]
    deadline = time.monotonic() + 120
    while any(is_alive(pid) for pid in left):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    again = _started(home, guard)
    while not (set(wait_for(again, home, seconds=120).values()) - set(before.values())):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return again


def _is_mended(home: Path, pid: int, *, port: int) -> None:
    """A front door that is killed is started again."""
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        told = json.loads((home / "run" / "processes.json").read_text())
        if told.get("front-door", pid) != pid:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
        time.sleep(0.2)
    raise AssertionError("the front door did not come back")
