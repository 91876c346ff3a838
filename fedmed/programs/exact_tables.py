"""Opened sums of a statistics study as tables for disclosure control: what each level and number stands for.

Levels of different axes on one column are compared: an exact code lies in its prefix, a band is made of the
pieces that all bands of the column cut it into, a month of the codes that begin with it, and an age is a time
of birth, whenever it is taken. So a coarse table and a fine one, of this study or an earlier one, are seen to
be about the same persons. Rows without a value do not count, hence a table of values is about fewer rows than
one without, and says so as a condition. The events of a rate are rows that meet one more condition.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fedmed.analytics.disclosure.cells import Dimension
from fedmed.analytics.disclosure.tables import CONTRIBUTORS, ExactTable, Number
from fedmed.plans.statistics import (
    CONCENTRATIONS,
    DENOMINATORS,
    GUARDS,
    OFF_BOUNDS,
    OFF_LOWS,
    Moment,
    person_unit,
)
from fedmed.study.axes import AxisTable, ValueTable, month_number
from fedmed.study.statistics import StatisticKind, StatisticTable
from fedmed.types import IntArray

# Larger sums are refused by int64 arrays; they are taken in a coarser unit, which moves no verdict.
_LARGEST = 1 << 53


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedStatistic:
    """The exact sums of one statistic and over whom they are.

    Attributes:
        entry: What its study says of it.
        max_rows_per_person: Rows of one person that count.
        contributors: Nodes in the sum.
        sums: By moment, whole numbers in units of the last decimal, in the order of the cells.
    """

    entry: StatisticTable
    max_rows_per_person: int
    contributors: frozenset[str]
    sums: Mapping[Moment, tuple[int, ...]]


def exact_tables(counted: Iterable[CountedStatistic]) -> tuple[ExactTable, ...]:
    """One table for each statistic, in order; all of them together, since levels are compared.

    A quantile's table is the one of its cells, without the grid; its quotient of counts is judged apart.
    """
    every = tuple(counted)
    columns = _Columns.of(axis for c in every for axis in _all_axes(c.entry))
    return tuple(_table(c, columns) for c in every)


def events_name(statistic: str) -> str:
    """Name of the table of `events_of`, which no statistic can have."""
    return f"{statistic}@events"


def events_of(counted: CountedStatistic) -> CountedStatistic | None:
    """Whom a rate or a sum of zeros and ones counts, as a statistic of its own; None where there is no such.

    Rates of two kinds of events, or a rate and a count, tell by their difference of the rows that are one
    and not the other.
    """
    entry, sums = counted.entry, counted.sums
    changes: dict[str, object] = {"name": events_name(entry.name)}
    if entry.kind is StatisticKind.STANDARDISED_RATE:
        # Records of before persons with an event were counted have their rows.
        found = {
            Moment.PERSONS: sums.get(Moment.OFF_LOW, sums[Moment.EVENTS]),
            Moment.ROWS: sums[Moment.EVENTS],
        }
        changes["where"] = (*entry.where, *entry.event)
    elif entry.value is None or Moment.OFF_LOW not in sums or _is_wide(entry.value):
        return None
    else:
        found = {Moment.PERSONS: sums[Moment.OFF_LOW]}
        has_one = AxisTable(column=entry.value.column, bands=(entry.value.high,))
        # Who has a one has a value.
        changes |= {"where": (*entry.where, has_one), "value": None}
    return replace(counted, entry=entry.model_copy(update=changes), sums=found)


def _is_wide(value: ValueTable) -> bool:
    """Whether a value is more than one of two numbers."""
    low, high = value.units
    return high - low > 1


def _all_axes(entry: StatisticTable) -> tuple[AxisTable, ...]:
    """Axes that say whom a statistic counts, or what an event is."""
    return (*entry.axes, *entry.where, *entry.event)


def _shown_axes(entry: StatisticTable) -> tuple[AxisTable, ...]:
    """Axes of what is shown: a rate adds its strata up."""
    return entry.by if entry.kind is StatisticKind.STANDARDISED_RATE else entry.axes


def declared_strata(counted: CountedStatistic, moment: Moment) -> IntArray:
    """A sum of a standardised rate, shape (groups of ``by``, declared strata)."""
    entry = counted.entry
    values = np.array(counted.sums[moment], dtype=np.int64).reshape([axis.size for axis in entry.axes])
    for place, axis in enumerate(entry.strata, start=len(entry.by)):
        values = np.take(values, range(axis.size - 1), axis=place)
    return values.reshape(math.prod(axis.size for axis in entry.by), -1)


def _of_groups(counted: CountedStatistic) -> CountedStatistic:
    """The sums of what is shown of a statistic."""
    if counted.entry.kind is not StatisticKind.STANDARDISED_RATE:
        return counted
    sums = {moment: declared_strata(counted, moment).sum(axis=1) for moment in counted.sums}
    if counted.max_rows_per_person > 1:  # who is in two strata would be counted twice
        for moment in (OFF_BOUNDS | {Moment.PERSONS}) & counted.sums.keys():
            sums[moment] = declared_strata(counted, moment).max(axis=1)
    return replace(counted, sums={moment: tuple(v.tolist()) for moment, v in sums.items()})


def _table(counted: CountedStatistic, columns: _Columns) -> ExactTable:
    """One statistic's table."""
    entry, counted = counted.entry, _of_groups(counted)
    strata = entry.strata if entry.kind is StatisticKind.STANDARDISED_RATE else ()
    where: dict[str, frozenset[str]] = {CONTRIBUTORS: counted.contributors}
    for value in (entry.value, entry.denominator):
        if value is not None:
            where[f"{value.column}@known"] = frozenset({"yes"})
    for axis in (*entry.where, *strata):
        key = _key(axis)
        named = frozenset().union(*columns.levels(axis))
        where[key] = where.get(key, named) & named or frozenset({f"none of {axis.title}"})
    dimensions = []
    for axis in _shown_axes(entry):
        dimensions.append(_dimension(axis, columns, where.pop(_key(axis), None)))
    shape = tuple(axis.size for axis in _shown_axes(entry))
    return ExactTable(
        name=entry.name,
        dimensions=_distinct(dimensions),
        where=where,
        persons=np.array(counted.sums[Moment.PERSONS], dtype=np.int64).reshape(shape),
        is_partition=counted.max_rows_per_person == 1,
        numbers=tuple(_numbers(counted, shape)),
        with_margins=False,
    )


