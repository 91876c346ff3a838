"""Shows a running study: a live table on a terminal, a line a step elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fedmed.progress import OnProgress, Progress
from fedmed.report.units import byte_size

STYLES = {"done": "green", "working": "cyan", "waiting": "dim", "lost": "bold red"}
# Without a terminal a line for every tenth aggregation is enough; other phases always show.
LINES_FOR_ROUNDS = 10


@contextmanager
def shown_progress(console: Console, *, title: str) -> Iterator[OnProgress]:
    """Show progress on a console while the body runs.

    Args:
        console: Where to show it; decides by itself whether it is a terminal.
        title: The study's title.

    Yields:
        What is called at each step.
    """
    if not console.is_terminal:
        yield _Lines(console).show
        return
    view = _View(title)
    with Live(console=console, get_renderable=view.table, refresh_per_second=4, transient=True):
        yield view.take


@contextmanager
def progress_on_stderr(*, title: str) -> Iterator[OnProgress]:
    """`shown_progress` on stderr, so that stdout is left to the result."""
    with shown_progress(Console(stderr=True), title=title) as on_progress:
        yield on_progress


class _View:
    """Remembers what is already known about each node, so that an event may name only what changed."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._states: dict[str, str] = {}
        self._bytes: dict[str, int] = {}
        self._last: Progress | None = None
        self._started = time.monotonic()

    def take(self, event: Progress) -> None:
        """Take in an event; the next look shows it."""
        self._states.update(event.states)
        self._bytes.update(event.bytes_moved)
        self._last = event

    def table(self) -> RenderableType:
        """The table as it is now; the clock in it goes on between events."""
        event = self._last
        if event is None:
            return Text(self._title, style="bold")
        table = Table(title=Text(self._title, style="bold"), expand=False)
        for name in ("node", "phase", "round", "moved"):
            table.add_column(name, justify="right" if name in ("round", "moved") else "left")
        for node, state in self._states.items():
            table.add_row(
                node,
                Text(f"{event.phase} {state}", style=STYLES.get(state, "red")),
                _round(event),
                byte_size(self._bytes.get(node, 0)),
            )
        return Group(table, Text(self._foot(event), style="dim"))

    def _foot(self, event: Progress) -> str:
        """Privacy and time, in one line."""
        left = max(0.0, event.epsilon_planned - event.epsilon_spent)
        parts = [f"{event.phase}{': ' + event.note if event.note else ''}"]
        if event.epsilon_planned and math.isfinite(event.epsilon_planned):
            parts.append(f"epsilon spent {event.epsilon_spent:.3f}, left of the plan {left:.3f}")
        parts.append(f"{time.monotonic() - self._started:.0f} s")
        return "  |  ".join(parts)


def _round(event: Progress) -> str:
    """Which aggregation, and which attempt at it where there is more than one."""
    if not event.round_number:
        return "-"
    again = f", attempt {event.attempt}" if event.attempt > 1 else ""
    return f"{event.round_number}/{event.rounds}{again}"


class _Lines:
    """One line a phase, and one for every few aggregations."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: tuple[str, str] = ("", "")
        self._shown_round = 0

    def show(self, event: Progress) -> None:
        """Write a line if the event is worth one."""
        if event.rounds and event.round_number:
            self._show_round(event)
        elif (event.phase, event.note) != self._last:
            note = f": {event.note}" if event.note else ""
            self._console.print(f"{event.phase}{note}", markup=False, highlight=False)
        self._last = (event.phase, event.note)
        for node, state in event.states.items():
            if state not in ("done", "working", "waiting"):
                where = f", round {event.round_number}, attempt {event.attempt}" if event.round_number else ""
                self._console.print(f"{node}: {state} in {event.phase}{where}", markup=False, highlight=False)

    def _show_round(self, event: Progress) -> None:
        """A line for the first, the last and every tenth part of the aggregations."""
        step = max(1, event.rounds // LINES_FOR_ROUNDS)
        due = event.round_number in (1, event.rounds) or event.round_number % step == 0
        if due and event.round_number > self._shown_round:
            self._shown_round = event.round_number
            moved = byte_size(sum(event.bytes_moved.values()))
            self._console.print(
                f"aggregation {event.round_number}/{event.rounds}: {moved} moved, {_spent(event)}",
                markup=False,
                highlight=False,
            )


def _spent(event: Progress) -> str:
    """What was spent of the plan; exact sums have no epsilon."""
    if math.isinf(event.epsilon_planned):
        return "exact sums"
    return f"epsilon spent {event.epsilon_spent:.3f} of {event.epsilon_planned:.3f}"
