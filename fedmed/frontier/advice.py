"""What to run, in words, and why: for a reader who sees nothing but the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fedmed.report.frontier_result import Advice, FrontierPoint, Level, Setting
from fedmed.report.units import byte_size, difference, duration, metric, metric_gap, ratio
from fedmed.report.units import epsilon as epsilon_text

TOLERANCE = 0.005
"""AUC that is not worth a larger epsilon. Means over three seeds differ by less than this from chance alone
(standard errors on the demonstration's rows are 0.001 to 0.003), and nobody decides by a smaller gap."""


def advise(
    points: Sequence[FrontierPoint], levels: Sequence[Level], *, setting: Setting, budget: float
) -> Advice:
    """Choose for one setting.

    Args:
        points: All points.
        levels: All baselines.
        setting: Provinces and people that the researcher has.
        budget: Epsilon that a person may lose in a year.

    Returns:
        The least epsilon whose mean AUC comes within `TOLERANCE` of the best that fits the budget once; at
        one epsilon the choice that is best, then the one that moves the fewest bytes.
    """
    here = [point for point in points if point.setting == setting]
    within = [point for point in here if point.a_year >= 1]
    if not within:
        return Advice(
            headline=f"Nothing that was tried fits a yearly budget of {budget:g}.",
            reasons=(f"The least epsilon tried is {_least(here)}: try smaller ones, or ask for budget.",),
            point=None,
        )
    best = max(within, key=_merit)
    good = [point for point in within if metric_gap(best.auc.mean, point.auc.mean) <= TOLERANCE]
    least = min(point.epsilon for point in good)
    chosen = max((point for point in good if point.epsilon == least), key=_merit)
    beside = [level for level in levels if level.setting == setting]
    return Advice(
        headline=(
            f"For a budget of {budget:g} a year, run mode {chosen.mode.value} at epsilon {chosen.epsilon:g}: "
            f"mean AUC {metric(chosen.auc.mean)}, and {_studies(chosen.a_year)} the year."
        ),
        reasons=tuple(_reasons(chosen, best, within=within, levels=beside)),
        point=chosen,
    )


def _studies(number: int) -> str:
    """``1 such study fits``, ``4 such studies fit``."""
    return "1 such study fits" if number == 1 else f"{number} such studies fit"


def _merit(point: FrontierPoint) -> tuple[float, float]:
    """Higher is better: AUC, then fewer bytes."""
    return (point.auc.mean, -float(point.size_bytes or 0))


def _least(points: Sequence[FrontierPoint]) -> str:
    """The least epsilon tried."""
    return f"{min(point.epsilon for point in points):g}"


def _reasons(
    chosen: FrontierPoint, best: FrontierPoint, *, within: Sequence[FrontierPoint], levels: Sequence[Level]
) -> Iterator[str]:
    """Why, a sentence each."""
    yield _why_this_epsilon(chosen, best, within)
    yield from _other_modes(chosen, within)
    yield from _against(chosen, levels)
    yield _province_and_privacy(chosen)
    if chosen.size_bytes is not None and chosen.seconds is not None:
        yield (
            f"One study moves {byte_size(chosen.size_bytes)} over all provinces and took "
            f"{duration(chosen.seconds)} in simulation, encryption included."
        )


def _why_this_epsilon(chosen: FrontierPoint, best: FrontierPoint, within: Sequence[FrontierPoint]) -> str:
    """What a larger and a smaller epsilon would do."""
    smaller = [p for p in within if p.epsilon < chosen.epsilon and p.mode is chosen.mode]
    below = max(smaller, key=lambda point: point.epsilon, default=None)
    text = ""
    if best.epsilon > chosen.epsilon:
        gap = metric_gap(best.auc.mean, chosen.auc.mean)
        text = (
            f"More epsilon buys little: the best within the budget is {metric(best.auc.mean)} "
            f"({best.mode.value} at epsilon {best.epsilon:g}), {gap:.3f} higher, and only "
            f"{best.a_year} of those {'fits' if best.a_year == 1 else 'fit'} the year."
        )
    else:
        text = f"It is the best that was tried within the budget, {metric(best.auc.mean)}."
    if below is not None:
        loss = metric_gap(chosen.auc.mean, below.auc.mean)
        text += (
            f" Less costs accuracy: epsilon {below.epsilon:g} loses {loss:.3f} ({metric(below.auc.mean)})."
        )
    return text


def _other_modes(chosen: FrontierPoint, within: Sequence[FrontierPoint]) -> Iterator[str]:
    """What the other modes give at the same epsilon."""
    for mode in dict.fromkeys(point.mode for point in within if point.mode is not chosen.mode):
        same = [p for p in within if p.mode is mode and p.epsilon == chosen.epsilon]
        if same:
            other = max(same, key=_merit)
            gap = metric_gap(other.auc.mean, chosen.auc.mean)
            yield (
                f"Mode {mode.value} gives {metric(other.auc.mean)} at the same epsilon "
                f"({difference(gap)}; standard error {_error(chosen, other)})."
            )


def _error(one: FrontierPoint, other: FrontierPoint) -> str:
    """Standard error of a difference, as if the two were independent: an upper bound for equal rows."""
    return f"{(one.auc.standard_error**2 + other.auc.standard_error**2) ** 0.5:.3f}"


def _against(chosen: FrontierPoint, levels: Sequence[Level]) -> Iterator[str]:
    """What the baselines say of it."""
    found = {level.arm: level for level in levels if level.epsilon is None}
    found |= {
        level.arm: level
        for level in levels
        if level.epsilon == chosen.epsilon
        and (level.clip_norm, level.aggregations) == (chosen.clip_norm, chosen.aggregations)
    }
    if "alone_private" in found:
        alone = found["alone_private"].auc.mean
        gain = metric_gap(chosen.auc.mean, alone)
        yield f"A province alone at the same epsilon reaches {metric(alone)}: together is {difference(gain)}."
    if "pooled" in found:
        pooled = found["pooled"].auc.mean
        gap = metric_gap(chosen.auc.mean, pooled)
        yield f"All rows in one place without privacy reach {metric(pooled)} ({difference(-gap)})."
    if "alone" in found and metric_gap(found["alone"].auc.mean, chosen.auc.mean) >= 0:
        yield (
            f"A province that trains alone, without privacy and for itself, reaches "
            f"{metric(found['alone'].auc.mean)}: if its model need not leave it, it gains nothing here."
        )


def _province_and_privacy(point: FrontierPoint) -> str:
    """The worst province, calibration and what is left of the claim at worst."""
    calibration = ""
    if point.expected_over_observed is not None:
        calibration = f"; expected over observed cases are {ratio(point.expected_over_observed)}"
    return (
        f"The worst province has AUC {metric(point.worst_auc)}{calibration}. If all other provinces collude, "
        f"epsilon is {epsilon_text(point.fallback_epsilon)}."
    )
