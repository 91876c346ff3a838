"""Sums of clipped per-person gradients of the logistic loss, without per-row gradients (the norm trick).

For a linear layer with input a and backward signal e of a row, the row's weight gradient is e a^T and its
bias gradient e, so |g|^2 is the sum over layers of |e|^2 (|a|^2 + 1); a person with rows r, s, ... has
|g|^2 = sum over layers and pairs of (e_r . e_s)(a_r . a_s + 1). One forward and one backward pass give all
norms, and the clipped sum is one product with rescaled rows.

Signals come from `fedmed.models.passes`, which keeps rows from touching each other; norms, factors and the
summing product are float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from fedmed.data.examples import Examples, Float32Array
from fedmed.models.layout import ModelLayout, PersonClip, check_parameters
from fedmed.models.passes import BLOCK_ROWS, WIDTH_STEP, BlockedPasses, computing, padded
from fedmed.privacy.clipping import CANCELLATION, SUMMED_ROWS, ClippedSum, clip_factors, two_sum
from fedmed.types import FloatArray, IntArray, require

_CHUNK_VALUES = 1 << 22
"""Inputs of a chunk: 16 MiB in float32, 32 in float64, however many rows a node has."""

_GRAM_SIZES = (2, 4, 8, 16, 32)
"""Rows to which persons are padded for cross terms. Persons with more rows get their norm from their own
gradient: rows squared would cost more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonSignals:
    """What the sum is made of, for tests and for the proof that rows are independent.

    Attributes:
        forward: Float32 inputs of each layer, shape (rows, padded inputs).
        backward: Float32 backward signals of each layer, shape (rows, padded outputs).
        norms: Norm of each person's mean or sum, shape (persons,), float64, before clipping.
        factors: What each person's rows are multiplied with, shape (persons,), float64; 0 for a person
            whose gradient is not finite.
    """

    forward: tuple[torch.Tensor, ...]
    backward: tuple[torch.Tensor, ...]
    norms: FloatArray
    factors: FloatArray

    @property
    def of_rows(self) -> tuple[Float32Array, ...]:
        """Arrays with one entry a row: forward, then backward signals of each layer."""
        return tuple(tensor.numpy() for tensor in (*self.forward, *self.backward))

    @property
    def of_persons(self) -> tuple[FloatArray, ...]:
        """Arrays with one entry a person."""
        return (self.norms, self.factors)


def clipped_gradient_sum(
    parameters: FloatArray,
    examples: Examples,
    *,
    layout: ModelLayout,
    clip: PersonClip,
    threads: int = 1,
) -> ClippedSum:
    """Sum over persons of the gradient of the logistic loss, each clipped to an L2 norm.

    Args:
        parameters: Shape (p,), float64; computed with in float32.
        examples: Rows of a node; a row that is not finite silences its person, it raises nothing.
        layout: The model.
        clip: The bound C, and whether a person's rows are averaged or added.
        threads: Threads for this call; the number before is restored.

    Returns:
        The sum, shape (p,), float64, in the order of ``layout.shapes``, with C.

    Guarantees:
        Every person's part has norm <= C: factors aim 2**-20 below it, which covers the rounding of norms
        and products. Taking a person away leaves signals, norms and factors of all others equal in every
        bit, so the sum moves by that part and by float64 rounding only: at most C
        `fedmed.privacy.clipping.summing_error` on either side. A person whose
        norm is not finite contributes zero; the sum is always finite. No value of a row decides whether
        the call succeeds. Memory does not grow with rows.

    Raises:
        ParametersUnfit: before a row is read (`check_parameters`).
        ConfigError: the examples have another width than the model, or threads < 1.

    Source:
        Goodfellow 2015, arXiv:1510.01799 (norms from one backward pass).
    """
    check_parameters(parameters, layout)
    layout.require_inputs(examples.inputs)
    with computing(threads):
        chunk_rows = _chunk_rows(layout)
        passes = BlockedPasses(parameters, layout, rows=min(chunk_rows, padded(examples.rows, BLOCK_ROWS)))
        total, lost = np.zeros(layout.size), np.zeros(layout.size)
        for first, last in _chunks(examples.person_starts, chunk_rows):
            starts = examples.person_starts[first : last + 1]
            if last == first + 1 and starts[1] - starts[0] > chunk_rows:
                part = _long_person(passes, examples, clip, start=int(starts[0]), stop=int(starts[1]))
            else:
                part = _chunk_sum(passes, examples, clip, starts)
            total, rounding = two_sum(total, part)
            lost += rounding
    return ClippedSum(values=total + lost, clip_norm=clip.norm)


