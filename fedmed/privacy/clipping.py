"""The bound on one person: clip factors, and the sum that carries its bound."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from fedmed.types import FloatArray, IntArray, require

CLIP_SLACK = 2.0**-20
"""Share of the clip norm kept free for rounding in the caller's products; PROTOCOL.md section 5."""

SUMMED_ROWS = 2048
"""Most rows that one float64 product may add up; longer sums are carried on with a compensation."""

CANCELLATION = 16.0
"""How far the rows of a person may cancel before the person is shrunk for it.

A float64 sum is exact to about 2**-53 of its *summands*. Where hostile parameters make a person's rows huge
and opposite, the exact sum is small but its rounding is not, and it would leave with the person. So factors
also keep the summed norms of a person's rows below 16 C; in honest training this never acts.
"""


def summing_error(persons: int) -> float:
    """Bound on the L2 rounding error of a clipped sum, in clip norms.

    Args:
        persons: Most persons in the sum, each with row norms that add up to at most `CANCELLATION` C.

    Returns:
        (SUMMED_ROWS + 3) 2**-53 CANCELLATION persons: a product of h rows errs by at most h 2**-53 of the
        norms of its summands, whatever the order; the compensated sum of products adds 2**-53 of the result.
        Two more units cover scaling and the last rounding. Larger than the truth, so it spends more.

    Source:
        Higham 2002, Accuracy and Stability of Numerical Algorithms, sections 3.1 and 4.3.
    """
    require(persons >= 1, f"persons must be >= 1, got {persons}")
    return (SUMMED_ROWS + 3) * 2.0**-53 * CANCELLATION * persons


# Division and product round once each; two more units in the last place keep the promise for floats too.
_TARGET = (1 - CLIP_SLACK) * (1 - 2.0**-50)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClippedSum:
    """A node's sum over persons of vectors whose norm is bounded; not yet noisy, so never to be shown.

    Attributes:
        values: Shape (p,), float64, or int64 for whole numbers; read-only; absent from ``repr``.
        clip_norm: C > 0, in the units of the values. One person more or less moves the exact sum by at most
            C (1 - 2**-20) in L2 norm.

    Raises:
        ConfigError: wrong shape or dtype, or ``clip_norm`` not a finite positive number.
    """

    values: FloatArray | IntArray = field(repr=False)
    clip_norm: float

    def __post_init__(self) -> None:
        check_clip_norm(self.clip_norm)
        require(self.values.ndim == 1, f"values must have one axis, got {self.values.ndim}")
        kinds = (np.float64, np.int64)
        require(self.values.dtype in kinds, f"values must be float64 or int64, got {self.values.dtype}")
        self.values.setflags(write=False)


def clip_factors(norms: FloatArray, clip_norm: float) -> FloatArray:
    """Factors that bring vectors of the given norms inside the clip norm.

    Args:
        norms: Shape (persons,), float64: L2 norm of each person's vector.
        clip_norm: C in [1e-150, 1e150], in the units of ``norms``.

    Returns:
        Shape (persons,), float64, in [0, 1]. A norm that is not finite, or is negative, gives 0: that
        person contributes nothing. It is never an error, since an error would tell about a row.

    Guarantees:
        ``factor * norm <= C (1 - 2**-20)`` also as floats; a norm inside C (1 - 2**-20) (1 - 2**-49) keeps
        the factor 1.

    Raises:
        ConfigError: ``clip_norm`` outside its bounds.
    """
    check_clip_norm(clip_norm)
    target = clip_norm * _TARGET
    usable = np.isfinite(norms) & (norms >= 0)
    # Where the quotient would be subnormal it has lost digits and could round up beyond the bound.
    usable &= norms < target * 2.0**1000
    return np.where(usable, target / np.maximum(np.where(usable, norms, target), target), 0.0)


def two_sum(left: FloatArray, right: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Add two vectors and keep what rounding lost, so that a sum's error does not grow with its parts.

    Args:
        left: Shape (p,).
        right: Shape (p,).

    Returns:
        The rounded sum and its rounding error; both together are the exact sum.

    Source:
        Knuth 1969, The Art of Computer Programming, volume 2, section 4.2.2.
    """
    total = left + right
    from_right = total - left
    return total, (left - (total - from_right)) + (right - from_right)


def clip_update(update: FloatArray, *, clip_norm: float, weight: float = 1.0) -> ClippedSum:
    """Shrink a model update so that its L2 norm is at most ``clip_norm``.

    Args:
        update: Shape (p,), float64; new minus old parameters of one node, which carry their noise already.
        clip_norm: Bound in [1e-150, 1e150], in the units of ``update``.
        weight: In [0, 1], multiplied with the clipped values: the node's public part of the mean.

    Returns:
        The clipped values times the weight, shape (p,). The bound is that of the node's whole vector: it
        keeps one node from outweighing the others and fields from overflowing, and protects no person.

    Guarantees:
        norm <= clip_norm; the direction is kept; a zero update stays zero. It never fails for what the
        values hold: an update whose norm is not finite becomes zero.

    Raises:
        ConfigError: ``clip_norm`` or ``weight`` outside its bounds.

    Source:
        McMahan et al. 2018, arXiv:1710.06963, algorithm 1 (flat clipping).
    """
    require(0 <= weight <= 1, f"weight must be in [0, 1], got {weight}")
    with np.errstate(over="ignore", invalid="ignore"):
        factor = float(clip_factors(np.sqrt(np.square(update).sum(keepdims=True)), clip_norm)[0])
    values = update * factor * weight if factor > 0 else np.zeros_like(update)
    return ClippedSum(values=values, clip_norm=clip_norm)


def check_clip_norm(clip_norm: float) -> None:
    """Refuse a clip norm that is not finite, positive and far from the ends of the float range."""
    usable = math.isfinite(clip_norm) and 1e-150 <= clip_norm <= 1e150
    require(usable, f"clip_norm must be in [1e-150, 1e150], got {clip_norm}")
