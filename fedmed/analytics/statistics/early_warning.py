"""Early warning over monthly totals: a line through the first months, and a CUSUM of departures from it.

Two rules: a single month outside the band is news, and raises no alarm; many small departures in one
direction are a change, which the CUSUM adds up and raises alarms of. Seasons are not modelled: choose a
baseline of whole years, or expect their alarms.

False alarms, of independent normal months without a change: the defaults warn in 1 of 100 years after a
baseline of 12 months. An allowance of 0.5 needs a limit of 6.4 for 5 of 100, and where a line through 12
months may rise or fall, of 14: what the baseline does not know of the line adds up too.

Source:
    Page 1954, Biometrika 41, 100-115; Montgomery 2009, Introduction to Statistical Quality Control, section
    9.1 (tabular CUSUM).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from fedmed.analytics.statistics.estimates import LEVEL
from fedmed.types import FloatArray, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How departures are judged.

    Attributes:
        baseline_months: First months that the line is drawn through (>= 3).
        trend: Whether the line may rise or fall.
        allowance: Departures up to so many standard deviations are not added up (k > 0).
        limit: A sum above so many standard deviations is an alarm, and starts again at zero (h > 0).
    """

    baseline_months: int = 12
    trend: bool = False
    allowance: float = 1.0
    limit: float = 6.0

    def __post_init__(self) -> None:
        require(self.baseline_months >= 3, f"baseline_months must be >= 3, got {self.baseline_months}")
        for name in ("allowance", "limit"):
            require(getattr(self, name) > 0, f"{name} must be > 0, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Each month against the line, all of shape (months,).

    Attributes:
        expected: The line.
        low: Lower end of the 95 % prediction band for one month.
        high: Upper end.
        above: Sum of departures upwards since it was last zero or above the limit, in standard deviations; 0
            in the baseline.
        below: Sum of departures downwards, likewise >= 0.
        alarm: 1 where a sum is above the limit, -1 where the one downwards is, else 0.
    """

    expected: FloatArray
    low: FloatArray
    high: FloatArray
    above: FloatArray
    below: FloatArray
    alarm: FloatArray


def watch(totals: FloatArray, rule: Rule, *, noise: float = 0.0) -> Watch:
    """Judge a row of months.

    Args:
        totals: Shape (months,), months > rule.baseline_months.
        rule: How.
        noise: Standard deviation of noise in each total. It is in the baseline's residuals as well, whose
            standard deviation is never taken to be smaller.

    Returns:
        Line, band, sums and alarms. Departures are divided by the standard deviation of one month's
        prediction, so a far month counts less where the line is steeply uncertain.

    Guarantees:
        A change that is over raises no alarm after the one that it raised.

    Raises:
        ConfigError: no month is left after the baseline.
    """
    months, first = len(totals), rule.baseline_months
    require(months > first, f"totals must have more than the {first} months of the baseline, got {months}")
    at = np.arange(months, dtype=np.float64)
    design = np.stack([np.ones(months), at], axis=1) if rule.trend else np.ones((months, 1))
    inverse = np.linalg.inv(design[:first].T @ design[:first])
    expected = design @ (inverse @ (design[:first].T @ totals[:first]))
    degrees = first - design.shape[1]
    residual = np.sqrt(np.sum((totals[:first] - expected[:first]) ** 2) / degrees)
    leverage = np.sum((design @ inverse) * design, axis=1)
    spread = max(float(residual), noise) * np.sqrt(1 + leverage)
    reach = student.ppf(0.5 + LEVEL / 2, degrees) * spread
    steps = _standardised(totals - expected, spread)
    steps[:first] = 0.0
    above, below = (cusum(s, allowance=rule.allowance, limit=rule.limit) for s in (steps, -steps))
    alarm = np.where(above > rule.limit, 1.0, np.where(below > rule.limit, -1.0, 0.0))
    return Watch(
        expected=expected, low=expected - reach, high=expected + reach, above=above, below=below, alarm=alarm
    )


def cusum(steps: FloatArray, *, allowance: float, limit: float) -> FloatArray:
    """The tabular CUSUM: each value adds what it exceeds the allowance by, never below zero.

    Args:
        steps: Shape (months,), in standard deviations.
        allowance: k > 0.
        limit: h > 0; after a sum above it the next one starts at zero.
    """
    found, level = np.zeros(len(steps)), 0.0
    for place, step in enumerate(steps):
        level = max(0.0, (level if level <= limit else 0.0) + float(step) - allowance)
        found[place] = level
    return found


def _standardised(departures: FloatArray, spread: FloatArray) -> FloatArray:
    """Departures in standard deviations; where the baseline lies exactly on its line any one is far."""
    tiny = 1e-9 * max(1.0, float(np.max(np.abs(departures))))
    return np.asarray(departures / np.maximum(spread, tiny), dtype=np.float64)
