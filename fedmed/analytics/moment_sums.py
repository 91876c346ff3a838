"""Two bounded moments of a node's rows, which mode ``statistics`` sums; the coordinator never loads this."""

from __future__ import annotations

import numpy as np

from fedmed.analytics.moments import moment_bound, moment_values, triangle_scales
from fedmed.data.examples import Examples
from fedmed.privacy.clipping import SUMMED_ROWS, ClippedSum, clip_factors
from fedmed.types import FloatArray

_CHUNK_VALUES = 1 << 20  # inputs spread out at a time: 8 MiB


def clipped_moments(examples: Examples, *, row_norm: float) -> ClippedSum:
    """Sum over persons of (x x', x y), each person's bounded.

    Args:
        examples: Rows of a node; labels 0 and 1 count as -1 and 1.
        row_norm: R > 0.

    Returns:
        Shape (`moment_values` of the inputs,): the upper triangle row by row, entries off the diagonal times
        sqrt(2), so that the vector's norm is the matrix's; then x y. With `moment_bound` as its bound.

    Guarantees:
        A person's part is the mean over the rows of that person, so its norm is at most the bound. A row
        beyond R weighs (R / norm)^2, its label with it, which bends no line; one that is not finite weighs
        nothing. No value of a row decides whether the call succeeds.
    """
    width = examples.inputs + 1
    total, lost = np.zeros(moment_values(examples.inputs)), np.zeros(moment_values(examples.inputs))
    lengths = np.diff(examples.person_starts)
    shares = np.repeat(1.0 / lengths, lengths)
    step = max(1, min(SUMMED_ROWS, _CHUNK_VALUES // width))
    for start in range(0, examples.rows, step):
        stop = min(start + step, examples.rows)
        part = _part(examples, start, stop, shares=shares[start:stop], row_norm=row_norm)
        before, total = total, total + part
        # What rounding loses here does not grow with the number of parts (Knuth 1969).
        lost += (before - (total - (total - before))) + (part - (total - before))
    return ClippedSum(values=total + lost, clip_norm=moment_bound(row_norm))


def _part(examples: Examples, start: int, stop: int, *, shares: FloatArray, row_norm: float) -> FloatArray:
    """Moments of some rows."""
    width = examples.inputs + 1
    rows = examples.block(start, stop, rows=stop - start, width=width).astype(np.float64)
    rows[:, -1] = 1.0
    signs = 2.0 * examples.labels[start:stop].astype(np.float64) - 1.0
    known = np.isfinite(rows).all(axis=1) & (np.abs(signs) <= 1)
    rows[~known], signs[~known] = 0.0, 0.0
    weights = np.where(known, clip_factors(np.sqrt(np.square(rows).sum(axis=1)), row_norm) ** 2, 0.0) * shares
    weighted = rows * weights[:, None]
    matrix = weighted.T @ rows
    return np.concatenate([matrix[np.triu_indices(width)] * triangle_scales(width), weighted.T @ signs])
