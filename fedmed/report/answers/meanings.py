"""What columns, units and codes of an answer mean, for readers who do not know the schema by heart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fedmed.report.answers.answer import Document
from fedmed.report.sheet import Cell, Section
from fedmed.report.units import ABSENT

_CLAUSE = re.compile(r"[;,:]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """How a page calls the columns of a study and their codes.

    Attributes:
        columns: What is known of columns, by name: ``en``, ``zh``, ``unit``, ``codes``.
        axes: Names that the study gave its axes -> their columns.
        rows: What a row is, in the plural.
    """

    columns: Mapping[str, Mapping[str, Any]]
    axes: Mapping[str, str]
    rows: str

    def name(self, axis: str) -> str:
        """A name for people: the study's own, or the first words of the column's meaning."""
        return _CLAUSE.split(str(self.columns[axis]["en"]))[0] if self._is_column(axis) else axis

    def inside(self, axis: str) -> str:
        """The same inside a sentence: without a capital, but for a word of capitals."""
        name = self.name(axis)
        is_word = self._is_column(axis) and not name[:2].isupper()
        return name[:1].lower() + name[1:] if is_word else name

    def level(self, axis: str, level: str) -> str:
        """A level, and behind it what its code means: ``3 tertiary``."""
        meaning = self._codes(axis).get(level)
        return level if meaning is None else f"{level} {meaning}"

    def levels(self, axis: str, levels: Iterable[str]) -> dict[str, str]:
        """Those levels that have a meaning -> `level`."""
        known = self._codes(axis)
        return {level: self.level(axis, level) for level in levels if level in known}

    def unit(self, name: str) -> str:
        """The unit of a column's numbers or their squares, ``rows`` as what they are, else the name."""
        if name == "rows":
            return self.rows
        if name.endswith("^2"):
            return f"{self.unit(name.removesuffix('^2'))}²"
        return str(self.columns.get(name, {}).get("unit") or name)

    def _is_column(self, axis: str) -> bool:
        """Whether an axis has the name of its column, and the column has words."""
        return self.axes.get(axis, axis) == axis and axis in self.columns

    def _codes(self, axis: str) -> Mapping[str, str]:
        """Codes of the column behind an axis -> what they mean."""
        found: Mapping[str, str] = self.columns.get(self.axes.get(axis, axis), {}).get("codes", {})
        return found


def words_of(document: Document) -> Words:
    """The words that a result document carries; one of an older version has none."""
    return Words(
        columns=document.get("columns", {}),
        axes=document.get("axes", {}),
        rows=str(document.get("rows", "rows")),
    )


def meanings_section(document: Document) -> Iterator[Section]:
    """A table of the columns that somebody has words for; none where nobody has.

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
