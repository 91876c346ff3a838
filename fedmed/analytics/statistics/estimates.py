"""Estimates from sums that may carry noise of a known size, with the intervals that the noise leaves.

Intervals here are about the noise alone: they cover the number that the same rows give without noise. Sums of
exact studies have none, since nothing was drawn. Cells that the noise drowns have no estimate (NaN).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from fedmed.types import FloatArray, IntArray, require

LEVEL = 0.95
"""Level of all intervals."""
Z = float(norm.ppf(0.5 + LEVEL / 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """One estimate a cell, all of shape (cells,), float64; NaN where there is none.

    Attributes:
        value: The estimate.
        std_error: Standard deviation of what the noise does to it.
        low: Lower end of the 95 % interval.
        high: Upper end.
    """

    value: FloatArray
    std_error: FloatArray
    low: FloatArray
    high: FloatArray

    def scaled(self, factor: float, *, shift: float = 0.0) -> Estimates:
        """The same in another unit: ``(value + shift) * factor``, factor > 0."""
        return Estimates(
            value=(self.value + shift) * factor,
            std_error=self.std_error * factor,
            low=(self.low + shift) * factor,
            high=(self.high + shift) * factor,
        )

    def inside(self, low: float, high: float) -> Estimates:
        """The same of a number that is known to lie from ``low`` to ``high``.

        Returns:
            Estimates and intervals cut at both; NaN where the interval is wider than half of ``low`` to
            ``high`` or holds nothing of it: the noise hides the number. (Of quotients whose noise lets them
            just be told, chance chooses which are, and a shown one would often be far off.) The standard
            error stays that before the cut.
        """
        is_wide = self.high - self.low > (high - low) / 2
        told = ~is_wide & (self.low <= high) & (self.high >= low)
        cut = (self.value, self.std_error, self.low, self.high)
        limits = ((low, high), (-np.inf, np.inf), (low, high), (low, high))
        value, error, below, above = (
            np.where(told, np.clip(each, *ends), np.nan) for each, ends in zip(cut, limits, strict=True)
        )
        return Estimates(value=value, std_error=error, low=below, high=above)


def noisy(sums: FloatArray, noise: float) -> Estimates:
    """Sums as they are.

    Args:
        sums: Shape (cells,), with noise.
        noise: Its standard deviation.
    """
    spread = np.full(sums.shape, noise)
    return Estimates(value=sums, std_error=spread, low=sums - Z * noise, high=sums + Z * noise)


def ratio(
    numerator: FloatArray, denominator: FloatArray, *, numerator_noise: float, denominator_noise: float
) -> Estimates:
    """The quotient of two sums with independent noise.

    Args:
        numerator: Shape (cells,).
        denominator: Shape (cells,).
        numerator_noise: Standard deviation of the numerator's noise.
        denominator_noise: Of the denominator's.

    Returns:
        NaN where the denominator is not above zero by two standard deviations (`Z`): nothing can be said
        about such a quotient. The interval is Fieller's, so it covers the quotient without noise with 95 %.

    Source:
        Fieller 1954, J. R. Stat. Soc. B 16, 175-185.
    """
    leading = denominator**2 - (Z * denominator_noise) ** 2
    told = (denominator > 0) & (leading > 0)
    safe, lead = np.where(told, denominator, 1.0), np.where(told, leading, 1.0)
    value = numerator / safe
    middle = numerator * safe
    root = np.sqrt(np.maximum(middle**2 - lead * (numerator**2 - (Z * numerator_noise) ** 2), 0.0))
    error = np.hypot(numerator_noise, value * denominator_noise) / safe
    found = (value, error, (middle - root) / lead, (middle + root) / lead)
    value, error, low, high = (np.where(told, each, np.nan) for each in found)
    return Estimates(value=value, std_error=error, low=low, high=high)


def variance(
    rows: FloatArray, total: FloatArray, squares: FloatArray, *, noise: tuple[float, float, float]
) -> Estimates:
    """The sample variance (divisor n - 1) from three sums with independent noise.

    Args:
        rows: Shape (cells,): n, with noise.
        total: Sum of the values, less a public shift each.
        squares: Sum of the squares of the same.
        noise: Standard deviations of the noise in the three.

    Returns:
        NaN where n is not above 1 by two standard deviations. The interval is that of the delta method, cut
        at zero: it errs where the noise in n is not small beside n.
    """
    told = rows - Z * noise[0] > 1
    n = np.where(told, rows, 2.0)
    mean, second = total / n, squares / n
    value = (second - mean**2) * n / (n - 1)
    slopes = (2 * mean**2 - second, -2 * mean, np.ones_like(n))
    spread = np.sqrt(sum((slope * each / n) ** 2 for slope, each in zip(slopes, noise, strict=True)))
    found = (value, spread, np.maximum(value - Z * spread, 0.0), np.maximum(value + Z * spread, 0.0))
    value, spread, low, high = (np.where(told, each, np.nan) for each in found)
    return Estimates(value=value, std_error=spread, low=low, high=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """One quantile a cell.

    Attributes:
        value: Shape (cells,): interpolated inside its interval of the grid; NaN where nobody is.
        low: Lower end of what is known, shape (cells,).
        high: Upper end.
    """

    value: FloatArray
    low: FloatArray
    high: FloatArray


def quantiles(
    counts: FloatArray | IntArray, edges: FloatArray, probability: float, *, noise: float = 0.0
) -> Quantiles:
    """A quantile of every cell from a histogram on a public grid.

    Args:
        counts: Shape (cells, steps): rows in each interval of the grid, may be noisy and negative.
        edges: Shape (steps + 1,), rising.
        probability: Which quantile, 0 < probability < 1.
        noise: Standard deviation of the noise in each count; 0 for exact counts.

    Returns:
        Exact counts: the interval of the grid that holds the quantile, and a value inside it by linear
        interpolation. Noisy ones: from the first to the last interval of the grid that a test at 5 % does
        not rule out (so the quantile lies inside with 95 % at least), and a value of a monotone curve through
        the cumulated counts. NaN where the noise drowns the rows.
    """
    require(0 < probability < 1, f"probability must be in (0, 1), got {probability}")
    steps = counts.shape[1]
    below = np.concatenate(
        [np.zeros((counts.shape[0], 1)), np.cumsum(counts, axis=1, dtype=np.float64)], axis=1
    )
    size = below[:, -1]
    told = size > Z * noise * np.sqrt(steps)
    target = (probability * size)[:, None]
    # The curve between the running maximum from below and the running minimum from above is monotone.
    rising = np.maximum.accumulate(below, axis=1)
    falling = np.minimum.accumulate(below[:, ::-1], axis=1)[:, ::-1]
    curve = (rising + falling) / 2
    place = np.clip(np.sum(curve < target, axis=1) - 1, 0, steps - 1)
    rows = np.arange(len(place))
    start, step = curve[rows, place], curve[rows, place + 1] - curve[rows, place]
    share = np.clip((target[:, 0] - start) / np.where(step > 0, step, 1.0), 0.0, 1.0)
    value = edges[place] + share * (edges[place + 1] - edges[place])
    low, high = edges[place], edges[place + 1]
    if noise > 0:
        k = np.arange(steps + 1)
        spread = Z * noise * np.sqrt(k * (1 - probability) ** 2 + (steps - k) * probability**2)
        # An interval of the grid is ruled out if its lower edge is surely not below the quantile, or its
        # upper edge surely is. The hull of the rest covers the quantile wherever the rest does.
        left = (below - spread)[:, :-1] <= target
        left &= (below + spread)[:, 1:] >= target
        left[rows, place] = True
        low, high = edges[np.argmax(left, axis=1)], edges[steps - np.argmax(left[:, ::-1], axis=1)]
    value, low, high = (np.where(told, each, np.nan) for each in (value, low, high))
    return Quantiles(value=value, low=low, high=high)
