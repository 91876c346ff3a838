from __future__ import annotations

import contextlib
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

from fedmed.errors import ConfigError
from fedmed.supervision.guard import Guard
from fedmed_nodes.warm_relay import PROGRAM, serve, write_stub

# Together these take more than the fast part of the suite can spare.
pytestmark = pytest.mark.slow


@contextlib.contextmanager
def running_host(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A host in a process of its own, ready to fork."""
    folder.mkdir(mode=0o700)
    command = [sys.executable, "-m", "fedmed_nodes.warm_relay", str(folder / "host")]
    around = {**os.environ, "FLWR_HOME": str(folder)}
    process = subprocess.Popen(command, env=around, start_new_session=True)
    guard = Guard()  # it does not outlive a test run that is killed
    guard.watch(process.pid)
    deadline = time.monotonic() + 60
    while not (folder / "host").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)
        guard.close()


def run_stub(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(folder / "bin" / PROGRAM), *words], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.slow
def test_a_stub_runs_flowers_program_in_a_fork_of_the_host(tmp_path: Path) -> None:
    folder = tmp_path / "relay"
    with running_host(folder) as host:
        for _ in range(3):
            done = run_stub(folder, "--help")
            assert "usage: flwr-clientapp" in done.stdout, "arguments and outputs are the caller's"
        assert host.poll() is None
        refused = run_stub(folder, "--no-such-option")
        assert "usage" in refused.stderr
        # Garbage, silence and a lost caller leave the host as it was.
        for garbage in (b"", b"\xff\n", b'{"a": 1}\n', json.dumps(["x"]).encode() + b"\n"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
                caller.connect(str(folder / "host"))
                caller.sendall(garbage)
                caller.shutdown(socket.SHUT_WR)
                assert caller.recv(1) == b"", "nothing was started"
        assert "usage" in run_stub(folder, "--help").stdout
        assert not list(folder.glob("task-*")), "each had a Flower folder of its own, and left none"
        host.send_signal(signal.SIGTERM)
        host.wait(60)
    assert "usage" in run_stub(folder, "--help").stdout, "without a host the real program runs"


def test_a_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match="closed to group and others"):
        serve(tmp_path / "host")
    with pytest.raises(ConfigError, match="closed to group and others"):
        write_stub(tmp_path, tmp_path / "host")


def test_the_stub_is_a_program_of_its_owner_alone(tmp_path: Path) -> None:
    write_stub(tmp_path / "bin", tmp_path / "no 'host'")
    stub = tmp_path / "bin" / PROGRAM
    assert stub.stat().st_mode & 0o777 == 0o700
    compile(stub.read_text(), str(stub), "exec")
    assert stub.read_text().startswith(f"#!{sys.executable} -IS\n")


def test_the_host_holds_no_more_than_a_relay_may() -> None:
    code = (
        "import sys, threading, importlib, fedmed_nodes.warm_relay as w\n"
        "w._program(); importlib.import_module(w._PRELOADED)\n"
        "print(*[m for m in ('torch', 'tenseal', 'opacus', 'fedmed.crypto', 'fedmed.data', "
        "'fedmed_nodes.custodian') if m in sys.modules], threading.active_count())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"], "nothing heavy or secret, and no second thread to lose in a fork"
