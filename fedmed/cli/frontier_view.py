"""Shows a frontier on the terminal: a line a choice, then what to run and why."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedmed.cli.frontier_run import PAGE_NAME
from fedmed.report.frontier_result import Frontier, several_settings
from fedmed.report.units import ABSENT, byte_size, duration, epsilon, metric


def show_frontier(found: Frontier, folder: Path, *, as_json: bool) -> None:
    """Print the document, or a table, the advice and where the page lies.

    Args:
        found: What was found.
        folder: Where everything was written.
        as_json: Print one JSON document and nothing else.
    """
    if as_json:
        click.echo(json.dumps(_document(found, folder), ensure_ascii=False))
        return
    console = Console()
    console.print(_table(found))
    console.print(found.advice.headline, style="bold", markup=False, highlight=False)
    for reason in found.advice.reasons:
        console.print(f"- {reason}", markup=False, highlight=False)
    if found.computed:
        console.print(f"Computed {found.effort}", markup=False, highlight=False)
    console.print(f"Page     {folder / PAGE_NAME}", markup=False, highlight=False, soft_wrap=True)


def _document(found: Frontier, folder: Path) -> dict[str, object]:
    """The frontier as JSON."""
    plain: dict[str, object] = json.loads(json.dumps(asdict(found), default=lambda value: value.value))
    return {**plain, "folder": str(folder)}


def _table(found: Frontier) -> Table:
    """One line a choice."""
    # The widest rows fill 80 columns: a terminal of that width must not cut the last one.
    table = Table(
        box=box.SIMPLE_HEAD,
        title=Text(found.study),
        title_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("Choice", no_wrap=True)
    for heading in ("Eps", "AUC", "Worst", "Fallback", "A year", "Bytes", "Time"):
        table.add_column(heading, justify="right", no_wrap=True)
    several = len(found.settings) > 1
    clips = several_settings(found.points)
    for point in found.points:
        name = point.mode.value
        name += "" if point.scheme.value == "threshold" else f", {point.scheme.value}"
        name += f", clip {point.clip_norm:g}, {point.aggregations} sums" if clips else ""
        name += f", {point.setting.words}" if several else ""
        table.add_row(
            Text(("* " if point.is_on_front else "  ") + name),
            f"{point.epsilon:g}",
            metric(point.auc.mean),
            metric(point.worst_auc),
            epsilon(point.fallback_epsilon),
            str(point.a_year),
            ABSENT if point.size_bytes is None else byte_size(point.size_bytes),
            ABSENT if point.seconds is None else duration(point.seconds),
            style="bold" if point == found.advice.point else "",
        )
    for level in found.levels:
        table.add_row(
            Text(f"  {level.arm.replace('_', ' ')}"),
            ABSENT if level.epsilon is None else f"{level.epsilon:g}",
            metric(level.auc.mean),
            metric(level.worst_auc),
            *[""] * 4,
            style="dim",
        )
    return table
