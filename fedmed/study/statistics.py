"""A study that counts and adds up: ``[study] kind = "statistics"``, several statistics in one round."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from fedmed.study.axes import MOST_SQUARED_UNITS, AxisTable, ValueTable
from fedmed.study.sections import (
    AggregationTable,
    DataTable,
    ExactOrNoisyPrivacyTable,
    Slug,
    SpareAttempts,
    StudySpec,
    Table,
)
from fedmed.types import Mode, Protection

MOST_CELLS = 1_000_000
SPARE_ATTEMPTS = 1
"""Of a study of one round that does not say: a lost opener must not cost a whole new study."""

MINIMUM_CELL = 11
"""Fewest persons of a cell that an exact study shows, where it does not say."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class StatisticKind(Enum):
    """What one statistic is."""

    COUNT = "count"
    SUM = "sum"
    MEAN = "mean"
    VARIANCE = "variance"
    HISTOGRAM = "histogram"
    QUANTILE = "quantile"
    CROSS_TABLE = "cross_table"
    RATIO = "ratio"
    STANDARDISED_RATE = "standardised_rate"
    FLOW = "flow"
    MONTHLY = "monthly"


# What an entry says besides name, kind, by, where and weight: all of the first, any of the second.
_KEYS: Mapping[StatisticKind, tuple[frozenset[str], frozenset[str]]] = {
    StatisticKind.COUNT: (frozenset({"unit"}), frozenset()),
    StatisticKind.SUM: (frozenset({"value"}), frozenset()),
    StatisticKind.MEAN: (frozenset({"value"}), frozenset()),
    StatisticKind.VARIANCE: (frozenset({"value"}), frozenset()),
    StatisticKind.HISTOGRAM: (frozenset({"bins", "unit"}), frozenset()),
    StatisticKind.QUANTILE: (frozenset({"value", "steps", "probabilities"}), frozenset()),
    StatisticKind.CROSS_TABLE: (frozenset({"unit"}), frozenset()),
    StatisticKind.RATIO: (frozenset({"value", "denominator"}), frozenset()),
    StatisticKind.STANDARDISED_RATE: (frozenset({"strata", "standard", "event", "per"}), frozenset()),
    StatisticKind.FLOW: (frozenset(), frozenset({"unit", "value"})),
    StatisticKind.MONTHLY: (frozenset({"month"}), frozenset({"unit", "value", "warning"})),
}
_KIND_KEYS = frozenset().union(*(needed | offered for needed, offered in _KEYS.values()))


class WarningTable(Table):
    """``warning`` of monthly totals: a line through the first months, and a CUSUM of what departs from it.

    Attributes:
        baseline_months: First months that the line is drawn through (>= 3).
        trend: Whether the line may rise or fall; otherwise it is their mean. A rising line needs a baseline
            of years: beyond one year it hardly knows where to go.
        allowance: Departures up to so many standard deviations are not added up (the CUSUM's k).
        limit: A sum of departures above so many standard deviations is an alarm (its h), and starts again.
            The defaults warn by chance in 1 of 100 years (`fedmed.analytics.statistics.early_warning`).
    """

    baseline_months: Annotated[int, Field(ge=3, le=600)] = 12
    trend: bool = False
    allowance: Positive = 1.0
    limit: Positive = 6.0


