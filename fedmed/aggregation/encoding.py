"""Clipped float sums to non-negative integer fields and back: the only place that rounds.

The numbers are those of PROTOCOL.md section 5. Every function here is pure; a custodian computes the layout
from the study by itself and refuses a plan with another one.
"""

from __future__ import annotations

import math

import numpy as np

from fedmed.errors import OpeningOutOfBounds
from fedmed.privacy.clipping import ClippedSum, check_clip_norm, summing_error
from fedmed.privacy.noise import tail_of
from fedmed.types import Allowance, FloatArray, IntArray, Layout, WordArray, require

CHUNK_COEFFICIENTS = 8192
"""Coefficients in one payload: the ring degree, for every scheme."""

LEAST_NOISE_SCALE = 8.0
"""Least scale of a node's share; from here on the sum of shares counts as one discrete Gaussian
(per-coordinate distortion below 1e-60; Kairouz, Liu, Steinke 2021, arXiv:2102.06387)."""

_WIDE = 1000  # vectors longer than this take the finer grid: rounding would cost 4.5 % at 34k otherwise
_WIDEST_FIELD = 62  # a field and its sum stay inside int64


def grid_steps(values: int) -> int:
    """Grid steps in one clip norm, C / g: 2**12 up to 1,000 values, 2**14 above."""
    return 1 << 12 if values <= _WIDE else 1 << 14


def grid_for(clip_norm: float, values: int) -> float:
    """Step g of the integer grid for a vector of ``values`` coordinates.

    Args:
        clip_norm: C, in the units of the values.
        values: Coordinates, >= 1.

    Returns:
        C / `grid_steps`, exactly: the divisor is a power of two.
    """
    check_clip_norm(clip_norm)
    return clip_norm / grid_steps(values)


def sensitivity(clip_norm: float, grid: float, *, values: int, max_persons: int) -> float:
    """L2 distance in grid steps by which one person can move a node's rounded sum.

    Args:
        clip_norm: C, in the units of the values.
        grid: Step g, same units.
        values: Coordinates that a person can change (an audit block is none of them).
        max_persons: Most persons that any node declares.

    Returns:
        C / g + sqrt(values) + E. The person moves the exact sum by C / g; rounding to the grid moves each
        coordinate by up to one step more; E = 2 C / g `summing_error` (max_persons) is what float64
        summation may add, on either side. PROTOCOL.md section 5 bounds E through persons squared, which
        would refuse a province of more than 260,000; summing by compensated chunks makes it linear and so
        small that it is charged instead: 0.3 steps of 4,096 at ten million persons.

    Raises:
        ConfigError: max_persons < 1.

    Source:
        Triangle inequality; the rounding step is attained (PRIVACY.md section 6).
    """
    steps = clip_norm / grid
    return steps + math.sqrt(values) + 2.0 * steps * summing_error(max_persons)


def node_noise_scale(noise_multiplier: float, sensitivity: float, honest_contributors: int) -> float:
    """Scale s_node of one node's share of the noise, in grid steps.

    Args:
        noise_multiplier: Noise that is sure to be in the sum, over the sensitivity.
        sensitivity: Delta, in grid steps.
        honest_contributors: Contributors whose noise is sure to be in the sum.

    Returns:
        noise_multiplier * sensitivity / sqrt(honest_contributors).

    Raises:
        ConfigError: the result is below 8.
    """
    require(honest_contributors >= 1, f"honest_contributors must be >= 1, got {honest_contributors}")
    scale = noise_multiplier * sensitivity / math.sqrt(honest_contributors)
    require(
        scale >= LEAST_NOISE_SCALE,
        f"a node's noise scale must be >= 8 grid steps, got {scale:.3g}: lower epsilon or raise aggregations",
    )
    return scale


def training_layout(
    *,
    values: int,
    clip_norm: float,
    clamp_persons: int,
    max_persons: int,
    noise_multiplier: float,
    allowance: Allowance,
    nodes: int,
    parameter_set_name: str,
    payload_bits: int,
) -> Layout:
    """Layout of a training round: everything about its numbers that the study determines.

    Args:
        values: Coordinates in the vector.
        clip_norm: C, in the units of the values.
        clamp_persons: Each coordinate of a node's sum is clamped at this many clip norms; >= 1.
        max_persons: Most persons that any node declares.
        noise_multiplier: Noise that is sure to be in the sum, over the sensitivity.
        allowance: Whose noise may be missing.
        nodes: Nodes in the roster: the most contributors that a sum can have.
        parameter_set_name: Recorded in the layout.
        payload_bits: Bits that one coefficient carries.

    Returns:
        limit = clamp_persons C / g, exactly; tail = floor(12 s_node); fields just wide enough that the sum
        of all nodes leaves the guard bit clear.

    Raises:
        ConfigError: too many persons, too little noise, or a field wider than a coefficient.
    """
    require(values >= 1, f"values must be >= 1, got {values}")
    planned = allowance.planned_contributors
    require(nodes >= planned, f"nodes must be >= the {planned} planned contributors, got {nodes}")
    require(clamp_persons >= 1, f"clamp_persons must be >= 1, got {clamp_persons}")
    grid = grid_for(clip_norm, values)
    moved = sensitivity(clip_norm, grid, values=values, max_persons=max_persons)
    scale = node_noise_scale(noise_multiplier, moved, allowance.honest_contributors)
    limit, tail = clamp_persons * grid_steps(values), tail_of(scale)
    # bit_length(x) = ceil(log2(x + 1)); one more bit is the guard.
    field_bits = (2 * nodes * (limit + tail)).bit_length() + 1
    widest = min(payload_bits, _WIDEST_FIELD)
    require(
        field_bits <= widest,
        f"a field needs {field_bits} bits and {parameter_set_name} carries {widest}: lower clamp_persons",
    )
    return Layout(
        grid=grid,
        limit=limit,
        tail=tail,
        values=values,
        field_bits=field_bits,
        fields=payload_bits // field_bits,
        parameter_set=parameter_set_name,
        noise_scale=scale,
    )


