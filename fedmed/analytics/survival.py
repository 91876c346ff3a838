"""Kaplan-Meier curves and the log-rank test from counts by public time, exact or noisy.

Source:
    Kaplan and Meier 1958, JASA 53(282); Greenwood 1926 for the variance; Kalbfleisch and Prentice 2002,
    section 1.4 (log-log interval); Mantel 1966 for the log-rank test. Noisy counts are cumulated as they
    are: cells clipped at zero before that bias the curve by .1 and more (PRIVACY.md section 8).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2, norm

from fedmed.types import FloatArray, IntArray, require


@dataclass(frozen=True, slots=True, kw_only=True)
class SurvivalCurve:
    """A survival function on the public grid of times.

    Attributes:
        at_risk: Persons at risk just before each time, shape (times,).
        events: Events at each time.
        survival: Share that outlives each time, in [0, 1], never rising.
        low: Lower end of the pointwise interval.
        high: Upper end.
    """

    at_risk: FloatArray
    events: FloatArray
    survival: FloatArray
    low: FloatArray
    high: FloatArray


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
        The curve. Where nobody is at risk any more the last value holds on.
    """
    require(0 < level < 1, f"level must be in (0, 1), got {level}")
    leaving, events = counts.sum(axis=0).astype(np.float64), counts[1].astype(np.float64)
    at_risk = np.cumsum(leaving[::-1])[::-1]
    hazard = np.clip(np.divide(events, at_risk, out=np.zeros_like(events), where=at_risk > 0), 0.0, 1.0)
    survival = np.cumprod(1.0 - hazard)
    variance = np.cumsum(_greenwood(events, at_risk) + _noise_terms(hazard, at_risk, noise_variance))
    low, high = _log_log(survival, variance, norm.ppf(0.5 + level / 2))
    return SurvivalCurve(at_risk=at_risk, events=events, survival=survival, low=low, high=high)


def _greenwood(events: FloatArray, at_risk: FloatArray) -> FloatArray:
    """Terms of the variance of log S: d / (n (n - d)), 0 where that is not defined."""
    left = at_risk * (at_risk - events)
    return np.divide(np.maximum(events, 0.0), left, out=np.zeros_like(events), where=left > 0)


def _noise_terms(hazard: FloatArray, at_risk: FloatArray, noise_variance: float) -> FloatArray:
    """What noise in the counts adds to the variance of log S, time by time.

    The hazard d / n errs by (noise of d - hazard times noise of n) / n; n sums 2 (times - k) noisy cells,
    two of them are those of d's own time. Noise shared by several times is counted at each: an upper bound.
    """
    if noise_variance == 0.0:
        return np.zeros_like(hazard)
    cells = 2.0 * np.arange(len(hazard), 0, -1)
    own = noise_variance * (1 + hazard**2 * cells)
    scale = np.maximum(at_risk * (1 - hazard), 1e-12) ** 2
    return np.where(at_risk > 0, own / scale, 0.0)


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


def log_rank(counts: FloatArray | IntArray) -> LogRank:
    """Compare the survival of several groups.

    Args:
        counts: Shape (groups, 2, times), groups >= 2: censored and events by time, exact.

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
    # The excesses add up to zero, so one group is left out.
    inverse = np.linalg.pinv(covariance[1:, 1:])
    statistic = float(excess[1:] @ inverse @ excess[1:])
    return LogRank(statistic=statistic, degrees=groups - 1, p_value=float(chi2.sf(statistic, groups - 1)))
