"""What of a question leaves a province and what readers get, in words: part of ``fedmed study check``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fedmed.report.units import count, plural
from fedmed.study import StudySpec
from fedmed.study.regression import RegressionStudy
from fedmed.study.statistics import StatisticsStudy, StatisticTable
from fedmed.study.survival import SurvivalStudy

if TYPE_CHECKING:
    from fedmed.protocol.schedule import Schedule


def what_leaves(spec: StudySpec, schedule: Schedule) -> dict[str, str]:
    """Say it for a study of statistics, regression or survival.

    Args:
        spec: The study.
        schedule: The study worked out.

    Returns:
        Words by what they are about; empty for a training study, whose model is all that leaves.
    """
    match spec:
        case StatisticsStudy():
            shown = dict(_statistics(spec))
        case RegressionStudy():
            shown = _regression(spec)
        case SurvivalStudy():
            shown = _survival(spec)
        case _:
            return {}
    numbers = "exact" if spec.privacy.is_exact else "noisy"
    rounds = plural(schedule.main.rounds, "round")
    return {
        "columns read": ", ".join(spec.columns),
        "opened": f"{count(schedule.layout.values)} {numbers} sums a round over "
        f"{schedule.allowance.least_set} nodes or more, at most {rounds}",
        **shown,
    }


def _statistics(spec: StatisticsStudy) -> Iterator[tuple[str, str]]:
    """One line a statistic, and what is hidden."""
    for entry in spec.statistics:
        yield entry.name, _statistic(entry)
    minimum = spec.privacy.minimum_cell
    if minimum is not None:
        yield (
            "blank",
            f"cells of fewer than {minimum} persons, values that fewer have off their lower or upper bound, "
            "and others that would give them away",
        )


def _statistic(entry: StatisticTable) -> str:
    """Kind, cells and axes."""
    axes = ", ".join(axis.title for axis in entry.axes)
    what = entry.value.column if entry.value is not None else entry.unit or "rows"
    if entry.denominator is not None:
        what += f" to {entry.denominator.column}"
    by = f" by {axes}" if axes else ""
    return f"{entry.kind.value.replace('_', ' ')} of {what}{by}: {plural(entry.groups, 'cell')}"


def _regression(spec: RegressionStudy) -> dict[str, str]:
    """The fit's table."""
    fit = spec.regression
    shown = {"shown": f"{fit.family.replace('_', ' ')} coefficients with errors, tests and intervals"}
    if spec.privacy.is_exact:
        least = f"fewer than {fit.min_cell} persons in a group or {fit.min_events_per_term} events a term"
        counted = "the first round counts persons; a group that is too small ends the study"
        return {**shown, "before": counted, "not shown": f"fits with {least}, and sums of single rounds"}
    return {**shown, "not shown": "rows, events and likelihood: each would cost budget"}


def _survival(spec: SurvivalStudy) -> dict[str, str]:
    """The curves' points."""
    table = spec.survival
    curves = f"{plural(len(table.names), 'curve')} with intervals, at most {table.time.intervals} points each"
    shown = {"shown": f"{curves}{', log-rank test' if len(table.names) > 1 else ''}"}
    if spec.privacy.is_exact:
        return {**shown, "not shown": f"steps of fewer than {table.min_cell} events, or of so few censorings"}
    return shown
