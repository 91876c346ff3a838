"""What an exact statistics study publishes: its tables with blanks, and for the owner why each is blank.

Everything that readers get is made of shown numbers alone. Means, ratios and variances of a cell stand or
fall with its sums; a rate needs persons enough in every stratum that counts; a warning needs every month of
its series; a quantile is given to its step of the grid, and only with the minimum of persons on both sides of
it and in the step itself, so that none is somebody's own value.

Sums of one column with other bounds, decimals or rows a person tell by their difference who lies between the
bounds, so of a dataset version only the first ones are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedmed.analytics.disclosure.protect import protect
from fedmed.analytics.disclosure.tables import PERSONS, ProtectedTable, State
from fedmed.errors import IntegrityError
from fedmed.plans.statistics import CONCENTRATIONS, GUARDS, OFF_BOUNDS, Moment
from fedmed.programs.exact_tables import (
    CountedStatistic,
    counted_document,
    counted_of,
    declared_strata,
    events_name,
    events_of,
    exact_tables,
)
from fedmed.programs.statistic_tables import OpenedStatistic, ResultTable, result_table
from fedmed.study.axes import ValueTable
from fedmed.study.statistics import StatisticKind

RECORD_VERSION: Final = 1
_Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A study's tables after disclosure control.

    Attributes:
        tables: What readers get; blank cells are None, whatever the reason.
        states: For the owner: the name of each cell's state (`State`), by table and number.
        record: For the register of what was published: exact sums with their states, as JSON values. It is
            as confidential as the sums.
    """

    tables: tuple[ResultTable, ...]
    states: Mapping[str, Mapping[str, list[str]]]
    record: Mapping[str, Any]


def publication(
    opened: Sequence[OpenedStatistic],
    *,
    contributors: Iterable[str],
    max_rows_per_person: int,
    minimum: int,
    earlier: Sequence[Mapping[str, Any]] = (),
) -> Publication:
    """Decide what may be shown of an exact study.

    Args:
        opened: Its exact sums.
        contributors: Nodes in them.
        max_rows_per_person: Of the study.
        minimum: Fewest persons of a cell that is shown, 5 to 30.
        earlier: Records of what was published of the same dataset version.

    Guarantees:
        A shown sum, mean, ratio, variance or rate is of nobody off the lower bound of its values (or without
        an event) or of ``minimum`` persons at least, and likewise off the upper one; no sum over other cells
        that follows from what is shown is of fewer of them but zero. Rows that are events of a rate, or the
        ones of a sum of zeros and ones, are protected as a count of them would be. A shown quantile has
        ``minimum`` persons in its step.

    Raises:
        ConfigError: ``minimum`` is outside its bounds.
        IntegrityError: a record cannot be read.
    """
    nodes = frozenset(contributors)
    before = [pair for record in earlier for pair in _read(record)]
    told = frozenset(rule for known, _ in before for rule in _rules(known))
    counted = [_comparable(_counted(o, nodes, max_rows_per_person), told) for o in opened]
    before += [pair for c, states in before if (pair := _events_before(c, states)) is not None]
    events = [found for c in counted if (found := events_of(c)) is not None]
    made = exact_tables([*(c for c, _ in before), *counted, *events])
    known = [
        ProtectedTable(table=table, states=_states_of(table.numbers, states, table.persons.shape))
        for table, (_, states) in zip(made, before, strict=False)
    ]
    verdicts = protect(made[len(before) :], minimum=minimum, earlier=known)
    protected = _with_events(verdicts[: len(counted)], verdicts[len(counted) :])
    each = zip(opened, counted, protected, strict=True)
    return Publication(
        tables=tuple(_shown(o, c, p, minimum) for o, c, p in each),
        states={p.table.name: _names(p) for p in protected},
        record={
            "version": RECORD_VERSION,
            "statistics": [
                {"counted": counted_document(c), "states": _numbers_states(p)}
                for c, p in zip(counted, protected, strict=True)
            ],
        },
    )


