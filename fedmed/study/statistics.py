"""A study that counts and adds up: ``[study] kind = "statistics"``, cells by declared public categories."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from fedmed.study.sections import (
    ExactOrNoisyPrivacyTable,
    Line,
    Slug,
    SpareAttempts,
    StudySpec,
    Table,
)
from fedmed.types import Mode

MOST_CELLS = 1_000_000
MOST_DECIMALS = 6
LARGEST_VALUE = 1e12
SPARE_ATTEMPTS = 1
"""Of a study of one round that does not say: a lost opener must not cost a whole new study."""


class CategoriesTable(Table):
    """One entry of ``[[statistics.by]]``: a column and its public values; rows with another fall out.

    Attributes:
        column: Name of the column.
        categories: Its values, as text; the order is that of the cells.
    """

    column: Line
    categories: Annotated[tuple[Line, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _values_differ(self) -> Self:
        if len(set(self.categories)) < len(self.categories):
            raise ValueError(f"the categories of {self.column} must differ")
        return self


class MeasureTable(Table):
    """One entry of ``[[statistics.measures]]``: what is added up in every cell.

    Attributes:
        name: What the result calls it.
        kind: ``count`` counts rows, ``sum`` adds up a column.
        column: Column of a sum.
        low: Public lower bound of a value, in the column's unit; smaller values count as it.
        high: Public upper bound likewise.
        decimals: Digits after the point that count: 2 adds up yuan to the last fen. Values are rounded to
            them, half to even.
    """

    name: Slug
    kind: Literal["count", "sum"]
    column: Line | None = None
    low: Annotated[float, Field(ge=-LARGEST_VALUE, le=LARGEST_VALUE, allow_inf_nan=False)] = 0.0
    high: Annotated[float, Field(ge=-LARGEST_VALUE, le=LARGEST_VALUE, allow_inf_nan=False)] | None = None
    decimals: Annotated[int, Field(ge=0, le=MOST_DECIMALS)] = 0

    @model_validator(mode="after")
    def _belongs_to_its_kind(self) -> Self:
        is_sum = self.kind == "sum"
        if is_sum != (self.column is not None) or is_sum != (self.high is not None):
            raise ValueError("a sum needs column, low and high; a count has none of them")
        if self.high is not None and not self.low < self.high:
            raise ValueError(f"low must be < high, got {self.low:g} and {self.high:g}")
        return self

    @property
    def units(self) -> tuple[int, int]:
        """Lowest and highest value in units of the last decimal; (1, 1) for a count."""
        if self.high is None:
            return (1, 1)
        scale = 10**self.decimals
        low, high = (Fraction(repr(end)) * scale for end in (self.low, self.high))  # decimals, not binary
        return (math.floor(low), math.ceil(high))

    @property
    def most_units(self) -> int:
        """Largest absolute value of one row, in units of the last decimal."""
        return max(abs(end) for end in self.units)


class StatisticsTable(Table):
    """``[statistics]``: what is added up, by what. A row counts in the cell of its categories.

    Attributes:
        by: Columns whose categories make the cells; none = one cell for everybody.
        measures: What each cell holds.
        max_rows_per_person: Rows of one person that count (>= 1); of a person with more some are left out, by
            a rule that depends on that person's rows alone.
        spare_attempts: Attempts planned beyond the one; default 1. Each is paid for in the plan: two attempts
            mean 1.4 times the noise of one.
    """

    by: tuple[CategoriesTable, ...] = ()
    measures: Annotated[tuple[MeasureTable, ...], Field(min_length=1)]
    max_rows_per_person: Annotated[int, Field(ge=1, le=1_000_000)]
    spare_attempts: SpareAttempts

    @model_validator(mode="after")
    def _cells_are_few_and_named_once(self) -> Self:
        names, columns = [m.name for m in self.measures], [entry.column for entry in self.by]
        if len(set(names)) < len(names) or len(set(columns)) < len(columns):
            raise ValueError("the names of measures and the columns of by must differ")
        if self.cells > MOST_CELLS:
            raise ValueError(f"the categories make {self.cells} cells, at most {MOST_CELLS} can be summed")
        return self

    @property
    def cells(self) -> int:
        """Cells of each measure: every combination of categories."""
        return math.prod(len(entry.categories) for entry in self.by)


class StatisticsPrivacyTable(ExactOrNoisyPrivacyTable):
    """``[privacy]`` of a statistics study: with noise, or exact."""

    MODES: ClassVar[tuple[Mode, ...]] = (Mode.STATISTICS,)

    mode: Mode = Mode.STATISTICS


class StatisticsStudy(StudySpec):
    """A study whose result is a table of counts and sums."""

    privacy: StatisticsPrivacyTable
    statistics: StatisticsTable

    @classmethod
    def defaults(cls, document: Mapping[str, object]) -> dict[str, dict[str, object]]:
        """See `StudySpec.defaults`."""
        return {**super().defaults(document), "statistics": {"spare_attempts": SPARE_ATTEMPTS}}

    @model_validator(mode="after")
    def _persons_are_no_category(self) -> Self:
        if any(entry.column == self.data.person for entry in self.statistics.by):
            raise ValueError(f"the person column {self.data.person} must not make cells")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """See `StudySpec.columns`: person, categories, what is added up."""
        by = (entry.column for entry in self.statistics.by)
        summed = (measure.column for measure in self.statistics.measures if measure.column is not None)
        return tuple(dict.fromkeys([self.data.person, *by, *summed]))

    @property
    def spare_attempts(self) -> int:
        """See `StudySpec.spare_attempts`."""
        return self.statistics.spare_attempts
