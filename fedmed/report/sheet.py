"""Plain pages in the looks of the report: figures at the top, then sections of tables; no script."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from fedmed.report.page import Tile
from fedmed.report.svg import Plot
from fedmed.report.templates import load_template, style


class Tone(Enum):
    """How a cell is marked; never the only sign of what it says."""

    PLAIN = ""
    GOOD = "no"
    BAD = "exposed"
    WARN = "part"
    INFO = "yes"
    CODE = "mono"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: What it says.
        note: A second, quieter line; may be empty.
        tone: How it is marked.
        share: Length of a bar behind it, 0 to 1; None = no bar.
        is_number: Whether it stands to the right.
    """

    text: str
    note: str = ""
    tone: Tone = Tone.PLAIN
    share: float | None = None
    is_number: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One heading with pictures, a table, a list of sentences, or any of them.

    Attributes:
        name: Anchor of the heading: letters, digits and ``-``.
        heading: For people.
        lead: A sentence or two below it; may be empty.
        columns: Headings of the table's columns; empty = no table.
        rows: Cells, as many a row as there are columns.
        sentences: A list below the table.
        plots: Pictures above the table, beside each other where there is room.
    """

    name: str
    heading: str
    lead: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()
    sentences: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One page.

    Attributes:
        kicker: Small words above the title.
        title: The title.
        finding: What the reader should know first.
        meta: (name, value) pairs below it.
        tiles: Figures at the top.
        warnings: Sentences in a box of their own.
        sections: In order.
        footer: Small words at the end.
        is_good: Colour of the finding: good, bad, or None = neither.
    """

    kicker: str
    title: str
    finding: str
    meta: tuple[tuple[str, str], ...] = ()
    tiles: tuple[Tile, ...] = ()
    warnings: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()
    footer: str = ""
    is_good: bool | None = None


def render_sheet(sheet: Sheet) -> str:
    """Render a page.

    Returns:
        One HTML document, UTF-8 text, that refers to nothing outside itself.

    Guarantees:
        Every text is escaped; the same value gives the same page.
    """
    return load_template("sheet.html.j2").render(sheet=sheet, style=style())
