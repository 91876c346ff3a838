from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from fedmed.cli.endings import stopped_in_order


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGHUP])
def test_being_told_to_stop_is_an_interrupt_and_the_former_handler_comes_back(sign: signal.Signals) -> None:
    before = signal.getsignal(sign)
    with pytest.raises(KeyboardInterrupt), stopped_in_order():
        _raise_and_wait(sign)
    assert signal.getsignal(sign) is before


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopped_in_order():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
def test_a_demonstration_that_is_told_to_stop_leaves_no_process_and_no_row(tmp_path: Path) -> None:
    temporary = Path(tempfile.mkdtemp(prefix="fm-"))  # sockets below it must have short paths
    words = ["demo", "--deploy", "--people", "2000", "--out", str(tmp_path)]
    command = [sys.executable, "-c", "from fedmed.cli import main; main()", *words]
    try:
        with subprocess.Popen(
            command,
            env={**os.environ, "TMPDIR": str(temporary)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as running:
            while running.poll() is None and not _processes(temporary):
                time.sleep(0.05)
            running.send_signal(signal.SIGTERM)
            assert running.wait() == 130
        assert not list(temporary.iterdir())
        assert not _processes(temporary)
    finally:
        temporary.rmdir()


def _raise_and_wait(sign: signal.Signals) -> None:
    """The handler runs at the next step of the interpreter, before the wait is over."""
    os.kill(os.getpid(), sign)
    time.sleep(10)


def _processes(folder: Path) -> list[str]:
    """Command lines that name a folder."""
    lines = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(place.read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return [line for line in lines if str(folder) in line]
