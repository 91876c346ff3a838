"""From rows to points: means over seeds, the Pareto front, and how often a year a study can be run."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace

from fedmed.frontier.rows import Row, read_events
from fedmed.privacy.accounting import epsilon
from fedmed.privacy.composition import year_epsilon
from fedmed.report.frontier_result import Band, FrontierPoint, Level, Setting
from fedmed.types import Mode, PrivacyEvent, Scheme

FEDERATED = "federated"
ARMS = ("central", "alone_private", "pooled", "alone")
MOST_A_YEAR = 1 << 16


def costed(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Rows with the bytes and seconds of the encrypted run of the same layout, where there is one."""
    rows = tuple(rows)
    measured = {row.layout: row for row in rows if row.is_encrypted}
    return tuple(
        replace(row, size_bytes=measured[row.layout].size_bytes, seconds=measured[row.layout].seconds)
        if row.size_bytes is None and row.layout in measured
        else row
        for row in rows
    )


def points_of(rows: Sequence[Row], *, budget: float) -> tuple[FrontierPoint, ...]:
    """One point for each choice that was run, in the order of nodes, people, settings, mode and epsilon.

    Args:
        rows: Rows as `costed` gives them; baselines are passed over.
        budget: Epsilon that a person may lose in a year.
    """
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        if row.arm == FEDERATED:
            groups.setdefault(_choice_of(row), []).append(row)
    points = [_point(group, budget=budget) for _, group in sorted(groups.items(), key=lambda item: item[0])]
    return tuple(replace(point, is_on_front=_is_on_front(point, points)) for point in points)


def levels_of(rows: Sequence[Row]) -> tuple[Level, ...]:
    """One level for each baseline, its epsilon and its settings."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        if row.arm != FEDERATED:
            settings = (row.clip_norm or 0.0, row.aggregations or 0, row.epsilon or 0.0)
            key = (row.nodes, row.people, ARMS.index(row.arm), *settings)
            groups.setdefault(key, []).append(row)
    return tuple(_level(group) for _, group in sorted(groups.items(), key=lambda item: item[0]))


@functools.lru_cache(maxsize=1024)
def studies_a_year(events: tuple[PrivacyEvent, ...], delta: float, *, budget: float) -> int:
    """How many studies with these releases fit a yearly budget one after the other, as a ledger decides.

    Args:
        events: Planned releases of one study.
        delta: Delta that the year's epsilon is stated at.
        budget: Epsilon that a person may lose in a year.

    Returns:
        The largest number, 0 if not even one fits; at most `MOST_A_YEAR`. It is more than budget / epsilon:
        composition is cheaper than addition.
    """

    def fits(studies: int) -> bool:
        return year_epsilon(_repeated(events, studies), delta, cap=budget, studies=studies) <= budget

    low, high = 0, 1
    while high <= MOST_A_YEAR and fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def epsilon_of_studies(events: Iterable[PrivacyEvent], delta: float, *, studies: int) -> float:
    """Epsilon of several studies with the same releases, fixed in advance; 0 for none."""
    return epsilon(_repeated(events, studies), delta) if studies else 0.0


def _repeated(events: Iterable[PrivacyEvent], studies: int) -> list[PrivacyEvent]:
    """Releases of that many studies."""
    return [replace(event, count=event.count * studies) for event in events]


def _choice_of(row: Row) -> tuple[object, ...]:
    """What makes two rows seeds of one point, in the order of the page."""
    return (row.nodes, row.people, row.clip_norm, row.aggregations, row.scheme, row.mode, row.epsilon)


def _point(rows: Sequence[Row], *, budget: float) -> FrontierPoint:
    """One choice over its seeds."""
    first = rows[0]
    events, delta = read_events(first.events), first.delta or 0.0
    fitting = studies_a_year(events, delta, budget=budget)
    return FrontierPoint(
        setting=Setting(nodes=first.nodes, people=first.people),
        mode=Mode(first.mode),
        scheme=Scheme(first.scheme),
        epsilon=first.epsilon or 0.0,
        clip_norm=first.clip_norm or 0.0,
        aggregations=first.aggregations or 0,
        auc=_band(rows),
        worst_auc=statistics.fmean(row.worst_auc for row in rows),
        average_precision=_mean(row.average_precision for row in rows),
        expected_over_observed=_mean(row.expected_over_observed for row in rows),
        fallback_epsilon=first.fallback_epsilon or 0.0,
        size_bytes=first.size_bytes,
        seconds=first.seconds,
        a_year=fitting,
        year_epsilon=epsilon_of_studies(events, delta, studies=fitting),
        is_on_front=False,
    )


def _level(rows: Sequence[Row]) -> Level:
    """One baseline over its seeds."""
    first = rows[0]
    return Level(
        setting=Setting(nodes=first.nodes, people=first.people),
        arm=first.arm,
        epsilon=first.epsilon,
        clip_norm=first.clip_norm,
        aggregations=first.aggregations,
        auc=_band(rows),
        worst_auc=statistics.fmean(row.worst_auc for row in rows),
    )


def _band(rows: Sequence[Row]) -> Band:
    """AUC by seed."""
    return Band(values=tuple(row.auc for row in sorted(rows, key=lambda row: row.seed)))


def _mean(values: Iterable[float | None]) -> float | None:
    """Mean of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _is_on_front(point: FrontierPoint, points: Sequence[FrontierPoint]) -> bool:
    """Whether nothing of the same setting is as good everywhere and better somewhere."""
    mine = _costs(point)
    theirs = (_costs(other) for other in points if other.setting == point.setting)
    return not any(
        costs != mine and all(a <= b for a, b in zip(costs, mine, strict=True)) for costs in theirs
    )


def _costs(point: FrontierPoint) -> tuple[float, ...]:
    """What should be small; what was not measured counts as nothing, so it decides nothing among its like."""
    return (point.epsilon, -point.auc.mean, float(point.size_bytes or 0), point.seconds or 0.0)