class StatisticTable(Table):
    """One entry of ``[[statistics]]``. A row counts in the cell of its levels, if ``where`` holds for it.

    Attributes:
        name: What the result calls it.
        kind: What is computed; it decides which of the keys below are given.
        by: Axes of the cells; none = one cell. A flow has two with equal levels: from, to.
        where: Only rows with a declared level of each of these axes count.
        weight: Share of the precision that it gets beside the others, with noise: twice the weight means
            half the noise.
        unit: Whether a cell counts ``rows``, or ``persons`` with at least one row in it.
        value: What is added up; the numerator of a ratio. Rows without one do not count.
        denominator: What a ratio is divided by.
        bins: The axis of a histogram.
        steps: Grid of quantiles: intervals of equal width between the value's bounds.
        probabilities: Which quantiles.
        strata: Axes of a standardised rate, such as age band and sex.
        standard: Standard population of each stratum (>= 0): one number for each combination of declared
            levels, the last axis running fastest.
        event: The rows that a rate counts as events have a declared level of each of these axes.
        per: A rate is per so many, such as 1000.
        month: The axis of monthly totals; a months axis.
        warning: When monthly totals give an early warning; none where it is left out.
    """

    name: Slug
    kind: StatisticKind
    by: tuple[AxisTable, ...] = ()
    where: tuple[AxisTable, ...] = ()
    weight: Positive = 1.0
    unit: Literal["rows", "persons"] | None = None
    value: ValueTable | None = None
    denominator: ValueTable | None = None
    bins: AxisTable | None = None
    steps: Annotated[int, Field(ge=2, le=100_000)] | None = None
    probabilities: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    strata: tuple[AxisTable, ...] = ()
    standard: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = ()
    event: tuple[AxisTable, ...] = ()
    per: Positive | None = None
    month: AxisTable | None = None
    warning: WarningTable | None = None

    @model_validator(mode="after")
    def _belongs_to_its_kind(self) -> Self:
        needed, offered = _KEYS[self.kind]
        given = {key for key in _KIND_KEYS if getattr(self, key) not in (None, ())}
        if missing := sorted(needed - given):
            raise ValueError(f"a {self.kind.value} needs {', '.join(missing)}")
        if needless := sorted(given - needed - offered):
            raise ValueError(f"a {self.kind.value} has no {' and no '.join(needless)}")
        if {"unit", "value"} <= offered and (self.unit is None) == (self.value is None):
            raise ValueError(f"a {self.kind.value} needs unit or value, and not both")
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        titles = [axis.title for axis in self.axes]
        if len(set(titles)) < len(titles):
            raise ValueError("two axes have one name: give one of them a name of its own")
        if self.kind is StatisticKind.CROSS_TABLE and len(self.by) < 2:
            raise ValueError("a cross_table needs two axes in by, or more")
        if self.kind is StatisticKind.FLOW and (len(self.by) != 2 or self.by[0].labels != self.by[1].labels):
            raise ValueError("a flow needs two axes in by with equal levels: from and to")
        if self.month is not None and not self.month.months:
            raise ValueError("month needs first_month and last_month")
        self._check_numbers()
        return self

    def _check_numbers(self) -> None:
        """Refuse numbers that do not fit each other."""
        strata = math.prod(axis.size - 1 for axis in self.strata)
        if self.strata and (len(self.standard) != strata or not sum(self.standard) > 0):
            raise ValueError(f"standard needs {strata} numbers, not all zero, got {len(self.standard)}")
        if self.warning is not None and self.month is not None:
            least = self.warning.baseline_months + 1
            if len(self.month.months) < least:
                raise ValueError(f"a warning after {least - 1} months needs {least} months or more")
        low, high = (0, 0) if self.value is None else self.value.units
        if self.kind is StatisticKind.VARIANCE and max(abs(low), abs(high)) > MOST_SQUARED_UNITS:
            raise ValueError("a variance needs bounds of at most 2^30 units: lower decimals or the bounds")
        if self.steps is not None and high - low < self.steps:
            raise ValueError(f"{self.steps} steps are more than the value's units: raise decimals")

    @property
    def axes(self) -> tuple[AxisTable, ...]:
        """Axes of the cells, in the order of their levels: ``by``, then what the kind adds."""
        more = tuple(axis for axis in (self.bins, self.month) if axis is not None)
        return (*self.by, *self.strata, *more)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that the entry reads."""
        axes = (axis.column for axis in (*self.axes, *self.where, *self.event))
        return (*axes, *(v.column for v in (self.value, self.denominator) if v is not None))

    @property
    def groups(self) -> int:
        """Cells of the axes: every combination of levels."""
        return math.prod(axis.size for axis in self.axes)


class StatisticsDataTable(DataTable):
    """``[data]`` of a statistics study.

    Attributes:
        max_rows_per_person: Rows of one person that count in each statistic (>= 1); of a person with more a
            hash of that person's own rows decides which.
    """

    max_rows_per_person: Annotated[int, Field(ge=1, le=1_000_000)]


class StatisticsAggregationTable(AggregationTable):
    """``[aggregation]`` of a statistics study.

    Attributes:
        spare_attempts: Attempts planned beyond the one; default 1. Each is paid for in the plan: two attempts
            mean 1.4 times the noise of one.
    """

    spare_attempts: SpareAttempts


class StatisticsPrivacyTable(ExactOrNoisyPrivacyTable):
    """``[privacy]`` of a statistics study: with noise, or exact.

    Attributes:
        minimum_cell: Exact studies only: fewest persons of a cell that is shown, 5 to 30; default 11. Noise
            hides small counts by itself.
    """

    MODES: ClassVar[tuple[Mode, ...]] = (Mode.STATISTICS,)

    mode: Mode = Mode.STATISTICS
    minimum_cell: Annotated[int, Field(ge=5, le=30)] | None = None

    @model_validator(mode="after")
    def _minimum_belongs_to_exact_sums(self) -> Self:
        if self.is_exact != (self.minimum_cell is not None):
            raise ValueError("exact sums need minimum_cell, sums with noise have none")
        return self


class StatisticsStudy(StudySpec):
    """A study whose result is a table for each of its statistics."""

    data: StatisticsDataTable
    privacy: StatisticsPrivacyTable
    aggregation: StatisticsAggregationTable
    statistics: Annotated[tuple[StatisticTable, ...], Field(min_length=1)]

    @classmethod
    def defaults(cls, document: Mapping[str, object]) -> dict[str, dict[str, object]]:
        """See `StudySpec.defaults`."""
        privacy, found = document.get("privacy"), super().defaults(document)
        if isinstance(privacy, Mapping) and privacy.get("protection") == Protection.EXACT.value:
            found = {**found, "privacy": {"minimum_cell": MINIMUM_CELL}}
        return {**found, "aggregation": {"spare_attempts": SPARE_ATTEMPTS}}

    @model_validator(mode="after")
    def _is_one_vector(self) -> Self:
        names = [entry.name for entry in self.statistics]
        if len(set(names)) < len(names):
            raise ValueError("the names of statistics must differ")
        if any(self.data.person in entry.columns for entry in self.statistics):
            raise ValueError(f"the person column {self.data.person} must not make cells or sums")
        cells = sum(entry.groups * (entry.steps or 1) for entry in self.statistics)
        if cells > MOST_CELLS:
            raise ValueError(f"the statistics have {cells} cells, at most {MOST_CELLS} can be summed")
        return self

    @model_validator(mode="after")
    def _exact_sums_of_a_column_have_one_rule(self) -> Self:
        if not self.privacy.is_exact:
            return self
        known: dict[str, ValueTable] = {}
        for entry in (e for e in self.statistics if e.kind is not StatisticKind.QUANTILE):
            for value in (v for v in (entry.value, entry.denominator) if v is not None):
                if known.setdefault(value.column, value) != value:
                    raise ValueError(
                        f"{entry.name} adds up {value.column} with other bounds or decimals than another "
                        "statistic does, and the difference would tell who lies between them: exact sums of "
                        "one column need the same low, high and decimals everywhere in a study"
                    )
        return self

    @model_validator(mode="after")
    def _exact_cells_of_a_column_are_of_one_kind(self) -> Self:
        if not self.privacy.is_exact:
            return self
        known: dict[str, str] = {}
        for entry in self.statistics:
            for axis in (*entry.axes, *entry.where, *entry.event):
                is_number = bool(axis.bands or axis.edges)
                kind = "an age" if axis.age_at else "a number" if is_number else "text"
                if known.setdefault(axis.column, kind) != kind:
                    raise ValueError(
                        f"{entry.name} takes {axis.column} for {kind}, another axis takes it for "
                        f"{known[axis.column]}; what the two tell together cannot be checked: an exact study "
                        "takes a column for one of text (levels, prefix, months), a number (bands, edges) "
                        "and an age (age_at)"
                    )
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """See `StudySpec.columns`: person, axes, what is added up."""
        read = (column for entry in self.statistics for column in entry.columns)
        return tuple(dict.fromkeys([self.data.person, *read]))

    @property
    def spare_attempts(self) -> int:
        """See `StudySpec.spare_attempts`."""
        return self.aggregation.spare_attempts