def _dimension(axis: AxisTable, columns: _Columns, only: frozenset[str] | None) -> Dimension:
    """An axis as levels of values; within ``only`` where the statistic has a condition on the column."""
    sets = columns.levels(axis)
    if only is None:
        # Bands of ages that no whole year tells apart are empty.
        named = [s or frozenset({f"no {label}"}) for s, label in zip(sets, axis.labels, strict=False)]
        levels = dict(zip(axis.labels, (*named, frozenset()), strict=True))
    else:
        rest = only - frozenset().union(*sets)
        # A level that the condition rules out keeps its place; nobody is in it.
        inside = [
            (s & only) or frozenset({f"no {label}"})
            for s, label in zip((*sets, rest), axis.labels, strict=True)
        ]
        levels = dict(zip(axis.labels, inside, strict=True))
    return Dimension(column=_key(axis), levels=levels)


def _distinct(dimensions: list[Dimension]) -> tuple[Dimension, ...]:
    """Two axes of one column are taken for unrelated ones."""
    seen: dict[str, int] = {}
    found = []
    for dimension in dimensions:
        count = seen[dimension.column] = seen.get(dimension.column, 0) + 1
        column = dimension.column if count == 1 else f"{dimension.column}@{count}"
        found.append(Dimension(column=column, levels=dimension.levels))
    return tuple(found)