def _counted(opened: OpenedStatistic, nodes: frozenset[str], rows: int) -> CountedStatistic:
    """A statistic's sums as whole numbers."""
    return CountedStatistic(
        entry=opened.entry,
        max_rows_per_person=rows,
        contributors=nodes,
        sums={
            moment: tuple(int(v) for v in values)
            for moment, values in opened.sums.items()
            if opened.entry.kind is not StatisticKind.QUANTILE or moment is Moment.PERSONS
        },
    )


def _events_before(
    counted: CountedStatistic, states: list[list[int]]
) -> tuple[CountedStatistic, list[list[int]]] | None:
    """Whom an earlier rate or sum of zeros and ones counted; all of it is taken to be shown if that was."""
    found = events_of(counted)
    if found is None:
        return None
    numbers = [moment for moment in counted.sums if moment not in (Moment.PERSONS, *CONCENTRATIONS)]
    told = Moment.EVENTS if Moment.EVENTS in counted.sums else Moment.TOTAL
    return found, [states[1 + numbers.index(told)]] * len(found.sums)


def _with_events(
    protected: Sequence[ProtectedTable], events: Iterable[ProtectedTable]
) -> tuple[ProtectedTable, ...]:
    """The verdicts; all numbers of a cell are hidden with its events."""
    of_statistic = {events_name(each.table.name): place for place, each in enumerate(protected)}
    found = list(protected)
    for each in events:
        place = of_statistic[each.table.name]
        is_open = np.all([states == State.SHOWN for states in each.states.values()], axis=0)
        states = {
            key: np.where(is_open | (old != State.SHOWN), old, State.COMPLEMENTARY).astype(np.int8)
            for key, old in found[place].states.items()
        }
        found[place] = replace(found[place], states=states)
    return tuple(found)


_Rule = tuple[ValueTable, int, bool]
"""How values were added up: bounds, rows of a person, and whether it is known who lies off the bounds."""


def _rules(counted: CountedStatistic) -> Iterator[_Rule]:
    """One for each value whose sums a statistic may have shown."""
    entry, rows = counted.entry, counted.max_rows_per_person
    for moment, value in ((Moment.TOTAL, entry.value), (Moment.DENOMINATOR, entry.denominator)):
        if value is None or moment not in counted.sums:
            continue
        off = [counted.sums[guard] for guard in GUARDS[moment] if guard in OFF_BOUNDS & counted.sums.keys()]
        # With nobody off a bound in any cell, nothing of it was shown.
        if all(any(persons) for persons in off):
            yield value, rows, bool(off)


def _comparable(counted: CountedStatistic, told: frozenset[_Rule]) -> CountedStatistic:
    """The statistic; with nobody off a bound, hence without values, where earlier ones had another rule."""
    mine = [(value, rows, True) for value, rows, _ in _rules(counted)]
    columns = {value.column for value, _, _ in mine}
    if all(rule in mine for rule in told if rule[0].column in columns):
        return counted
    sums = {m: (0,) * len(s) if m in OFF_BOUNDS else s for m, s in counted.sums.items()}
    return replace(counted, sums=sums)


# --- The register ------------------------------------------------------------------------------------


def _numbers_states(protected: ProtectedTable) -> list[list[int]]:
    """States of persons, then of each number of the table."""
    axes = tuple(range(len(protected.table.dimensions)))
    names = (PERSONS, *(n.name for n in protected.table.numbers))
    return [protected.states[name, axes].ravel().tolist() for name in names]


def _states_of(
    numbers: Sequence[Any], states: list[list[int]], shape: tuple[int, ...]
) -> dict[tuple[str, tuple[int, ...]], npt.NDArray[np.int8]]:
    """What `_numbers_states` wrote."""
    axes = tuple(range(len(shape)))
    names = (PERSONS, *(n.name for n in numbers))
    return {
        (name, axes): np.array(each, dtype=np.int8).reshape(shape)
        for name, each in zip(names, states, strict=True)
    }