def rehearsal_layout(parameter_set_name: str, payload_bits: int) -> Layout:
    """Layout of a ceremony's rehearsal: one full chunk whose contributions are all zero fields.

    Fields are as wide as fit, so that garbage in almost any payload bit shows.

    Args:
        parameter_set_name: Recorded in the layout.
        payload_bits: Bits that one coefficient carries.
    """
    fields = -(-payload_bits // _WIDEST_FIELD)
    return Layout(
        grid=1.0,
        limit=1,
        tail=0,
        values=CHUNK_COEFFICIENTS * fields,
        field_bits=payload_bits // fields,
        fields=fields,
        parameter_set=parameter_set_name,
        noise_scale=0.0,
    )


def chunk_values(layout: Layout) -> tuple[int, ...]:
    """Values in each chunk of a vector; all chunks but the last are full."""
    full = CHUNK_COEFFICIENTS * layout.fields
    whole, rest = divmod(layout.values, full)
    return (full,) * whole + ((rest,) if rest else ())


def encode(clipped: ClippedSum, noise: IntArray, layout: Layout) -> WordArray:
    """Round a clipped sum to the grid, clamp it, add noise and make it non-negative.

    Args:
        clipped: Shape (layout.values,), bounded by the clip norm that the layout was made for.
        noise: Shape (layout.values,), int64, within the layout's tail.
        layout: The round's layout.

    Returns:
        Fields, shape (layout.values,), uint64, each at most 2 * layout.offset.

    Guarantees:
        Decides nothing by the data: no value in ``clipped`` raises; one that is not finite counts as 0.
        Rounding is to nearest, ties to even; clamping moves no two sums apart (it is 1-Lipschitz).

    Raises:
        ConfigError: shape, noise or clip norm do not belong to the layout.
    """
    shape = (layout.values,)
    require(clipped.values.shape == shape, f"clipped.values must have shape {shape}")
    require(noise.shape == shape, f"noise must have shape {shape}, got {noise.shape}")
    require(noise.dtype == np.int64, f"noise must be int64, got {noise.dtype}")
    bounded = -layout.tail <= int(noise.min()) and int(noise.max()) <= layout.tail
    require(bounded, f"noise must lie within the layout's tail {layout.tail}")
    steps = grid_steps(layout.values)
    require(
        clipped.clip_norm <= layout.grid * steps,
        f"clip_norm must be <= {layout.grid * steps}, for which the layout was made, got {clipped.clip_norm}",
    )
    usable = np.where(np.isfinite(clipped.values), clipped.values, 0.0)
    with np.errstate(over="ignore"):  # a quotient beyond the float range is infinite and gets clamped
        rounded = np.rint(usable / layout.grid)
    # The float bound may round up when the limit has more than 53 bits, hence the second clip.
    clamped = np.clip(rounded, -float(layout.limit), float(layout.limit)).astype(np.int64)
    return (np.clip(clamped, -layout.limit, layout.limit) + noise + layout.offset).astype(np.uint64)


def decode(total_fields: WordArray, layout: Layout, contributors: int) -> FloatArray:
    """Turn the opened sum of fields into values.

    Args:
        total_fields: Shape (layout.values,), uint64: sum of the fields of all contributors.
        layout: The round's layout.
        contributors: Number of contributors in the sum, >= 1.

    Returns:
        Shape (layout.values,), float64, in the units of the values: exact integers times the grid.

    Raises:
        ConfigError: the shape does not belong to the layout, or ``contributors`` are more than fit.
        OpeningOutOfBounds: a field is larger than that many contributors can make it.
    """
    shape = (layout.values,)
    require(total_fields.shape == shape, f"total_fields must have shape {shape}, got {total_fields.shape}")
    most = contributors * 2 * layout.offset
    require(
        contributors >= 1 and most < 1 << (layout.field_bits - 1),
        f"contributors must be >= 1 and fit {layout.field_bits} bits a field, got {contributors}",
    )
    if bool(np.any(total_fields > np.uint64(most))):
        raise OpeningOutOfBounds(
            f"an opened field is above {most}, the bound of {contributors} contributors: a bad share, "
            "a bad contribution or mixed key epochs; run a new attempt"
        )
    steps = total_fields.astype(np.int64) - contributors * layout.offset
    return steps.astype(np.float64) * layout.grid
