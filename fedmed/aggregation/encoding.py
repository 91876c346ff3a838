"""Clipped sums to non-negative integer fields and back: the only place that rounds.

The numbers are those of PROTOCOL.md section 5. Every function here is pure; a custodian computes the layout
from the study by itself and refuses a plan with another one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

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
_ROUNDED_STEPS = 1 << 16  # grid steps in the bound of values that carry their noise already
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """What carries a sum.

    Attributes:
        nodes: Nodes in the roster: the most contributors that a sum can have.
        parameter_set: Name of the ring parameter set, recorded in the layout.
        payload_bits: Bits that one coefficient carries.
    """

    nodes: int
    parameter_set: str
    payload_bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SumBounds:
    """What is public about a node's sum before noise.

    Attributes:
        values: Coordinates in the vector, >= 1.
        clip_norm: L2 bound C of one person's part, in the units of the values.
        clamp_persons: Each coordinate of a node's sum is clamped at this many clip norms; >= 1.
        max_persons: Most persons that any node declares.
        changed: Coordinates that one person can change, in 1..values; None = all. Rounding moves no others.
        homes: Nodes at which one person may appear (>= 1), with a part inside ``clip_norm`` at each.
    """

    values: int
    clip_norm: float
    clamp_persons: int
    max_persons: int
    changed: int | None = None
    homes: int = 1

    def __post_init__(self) -> None:
        require(self.values >= 1, f"values must be >= 1, got {self.values}")
        require(self.clamp_persons >= 1, f"clamp_persons must be >= 1, got {self.clamp_persons}")
        require(
            self.changed is None or 1 <= self.changed <= self.values,
            f"changed must be in 1..{self.values}, got {self.changed}",
        )
        require(self.homes >= 1, f"homes must be >= 1, got {self.homes}")


def noisy_layout(
    bounds: SumBounds, *, noise_multiplier: float, allowance: Allowance, carrier: Carrier
) -> Layout:
    """Layout of a round with noise: everything about its numbers that the study determines.

    Args:
        bounds: What is public about a node's sum.
        noise_multiplier: Noise that is sure to be in the sum, over the sensitivity.
        allowance: Whose noise may be missing.
        carrier: What carries the sum.

    Returns:
        limit = clamp_persons C / g, exactly; tail = floor(12 s_node); fields just wide enough that the sum
        of all nodes leaves the guard bit clear.

    Raises:
        ConfigError: too many persons, too little noise, or a field wider than a coefficient.
    """
    planned = allowance.planned_contributors
    require(
        carrier.nodes >= planned, f"nodes must be >= the {planned} planned contributors, got {carrier.nodes}"
    )
    values = bounds.values
    grid = grid_for(bounds.clip_norm, values)
    changed = values if bounds.changed is None else bounds.changed
    at_one_node = sensitivity(bounds.clip_norm, grid, values=changed, max_persons=bounds.max_persons)
    # Every node rounds apart, so all that a person moves adds up over homes: C/g + K sqrt(dim) where each
    # node clips to C / K (PROTOCOL.md section 5).
    moved = bounds.homes * at_one_node
    scale = node_noise_scale(noise_multiplier, moved, allowance.honest_contributors)
    limit = bounds.clamp_persons * grid_steps(values)
    return _packed(values, carrier, grid=grid, limit=limit, noise_scale=scale)


def exact_layout(values: int, *, limit: int, carrier: Carrier) -> Layout:
    """Layout of a round of exact integers: step 1, no noise.

    Args:
        values: Coordinates in the vector, >= 1.
        limit: Largest absolute value of one node's coordinate; a sum beyond it is clamped, so it must be a
            bound that follows from what is declared.
        carrier: What carries the sum.

    Guarantees:
        1e14 a node fits 31 nodes: fields go up to 62 bits.

    Raises:
        ConfigError: a field would be wider than a coefficient.
    """
    require(values >= 1, f"values must be >= 1, got {values}")
    return _packed(values, carrier, grid=1.0, limit=limit, noise_scale=0.0)


def widest_limit(carrier: Carrier) -> int:
    """Largest limit of whole numbers (`exact_layout`) that one field holds: 3.7e16 for 31 nodes.

    Args:
        carrier: What carries the sum.
    """
    widest = min(carrier.payload_bits, _WIDEST_FIELD)
    return ((1 << (widest - 1)) - 1) // (2 * carrier.nodes)


def rounded_layout(values: int, *, bound: float, carrier: Carrier) -> Layout:
    """Layout of a round whose values carry their noise already (mode ``local``): a grid, and none added.

    Args:
        values: Coordinates in the vector, >= 1.
        bound: L2 bound of one node's vector, in the units of the values.
        carrier: What carries the sum.

    Returns:
        2**16 grid steps in the bound, at which a coordinate is clamped: rounding what is private already
        costs nothing but a part in 130,000 of the bound.

    Raises:
        ConfigError: a field would be wider than a coefficient, or the bound is out of range.
    """
    require(values >= 1, f"values must be >= 1, got {values}")
    check_clip_norm(bound)
    grid = bound / _ROUNDED_STEPS
    return _packed(values, carrier, grid=grid, limit=_ROUNDED_STEPS, noise_scale=0.0)


def _packed(values: int, carrier: Carrier, *, grid: float, limit: int, noise_scale: float) -> Layout:
    """Fields for sums of all nodes, as many in a coefficient as fit."""
    tail = tail_of(noise_scale) if noise_scale else 0
    # bit_length(x) = ceil(log2(x + 1)); one more bit is the guard.
    field_bits = (2 * carrier.nodes * (limit + tail)).bit_length() + 1
    widest = min(carrier.payload_bits, _WIDEST_FIELD)
    require(
        field_bits <= widest,
        f"a field needs {field_bits} bits and {carrier.parameter_set} carries {widest}: lower clamp_persons, "
        "or the bounds and the rows of a person of what is summed",
    )
    return Layout(
        grid=grid,
        limit=limit,
        tail=tail,
        values=values,
        field_bits=field_bits,
        fields=carrier.payload_bits // field_bits,
        parameter_set=carrier.parameter_set,
        noise_scale=noise_scale,
    )


def rehearsal_layout(parameter_set_name: str, payload_bits: int, *, values: int | None = None) -> Layout:
    """Layout of a ceremony's rehearsal: one chunk whose contributions are all zero fields.

    Fields are as wide as fit, so that garbage in almost any payload bit shows.

    Args:
        parameter_set_name: Recorded in the layout.
        payload_bits: Bits that one coefficient carries.
        values: Fewer than fill the chunk, where less shows a wrong key as well.
    """
    fields = -(-payload_bits // _WIDEST_FIELD)
    return Layout(
        grid=1.0,
        limit=1,
        tail=0,
        values=CHUNK_COEFFICIENTS * fields if values is None else values,
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


def encode(clipped: ClippedSum, noise: IntArray, layout: Layout, *, clip_norm: float) -> WordArray:
    """Round a clipped sum to the grid, clamp it, add noise and make it non-negative.

    Args:
        clipped: Shape (layout.values,); int64 values only where the grid is 1.
        noise: Shape (layout.values,), int64, within the layout's tail.
        layout: The round's layout.
        clip_norm: Bound of one person's part for which the layout was made.

    Returns:
        Fields, shape (layout.values,), uint64, each at most 2 * layout.offset.

    Guarantees:
        Decides nothing by the data: no value in ``clipped`` raises; one that is not finite counts as 0.
        Rounding is to nearest, ties to even; clamping moves no two sums apart (it is 1-Lipschitz). Integers
        are not rounded at all.

    Raises:
        ConfigError: shape, noise or clip norm do not belong to the layout.
    """
    shape = (layout.values,)
    require(clipped.values.shape == shape, f"clipped.values must have shape {shape}")
    require(noise.shape == shape, f"noise must have shape {shape}, got {noise.shape}")
    require(noise.dtype == np.int64, f"noise must be int64, got {noise.dtype}")
    bounded = -layout.tail <= int(noise.min()) and int(noise.max()) <= layout.tail
    require(bounded, f"noise must lie within the layout's tail {layout.tail}")
    require(
        clipped.clip_norm <= clip_norm,
        f"clip_norm must be <= {clip_norm}, for which the layout was made, got {clipped.clip_norm}",
    )
    steps = _in_steps(clipped, layout)
    return (np.clip(steps, -layout.limit, layout.limit) + noise + layout.offset).astype(np.uint64)


def _in_steps(clipped: ClippedSum, layout: Layout) -> IntArray:
    """The sum in grid steps, about clamped: int64 must hold it."""
    if clipped.values.dtype == np.int64:
        require(layout.grid == 1.0, f"integers need a grid of 1, the layout's is {layout.grid}")
        return clipped.values.astype(np.int64)
    usable = np.where(np.isfinite(clipped.values), clipped.values, 0.0)
    with np.errstate(over="ignore"):  # a quotient beyond the float range is infinite and gets clamped
        rounded = np.rint(usable / layout.grid)
    # The float bound may round up when the limit has more than 53 bits, hence the second clip.
    return np.clip(rounded, -float(layout.limit), float(layout.limit)).astype(np.int64)


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
    return decode_steps(total_fields, layout, contributors).astype(np.float64) * layout.grid


def decode_integers(total_fields: WordArray, layout: Layout, contributors: int) -> IntArray:
    """Turn the opened sum of exact integers into integers; arguments and errors are those of `decode`.

    Returns:
        Shape (layout.values,), int64: the sum of what the contributors encoded, to the last unit.

    Raises:
        ConfigError: also where the layout's grid is not 1.
    """
    require(layout.grid == 1.0, f"integers need a grid of 1, the layout's is {layout.grid}")
    return decode_steps(total_fields, layout, contributors)


def decode_steps(total_fields: WordArray, layout: Layout, contributors: int) -> IntArray:
    """Turn the opened sum of fields into grid steps; arguments and errors are those of `decode`.

    Returns:
        Shape (layout.values,), int64.
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
    return total_fields.astype(np.int64) - contributors * layout.offset
