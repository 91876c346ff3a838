"""Kaplan-Meier curves and the log-rank test from counts by public time, exact or noisy.

Source:
    Kaplan and Meier 1958, JASA 53(282); Greenwood 1926 for the variance; Kalbfleisch and Prentice 2002,
    section 1.4 (log-log interval); Mantel 1966 for the log-rank test. Noisy counts are cumulated as they
    are: cells clipped at zero before that bias the curve by .1 and more (PRIVACY.md section 8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression
from scipy.stats import chi2, norm

from fedmed.types import FloatArray, IntArray, require

SEEN: Final = 4.0
"""Numbers at risk below so many standard deviations of their noise end a noisy curve: nobody passes with a
chance of 3e-5 a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurvivalCurve:
    """A survival function on the public grid of times.

    Attributes:
        at_risk: Persons at risk just before each time, shape (times,).
        events: Events at each time.
        survival: Share that outlives each time, in [0, 1], never rising.
        low: Lower end of the pointwise interval for the population: sampling, and noise where there is any.
        high: Upper end.
        noise_low: Lower end of an interval for the curve of the same persons without noise.
        noise_high: Upper end.
    """

    at_risk: FloatArray
    events: FloatArray
    survival: FloatArray
    low: FloatArray
    high: FloatArray
    noise_low: FloatArray
    noise_high: FloatArray


def node_counts(*, time: IntArray, event: FloatArray, group: IntArray, times: int, groups: int) -> IntArray:
    """Count one node's persons by group, kind of leaving and time.

    Args:
        time: Shape (persons,): place on the public grid, 0 <= place < times.
        event: Shape (persons,), 1 for an event, 0 for censoring.
        group: Shape (persons,): 0 <= group < groups.
        times: Points of the grid.
        groups: Groups compared.

    Returns:
        Shape (groups, 2, times), int64: censored, then events. One person is in one cell, so the L2
        sensitivity to adding or removing a person is 1.

    Raises:
        ConfigError: a time or group lies outside its range.
    """
    inside = len(time) == 0 or bool(
        (time.min() >= 0) & (time.max() < times) & (group.min() >= 0) & (group.max() < groups)
    )
    require(inside, f"times must lie in 0..{times - 1} and groups in 0..{groups - 1}")
    cells = (group * 2 + event.astype(np.int64)) * times + time
    return np.bincount(cells, minlength=groups * 2 * times).reshape(groups, 2, times).astype(np.int64)


def kaplan_meier(
    counts: FloatArray | IntArray, *, level: float = 0.95, noise_variance: float = 0.0
) -> SurvivalCurve:
    """The survival curve of one group.

    Args:
        counts: Shape (2, times): censored and events by time; may be noisy and negative.
        level: Level of the pointwise intervals, 0 < level < 1.
        noise_variance: Variance of the noise in each count; 0 for exact counts. It widens the intervals.

    Returns:
        The curve, made to fall by the nearest falling one (least squares) where noise made it rise. Where
        nobody is at risk any more the last value holds on.
    """
    require(0 < level < 1, f"level must be in (0, 1), got {level}")
    leaving, events = counts.sum(axis=0).astype(np.float64), counts[1].astype(np.float64)
    at_risk = np.cumsum(leaving[::-1])[::-1]
    # A hazard below 0 is left as it is: cut at 0, noise would only ever make curves fall.
    hazard = np.divide(events, at_risk, out=np.zeros_like(events), where=at_risk > 0)
    survival = np.cumprod(1.0 - np.minimum(hazard, 1.0))
    if noise_variance > 0 or np.any(events < 0):
        survival = np.clip(isotonic_regression(survival, increasing=False).x, 0.0, 1.0)
    noise = _noise_in_log(events, at_risk, noise_variance)
    sampling = np.cumsum(_greenwood(events, at_risk))
    z = float(norm.ppf(0.5 + level / 2))
    low, high = _log_log(survival, sampling + noise, z)
    noise_low, noise_high = _log_log(survival, noise, z)
    return SurvivalCurve(
        at_risk=at_risk,
        events=events,
        survival=survival,
        low=low,
        high=high,
        noise_low=noise_low,
        noise_high=noise_high,
    )


def _greenwood(events: FloatArray, at_risk: FloatArray) -> FloatArray:
    """Terms of the variance of log S: d / (n (n - d)), 0 where that is not defined."""
    left = at_risk * (at_risk - events)
    return np.divide(np.maximum(events, 0.0), left, out=np.zeros_like(events), where=left > 0)


