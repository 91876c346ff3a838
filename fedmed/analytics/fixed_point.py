"""Float sums as whole units under one public limit, and the sign that a sum did not fit.

Every coordinate has a scale of its own, a power of two that follows from public bounds, so that the limit of
a secure sum serves a count of rows and a sum of squares alike. Bounds are what honest data stay far below,
not what they cannot pass: a trial point of a fit may lie far off. So a node whose sums do not fit says so in
one more coordinate, and the coordinator knows that this total is no total, instead of taking a clamped one
for true.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedmed.types import FloatArray, IntArray, require

HEADROOM = 2.0**10
"""How far a node's sum may pass its public bound before it no longer fits; costs ten bits of resolution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedPoint:
    """The scales of a vector of sums.

    Attributes:
        unit: Shape (values,), float64: what one unit of each coordinate is worth, powers of two.
        limit: Largest absolute value of one node's coordinate, in units.
    """

    unit: FloatArray
    limit: int

    @property
    def size(self) -> int:
        """Coordinates that travel: the values and the sign."""
        return len(self.unit) + 1

    def to_units(self, sums: FloatArray) -> IntArray:
        """A node's sums as they travel.

        Args:
            sums: Shape (values,); any float, also infinite or NaN.

        Returns:
            Shape (size,), int64. Sums that fit are rounded to the nearest unit, and the last coordinate is 0;
            if one of them does not, all are 0 and the last coordinate is 1.
        """
        require(sums.shape == self.unit.shape, f"sums must have shape {self.unit.shape}, got {sums.shape}")
        with np.errstate(over="ignore", invalid="ignore"):
            steps = np.rint(sums / self.unit)
            # Beyond 2^53 a float compares with the limit only up to its own rounding, hence the margin.
            fits = bool(np.all(np.abs(steps) <= self.limit * (1 - 2.0**-50)))
        units = np.zeros(self.size, dtype=np.int64)
        if fits:
            units[:-1] = steps.astype(np.int64)
        else:
            units[-1] = 1
        return units

    def to_values(self, total: IntArray) -> FloatArray:
        """The federation's sums from the total of all nodes' units.

        Returns:
            Shape (values,); NaN throughout if a node's sums did not fit.

        Guarantees:
            ``to_values(sum of to_units(x))`` differs from the sum of the x by at most half a unit a node.
        """
        require(total.shape == (self.size,), f"total must have shape ({self.size},), got {total.shape}")
        if total[-1] != 0:
            return np.full(len(self.unit), np.nan)
        return total[:-1].astype(np.float64) * self.unit


def fixed_point(bounds: FloatArray, *, rows: int, limit: int) -> FixedPoint:
    """Scales under which a node's sums fit with room to spare.

    Args:
        bounds: Shape (values,), > 0: what one row adds to each coordinate at most, near a fit.
        rows: Most rows of a node, >= 1.
        limit: Largest absolute value of a coordinate in units, >= 1.

    Returns:
        For each coordinate the least power of two with which ``HEADROOM`` times rows times bound fits.
    """
    require(bool(np.all(bounds > 0)), "bounds must be > 0")
    most = np.log2(bounds * rows * HEADROOM)
    unit = np.exp2(np.ceil(most - np.floor(np.log2(float(limit)))))
    unit.setflags(write=False)
    return FixedPoint(unit=unit, limit=limit)