def person_signals(
    parameters: FloatArray, examples: Examples, *, layout: ModelLayout, clip: PersonClip, threads: int = 1
) -> PersonSignals:
    """Compute what `clipped_gradient_sum` adds up, by the same code.

    Args:
        parameters: Shape (p,), float64.
        examples: Few rows: at most one chunk (2,048 rows, fewer for inputs wider than 2,048).
        layout: The model.
        clip: The bound and the rule for several rows.
        threads: Threads for this call.

    Returns:
        Signals of each row, norm and factor of each person, in the order of ``examples``.

    Raises:
        ParametersUnfit: as `clipped_gradient_sum`.
        ConfigError: more rows than a chunk.
    """
    check_parameters(parameters, layout)
    require(examples.rows <= _chunk_rows(layout), f"at most {_chunk_rows(layout)} rows, got {examples.rows}")
    with computing(threads):
        passes = BlockedPasses(parameters, layout, rows=padded(examples.rows, BLOCK_ROWS))
        passes.run(examples, 0, examples.rows)
        norms, factors = _norms_and_factors(passes, clip, examples.person_starts)
        return PersonSignals(
            forward=tuple(x[: examples.rows] for x in passes.forward),
            backward=tuple(x[: examples.rows] for x in passes.backward),
            norms=norms,
            factors=factors,
        )


def _chunk_sum(passes: BlockedPasses, examples: Examples, clip: PersonClip, starts: IntArray) -> FloatArray:
    """Clipped sum over the persons whose rows begin at ``starts`` (one more entry: the end)."""
    first, last = int(starts[0]), int(starts[-1])
    passes.run(examples, first, last)
    _, factors = _norms_and_factors(passes, clip, starts - first)
    lengths = np.diff(starts)
    shares = factors / lengths if clip.rows == "mean" else factors
    passes.scale(np.repeat(shares, lengths))
    return passes.product(0, last - first)


def _norms_and_factors(
    passes: BlockedPasses, clip: PersonClip, starts: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Norm and clip factor of each person of the chunk."""
    lengths = np.diff(starts)
    squares = passes.squares(int(starts[-1]))
    if lengths.max() == 1:
        norms = np.sqrt(squares)
        return norms, clip_factors(norms, clip.norm)
    sums = np.sqrt(_summed_squares(passes, squares, starts))
    person = np.repeat(np.arange(lengths.shape[0]), lengths)
    reach = np.bincount(person, weights=np.sqrt(squares))
    shares = 1.0 / lengths if clip.rows == "mean" else np.ones(lengths.shape[0])
    return sums * shares, clip_factors(np.maximum(sums, reach / CANCELLATION) * shares, clip.norm)


def _summed_squares(passes: BlockedPasses, squares: FloatArray, starts: IntArray) -> FloatArray:
    """Squared norm of the sum of each person's rows, never below zero."""
    lengths = np.diff(starts)
    found = squares[starts[:-1]]
    for size in _GRAM_SIZES:
        persons = np.flatnonzero((lengths > size // 2) & (lengths <= size))
        if persons.size:
            found[persons] = passes.gram_squares(starts[persons], lengths[persons], size=size)
    for person in np.flatnonzero(lengths > _GRAM_SIZES[-1]):
        own = passes.product(int(starts[person]), int(starts[person + 1]))
        found[person] = np.square(own).sum()
    # Cancelling rows may round to just below zero; NaN must stay NaN.
    return np.maximum(found, 0.0)


def _long_person(
    passes: BlockedPasses, examples: Examples, clip: PersonClip, *, start: int, stop: int
) -> FloatArray:
    """Clipped part of one person with more rows than a chunk, from the person's own gradient."""
    own, reach = np.zeros(passes.size), 0.0
    step = passes.labels.shape[0]
    for at in range(start, stop, step):
        count = min(step, stop - at)
        passes.run(examples, at, at + count)
        own += passes.product(0, count)
        reach += float(np.sqrt(passes.squares(count)).sum())
    share = 1.0 / (stop - start) if clip.rows == "mean" else 1.0
    norm = np.maximum(np.sqrt([np.square(own).sum()]), reach / CANCELLATION) * share
    factor = float(clip_factors(norm, clip.norm)[0]) * share
    return own * factor if factor > 0.0 else np.zeros_like(own)


def _chunks(starts: IntArray, rows: int) -> Iterator[tuple[int, int]]:
    """Ranges of whole persons of at most ``rows`` rows; a longer person is a range alone."""
    first, persons = 0, starts.shape[0] - 1
    while first < persons:
        last = int(np.searchsorted(starts, starts[first] + rows, side="right")) - 1
        last = max(last, first + 1)
        yield first, last
        first = last


def _chunk_rows(layout: ModelLayout) -> int:
    """Rows of a chunk: whole blocks, fewer for wide inputs."""
    fitting = _CHUNK_VALUES // padded(max(layout.widths), WIDTH_STEP)
    return max(BLOCK_ROWS, min(SUMMED_ROWS, fitting // BLOCK_ROWS * BLOCK_ROWS))
