"""What ``fedmed data check`` does: read, judge, show on the terminal, write the page."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedmed.cli.quality_page import ZH, count_text, finding, place, quality_sheet, rate_text, score_text
from fedmed.data.nhsa.gate import check_folder
from fedmed.data.nhsa.results import QualityReport, State, quality_document
from fedmed.data.nhsa.rules import rule_kinds
from fedmed.data.nhsa.settings import QualitySettings
from fedmed.data.nhsa.settings_file import load_quality_settings
from fedmed.errors import ConfigError
from fedmed.report.sheet import render_sheet

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

MOST_LINES = 20
"""Findings that the terminal shows; page and JSON have all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """What the command was asked for.

    Attributes:
        settings: Settings file; None = the defaults.
        gate: Least score in place of that of the settings; None = theirs.
        page: Where the page goes; None = none.
        as_json: Whether stdout gets one JSON document.
        memory_mib: Bound of the engine's memory.
        threads: Its threads.
    """

    settings: Path | None = None
    gate: float | None = None
    page: Path | None = None
    as_json: bool = False
    memory_mib: int = 1024
    threads: int = 2


def check_and_show(folder: Path, options: CheckOptions) -> bool:
    """Check a folder's tables, show what was found, and write the page.

    Args:
        folder: See `fedmed.data.nhsa.folder`.
        options: What was asked for.

    Returns:
        Whether the tables are fit.

    Raises:
        ConfigError: the settings, or a page that cannot be written.
        DataContractError, StoreFailed: as `check_folder`.
    """
    settings = QualitySettings() if options.settings is None else load_quality_settings(options.settings)
    if options.gate is not None:
        settings = replace(settings, gate=options.gate)
    if not 64 <= options.memory_mib <= 1 << 20:
        raise ConfigError(f"--memory must be in 64..1048576 MiB, got {options.memory_mib}")
    say = _say if sys.stderr.isatty() else None
    report = check_folder(folder, settings, memory_mib=options.memory_mib, threads=options.threads, say=say)
    if say is not None:
        say("")
    if options.page is not None:
        write_page(options.page, render_sheet(quality_sheet(report, title=folder.resolve().name)))
    if options.as_json:
        click.echo(json.dumps(quality_document(report), ensure_ascii=False))
    else:
        _show(report)
    if options.page is not None:
        click.echo(f"page: {options.page}", err=True)
    return report.is_fit


def write_page(path: Path, page: str) -> None:
    """Write a page whole.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as fault:
        raise ConfigError(f"cannot write {path}: {fault.strerror}; name another file") from None


def summary(report: QualityReport) -> Iterator[RenderableType]:
    """What the terminal shows: the scores, the findings, one sentence."""
    from rich.text import Text

    yield _scores(report)
    if report.found:
        yield _findings(report)
    hidden = len(report.found) - MOST_LINES
    if hidden > 0:
        yield Text(f"... and {hidden} more; --html or --json shows all")
    there = set(report.table_scores)
    skipped = sum(o.state is State.NOT_CHECKED and o.rule.table in there for o in report.outcomes)
    if skipped:
        yield Text(f"{skipped} rules could not run: columns or tables are not there", style="dim")
    yield Text(finding(report), style="bold green" if report.is_fit else "bold red")


def _scores(report: QualityReport) -> Table:
    """One column a score."""
    from rich.table import Table

    table = Table(title=None, box=None, pad_edge=False)
    row = []
    for dimension, score in report.scores.items():
        table.add_column(f"{dimension.value} {ZH[dimension]}", justify="right")
        low = dimension in report.below_gate
        row.append(f"[red]{score_text(score)}[/red]" if low else score_text(score))
    table.add_row(*row)
    return table


def _findings(report: QualityReport) -> Table:
    """One line a finding; names come from the schema, so none of them is markup."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("rule", overflow="fold")
    table.add_column("where", overflow="fold")
    table.add_column("rate", justify="right", no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("of", justify="right", no_wrap=True)
    table.add_column("what is wrong", overflow="fold")
    for outcome in report.found[:MOST_LINES]:
        table.add_row(
            outcome.rule.kind,
            place(outcome),
            rate_text(outcome.rate),
            count_text(outcome.failing),
            count_text(outcome.checked),
            rule_kinds()[outcome.rule.kind].zh,
        )
    return table


def _show(report: QualityReport) -> None:
    """Print the summary on stdout."""
    from rich.console import Console

    console = Console(highlight=False)
    for part in summary(report):
        console.print(part)


def _say(text: str) -> None:
    """Overwrite the line on the terminal that tells what is looked at; an empty text clears it."""
    click.echo(f"\r\x1b[2K{text and f'checking {text}'}", err=True, nl=False)
