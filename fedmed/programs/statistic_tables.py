"""Opened sums as tables: one for each statistic of a study, a row for each cell, frozen and complete.

Nothing is hidden here and nothing is rounded: who may see which row is decided by whoever publishes
(`fedmed.analytics.disclosure`). Columns that a study cannot have are absent, values that a cell cannot have
are None.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fedmed.analytics.statistics import early_warning
from fedmed.analytics.statistics.estimates import Estimates, noisy, quantiles, ratio, variance
from fedmed.analytics.statistics.standardised import noisy_standardised_rate, standardised_rate
from fedmed.errors import ConfigError
from fedmed.plans.statistics import Moment, grid_edges
from fedmed.study.axes import AxisTable, ValueTable
from fedmed.study.statistics import StatisticKind, StatisticTable
from fedmed.types import FloatArray

Cell = int | float | None
Sums = npt.NDArray[Any]
"""Sums of one moment by cell: whole numbers of any size (dtype object), or float64 with noise."""

Interval = Literal["none", "noise", "grid", "sampling"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedStatistic:
    """The sums of one statistic.

    Attributes:
        entry: What the study says of it.
        sums: By moment, shape (cells,), in units of the last decimal and less the shift: Python integers
            (dtype object) where sums are exact, float64 with noise. `Moment.PERSONS` is always among exact
            ones.
        noise: Standard deviation of the noise in each of them; empty where sums are exact.
        shift: What was subtracted from each value, in units.
    """

    entry: StatisticTable
    sums: Mapping[Moment, Sums]
    noise: Mapping[Moment, float]
    shift: int

    @property
    def is_exact(self) -> bool:
        """Whether no noise was added."""
        return not self.noise


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultTable:
    """One statistic as its readers get it.

    Attributes:
        name: Its name in the study.
        kind: What it is.
        unit: Of ``estimate``: ``persons``, ``rows``, a column's name, ``1`` for quotients, the column's name
            with ``^2`` for variances, ``per 1000`` and the like for rates.
        decimals: Digits after the point that ``estimate`` can have where it is exact.
        interval: What ``conf_low`` and ``conf_high`` are about: ``noise`` (the number without noise lies
            inside with 95 %), ``grid`` (the step of the grid that holds a quantile), ``sampling`` (a rate's
            own variation, with the noise if there is any), or ``none``: no such columns.
        levels: For each axis, all its levels in order; the last one is for all other rows.
        by: For each axis, the level of every row of the table.
        columns: Numbers of every row. Always ``estimate``; ``std_error``, ``conf_low``, ``conf_high`` as
            ``interval`` says; ``persons`` where sums are exact; ``units`` (whole units of the last decimal)
            for exact sums of a value; ``probability`` for quantiles; for monthly totals with a warning
            ``expected``, ``band_low``, ``band_high``, ``cusum_above``, ``cusum_below`` and ``alarm`` (1 up,
            -1 down, 0 none).
        rule: Of monthly totals with a warning, how it was declared, by the names of `WarningTable`; empty
            otherwise.
    """

    name: str
    kind: StatisticKind
    unit: str
    decimals: int
    interval: Interval
    levels: Mapping[str, tuple[str, ...]]
    by: Mapping[str, tuple[str, ...]]
    columns: Mapping[str, tuple[Cell, ...]]
    rule: Mapping[str, int | float] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.columns["estimate"])

    def document(self) -> dict[str, object]:
        """The table as JSON, column by column."""
        return {
            "name": self.name,
            "kind": self.kind.value,
            "unit": self.unit,
            "decimals": self.decimals,
            "interval": self.interval,
            "levels": {axis: list(levels) for axis, levels in self.levels.items()},
            "by": {axis: list(levels) for axis, levels in self.by.items()},
            "columns": {name: list(values) for name, values in self.columns.items()},
            "rule": dict(self.rule),
        }


def result_table(opened: OpenedStatistic) -> ResultTable:
    """The table of one statistic."""
    kind = opened.entry.kind
    if kind is StatisticKind.QUANTILE:
        return _quantile_table(opened)
    if kind is StatisticKind.STANDARDISED_RATE:
        return _rate_table(opened)
    return _cell_table(opened)


def _cell_table(opened: OpenedStatistic) -> ResultTable:
    """A table with a row for every cell of the axes."""
    entry, axes = opened.entry, opened.entry.axes
    estimates = _EXACT[entry.kind](opened) if opened.is_exact else _NOISY[entry.kind](opened)
    columns = _persons(opened)
    if opened.is_exact and entry.kind in _SUMS and entry.value is not None:
        columns["units"] = tuple(int(v) for v in opened.sums[Moment.TOTAL])
    columns = {**_columns(estimates, is_exact=opened.is_exact), **columns}
    if opened.is_exact and entry.unit is not None:
        columns["estimate"] = _cells(estimates.value, whole=True)
    if entry.warning is not None:
        columns |= _warnings(opened, estimates)
    return ResultTable(
        name=entry.name,
        kind=entry.kind,
        unit=_unit(entry),
        decimals=0 if entry.value is None else entry.value.decimals,
        interval="none" if opened.is_exact else "noise",
        levels={axis.title: axis.labels for axis in axes},
        by=_by(axes),
        columns=columns,
        rule={} if entry.warning is None else entry.warning.model_dump(),
    )


def _quantile_table(opened: OpenedStatistic) -> ResultTable:
    """A row for every cell and probability, the probabilities of a cell together."""
    entry = opened.entry
    value = _value(entry)
    edges = grid_edges(entry) / 10**value.decimals
    counts = opened.sums[Moment.ROWS].astype(np.float64).reshape(entry.groups, -1)
    noise = opened.noise.get(Moment.ROWS, 0.0)
    found = [quantiles(counts, edges, p, noise=noise) for p in entry.probabilities]
    many = len(found)
    columns: dict[str, tuple[Cell, ...]] = {
        "probability": tuple(entry.probabilities) * entry.groups,
        "estimate": _cells(np.stack([q.value for q in found], axis=1).ravel()),
        "conf_low": _cells(np.stack([q.low for q in found], axis=1).ravel()),
        "conf_high": _cells(np.stack([q.high for q in found], axis=1).ravel()),
    }
    for name, persons in _persons(opened).items():
        columns[name] = tuple(v for v in persons for _ in range(many))
    return ResultTable(
        name=entry.name,
        kind=entry.kind,
        unit=value.column,
        decimals=value.decimals,
        interval="grid" if opened.is_exact else "noise",
        levels={axis.title: axis.labels for axis in entry.axes},
        by={t: tuple(v for v in labels for _ in range(many)) for t, labels in _by(entry.axes).items()},
        columns=columns,
    )


def _rate_table(opened: OpenedStatistic) -> ResultTable:
    """A row for every cell of ``by``; strata are added up to the standard population."""
    entry = opened.entry
    declared = (slice(None),) * len(entry.by) + tuple(slice(axis.size - 1) for axis in entry.strata)
    shape = tuple(axis.size for axis in entry.axes)
    groups = math.prod(axis.size for axis in entry.by)

    def strata(moment: Moment) -> FloatArray:
        inside = opened.sums[moment].reshape(shape)[declared]
        return np.asarray(inside.reshape(groups, -1), dtype=np.float64)

    events, rows, standard = strata(Moment.EVENTS), strata(Moment.ROWS), np.array(entry.standard)
    if opened.is_exact:
        estimates = standardised_rate(events, rows, standard)
    else:
        noise = (opened.noise[Moment.EVENTS], opened.noise[Moment.ROWS])
        estimates = noisy_standardised_rate(events, rows, standard, noise=noise)
    per = entry.per or 1.0
    columns = _columns(estimates.scaled(per), is_exact=False)
    for name, moment in (("events", Moment.EVENTS), ("rows", Moment.ROWS), ("persons", Moment.PERSONS)):
        if moment in opened.sums:
            columns[name] = _cells(strata(moment).sum(axis=1), whole=opened.is_exact)
    return ResultTable(
        name=entry.name,
        kind=entry.kind,
        unit=f"per {per:g}",
        decimals=0,
        interval="sampling",
        levels={axis.title: axis.labels for axis in entry.by},
        by=_by(entry.by),
        columns=columns,
    )


def _warnings(opened: OpenedStatistic, estimates: Estimates) -> dict[str, tuple[Cell, ...]]:
    """Line, band, sums and alarms of every series; nothing for rows without a month."""
    entry = opened.entry
    if entry.warning is None or entry.month is None:
        return {}
    rule = early_warning.Rule(**entry.warning.model_dump())
    size, months = entry.month.size, len(entry.month.months)
    series = estimates.value.reshape(-1, size)
    noise = 0.0 if opened.is_exact else float(estimates.std_error[0])
    watches = [early_warning.watch(row[:months], rule, noise=noise) for row in series]
    names = {
        "expected": "expected",
        "band_low": "low",
        "band_high": "high",
        "cusum_above": "above",
        "cusum_below": "below",
        "alarm": "alarm",
    }
    return {
        column: _cells(np.concatenate([[*getattr(w, name), np.nan] for w in watches]))
        for column, name in names.items()
    }


def _exact_sum(opened: OpenedStatistic) -> Estimates:
    """Totals, or counts, as they are."""
    entry = opened.entry
    moment = Moment.TOTAL if entry.value is not None else Moment(entry.unit)
    scale = 1 if entry.value is None else 10**entry.value.decimals
    return _certain([int(v) / scale for v in opened.sums[moment]])


def _exact_mean(opened: OpenedStatistic) -> Estimates:
    """Totals over rows, divided as whole numbers."""
    scale = 10 ** _value(opened.entry).decimals
    pairs = zip(opened.sums[Moment.TOTAL], opened.sums[Moment.ROWS], strict=True)
    return _certain([math.nan if n == 0 else int(t) / (int(n) * scale) for t, n in pairs])


def _exact_variance(opened: OpenedStatistic) -> Estimates:
    """(n S2 - S1^2) / (n (n - 1)) in whole numbers: nothing cancels."""
    scale = 10 ** (2 * _value(opened.entry).decimals)
    triples = zip(*(opened.sums[m] for m in (Moment.ROWS, Moment.TOTAL, Moment.SQUARES)), strict=True)
    return _certain(
        [
            math.nan if n < 2 else (int(n) * int(q) - int(s) ** 2) / (int(n) * (int(n) - 1) * scale)
            for n, s, q in triples
        ]
    )


def _exact_ratio(opened: OpenedStatistic) -> Estimates:
    """Numerator over denominator, both in their own units."""
    top, bottom = (10**v.decimals for v in _both(opened.entry))
    pairs = zip(opened.sums[Moment.TOTAL], opened.sums[Moment.DENOMINATOR], strict=True)
    return _certain([math.nan if d == 0 else int(n) * bottom / (int(d) * top) for n, d in pairs])


def _noisy_sum(opened: OpenedStatistic) -> Estimates:
    """Totals, or counts, with their noise."""
    entry = opened.entry
    moment = Moment.TOTAL if entry.value is not None else Moment(entry.unit)
    scale = 1 if entry.value is None else 10**entry.value.decimals
    return noisy(opened.sums[moment], opened.noise[moment]).scaled(1 / scale)


def _noisy_mean(opened: OpenedStatistic) -> Estimates:
    """Totals over rows with their noise, inside the bounds of the values; none where it leaves half of them.

    Values beyond their bounds counted as the bound, so the mean without noise lies inside, and an interval
    loses nothing with what it has outside.
    """
    value = _value(opened.entry)
    low, high = (units / 10**value.decimals for units in value.units)
    found = ratio(
        opened.sums[Moment.TOTAL],
        opened.sums[Moment.ROWS],
        numerator_noise=opened.noise[Moment.TOTAL],
        denominator_noise=opened.noise[Moment.ROWS],
    )
    return found.scaled(1 / 10**value.decimals, shift=opened.shift).inside(low, high)


def _noisy_variance(opened: OpenedStatistic) -> Estimates:
    """Second moments less squared means with their noise."""
    moments = (Moment.ROWS, Moment.TOTAL, Moment.SQUARES)
    rows, total, squares = (opened.sums[moment] for moment in moments)
    first, second, third = (opened.noise[moment] for moment in moments)
    found = variance(rows, total, squares, noise=(first, second, third))
    return found.scaled(1 / 10 ** (2 * _value(opened.entry).decimals))


def _noisy_ratio(opened: OpenedStatistic) -> Estimates:
    """Numerator over denominator with their noise."""
    top, bottom = (10**v.decimals for v in _both(opened.entry))
    found = ratio(
        opened.sums[Moment.TOTAL],
        opened.sums[Moment.DENOMINATOR],
        numerator_noise=opened.noise[Moment.TOTAL],
        denominator_noise=opened.noise[Moment.DENOMINATOR],
    )
    return found.scaled(bottom / top)


_Maker = Callable[[OpenedStatistic], Estimates]
_SUMS = (
    StatisticKind.COUNT,
    StatisticKind.SUM,
    StatisticKind.HISTOGRAM,
    StatisticKind.CROSS_TABLE,
    StatisticKind.FLOW,
    StatisticKind.MONTHLY,
)
_EXACT: Mapping[StatisticKind, _Maker] = {
    **dict.fromkeys(_SUMS, _exact_sum),
    StatisticKind.MEAN: _exact_mean,
    StatisticKind.VARIANCE: _exact_variance,
    StatisticKind.RATIO: _exact_ratio,
}
_NOISY: Mapping[StatisticKind, _Maker] = {
    **dict.fromkeys(_SUMS, _noisy_sum),
    StatisticKind.MEAN: _noisy_mean,
    StatisticKind.VARIANCE: _noisy_variance,
    StatisticKind.RATIO: _noisy_ratio,
}


def _certain(values: list[float]) -> Estimates:
    """Estimates without noise."""
    found = np.array(values, dtype=np.float64)
    return Estimates(value=found, std_error=np.zeros_like(found), low=found, high=found)


def _columns(estimates: Estimates, *, is_exact: bool) -> dict[str, tuple[Cell, ...]]:
    """Estimate and, where it has one, its interval."""
    columns = {"estimate": _cells(estimates.value)}
    if not is_exact:
        columns["std_error"] = _cells(estimates.std_error)
        columns["conf_low"] = _cells(estimates.low)
        columns["conf_high"] = _cells(estimates.high)
    return columns


def _persons(opened: OpenedStatistic) -> dict[str, tuple[Cell, ...]]:
    """Persons of every cell, where they were counted exactly."""
    if not opened.is_exact:
        return {}
    return {"persons": tuple(int(v) for v in opened.sums[Moment.PERSONS])}


def _cells(values: FloatArray, *, whole: bool = False) -> tuple[Cell, ...]:
    """Numbers as JSON has them; None for NaN and infinity."""
    if whole:
        return tuple(int(v) for v in values)
    return tuple(float(v) if math.isfinite(v) else None for v in values)


def _by(axes: tuple[AxisTable, ...]) -> dict[str, tuple[str, ...]]:
    """The level of every cell, axis by axis; the last axis runs fastest."""
    cells = list(itertools.product(*(axis.labels for axis in axes)))
    return {axis.title: tuple(cell[place] for cell in cells) for place, axis in enumerate(axes)}


def _unit(entry: StatisticTable) -> str:
    """Unit of the estimate of a table of cells."""
    if entry.unit is not None:
        return entry.unit
    if entry.kind is StatisticKind.RATIO:
        return "1"
    column = _value(entry).column
    return f"{column}^2" if entry.kind is StatisticKind.VARIANCE else column


def _value(entry: StatisticTable) -> ValueTable:
    """The value of a kind that has one."""
    if entry.value is None:
        raise ConfigError(f"{entry.name}: a {entry.kind.value} has no value")
    return entry.value


def _both(entry: StatisticTable) -> tuple[ValueTable, ValueTable]:
    """Numerator and denominator of a ratio."""
    if entry.denominator is None:
        raise ConfigError(f"{entry.name}: a {entry.kind.value} has no denominator")
    return _value(entry), entry.denominator
