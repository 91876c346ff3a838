"""What a terminal shows of a study that is no training: the page's tables, narrower."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from fedmed.report.answers.answer import Document
from fedmed.report.answers.by_kind import answer_of
from fedmed.report.answers.protection import scheme_of, when_alone, who_opens
from fedmed.report.answers.tables import table_section
from fedmed.report.sheet import Section
from fedmed.report.units import delta, epsilon
from fedmed.types import Scheme

SHOWN_ROWS = 20


def show_answer(document: Document, *, page: Path) -> None:
    """Print `question_lines` on stdout; raises what they raise."""
    console = Console()
    for line in question_lines(document, page):
        console.print(line)


def question_lines(document: Document, page: Path) -> list[RenderableType]:
    """The document of `fedmed.question` as lines for a terminal.

    Args:
        document: The result document.
        page: Where its page lies; the tables lie beside it.

    Returns:
        The finding, the first `SHOWN_ROWS` rows of each table, what protects the persons, and where the
        rest is.

    Raises:
        ConfigError: nobody knows how to show this document.
    """
    answer = answer_of(document)
    lines: list[RenderableType] = [Text(str(document["study"]["title"]), style="bold"), Text(answer.finding)]
    for table in answer.tables:
        section = table_section(table, brief=True)
        lines.append(_table(section))
        left = len(section.rows) - SHOWN_ROWS
        if left > 0:
            lines.append(Text(f"... {left:,} rows more in {table.name}.csv"))
    return [*lines, Text(_protection(document)), Text(f"Page: {page}   beside it: CSV, Parquet, SVG")]


def _table(section: Section) -> Table:
    """One table of the page."""
    table = Table(title=section.heading, title_justify="left", box=box.SIMPLE, header_style="bold")
    for place, heading in enumerate(section.columns):
        is_number = bool(section.rows) and section.rows[0][place].is_number
        # Folded, since a number cut short reads as another number.
        table.add_column(heading, justify="right" if is_number else "left", overflow="fold")
    for row in section.rows[:SHOWN_ROWS]:
        table.add_row(*(Text(f"{cell.text}\n{cell.note}" if cell.note else cell.text) for cell in row))
    return table


def _protection(document: Document) -> str:
    """What protects a person, and where the scheme protects less than the default who opens what."""
    privacy = document["privacy"]
    exposed = "" if scheme_of(document) is Scheme.THRESHOLD else " " + who_opens(document)[-1]
    if privacy["exact"]:
        return f"Exact sums: no noise and no epsilon.{exposed}"
    return (
        f"Epsilon {epsilon(privacy['epsilon_spent'])} of {epsilon(privacy['epsilon'])} a person spent, delta "
        f"{delta(privacy['delta'])}; {epsilon(privacy['fallback_epsilon'])} {when_alone(document)}.{exposed}"
    )