def _noise_in_log(events: FloatArray, at_risk: FloatArray, noise_variance: float) -> FloatArray:
    """Variance that noise in the counts gives to log S at each time, by the delta method.

    With a_j = d_j / (n_j (n_j - d_j)), log S at time k moves with a censored count of time i by the sum of
    a_j over j <= min(i, k), and with an event count likewise over j < i, less 1 / n_i where i <= k.
    """
    if noise_variance == 0.0:
        return np.zeros_like(events)
    left = at_risk - events
    usable = (at_risk > 0) & (left > 0)
    moved = np.cumsum(np.divide(events, at_risk * left, out=np.zeros_like(events), where=usable))
    own = np.divide(1.0, at_risk, out=np.zeros_like(events), where=usable)
    place = np.arange(len(events))
    earlier = np.concatenate([[0.0], moved[:-1]])
    # Shape (time k, count i): counts of times after k act through the numbers at risk alone.
    by_censored = np.minimum.outer(place, place)
    censored = moved[by_censored]
    event = np.where(place[None, :] <= place[:, None], (earlier - own)[None, :], moved[:, None])
    variance: FloatArray = noise_variance * (censored**2 + event**2).sum(axis=1)
    return variance


def _log_log(survival: FloatArray, variance: FloatArray, z: float) -> tuple[FloatArray, FloatArray]:
    """Pointwise interval on the log(-log S) scale; S itself at 0 and 1."""
    inner = (survival > 0) & (survival < 1)
    log_s = np.log(np.where(inner, survival, 0.5))
    spread = z * np.sqrt(variance) / np.abs(log_s)
    with np.errstate(over="ignore"):  # a hopeless interval reaches from 0 to 1
        low = np.where(inner, np.exp(log_s * np.exp(spread)), survival)
        high = np.where(inner, np.exp(log_s * np.exp(-spread)), survival)
    return low, high


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRank:
    """The log-rank test of equal survival in all groups: statistic, degrees of freedom, p-value."""

    statistic: float
    degrees: int
    p_value: float


def log_rank(counts: FloatArray | IntArray, *, noise_variance: float = 0.0) -> LogRank:
    """Compare the survival of several groups.

    Args:
        counts: Shape (groups, 2, times), groups >= 2: censored and events by time; may be noisy.
        noise_variance: Variance of the noise in each count; 0 for exact counts. What it adds to the excesses
            of events joins their covariance, so that noise makes no difference look like one.

    Returns:
        The test with groups - 1 degrees of freedom.

    Raises:
        ConfigError: fewer than two groups.
    """
    groups = counts.shape[0]
    require(groups >= 2, f"the log-rank test compares two or more groups, got {groups}")
    leaving = counts.sum(axis=1).astype(np.float64)
    at_risk = np.cumsum(leaving[:, ::-1], axis=1)[:, ::-1]
    events = counts[:, 1].astype(np.float64)
    n, d = at_risk.sum(axis=0), events.sum(axis=0)
    used = (n > 1) & (d > 0)
    share = at_risk[:, used] / n[used]
    excess = (events[:, used] - d[used] * share).sum(axis=1)
    factor = d[used] * (n[used] - d[used]) / (n[used] - 1)
    covariance = np.diag((factor * share).sum(axis=1)) - (factor * share) @ share.T
    covariance = covariance + noise_variance * _excess_by_counts(events, at_risk, used)
    # The excesses add up to zero, so one group is left out.
    inverse = np.linalg.pinv(covariance[1:, 1:])
    statistic = float(excess[1:] @ inverse @ excess[1:])
    return LogRank(statistic=statistic, degrees=groups - 1, p_value=float(chi2.sf(statistic, groups - 1)))


def rounded(test: LogRank) -> LogRank:
    """The test to three digits: more of them would tell which of the possible counts are the true ones."""
    statistic = float(f"{test.statistic:.2e}")
    p_value = float(f"{chi2.sf(statistic, test.degrees):.2e}")
    return LogRank(statistic=statistic, degrees=test.degrees, p_value=p_value)


