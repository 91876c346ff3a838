"""``fedmed node up`` as a real process: what it runs comes up, comes back and goes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedmed.cli.edge import run
from fedmed.supervision.guard import Guard
from fedmed.supervision.processes import free_ports, is_there, wait_until
from fedmed_nodes.courier import CourierFile, create_courier
from tests.node_home import make_home, me

FEDMED = Path(sys.executable).parent / "fedmed"
pytestmark = pytest.mark.slow


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short: unix sockets lie below it."""
    made = Path(tempfile.mkdtemp(prefix="fm"))
    yield made
    shutil.rmtree(made)


def make_node(home: Path) -> None:
    """A home with a courier whose front door nobody keeps."""
    make_home(home)
    away, port = free_ports(2)
    settings = CourierFile(
        version=1, front_door=f"localhost:{away}", port=port, socket=str(home / "run" / "custodian.sock")
    )
    (home / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\n")
    create_courier(home / "courier", "node1", settings=settings, authority=home / "ca.crt", user=me())


@pytest.fixture
def guard() -> Iterator[Guard]:
    with Guard() as made:
        yield made


def started(home: Path, guard: Guard) -> subprocess.Popen[bytes]:
    words = [str(FEDMED), "node", "up", str(home)]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True)
    guard.watch(process.pid)
    return process


def until(claim: Callable[[], bool], process: subprocess.Popen[bytes], *, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not claim():
        assert process.poll() is None, "it ended"
        assert time.monotonic() < deadline
        time.sleep(0.1)


def noted(home: Path) -> dict[str, int]:
    path = home / "courier" / "run" / "processes.json"
    told: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    return told


def test_a_node_comes_up_mends_itself_refuses_a_second_and_goes_down(folder: Path, guard: Guard) -> None:
    home = folder / "home"
    make_node(home)
    process = started(home, guard)
    try:
        until(lambda: "superexec" in noted(home), process)
        before = noted(home)
        assert set(before) == {"node", "custodian", "relay", "supernode", "superexec"}
        assert run(["node", "up", str(home)]) == 2, "one supervisor a node"
        os.kill(before["relay"], signal.SIGKILL)
        until(lambda: noted(home).get("relay", before["relay"]) != before["relay"], process)
        assert noted(home)["custodian"] == before["custodian"], "the others run on"
        process.kill()
        process.wait()
        left = [pid for name, pid in noted(home).items() if name != "node"]
        wait_until(
            lambda: not any(is_there(pid) for pid in left),
            timeout_s=60,
            what="all that a killed one watched ends with it",
            while_waiting=lambda: None,
        )
        process = started(home, guard)
        until(lambda: "superexec" in noted(home) and noted(home)["node"] == process.pid, process)
        pids = list(noted(home).values())
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert not any(is_there(pid) for pid in pids)
        assert noted(home) == {}
    finally:
        process.terminate()
        process.wait(60)


def test_a_custodian_that_cannot_start_ends_the_start_with_the_name_of_its_log(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = folder / "home"
    make_node(home)
    (home / "policy.toml").write_text("version = 1\n")
    assert run(["node", "up", str(home)]) == 1
    assert str(home / "courier" / "log" / "custodian.log") in capsys.readouterr().err
    assert noted(home) == {} or not is_there(noted(home)["custodian"])


def test_show_runs_nothing_and_names_every_process(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = folder / "home"
    make_node(home)
    assert run(["node", "up", str(home), "--show", "--json"]) == 0
    programs = json.loads(capsys.readouterr().out)["programs"]
    assert [p["name"] for p in programs] == ["custodian", "relay", "supernode", "superexec"]
    assert run(["node", "up", str(home / "courier"), "--show", "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)["programs"]
    assert [p["name"] for p in alone] == ["relay", "supernode", "superexec"], (
        "the custodian is another service"
    )
    assert run(["node", "up", str(folder), "--show"]) == 2
    assert noted(home) == {}
