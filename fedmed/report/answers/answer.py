"""An answer: tidy tables with units, figures, and what a reader should know first; one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fedmed.report.svg import Plot
from fedmed.types import require

Document = Mapping[str, Any]
"""A result document (Any: it is JSON)."""

Value = str | float | int | bool | None
"""What stands in a table; None is a blank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One column of a tidy table.

    Attributes:
        name: Name of the column in files and data frames.
        heading: For people; may hold the unit.
        unit: ``yuan``, ``persons``, ``days`` ...; empty where there is none.
        decimals: Digits after the point on the page; None = three significant digits.
        shown: Whether the page shows it; files always hold it.
        is_brief: Whether a terminal shows it too.
        brief_heading: Heading on a terminal, which has no room for words; empty = ``heading``.
        words: Values of text -> what a page says instead; terminals and files have the value itself.
    """

    name: str
    heading: str
    unit: str = ""
    decimals: int | None = None
    shown: bool = True
    is_brief: bool = True
    brief_heading: str = ""
    words: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TidyTable:
    """One table as a statistician expects it: a row an observation, a column a variable.

    Attributes:
        name: Name of its files: letters, digits, ``-`` and ``_``.
        heading: For people.
        lead: What a row is, and how to read it; may be empty.
        fields: The columns.
        rows: As many values a row as there are columns.
        across: Column whose values the page sets side by side, each with its ``estimate``; None = as it is.
            Files keep a row an observation.
        quiet: (column, value) of rows that the page leaves out where they hold nothing.
    """

    name: str
    heading: str
    lead: str = ""
    fields: tuple[Field, ...]
    rows: tuple[tuple[Value, ...], ...]
    across: str | None = None
    quiet: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        require(len(set(names)) == len(names), f"table {self.name}: the names of columns must differ")
        require(
            all(len(row) == len(names) for row in self.rows),
            f"table {self.name}: every row needs {len(names)} values",
        )

    def column(self, name: str) -> tuple[Value, ...]:
        """The values of one column, from top to bottom."""
        place = [field.name for field in self.fields].index(name)
        return tuple(row[place] for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One picture with its heading.

    Attributes:
        heading: For people.
        hint: How to read it.
        plot: The drawings; the plot's name is that of its file.
    """

    heading: str
    hint: str
    plot: Plot


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a study found.

    Attributes:
        finding: One sentence: what was asked, and the headline of what came out.
        tables: In the order of the page.
        figures: In the order of the page.
        tiles: (name, value, note) of the figures at the top.
        notes: How to read the numbers: intervals, blanks, limits; one sentence or two each.
    """

    finding: str
    tables: tuple[TidyTable, ...]
    figures: tuple[Figure, ...] = ()
    tiles: tuple[tuple[str, str, str], ...] = ()
    notes: tuple[str, ...] = ()