def _excess_by_counts(events: FloatArray, at_risk: FloatArray, used: npt.NDArray[np.bool_]) -> FloatArray:
    """Covariance of the excesses of events under unit noise in every count, shape (groups, groups).

    The excess of g moves with a count of group h at time i through all numbers at risk up to i, by the sum
    over j <= i of d_j (n_gj - [g = h] n_j) / n_j^2; with an event count also by [g = h] - n_gi / n_i.
    """
    n, d = at_risk.sum(axis=0), events.sum(axis=0)
    scale = np.divide(d, n**2, out=np.zeros_like(n), where=used)
    own = np.divide(at_risk, n, out=np.zeros_like(at_risk), where=np.broadcast_to(used, at_risk.shape))
    same = np.eye(len(at_risk))[:, :, None]
    # Shape (group g, group h, time i).
    through = np.cumsum(scale * (at_risk[:, None, :] - same * n), axis=2)
    direct = through + np.where(used, same - own[:, None, :], 0.0)
    whole = np.concatenate([through, direct], axis=2).reshape(len(at_risk), -1)
    covariance: FloatArray = whole @ whole.T
    return covariance


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One shown point of a survival curve.

    Attributes:
        time: End of its interval, in the unit of the time.
        at_risk: Persons at risk just after the point before, or at the start.
        events: Events since the point before.
        survival: Share that outlives the time.
        low: Lower end of the pointwise interval.
        high: Upper end.
        noise_low: As `SurvivalCurve.noise_low`; the survival itself where counts are exact.
        noise_high: Likewise.
    """

    time: float
    at_risk: float
    events: float
    survival: float
    low: float
    high: float
    noise_low: float
    noise_high: float


def shown_grid(counts: IntArray, *, min_cell: int) -> tuple[int, ...]:
    """The coarser grid on which everything about a group's counts may be shown.

    Args:
        counts: Shape (2, times), exact: censored and events by time.
        min_cell: Least events of an interval, and least censorings unless there are none (>= 1).

    Returns:
        Last place of each interval, rising. Whoever is left after the last one is nobody, or at least
        ``min_cell`` persons, of whom nothing more may be said.
    """
    lasts, first = [], 0
    for k in range(counts.shape[1]):
        censored, events = counts[:, first : k + 1].sum(axis=1)
        after = counts[:, k + 1 :].sum()
        if events >= min_cell and not 0 < censored < min_cell and not 0 < after < min_cell:
            lasts.append(k)
            first = k + 1
    return tuple(lasts)


def merged(counts: IntArray, lasts: tuple[int, ...]) -> IntArray:
    """Counts on a coarser grid.

    Args:
        counts: Shape (2, times).
        lasts: Last place of each interval (`shown_grid`).

    Returns:
        Shape (2, intervals); whoever is left after the last one is one more interval.

    Guarantees:
        A curve of these counts tells nothing but them. At full precision the curve of the fine counts gives
        single events away: of 207,025 ways to spread twelve events and twelve censorings over four times,
        25 gave the shown survival.
    """
    firsts = [0, *(last + 1 for last in lasts if last + 1 < counts.shape[1])]
    whole: IntArray = np.add.reduceat(counts, firsts, axis=1)
    return whole


def seen_times(at_risk: FloatArray, *, noise_variance: float) -> int:
    """How many first times of a noisy curve rest on persons and not on noise alone.

    Args:
        at_risk: Shape (times,), noisy (`SurvivalCurve.at_risk`).
        noise_variance: Variance of the noise in each count, > 0.

    Returns:
        The times before the first one whose number at risk is below `SEEN` standard deviations of its own
        noise: of nobody at all a curve would else be drawn, with figures between 0 and 1.
    """
    times = len(at_risk)
    spread = np.sqrt(2.0 * noise_variance * np.arange(times, 0, -1))
    return int(np.argmin(np.append(at_risk >= SEEN * spread, False)))


def shown_points(curve: SurvivalCurve, ends: tuple[float, ...]) -> tuple[CurvePoint, ...]:
    """The points of a curve, as many as there are ends; what follows the last one stays unsaid.

    Args:
        curve: The curve; of exact counts on the grid that may be shown.
        ends: End of each interval that is shown.
    """
    return tuple(
        CurvePoint(
            time=end,
            at_risk=float(curve.at_risk[k]),
            events=float(curve.events[k]),
            survival=float(curve.survival[k]),
            low=float(curve.low[k]),
            high=float(curve.high[k]),
            noise_low=float(curve.noise_low[k]),
            noise_high=float(curve.noise_high[k]),
        )
        for k, end in enumerate(ends)
    )
