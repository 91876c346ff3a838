"""Forward and backward passes of the logistic loss in blocks that always have the same shapes.

Rows must not touch each other (PROTOCOL.md section 5): in a pass of changing shape the linear algebra
library adds in another order when one row is missing, ReLU gates flip, and a person's removal moves the
gradients of others. So float32 passes run in blocks of `BLOCK_ROWS` rows with all widths zero-padded to
multiples of `WIDTH_STEP`. What is made of the signals afterwards - norms, products - is float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from fedmed.data.examples import Examples
from fedmed.models.layout import ModelLayout
from fedmed.types import FloatArray, IntArray, require

BLOCK_ROWS = 256
WIDTH_STEP = 32


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Set torch's number of threads for a while.

    Args:
        threads: At least 1.

    Yields:
        Nothing; the number before is restored at the end.
    """
    require(threads >= 1, f"threads must be >= 1, got {threads}")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def computing(threads: int) -> Iterator[None]:
    """Compute signals: without autograd, and without a warning where a person's numbers overflow.

    Args:
        threads: At least 1.

    Yields:
        Nothing. A person whose numbers are not finite contributes zero; a warning would tell of a row.
    """
    with torch_threads(threads), torch.inference_mode(), np.errstate(over="ignore", invalid="ignore"):
        yield


