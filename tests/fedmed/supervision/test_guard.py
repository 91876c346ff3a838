"""What a killed supervisor started ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fedmed.supervision.guard import Guard, guard
from fedmed.supervision.processes import is_there, wait_until

# Two children, each with one of its own, under a supervisor that then waits for its death.
SUPERVISOR = """
import sys, time
from pathlib import Path
from fedmed.supervision.processes import Program, children
code = "import os, time; os.fork(); time.sleep(600)"
with children() as running:
    for name in "ab":
        running.start(Program(name=name, command=(sys.executable, "-c", code), log=Path(sys.argv[1]) / name))
    print(*running.pids().values(), flush=True)
    time.sleep(600)
"""
SLEEPER = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]


def members(group: int) -> list[int]:
    """Processes of a group that run."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            is_member = os.getpgid(int(place.name)) == group
        except OSError:
            continue
        if is_member and is_there(int(place.name)):
            found.append(int(place.name))
    return found


def until(claim: Callable[[], bool]) -> None:
    wait_until(claim, timeout_s=60, what="it happens", while_waiting=lambda: None)


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_killed_supervisor_started_ends_at_once(tmp_path: Path, sign: signal.Signals) -> None:
    """Guarantee of `Children`; also what its children started themselves."""
    words = [sys.executable, "-c", SUPERVISOR, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        groups = [int(word) for word in supervisor.stdout.readline().split()]
        until(lambda: all(len(members(group)) == 2 for group in groups))
        supervisor.send_signal(sign)
        supervisor.wait(60)
        until(lambda: not any(members(group) for group in groups))


def test_what_is_forgotten_or_left_with_a_goodbye_runs_on() -> None:
    """Guarantee of `Guard`."""
    with subprocess.Popen(SLEEPER, start_new_session=True) as process:
        with Guard() as first:
            first.watch(process.pid)
        first.close()
        guard([f"+{process.pid}\n", f"-{process.pid}\n"])
        guard([f"+{process.pid}\n", ".\n"])
        assert process.poll() is None
        guard([f"+{process.pid}\n"])
        assert process.wait(60) == -signal.SIGKILL


def test_a_guard_that_was_ended_disturbs_nobody() -> None:
    """None of these calls raises."""
    made = Guard()
    made._process.kill()
    made._process.wait()
    made.watch(1 << 22)
    made.close()
