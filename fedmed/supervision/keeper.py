"""Keeps programs running: starts again what ends, and what stands still although its process lives.

A SuperNode whose main loop ended on an answer 500 keeps its process, its port and its exit code to itself:
to a supervisor that only waits for ends it looks healthy for ever. So a kept program may name a sign of life,
a value that changes while it works; when that stands still for too long, the program is ended and started.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedmed.errors import ProcessFailed
from fedmed.supervision.processes import Children, Program
from fedmed.supervision.readiness import notify
from fedmed.supervision.run_folder import RunFolder

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
"""Pause before a program is started again: doubled each time that it ends soon after its start."""
STEADY_S: Final = 120.0
"""A program that ran this long ended for a new reason: its pauses begin anew."""
QUIET_S: Final = 120.0
"""Longest quiet of a main loop. Flower's wake every 3 s, and after 20 s at most while nobody answers."""
_WATCH_S: Final = 0.5

Say = Callable[[str], None]
SignOfLife = Callable[[int], object]
"""Given a process id, a value that differs from the one before as long as the program works."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A program that should always run.

    Attributes:
        program: What to run.
        sign: Its sign of life; None for a program that may rightly rest as long as it likes.
        quiet_s: How long the sign may stand still.
    """

    program: Program
    sign: SignOfLife | None = None
    quiet_s: float = QUIET_S


@dataclass(slots=True)
class _Watched:
    """What is known of one kept program; the one mutable record here."""

    kept: Kept
    started: float
    seen: object = None
    seen_at: float = 0.0
    soon: int = 0
    due: float | None = None


class Keeper:
    """Watches programs and starts them again.

    Guarantees:
        A program that ends again and again is started at most once in `LONGEST_PAUSE_S` in the long run, and
        never given up; the others are watched meanwhile.
    """

    def __init__(
        self,
        running: Children,
        *,
        say: Say,
        now: Callable[[], float] = time.monotonic,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        """Keep programs among some children.

        Args:
            running: Gets the processes, and ends them.
            say: Gets a line for each program that is started again.
            now: A clock in seconds that never goes back.
            first_pause_s: See `FIRST_PAUSE_S`.
        """
        self._running = running
        self._say = say
        self._now = now
        self._first_pause_s = first_pause_s
        self._watched: dict[str, _Watched] = {}

    def start(self, kept: Kept) -> None:
        """Start a program and keep it from now on; raises `ProcessFailed` when it cannot be started."""
        now = self._now()
        self._running.start(kept.program)
        self._watched[kept.program.name] = _Watched(kept, started=now, seen_at=now)

    def look(self) -> bool:
        """Look once at all programs; whether one of them ended or was started."""
        codes = self._running.exit_codes()
        for program in self._running.ended():
            self._put_off(program.name, f"ended with exit code {codes.get(program.name, 'unknown')}")
        pids = self._running.pids()
        quiet = [name for name, pid in pids.items() if name in self._watched and self._is_quiet(name, pid)]
        for name in quiet:
            self._running.stop([name])
            self._put_off(name, f"stood still for {self._watched[name].kept.quiet_s:.0f} s and was ended")
        return bool(codes or quiet) | self._start_due()

    def _is_quiet(self, name: str, pid: int) -> bool:
        """Whether a program's sign of life has stood still for too long."""
        watched, now = self._watched[name], self._now()
        if watched.kept.sign is None:
            return False
        seen = watched.kept.sign(pid)
        if seen != watched.seen:
            watched.seen, watched.seen_at = seen, now
        return now - watched.seen_at > watched.kept.quiet_s

    def _put_off(self, name: str, why: str) -> None:
        """Set when a program that is over is started again."""
        if name not in self._watched:
            return
        watched, now = self._watched[name], self._now()
        watched.soon = 0 if now - watched.started > STEADY_S else watched.soon + 1
        pause = min(LONGEST_PAUSE_S, self._first_pause_s * 2 ** max(0, watched.soon - 1))
        watched.due = now + pause
        self._say(f"{name} {why}; it is started again in {pause:.0f} s; log: {watched.kept.program.log}")

    def _start_due(self) -> bool:
        """Start what has waited long enough; whether anything was."""
        now, is_any = self._now(), False
        for name, watched in self._watched.items():
            if watched.due is None or now < watched.due:
                continue
            watched.due, watched.started, watched.seen_at = None, now, now
            try:
                self._running.start(watched.kept.program)
                is_any = True
            except ProcessFailed as fault:
                self._put_off(name, f"did not start ({fault})")
        return is_any


def keep(keeper: Keeper, running: Children, *, folder: RunFolder, is_asked: Callable[[], bool]) -> None:
    """Look at the programs until it is time to stop, and tell the service manager that somebody looks.

    Args:
        keeper: Watches the programs.
        running: Where they run.
        folder: Gets the processes when they change.
        is_asked: Whether to stop.
    """
    folder.note(running.pids())
    notify("READY=1")
    while not is_asked():
        if keeper.look():
            folder.note(running.pids())
        notify("WATCHDOG=1")
        time.sleep(_WATCH_S)
    notify("STOPPING=1")


def turns_of_main_thread(pid: int) -> object:
    """How often a process's main thread was given or gave up a processor: it grows while the thread works.

    A main loop that waits wakes at each end of its wait, so its thread's count grows; the thread of a loop
    that is over waits for the other threads and is given no processor any more (measured: FLOWER.md's dead
    SuperNode stands at one number for minutes, a living one gains two a second).

    Args:
        pid: The process.

    Returns:
        A number from proc(5), or None for a process that is gone.
    """
    try:
        text = Path(f"/proc/{pid}/task/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return sum(int(line.rpartition(":")[2]) for line in text.splitlines() if "ctxt_switches:" in line)


@contextlib.contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Turns SIGTERM and SIGINT into a question; the former handlers come back afterwards."""
    asked: list[int] = []
    signs = (signal.SIGTERM, signal.SIGINT)
    former = {sign: signal.signal(sign, lambda number, _: asked.append(number)) for sign in signs}
    try:
        yield lambda: bool(asked)
    finally:
        for sign, handler in former.items():
            signal.signal(sign, handler)
