from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fedmed.supervision.keeper import (
    LONGEST_PAUSE_S,
    Keeper,
    Kept,
    asked_to_stop,
    keep,
    turns_of_main_thread,
)
from fedmed.supervision.processes import Program, children
from fedmed.supervision.run_folder import RunFolder

SLEEPER = ("/bin/sleep", "600")


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def program(folder: Path, *command: str, name: str = "p") -> Program:
    return Program(name=name, command=command, log=folder / f"{name}.log")


def until(claim: Callable[[], bool], *, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_ends_is_started_again_after_pauses_that_grow_to_a_bound(tmp_path: Path) -> None:
    clock, said = Clock(), list[str]()
    with children() as running:
        keeper = Keeper(running, say=said.append, now=clock)
        keeper.start(Kept(program=program(tmp_path, "/bin/false")))
        waits = []
        for _ in range(9):
            until(lambda: bool(running.exit_codes()))
            assert keeper.look(), "an end is told"
            assert running.pids() == {}
            before = clock.now
            while not keeper.look():
                clock.now += 0.5
            waits.append(clock.now - before)
        assert waits == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
        assert "p ended with exit code 1; it is started again in 1 s" in said[0]


def test_one_that_ran_long_is_started_again_soon_and_the_others_run_on(tmp_path: Path) -> None:
    clock = Clock()
    with children() as running:
        keeper = Keeper(running, say=lambda _: None, now=clock)
        keeper.start(Kept(program=program(tmp_path, *SLEEPER)))
        keeper.start(Kept(program=program(tmp_path, *SLEEPER, name="other")))
        before = running.pids()
        for _ in range(3):
            clock.now += 1_000
            os.kill(running.pids()["p"], signal.SIGKILL)
            until(lambda: bool(running.exit_codes()))
            keeper.look()
            clock.now += 1
            assert keeper.look()
        after = running.pids()
        assert after["p"] != before["p"]
        assert after["other"] == before["other"]


def test_one_that_stands_still_is_ended_and_started_although_its_process_lives(tmp_path: Path) -> None:
    clock, said, turns = Clock(), list[str](), {"quiet": 0, "busy": 0}
    with children() as running:
        keeper = Keeper(running, say=said.append, now=clock)
        for name in turns:
            keeper.start(
                Kept(
                    program=program(tmp_path, *SLEEPER, name=name),
                    sign=lambda _, name=name: turns[name],
                    quiet_s=10,
                )
            )
        before = running.pids()
        for _ in range(12):
            clock.now += 1
            turns["busy"] += 1
            keeper.look()
        clock.now += 1
        keeper.look()
        after = running.pids()
        assert after["quiet"] != before["quiet"]
        assert after["busy"] == before["busy"]
        assert "quiet stood still for 10 s and was ended" in said[0]


def test_a_program_that_is_gone_from_disk_does_not_end_the_watch(tmp_path: Path) -> None:
    script, clock, said = tmp_path / "script", Clock(), list[str]()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o700)
    with children() as running:
        keeper = Keeper(running, say=said.append, now=clock)
        keeper.start(Kept(program=program(tmp_path, str(script))))
        script.unlink()
        until(lambda: bool(running.exit_codes()))
        keeper.look()
        clock.now += 5
        keeper.look()
        assert "did not start" in said[-1]


@pytest.mark.slow
def test_a_main_thread_that_waits_for_others_shows_no_turns_and_a_loop_does(tmp_path: Path) -> None:
    # As Flower's SuperNode after its main loop: the main thread waits for a server's thread.
    dead = (
        "import threading, time\n"
        "threading.Thread(target=lambda: [time.sleep(0.01) for _ in range(9999)]).start()"
    )
    alive = "import time\nwhile True: time.sleep(0.01)"
    with children() as running:
        pids = {
            name: running.start(program(tmp_path, sys.executable, "-c", code, name=name))
            for name, code in {"dead": dead, "alive": alive}.items()
        }
        time.sleep(1.0)  # both have started, on a busy machine too
        before = {name: turns_of_main_thread(pid) for name, pid in pids.items()}
        time.sleep(0.1)
        after = {name: turns_of_main_thread(pid) for name, pid in pids.items()}
        assert after["dead"] == before["dead"]
        assert after["alive"] != before["alive"]
    assert turns_of_main_thread(pids["alive"]) is None


@pytest.mark.slow
def test_keeping_ends_when_asked_and_notes_who_runs(tmp_path: Path) -> None:
    folder = RunFolder(path=tmp_path, what="node", at=tmp_path)
    with folder.locked(), asked_to_stop() as is_asked, children() as running:
        keeper = Keeper(running, say=lambda _: None)
        keeper.start(Kept(program=program(tmp_path, *SLEEPER)))
        threading.Timer(0.05, signal.raise_signal, [signal.SIGTERM]).start()
        keep(keeper, running, folder=folder, is_asked=is_asked)
        assert folder.processes() == {"node": os.getpid(), **running.pids()}
    assert folder.processes() == {}


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_signals_become_a_question_and_handlers_come_back(sign: signal.Signals) -> None:
    before = signal.getsignal(sign)
    with asked_to_stop() as is_asked:
        assert not is_asked()
        signal.raise_signal(sign)
        assert is_asked()
    assert signal.getsignal(sign) is before
