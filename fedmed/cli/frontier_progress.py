"""Shows how far a frontier is, and how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from fedmed.report.units import duration

LINES = 20
"""Lines that a whole frontier writes where there is no terminal."""

OnDone = Callable[[float, str], None]
"""Called after each task with its work, in any unit, and a few words."""


@contextmanager
def shown_tasks(console: Console, *, tasks: int, work: float) -> Iterator[OnDone]:
    """Show progress while the body runs: a bar on a terminal, a line now and then elsewhere.

    Args:
        console: Where.
        tasks: Tasks to do.
        work: Work of all of them together; the time left is what the work so far took, in proportion.
    """
    meter = _Meter(tasks=tasks, work=work)
    if not console.is_terminal:
        yield lambda done, note: meter.line(console, done=done, note=note)
        return
    columns = (TextColumn("{task.fields[state]}"), BarColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=console, transient=True) as bar:
        shown = bar.add_task("", total=work, state=f"0 of {tasks}", note="starting")

        def step(done: float, note: str) -> None:
            meter.take(done)
            bar.update(shown, advance=done, state=f"{meter.done} of {tasks}", note=f"{meter.left}  {note}")

        yield step


class _Meter:
    """Counts work and reckons the time left."""

    def __init__(self, *, tasks: int, work: float) -> None:
        self._tasks, self._work = tasks, work
        self._finished = 0.0
        self._began = time.monotonic()
        self.done = 0

    def take(self, done: float) -> None:
        """One task is over."""
        self.done += 1
        self._finished += done

    @property
    def left(self) -> str:
        """Time left, in words."""
        passed = time.monotonic() - self._began
        seconds = passed * max(0.0, self._work - self._finished) / max(self._finished, 1e-9)
        return f"about {duration(seconds)} left" if self.done < self._tasks else f"done in {duration(passed)}"

    def line(self, console: Console, *, done: float, note: str) -> None:
        """Write a line for the first, the last and about every twentieth part of the tasks."""
        self.take(done)
        if self.done in (1, self._tasks) or self.done % max(1, self._tasks // LINES) == 0:
            text = f"{self.done} of {self._tasks} done, {self.left}: {note}"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
