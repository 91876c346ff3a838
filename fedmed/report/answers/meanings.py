"""What columns, units and codes of an answer mean, for readers who do not know the schema by heart."""

from __future__ import annotations

from collections.abc import Iterator

from fedmed.report.answers.answer import Document
from fedmed.report.sheet import Cell, Section
from fedmed.report.units import ABSENT


def unit_of(document: Document, name: str) -> str:
    """The unit of a column's numbers, or the name as it is where nobody knows a unit of it."""
    return str(document.get("columns", {}).get(name, {}).get("unit") or name)


def meanings_section(document: Document) -> Iterator[Section]:
    """A table of the columns that the schema knows; none where it knows none.

    Args:
        document: The result document; one of an older version has no such part.
    """
    rows = tuple(
        (
            Cell(text=name),
            Cell(text=f"{told['en']} {told['zh']}"),
            Cell(text=", ".join(f"{code} {word}" for code, word in told["codes"].items()) or ABSENT),
            Cell(text=told["unit"] or ABSENT),
        )
        for name, told in document.get("columns", {}).items()
    )
    if rows:
        yield Section(
            name="meanings",
            heading="What the columns mean",
            columns=("Column", "Meaning", "Codes in this study", "Unit"),
            rows=rows,
        )
