"""Examples of one node: rows grouped by person, dense numbers beside sparse codes.

Codes stay sparse and are spread out block by block, so memory grows with what a row holds and not with
the width of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmed.types import FloatArray, IntArray, require

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Rows of one node, sorted so that the rows of a person are neighbours.

    Attributes:
        dense: Shape (rows, dense inputs), float32, values in [-1, 1] or 0/1.
        code_starts: Shape (rows + 1,), int64: codes of row r are ``codes[code_starts[r]:code_starts[r+1]]``.
        codes: Shape (codes in all,), int32, each in [0, code_inputs), distinct within a row.
        code_inputs: Inputs that the codes take, after the dense ones (0 = none).
        labels: Shape (rows,), float32, 0 or 1.
        person_starts: Shape (persons + 1,), int64: rows of person p are
            ``person_starts[p]:person_starts[p+1]``; every person has at least one row.
    """

    dense: Float32Array
    code_starts: IntArray
    codes: npt.NDArray[np.int32]
    code_inputs: int
    labels: Float32Array
    person_starts: IntArray

    def __post_init__(self) -> None:
        rows = self.dense.shape[0]
        require(self.labels.shape == (rows,), "labels must have one value a row")
        require(self.code_starts.shape == (rows + 1,), "code_starts must have rows + 1 values")
        ends = (int(self.person_starts[0]), int(self.person_starts[-1]))
        require(ends == (0, rows), "person_starts must run from 0 to the number of rows")
        require(bool(np.all(np.diff(self.person_starts) > 0)), "every person needs a row")
        for array in (self.dense, self.code_starts, self.codes, self.labels, self.person_starts):
            array.setflags(write=False)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.dense.shape[0])

    @property
    def persons(self) -> int:
        """Number of persons."""
        return int(self.person_starts.shape[0]) - 1

    @property
    def inputs(self) -> int:
        """Width of the model's input: dense inputs, then codes."""
        return int(self.dense.shape[1]) + self.code_inputs

    def block(self, start: int, stop: int, *, rows: int, width: int) -> Float32Array:
        """Spread rows ``start:stop`` into a zero-padded block of fixed shape.

        Args:
            start: First row.
            stop: One past the last row; at most ``start + rows``.
            rows: Rows of the block.
            width: Columns of the block; at least ``inputs``.

        Returns:
            Shape (rows, width), float32; padding is zero.
        """
        out = np.zeros((rows, width), dtype=np.float32)
        self.spread(start, stop, into=out)
        return out

    def spread(self, start: int, stop: int, *, into: Float32Array) -> None:
        """Write rows ``start:stop`` into the top left corner of a zeroed block that the caller owns.

        A caller with many blocks reuses one buffer: fresh pages cost more than the spreading.

        Args:
            start: First row.
            stop: One past the last row; at most ``start + into.shape[0]``.
            into: Shape (at least stop - start, at least ``inputs``), float32, all zero.
        """
        count, dense = stop - start, self.dense.shape[1]
        into[:count, :dense] = self.dense[start:stop]
        if self.code_inputs:
            spans = self.code_starts[start : stop + 1]
            at = np.repeat(np.arange(count), np.diff(spans))
            into[at, dense + self.codes[spans[0] : spans[-1]]] = 1.0

    def matrix(self) -> FloatArray:
        """All rows spread out, shape (rows, inputs), float64; for small tests and baselines only."""
        return self.block(0, self.rows, rows=self.rows, width=self.inputs).astype(np.float64)


def concatenate(parts: Sequence[Examples]) -> Examples:
    """Pool the examples of several nodes, for arms of a simulation that a deployment cannot run.

    Args:
        parts: At least one; all with equal dense and code widths.

    Returns:
        All rows, part after part. Persons stay apart even where two parts hold the same person: the
        home-node rule says that this does not happen.

    Raises:
        ConfigError: no parts, or the widths differ.
    """
    require(len(parts) > 0, "concatenate needs at least one part")
    widths = {(part.dense.shape[1], part.code_inputs) for part in parts}
    require(len(widths) == 1, f"parts must have equal (dense, code) widths, got {sorted(widths)}")
    return Examples(
        dense=np.concatenate([part.dense for part in parts]),
        code_starts=_joined_starts([part.code_starts for part in parts]),
        codes=np.concatenate([part.codes for part in parts]),
        code_inputs=parts[0].code_inputs,
        labels=np.concatenate([part.labels for part in parts]),
        person_starts=_joined_starts([part.person_starts for part in parts]),
    )


def chosen_persons(examples: Examples, persons: IntArray) -> Examples:
    """The rows of some persons, person after person.

    Args:
        examples: Rows of a node.
        persons: Positions of persons in ``examples``, int64; may be none.

    Returns:
        Copies of their rows, in the order of ``persons``.
    """
    rows, person_starts = _gathered(examples.person_starts, persons)
    places, code_starts = _gathered(examples.code_starts, rows)
    return Examples(
        dense=examples.dense[rows],
        code_starts=code_starts,
        codes=examples.codes[places],
        code_inputs=examples.code_inputs,
        labels=examples.labels[rows],
        person_starts=person_starts,
    )


def _gathered(starts: IntArray, chosen: IntArray) -> tuple[IntArray, IntArray]:
    """Places of the entries of the chosen lists, list after list, and where each list then starts."""
    sizes = np.diff(starts)[chosen]
    after = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes, dtype=np.int64)])
    places = np.arange(after[-1]) + np.repeat(starts[chosen] - after[:-1], sizes)
    return places, after


def _joined_starts(starts: Sequence[IntArray]) -> IntArray:
    """Offsets of the pooled lists; each list of offsets begins with 0 and ends with its count."""
    sizes = np.concatenate([np.diff(part) for part in starts])
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes, dtype=np.int64)])
