"""Discrimination and calibration of a model from score histograms, exact or noisy, with intervals.

A deployment may not read scores of persons, but it may open the federation's counts of persons by label and
score bin. Every metric here is a smooth function of those counts, so its interval follows from the spread of
the counts: persons vary (Poisson) and the noise has a known variance.

Source:
    Bamber 1975, J. Math. Psych. 12(4), for the area; Davis and Goadrich 2006 for average precision; the delta
    method for the intervals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from fedmed.errors import DataContractError
from fedmed.types import FloatArray, require

_STEP = 1e-4  # of a cell's spread: metrics are ratios of low-order polynomials


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A metric with its interval.

    Attributes:
        value: Point estimate, clipped to the metric's range.
        low: Lower end of the interval.
        high: Upper end.
        noise_share: Share of the variance that comes from the noise, in [0, 1].
    """

    value: float
    low: float
    high: float
    noise_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreCounts:
    """Persons by label and score bin.

    Attributes:
        counts: Shape (2, bins), label 0 then label 1, bins by rising score; may be noisy and negative.
        centres: Shape (bins,), score that stands for each bin, in (0, 1).
        noise_variance: Variance of the noise in each cell; 0 for exact counts.
    """

    counts: FloatArray
    centres: FloatArray
    noise_variance: float = 0.0

    def __post_init__(self) -> None:
        bins = len(self.centres)
        require(
            self.counts.shape == (2, bins), f"counts must have shape (2, {bins}), got {self.counts.shape}"
        )
        require(bool(np.all(np.diff(self.centres) > 0)), "centres must rise")
        require(self.noise_variance >= 0, f"noise_variance must be >= 0, got {self.noise_variance}")


def auc(found: ScoreCounts, *, level: float = 0.95) -> Estimate:
    """Area under the ROC curve; persons of one bin count as ties.

    Raises:
        DataContractError: the counts hold fewer than one person of a label.
    """
    return _estimate(found, _auc, level=level, most=1.0)


def average_precision(found: ScoreCounts, *, level: float = 0.95) -> Estimate:
    """Average precision; a bin is one threshold. Raises as `auc`."""
    return _estimate(found, _average_precision, level=level, most=1.0)


def expected_over_observed(found: ScoreCounts, *, level: float = 0.95) -> Estimate:
    """Expected over observed events; a bin's persons count at its centre, off by at most half a bin.

    Raises as `auc`.
    """

    def ratio(counts: FloatArray) -> float:
        return float((counts.sum(axis=0) @ found.centres) / counts[1].sum())

    return _estimate(found, ratio, level=level, most=np.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationPoint:
    """Observed rate in one bin: the bin's centre, the rate and its interval."""

    centre: float
    rate: float
    low: float
    high: float


def calibration(
    found: ScoreCounts, *, least_persons: float, level: float = 0.95
) -> tuple[CalibrationPoint, ...]:
    """Observed event rates by bin.

    Args:
        found: The counts.
        least_persons: Bins with fewer (noisy) persons are left out.
        level: Level of the intervals.
    """
    z = norm.ppf(0.5 + level / 2)
    points = []
    for (negative, positive), centre in zip(found.counts.T, found.centres, strict=True):
        persons = negative + positive
        if persons < max(least_persons, 1.0):
            continue
        rate = min(max(positive / persons, 0.0), 1.0)
        spread = (
            rate * (1 - rate) / persons + found.noise_variance * (1 - 2 * rate + 2 * rate**2) / persons**2
        )
        half = z * float(np.sqrt(spread))
        points.append(
            CalibrationPoint(
                centre=float(centre), rate=rate, low=max(0.0, rate - half), high=min(1.0, rate + half)
            )
        )
    return tuple(points)


def _estimate(
    found: ScoreCounts, metric: Callable[[FloatArray], float], *, level: float, most: float
) -> Estimate:
    """A metric with its delta-method interval."""
    require(0 < level < 1, f"level must be in (0, 1), got {level}")
    if bool(np.any(found.counts.sum(axis=1) < 1)):
        raise DataContractError(
            "the histogram holds fewer than one person of a label: more persons or a larger "
            "evaluation epsilon are needed"
        )
    persons = np.maximum(found.counts, 0.0)
    spread = persons + found.noise_variance
    slopes = _slopes(found.counts, metric, steps=_STEP * np.sqrt(np.maximum(spread, 1.0)))
    variance = float(np.sum(slopes**2 * spread))
    noise = float(np.sum(slopes**2) * found.noise_variance)
    half = norm.ppf(0.5 + level / 2) * np.sqrt(variance)
    value = metric(found.counts)
    return Estimate(
        value=min(max(value, 0.0), most),
        low=min(max(value - half, 0.0), most),
        high=min(max(value + half, 0.0), most),
        noise_share=noise / variance if variance > 0 else 0.0,
    )


def _slopes(counts: FloatArray, metric: Callable[[FloatArray], float], *, steps: FloatArray) -> FloatArray:
    """Partial derivatives by central differences, shape of ``counts``."""
    slopes = np.zeros_like(counts, dtype=np.float64)
    for cell in np.ndindex(counts.shape):
        up, down = counts.astype(np.float64), counts.astype(np.float64)
        up[cell] += steps[cell]
        down[cell] -= steps[cell]
        slopes[cell] = (metric(up) - metric(down)) / (2 * steps[cell])
    return slopes


def _auc(counts: FloatArray) -> float:
    """Chance that a random case scores above a random control, ties half."""
    negative, positive = counts
    above = positive.sum() - np.cumsum(positive)
    return float(negative @ (above + positive / 2) / (negative.sum() * positive.sum()))


def _average_precision(counts: FloatArray) -> float:
    """Precision at each threshold, weighted by the cases that it adds."""
    negative, positive = counts[:, ::-1]
    true, false = np.cumsum(positive), np.cumsum(negative)
    # Where noise leaves no persons above a threshold its precision is not defined and it adds nothing.
    chosen = true + false
    precision = np.divide(true, chosen, out=np.zeros_like(true, dtype=np.float64), where=chosen > 0)
    return float(positive @ np.clip(precision, 0.0, 1.0) / positive.sum())