def _read(record: Mapping[str, Any]) -> list[tuple[CountedStatistic, list[list[int]]]]:
    """Statistics of a record."""
    try:
        if record["version"] != RECORD_VERSION:
            raise IntegrityError(f"a published record has version {record['version']}: update FedMed")
        return [(counted_of(entry["counted"]), entry["states"]) for entry in record["statistics"]]
    except (KeyError, TypeError, ValueError):
        raise IntegrityError(
            "a record of what was published cannot be read: its bytes were altered"
        ) from None


# --- Blanks ------------------------------------------------------------------------------------------


_STATE_NAMES: Final = {int(state): state.name.lower() for state in State}


def _names(protected: ProtectedTable) -> dict[str, list[str]]:
    """Names of the states of each number of the table's cells."""
    axes = tuple(range(len(protected.table.dimensions)))
    return {
        name: [_STATE_NAMES[code] for code in states.ravel().tolist()]
        for (name, kept), states in protected.states.items()
        if kept == axes
    }


def _shown(
    opened: OpenedStatistic, counted: CountedStatistic, protected: ProtectedTable, minimum: int
) -> ResultTable:
    """The table that readers get."""
    axes = tuple(range(len(protected.table.dimensions)))
    whole = np.ones(protected.table.persons.shape, dtype=np.bool_)
    for (_, kept), states in protected.states.items():
        if kept == axes:
            whole &= states == State.SHOWN
    table, entry = result_table(opened), opened.entry
    if entry.kind is StatisticKind.QUANTILE:
        # So many rows are of ``minimum`` persons at least.
        return _quantiles(table, opened, whole.ravel(), minimum * counted.max_rows_per_person)
    if entry.kind is StatisticKind.STANDARDISED_RATE:
        return _blanked(table, dict.fromkeys(table.columns, whole.ravel() & _rates(counted, minimum)))
    flags = dict.fromkeys(table.columns, whole.ravel())
    if entry.month is not None:
        months = len(entry.month.months)
        series = whole.reshape(-1, entry.month.size)[:, :months].all(axis=1)
        every = np.repeat(series, entry.month.size)
        flags |= {name: every for name in _OF_SERIES if name in table.columns}
    return _blanked(table, flags)


_OF_SERIES: Final = ("expected", "band_low", "band_high", "cusum_above", "cusum_below", "alarm")


def _blanked(table: ResultTable, flags: Mapping[str, _Flags]) -> ResultTable:
    """A table without the numbers that are not shown."""
    columns = {
        name: tuple(v if shown else None for v, shown in zip(values, flags[name], strict=True))
        for name, values in table.columns.items()
    }
    return replace(table, columns=columns)


def _rates(counted: CountedStatistic, minimum: int) -> _Flags:
    """Groups with persons enough in every stratum that counts."""
    persons = declared_strata(counted, Moment.PERSONS)
    counts = np.array(counted.entry.standard) > 0
    return np.asarray(np.all(persons[:, counts] >= minimum, axis=1), dtype=np.bool_)


def _quantiles(table: ResultTable, opened: OpenedStatistic, shown: _Flags, least: int) -> ResultTable:
    """Quantiles to their step of the grid, with ``least`` rows on both sides and inside."""
    entry = opened.entry
    counts = opened.sums[Moment.ROWS].astype(np.int64).reshape(entry.groups, -1)
    below = np.concatenate([np.zeros((entry.groups, 1), dtype=np.int64), np.cumsum(counts, axis=1)], axis=1)
    flags = []
    for cell, is_shown in enumerate(shown):
        size = int(below[cell, -1])
        for p in entry.probabilities:
            step = max(0, int(np.searchsorted(below[cell], p * size)) - 1)
            flags.append(bool(is_shown and size * min(p, 1 - p) >= least and counts[cell, step] >= least))
    middle = tuple(
        None if low is None or high is None else (low + high) / 2
        for low, high in zip(table.columns["conf_low"], table.columns["conf_high"], strict=True)
    )
    given = replace(table, columns={**table.columns, "estimate": middle})
    of_all = np.array(flags, dtype=np.bool_)
    always = np.ones(len(flags), dtype=np.bool_)
    return _blanked(given, {**dict.fromkeys(table.columns, of_all), "probability": always})