class BlockedPasses:
    """Forward and backward passes in fixed blocks, in buffers that every chunk of rows uses again.

    Fresh pages for each chunk would cost as much as the products. Only `computing` may surround its use.

    Attributes:
        forward, backward: Float32 input and backward signal of each layer for the rows of the last `run`,
            shape (rows, padded width).
        inputs, errors: The same in float64, which the sums are made of; ``errors`` have the true width.
        layers: (outputs, inputs) of each layer.
        size: Number p of parameters.
    """

    def __init__(self, parameters: FloatArray, layout: ModelLayout, *, rows: int) -> None:
        """Pad the parameters and take the buffers.

        Args:
            parameters: Shape (p,), float64, checked.
            layout: The model.
            rows: Most rows of a run, a multiple of `BLOCK_ROWS`.
        """
        arrays = list(layout.split(parameters).values())
        self.layers, self.size = layout.layers, layout.size
        self.weights = [_pad(array) for array in arrays[::2]]
        self.biases = [_pad(array) for array in arrays[1::2]]
        self.forward = [torch.empty(rows, weight.shape[1]) for weight in self.weights]
        self.backward = [torch.empty(rows, weight.shape[0]) for weight in self.weights]
        # Only the logit's column is ever written; its padding must be zero, all else is overwritten.
        self.backward[-1].zero_()
        self.inputs = [torch.empty(x.shape, dtype=torch.float64) for x in self.forward]
        self.errors = [torch.empty(rows, out, dtype=torch.float64) for out, _ in self.layers]
        self.labels = torch.zeros(rows)
        self._logits = torch.empty(BLOCK_ROWS, self.weights[-1].shape[0])

    def run(self, examples: Examples, start: int, stop: int) -> None:
        """Fill the buffers for rows ``start:stop``; rows past them are padding without meaning.

        Args:
            examples: Rows of the layout's width.
            start: First row.
            stop: One past the last row; at most ``rows`` more.

        Guarantees:
            Float32 signals of a row do not depend on the other rows, on its place or on the threads;
            `fedmed.models.row_independence` proves it for the library at hand.
        """
        count = stop - start
        used = padded(count, BLOCK_ROWS)
        self.forward[0][:used].zero_()
        examples.spread(start, stop, into=self.forward[0].numpy())
        self.labels[:count] = torch.from_numpy(examples.labels[start:stop].copy())
        for at in range(0, used, BLOCK_ROWS):
            self._block(slice(at, at + BLOCK_ROWS))
        for layer, (outputs, _) in enumerate(self.layers):
            self.inputs[layer][:used].copy_(self.forward[layer][:used])
            self.errors[layer][:used].copy_(self.backward[layer][:used, :outputs])

    def _block(self, rows: slice) -> None:
        """One block: float32, always the same shapes."""
        ahead = [x[rows] for x in self.forward]
        back = [x[rows] for x in self.backward]
        last = len(ahead) - 1
        for layer in range(last):
            torch.addmm(self.biases[layer], ahead[layer], self.weights[layer].T, out=ahead[layer + 1])
            ahead[layer + 1].relu_()
        torch.addmm(self.biases[last], ahead[last], self.weights[last].T, out=self._logits)
        # Contiguous first: on a strided column vector and scalar code could differ in the last bit.
        back[last][:, 0] = self._logits[:, 0].contiguous().sigmoid_().sub_(self.labels[rows])
        for layer in range(last, 0, -1):
            torch.mm(back[layer], self.weights[layer], out=back[layer - 1])
            back[layer - 1].mul_(ahead[layer] > 0)

    def squares(self, count: int) -> FloatArray:
        """Squared gradient norm of each of the first rows of the last run.

        Args:
            count: Rows.

        Returns:
            Shape (count,), float64: sum over layers of |e|^2 (|a|^2 + 1). Computed on whole blocks, so that
            a reduction over a single row does not take another way through the library.
        """
        used = padded(count, BLOCK_ROWS)
        total = torch.zeros(used, dtype=torch.float64)
        for inputs, errors in zip(self.inputs, self.errors, strict=True):
            wide = torch.linalg.vector_norm(inputs[:used], dim=1).square_().add_(1.0)
            total += torch.linalg.vector_norm(errors[:used], dim=1).square_().mul_(wide)
        squares: FloatArray = total[:count].numpy()
        return squares

    def gram_squares(self, starts: IntArray, lengths: IntArray, *, size: int) -> FloatArray:
        """Squared norm of the sum of each person's row gradients, by cross terms.

        Always `BLOCK_ROWS` / size persons at a time, each zero-padded to ``size`` rows: in products of
        changing shape a person's last bits would depend on how many others have as many rows.

        Args:
            starts: Shape (persons,), int64: first row of each person in the last run.
            lengths: Shape (persons,), int64: rows of each, 1 to ``size``.
            size: A power of two up to `BLOCK_ROWS`.

        Returns:
            Shape (persons,), float64: sum over layers and pairs of (e_r . e_s)(a_r . a_s + 1); rounding may
            take it just below zero.
        """
        batch = BLOCK_ROWS // size
        found = np.empty(starts.shape[0])
        for at in range(0, starts.shape[0], batch):
            some = slice(at, at + batch)
            missing = batch - starts[some].shape[0]
            first, count = (np.pad(values[some], (0, missing))[:, None] for values in (starts, lengths))
            used = np.arange(size) < count
            rows = np.where(used, first + np.arange(size), 0)
            found[some] = self._gram(torch.from_numpy(rows), torch.from_numpy(~used))[: batch - missing]
        return found

    def _gram(self, rows: torch.Tensor, empty: torch.Tensor) -> FloatArray:
        """One batch of fixed shape (persons, rows each); ``empty`` marks padding."""
        total = torch.zeros(rows.shape[0], rows.shape[1], rows.shape[1], dtype=torch.float64)
        for inputs, errors in zip(self.inputs, self.errors, strict=True):
            # Padding points at a row of somebody; filled, since 0 times that row's infinity is not 0.
            ours, signals = (x[rows].masked_fill_(empty[:, :, None], 0.0) for x in (errors, inputs))
            total += torch.bmm(ours, ours.mT) * (torch.bmm(signals, signals.mT) + 1.0)
        pairs: FloatArray = total.flatten(1).numpy()
        sums: FloatArray = pairs.sum(axis=1)
        return sums

    def product(self, start: int, stop: int) -> FloatArray:
        """Sum of the gradients of rows ``start:stop`` of the last run: each error times its input.

        Args:
            start: First row.
            stop: One past the last row.

        Returns:
            Shape (p,), float64, in the order of ``layout.shapes``.
        """
        parts: list[torch.Tensor] = []
        for (_, width), inputs, errors in zip(self.layers, self.inputs, self.errors, strict=True):
            ours = errors[start:stop]
            parts += [(ours.T @ inputs[start:stop])[:, :width].reshape(-1), ours.sum(dim=0)]
        joined: FloatArray = torch.cat(parts).numpy()
        return joined

    def scale(self, factors: FloatArray) -> None:
        """Multiply the errors of the first rows, so that `product` gives the clipped sum.

        Args:
            factors: Shape (rows of the last run,), float64. Rows with factor 0 are emptied, inputs too, as
                0 times infinity is not 0.
        """
        count = factors.shape[0]
        column = torch.from_numpy(factors)[:, None]
        silent = torch.from_numpy(np.flatnonzero(factors == 0.0))
        for inputs, errors in zip(self.inputs, self.errors, strict=True):
            errors[:count].mul_(column)
            if silent.shape[0]:
                errors.index_fill_(0, silent, 0.0)
                inputs.index_fill_(0, silent, 0.0)


def padded(count: int, step: int) -> int:
    """The least multiple of ``step`` that is at least ``count``."""
    return -(-count // step) * step


def _pad(array: FloatArray) -> torch.Tensor:
    """Float32 copy with every axis zero-padded to a multiple of the width step."""
    out = torch.zeros([padded(width, WIDTH_STEP) for width in array.shape])
    out[tuple(slice(width) for width in array.shape)] = torch.from_numpy(array.astype(np.float32))
    return out
