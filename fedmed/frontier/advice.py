"""What to run, in words, and why: for a reader who sees nothing but the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fedmed.report.frontier_result import Advice, FrontierPoint, Level, Setting, baseline_of
from fedmed.report.units import byte_size, difference, duration, metric, metric_gap, ratio
from fedmed.report.units import epsilon as epsilon_text
from fedmed.types import Mode, Scheme

TOLERANCE = 0.005
"""AUC that is not worth a larger epsilon. Means over three seeds differ by less than this from chance alone
(standard errors on the demonstration's rows are 0.001 to 0.003), and nobody decides by a smaller gap."""

CALIBRATED = (0.8, 1.25)
"""Expected over observed cases that count as right, as in the report of a run."""


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
    return Advice(
        headline=(
            f"For a budget of {budget:g} a year, run mode {chosen.mode.value} at epsilon {chosen.epsilon:g}: "
            f"mean AUC {metric(chosen.auc.mean)}, and {_studies(chosen.a_year)} the year."
        ),
        reasons=tuple(_reasons(chosen, best, within=within, levels=levels)),
        point=chosen,
    )


def _trust(chosen: FrontierPoint) -> Iterator[str]:
    """Whom a choice trusts with single uploads; accuracy is the same under every scheme."""
    words = {
        Scheme.CKKS: "every province holds the key to every upload",
        Scheme.PLAIN: "the coordinator reads every upload",
    }
    if chosen.scheme in words:
        yield (
            f"Careful: under scheme {chosen.scheme.value} {words[chosen.scheme]}. Scheme threshold opens the "
            "same sums, so run it with that; what differs here between schemes is chance, bytes and time."
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
    yield from _why_so_many(chosen)
    yield from _other_modes(chosen, within)
    yield from _against(chosen, levels)
    yield _province_and_privacy(chosen)
    yield from _calibration(chosen, within)
    yield from _trust(chosen)
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
            f"({best.mode.value} at epsilon {best.epsilon:g}), {gap:.3f} higher, but only "
            f"{_studies(best.a_year)} the year."
        )
    else:
        text = f"It is the best that was tried within the budget, {metric(best.auc.mean)}."
    if below is not None:
        loss = metric_gap(chosen.auc.mean, below.auc.mean)
        text += (
            f" Less costs accuracy: epsilon {below.epsilon:g} loses {loss:.3f} ({metric(below.auc.mean)})."
        )
    return f"{text} Advised is the least epsilon that stays within {TOLERANCE:g} of the best."


def _why_so_many(chosen: FrontierPoint) -> Iterator[str]:
    """Why more studies fit than a division would give; nothing where one fits, for there is no sum."""
    filtered = ", for sampled batches pass a stricter filter" if chosen.mode is Mode.LOCAL else ""
    if chosen.a_year > 1:
        yield (
            f"The ledger composes what a year's studies release, which costs less than adding their "
            f"epsilons: {chosen.a_year} studies at epsilon {chosen.epsilon:g} come to "
            f"{epsilon_text(chosen.year_epsilon)} together, one more would pass the budget{filtered}."
        )


def _other_modes(chosen: FrontierPoint, within: Sequence[FrontierPoint]) -> Iterator[str]:
    """What the other modes give at the same epsilon."""
    for mode in dict.fromkeys(point.mode for point in within if point.mode is not chosen.mode):
        same = [p for p in within if p.mode is mode and p.epsilon == chosen.epsilon]
        if same:
            other = max(same, key=_merit)
            gap = metric_gap(other.auc.mean, chosen.auc.mean)
            yield (
                f"Mode {mode.value} gives {metric(other.auc.mean)} at the same epsilon "
                f"({difference(gap)}{_error(chosen, other)})."
            )


def _error(one: FrontierPoint, other: FrontierPoint) -> str:
    """Standard error of the difference, in words; nothing where one seed cannot tell."""
    error = one.auc.error_against(other.auc)
    return "" if error is None else f", standard error {error:.3f}"


def _against(chosen: FrontierPoint, levels: Sequence[Level]) -> Iterator[str]:
    """What the baselines say of it."""
    alone_private, pooled, alone = (
        baseline_of(levels, chosen, arm) for arm in ("alone_private", "pooled", "alone")
    )
    mean = chosen.auc.mean
    if alone_private is not None:
        value = alone_private.auc.mean
        gain = difference(metric_gap(mean, value))
        yield f"A province alone at the same epsilon reaches {metric(value)}: together gains {gain}."
    if pooled is not None:
        value = pooled.auc.mean
        more = difference(metric_gap(value, mean))
        yield f"All rows in one place without privacy reach {metric(value)} ({more})."
    if alone is not None and metric_gap(alone.auc.mean, mean) >= 0:
        yield (
            f"A province that trains alone, for itself and without privacy, has {metric(alone.auc.mean)}: "
            "if its model never leaves it, it gains nothing here."
        )


def _is_calibrated(point: FrontierPoint) -> bool:
    """Whether expected cases lie within the band of the observed ones; so is what nobody measured."""
    low, high = CALIBRATED
    return point.expected_over_observed is None or low <= point.expected_over_observed <= high


def _calibration(chosen: FrontierPoint, within: Sequence[FrontierPoint]) -> Iterator[str]:
    """A warning where ranks are good and probabilities are not, and what to run for probabilities."""
    if _is_calibrated(chosen):
        return
    text = "Careful: it ranks persons, but its probabilities are off and must be calibrated before use"
    good = [point for point in within if _is_calibrated(point)]
    if good:
        best = max(good, key=_merit)
        text += (
            f"; for probabilities run mode {best.mode.value} at epsilon {best.epsilon:g}: AUC "
            f"{metric(best.auc.mean)}, expected over observed {ratio(best.expected_over_observed)}"
        )
    yield f"{text}."


def _province_and_privacy(point: FrontierPoint) -> str:
    """The worst province, calibration and what is left of the claim at worst."""
    calibration = ""
    if point.expected_over_observed is not None:
        calibration = f"; expected over observed cases are {ratio(point.expected_over_observed)}"
    return (
        f"The worst province has AUC {metric(point.worst_auc)}{calibration}. If all other provinces collude, "
        f"epsilon is {epsilon_text(point.fallback_epsilon)}."
    )