def _numbers(counted: CountedStatistic, shape: tuple[int, ...]) -> Iterator[Number]:
    """Everything but persons that a cell holds, each under a name that says how it was counted."""
    entry, rows = counted.entry, counted.max_rows_per_person
    for moment, sums in counted.sums.items():
        if moment in (Moment.PERSONS, *CONCENTRATIONS) or entry.kind is StatisticKind.QUANTILE:
            continue
        value = entry.denominator if moment in DENOMINATORS else entry.value
        if moment in OFF_BOUNDS:
            yield Number(
                name=_off_name(counted, moment),
                values=np.array(sums, dtype=np.int64).reshape(shape),
                most_of_person=1,
                is_amount=False,
                is_persons=True,
            )
        elif moment in (Moment.ROWS, Moment.EVENTS) or value is None:
            event = [axis.model_dump_json() for axis in entry.event] if moment is Moment.EVENTS else []
            yield Number(
                name=" ".join(["rows", str(rows), *event]),
                values=np.array(sums, dtype=np.int64).reshape(shape),
                most_of_person=rows,
                is_amount=False,
                guards=_guards(counted, moment),
            )
        else:
            yield _amount(counted, moment, value, shape)


def _off_name(counted: CountedStatistic, moment: Moment) -> str:
    """How a count of persons off a bound was made."""
    entry = counted.entry
    value = entry.denominator if moment in DENOMINATORS else entry.value
    of = [axis.model_dump_json() for axis in entry.event] if value is None else [value.model_dump_json()]
    return " ".join(["off low" if moment in OFF_LOWS else "off high", str(counted.max_rows_per_person), *of])


def _guards(counted: CountedStatistic, moment: Moment) -> tuple[str, ...]:
    """Names of the counts of persons off the bounds of what a moment adds up."""
    guards = (g for g in GUARDS.get(moment, ()) if g in OFF_BOUNDS and g in counted.sums)
    return tuple(_off_name(counted, guard) for guard in guards)


