"""A study of survival: ``[study] kind = "survival"``, Kaplan-Meier curves by group and the log-rank test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from fedmed.study.sections import ExactOrNoisyPrivacyTable, Line, SpareAttempts, StudySpec, Table
from fedmed.study.terms import TimeTable
from fedmed.types import Mode

SPARE_ATTEMPTS = 1
"""Of a study of one round that does not say, as in `fedmed.study.statistics`."""
MOST_COUNTS = 200_000


class GroupsTable(Table):
    """``survival.by``: groups that are compared; rows with another value fall out.

    Attributes:
        column: Name of the column.
        levels: Its values, as text, two or more.
    """

    column: Line
    levels: Annotated[tuple[Line, ...], Field(min_length=2, max_length=50)]

    @model_validator(mode="after")
    def _levels_differ(self) -> Self:
        if len(set(self.levels)) < len(self.levels):
            raise ValueError(f"the levels of {self.column} must differ")
        return self


class CurvesTable(Table):
    """``[survival]``: whose survival, on which public grid of times. One row a person counts.

    Attributes:
        time: Times and events.
        by: Groups; none = one curve for everybody.
        min_cell: Exact curves only: a point is shown once at least so many events, and so many or no
            censorings, lie behind the one before, and the curve is that of the intervals between points;
            every group must hold as many persons, and the log-rank test is shown only if as many or nobody
            of each had the event, and were censored.
        confidence: Level of the pointwise intervals.
        spare_attempts: Attempts planned beyond the one; default 1.
    """

    time: TimeTable
    by: GroupsTable | None = None
    min_cell: Annotated[int, Field(ge=5, le=30)] = 11
    confidence: Annotated[float, Field(ge=0.5, le=0.999, allow_inf_nan=False)] = 0.95
    spare_attempts: SpareAttempts

    @model_validator(mode="after")
    def _columns_and_counts_fit(self) -> Self:
        if len(set(self.columns)) < len(self.columns):
            raise ValueError("the columns of time and by must differ")
        if 2 * self.groups * self.time.intervals > MOST_COUNTS:
            raise ValueError(f"groups and intervals make more than {MOST_COUNTS} counts: make them fewer")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that are computed on."""
        by = () if self.by is None else (self.by.column,)
        return (self.time.column, self.time.event, *by)

    @property
    def groups(self) -> int:
        """Number of curves."""
        return 1 if self.by is None else len(self.by.levels)

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each curve."""
        return ("all",) if self.by is None else self.by.levels


class SurvivalPrivacyTable(ExactOrNoisyPrivacyTable):
    """``[privacy]`` of a study of survival: with noise, or exact."""

    MODES: ClassVar[tuple[Mode, ...]] = (Mode.STATISTICS,)

    mode: Mode = Mode.STATISTICS


class SurvivalStudy(StudySpec):
    """A study whose result is a survival curve for each group."""

    privacy: SurvivalPrivacyTable
    survival: CurvesTable

    @classmethod
    def defaults(cls, document: Mapping[str, object]) -> dict[str, dict[str, object]]:
        """See `StudySpec.defaults`."""
        return {**super().defaults(document), "survival": {"spare_attempts": SPARE_ATTEMPTS}}

    @model_validator(mode="after")
    def _persons_are_no_group(self) -> Self:
        if self.data.person in self.survival.columns:
            raise ValueError(f"the person column {self.data.person} must be neither time nor group")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """See `StudySpec.columns`: person, time, event, group."""
        return (self.data.person, *self.survival.columns)

    @property
    def spare_attempts(self) -> int:
        """See `StudySpec.spare_attempts`."""
        return self.survival.spare_attempts
