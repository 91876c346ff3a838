"""Generates claims for ``fedmed data generate`` and shows it: a bar with the time left, or lines."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fedmed.cli.claims_folder import OnWritten, Written, write_claims
from fedmed.data.claims.generate import ClaimsSettings
from fedmed.report.units import byte_size

_SECONDS_BETWEEN_LINES = 10.0


def generate_and_show(
    folder: Path, settings: ClaimsSettings, *, faults: tuple[str, ...], rate: float, as_json: bool
) -> None:
    """Generate claims into a folder and say what was written.

    Args:
        folder: Must not exist.
        settings: What to generate.
        faults: Names of faults to inject.
        rate: Chance of each row that a fault fits.
        as_json: Print one document on stdout in place of text.

    Raises:
        ConfigError: as `fedmed.cli.claims_folder.write_claims`.
    """
    started = time.monotonic()
    with shown_generating(Console(stderr=True), people=settings.people) as on_written:
        written = write_claims(folder, settings, faults=faults, rate=rate, on_written=on_written)
    seconds = time.monotonic() - started
    if as_json:
        click.echo(json.dumps(_document(folder, written, seconds), ensure_ascii=False))
    else:
        click.echo("\n".join(_report(folder, written, seconds)))


def _document(folder: Path, written: Written, seconds: float) -> dict[str, object]:
    """What was written, for programs."""
    tables: dict[str, dict[str, int]] = {}
    for (node, table), rows in written.rows.items():
        tables.setdefault(node, {})[table] = rows
    changed: dict[str, dict[str, int]] = {}
    for found in written.injected:
        changed.setdefault(found.node, {})[found.fault] = found.changed
    return {
        "folder": str(folder),
        "rows": tables,
        "faults": changed,
        "size_bytes": written.size_bytes,
        "seconds": round(seconds, 3),
    }


def _report(folder: Path, written: Written, seconds: float) -> Iterator[str]:
    """What was written, for people."""
    tables: Counter[str] = Counter()
    nodes: dict[str, None] = {}
    for (node, table), rows in written.rows.items():
        tables[table] += rows
        nodes[node] = None
    total = tables.total()
    yield f"wrote {total:,} rows, {byte_size(written.size_bytes)}, to {folder} in {seconds:.0f} s"
    yield f"provinces: {', '.join(nodes)}"
    yield "tables: " + ", ".join(f"{table} {rows:,}" for table, rows in tables.most_common())
    changed: Counter[tuple[str, str]] = Counter()
    for found in written.injected:
        changed[found.fault, found.table] += found.changed
    for (fault, table), rows in changed.items():
        yield f"fault {fault}: {rows:,} rows of {table}"
    yield f"next: fedmed data check {folder / next(iter(nodes))}"


@contextmanager
def shown_generating(console: Console, *, people: int) -> Iterator[OnWritten]:
    """Show progress on a console while the body runs.

    Args:
        console: Where to show it; decides by itself whether it is a terminal.
        people: Persons to generate.

    Yields:
        What the writer calls after each step.
    """
    if not console.is_terminal:
        yield _Lines(console, people).show
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} persons, {task.fields[rows]:,} rows"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=people, rows=0)

        def show(node: str, persons: int, rows: int) -> None:
            bar.update(task, description=node or "writing", completed=persons, rows=rows)

        yield show


class _Lines:
    """One line every few seconds."""

    def __init__(self, console: Console, people: int) -> None:
        self._console, self._people = console, people
        self._started = self._shown = time.monotonic()

    def show(self, node: str, persons: int, rows: int) -> None:
        """Write a line if the last one is old enough."""
        now = time.monotonic()
        if now - self._shown < _SECONDS_BETWEEN_LINES:
            return
        self._shown = now
        left = (now - self._started) * (self._people - persons) / max(persons, 1)
        self._console.print(
            f"{node or 'writing'}: {persons:,} of {self._people:,} persons, {rows:,} rows, "
            f"about {left:.0f} s left",
            markup=False,
            highlight=False,
        )