def _amount(counted: CountedStatistic, moment: Moment, value: ValueTable, shape: tuple[int, ...]) -> Number:
    """Sums of a value or of its squares; values below zero are counted from their lower bound."""
    rows, is_squares = counted.max_rows_per_person, moment is Moment.SQUARES
    start, coarse = person_unit(value, rows)
    most = rows * (value.most_units**2 if is_squares else max(value.units[1], 0) - start)
    start = 0 if is_squares else start
    by_rows = Moment.ROWS in counted.sums
    lifted = counted.sums[Moment.ROWS] if by_rows else [rows * n for n in counted.sums[Moment.PERSONS]]
    whole = [s - start * n for s, n in zip(counted.sums[moment], lifted, strict=True)]
    # Sums too large for 64 bits are rounded down to a coarser unit, a person's part up: errs towards hiding.
    unit = 1 << (max(most, sum(whole)) // _LARGEST).bit_length()
    shares = counted.sums.get(_SHARES.get(moment, moment)) if start == 0 or by_rows else None
    largest = None
    if shares is not None and not is_squares:
        parts = [-(-coarse * (math.isqrt(q) + 1) // unit) if q else 0 for q in shares]
        largest = np.array([min(part, _LARGEST) for part in parts], dtype=np.int64).reshape(shape)
    return Number(
        name=f"{'squares' if is_squares else 'total'} {rows} {unit} {value.model_dump_json()}",
        values=np.array([v // unit for v in whole], dtype=np.int64).reshape(shape),
        most_of_person=max(1, -(-most // unit)),
        is_amount=not is_squares,
        largest=largest,
        guards=_guards(counted, moment),
    )


_SHARES: Mapping[Moment, Moment] = {
    Moment.TOTAL: Moment.CONCENTRATION,
    Moment.DENOMINATOR: Moment.DENOMINATOR_CONCENTRATION,
}


def _key(axis: AxisTable) -> str:
    """The classification that an axis belongs to: levels of one can be compared, of others not."""
    if axis.age_at is not None:
        return f"{axis.column}@birth"
    return f"{axis.column}@number" if axis.bands or axis.edges else axis.column


def _lower(axis: AxisTable) -> tuple[float, ...]:
    """Lower ends of bands and edges; of ages the months that birth lies before a fixed one, negated.

    Who was born in month b is a whole years old or more in month m if -b >= 12 a - m, so that ages taken at
    two times are cut at comparable ends.
    """
    if axis.age_at is None:
        return axis.bands or axis.edges
    taken = month_number(axis.age_at)
    return tuple(12.0 * max(0, math.ceil(age)) - taken for age in axis.bands)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """What all axes of each column name.

    Attributes:
        codes: Codes and prefixes of each column of texts: (is a prefix, text).
        ends: Ends of all intervals of each column of numbers, rising.
    """

    codes: Mapping[str, frozenset[tuple[bool, str]]]
    ends: Mapping[str, tuple[float, ...]]

    @classmethod
    def of(cls, axes: Iterable[AxisTable]) -> _Columns:
        """Gather what is named."""
        codes: dict[str, set[tuple[bool, str]]] = {}
        ends: dict[str, set[float]] = {}
        for axis in axes:
            if axis.bands or axis.edges:
                ends.setdefault(_key(axis), set()).update(_lower(axis))
            else:
                named = codes.setdefault(_key(axis), set())
                is_prefix = axis.prefix is not None or bool(axis.months)
                named.update((is_prefix, text) for text in axis.levels or axis.months)
        return cls(
            codes={key: frozenset(named) for key, named in codes.items()},
            ends={key: tuple(sorted(found)) for key, found in ends.items()},
        )

    def levels(self, axis: AxisTable) -> tuple[frozenset[str], ...]:
        """Values of each declared level."""
        if axis.bands or axis.edges:
            return self._intervals(axis)
        named = self.codes[_key(axis)]
        if axis.levels and axis.prefix is None:
            return tuple(frozenset({f"={text}"}) for text in axis.levels)
        # A month is written with a dash or without.
        written = ((month, month.replace("-", "")) for month in axis.months)
        starts: list[tuple[str, ...]] = [*written, *((level,) for level in axis.levels)]
        return tuple(
            frozenset(
                f"{'^' if is_prefix else '='}{text}" for is_prefix, text in named if text.startswith(start)
            )
            for start in starts
        )

    def _intervals(self, axis: AxisTable) -> tuple[frozenset[str], ...]:
        """Pieces of each interval; the last band is open above."""
        lower = _lower(axis)
        above = [*lower[1:], math.inf] if axis.bands else list(lower[1:])
        pieces = list(itertools.pairwise((*self.ends[_key(axis)], math.inf)))
        return tuple(
            frozenset(f"{a!r}..{b!r}" for a, b in pieces if low <= a and b <= high)
            for low, high in zip(lower, above, strict=False)
        )


def counted_document(counted: CountedStatistic) -> dict[str, Any]:
    """A statistic as JSON values, for the register of what was published."""
    return {
        "entry": counted.entry.model_dump(mode="json", exclude_none=True),
        "max_rows_per_person": counted.max_rows_per_person,
        "contributors": sorted(counted.contributors),
        "sums": {moment.value: list(values) for moment, values in counted.sums.items()},
    }


def counted_of(document: Mapping[str, Any]) -> CountedStatistic:
    """The statistic that `counted_document` wrote; raises ValueError and its like for anything else."""
    return CountedStatistic(
        entry=StatisticTable.model_validate_json(json.dumps(document["entry"])),
        max_rows_per_person=document["max_rows_per_person"],
        contributors=frozenset(document["contributors"]),
        sums={Moment(name): tuple(values) for name, values in document["sums"].items()},
    )
