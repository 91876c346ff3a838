"""Columns of a statistics study turned into public levels and public units: declared, never code.

Everything here is a fact of the study file. What a level is, and how rows find theirs, depends on no row.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Self

from pydantic import Field, model_validator

from fedmed.study.sections import Line, Number, Table

OTHERS = "others"
"""Last level of every axis: all rows that no declared level takes, those without a value among them."""
MOST_DECIMALS = 6
LARGEST_VALUE = 1e12
# A value comes from a row as a double; above this its last unit would be a guess.
_MOST_UNITS = 1 << 53
# Squares are added up in 64-bit integers.
MOST_SQUARED_UNITS = 1 << 30

Month = Annotated[str, Field(pattern=r"^(1[89]|2[01])[0-9]{2}-(0[1-9]|1[0-2])$")]


class AxisTable(Table):
    """One classification of rows: exactly one of ``levels``, ``first_month``, ``bands`` and ``edges``.

    Attributes:
        column: Name of the column.
        name: What the result calls the axis; the column's name where it is left out.
        levels: Values of the column, as text.
        prefix: So many first characters of the text count, as 2 of a region code (the province) or 3 of an
            ICD-10 code; every level has this length.
        first_month: First of a row of months; the column holds dates or months (``2026-07...``).
        last_month: Last of them.
        bands: Lower ends of bands of a number, rising; the last band is open above.
        age_at: With ``bands``: the column is a month of birth, its age in completed years is taken at this
            month.
        edges: Edges of intervals of a number, rising; an interval holds its lower edge.
    """

    column: Line
    name: Line | None = None
    levels: tuple[Line, ...] = ()
    prefix: Annotated[int, Field(ge=1, le=30)] | None = None
    first_month: Month | None = None
    last_month: Month | None = None
    bands: tuple[Number, ...] = ()
    age_at: Month | None = None
    edges: tuple[Number, ...] = ()

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        chosen = [bool(self.levels), self.first_month is not None, bool(self.bands), bool(self.edges)]
        if sum(chosen) != 1:
            raise ValueError(f"axis {self.title} needs one of levels, first_month, bands and edges")
        if (self.first_month is None) != (self.last_month is None):
            raise ValueError(f"axis {self.title} needs first_month and last_month together")
        if self.prefix is not None and not self.levels:
            raise ValueError(f"axis {self.title}: prefix belongs to levels")
        if self.age_at is not None and not self.bands:
            raise ValueError(f"axis {self.title}: age_at belongs to bands")
        return self

    @model_validator(mode="after")
    def _levels_differ(self) -> Self:
        if len(self.edges) == 1 or any(a >= b for a, b in itertools.pairwise(self.bands or self.edges)):
            raise ValueError(f"axis {self.title}: bands and edges must rise, and edges be two or more")
        if self.first_month is not None and not self.months:
            raise ValueError(f"axis {self.title}: first_month must not be after last_month")
        if len(set(self.labels)) < self.size:
            raise ValueError(f"the levels of axis {self.title} must differ, and none may be {OTHERS!r}")
        if self.prefix is not None and any(len(level) != self.prefix for level in self.levels):
            raise ValueError(f"axis {self.title}: every level must have the prefix's length {self.prefix}")
        return self

    @property
    def title(self) -> str:
        """What the result calls the axis."""
        return self.name or self.column

    @property
    def months(self) -> tuple[str, ...]:
        """Every month of the axis as ``2026-07``; none where it has no months."""
        if self.first_month is None or self.last_month is None:
            return ()
        first, last = month_number(self.first_month), month_number(self.last_month)
        return tuple(f"{m // 12:04d}-{m % 12 + 1:02d}" for m in range(first, last + 1))

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of each level in order, `OTHERS` last."""
        named = self.levels or self.months or _band_names(self.bands) or _interval_names(self.edges)
        return (*named, OTHERS)

    @property
    def size(self) -> int:
        """Number of levels, `OTHERS` among them."""
        return len(self.labels)


class ValueTable(Table):
    """A number that is added up, with public bounds.

    Attributes:
        column: Name of the column.
        low: Public lower bound, in the column's unit; smaller values count as it.
        high: Public upper bound likewise.
        decimals: Digits after the point that count: 2 adds up yuan to the last fen. Values are rounded to
            them, half to even.
    """

    column: Line
    low: Annotated[float, Field(ge=-LARGEST_VALUE, le=LARGEST_VALUE, allow_inf_nan=False)] = 0.0
    high: Annotated[float, Field(ge=-LARGEST_VALUE, le=LARGEST_VALUE, allow_inf_nan=False)]
    decimals: Annotated[int, Field(ge=0, le=MOST_DECIMALS)] = 0

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low must be < high, got {self.low:g} and {self.high:g}")
        if self.most_units > _MOST_UNITS:
            raise ValueError("the bounds have more than 15 digits: lower decimals")
        return self

    @property
    def units(self) -> tuple[int, int]:
        """Lowest and highest value in units of the last decimal."""
        scale = 10**self.decimals
        low, high = (Fraction(repr(end)) * scale for end in (self.low, self.high))  # decimals, not binary
        return (math.floor(low), math.ceil(high))

    @property
    def most_units(self) -> int:
        """Largest absolute value of one row, in units of the last decimal."""
        return max(abs(end) for end in self.units)


def month_number(month: str) -> int:
    """Months since the year 0 of ``2026-07``."""
    return int(month[:4]) * 12 + int(month[5:7]) - 1


def _number(value: float) -> str:
    """A number without a needless point."""
    return str(int(value)) if value == int(value) else repr(value)


def _band_names(lower: Sequence[float]) -> tuple[str, ...]:
    """``0-17``, ``18-64``, ``65+`` for whole years; intervals otherwise."""
    if not lower:
        return ()
    last = f"{_number(lower[-1])}+"
    if all(end == int(end) for end in lower):
        return (*(f"{int(a)}-{int(b) - 1}" for a, b in itertools.pairwise(lower)), last)
    return (*_interval_names(lower), last)


def _interval_names(edges: Sequence[float]) -> tuple[str, ...]:
    """``0 to <100`` and so on."""
    return tuple(f"{_number(a)} to <{_number(b)}" for a, b in itertools.pairwise(edges))
