"""The contract of a program: the coordinator's half of a kind of study, as a fold over opened sums.

A program sees what a coordinator sees anyway: noisy or exact sums, never a contribution. Its state is named
arrays, so that one store checkpoints every kind alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fedmed.aggregation.encoding import decode, decode_integers
from fedmed.plans.stage import Stage
from fedmed.types import FloatArray, IntArray, WordArray

Arrays = Mapping[str, npt.NDArray[Any]]
"""Named arrays of float64 or int64 (Any: a mapping holds both)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedSum:
    """One opened sum, decoded.

    Attributes:
        stage: The stage of its round.
        round_number: From 1, counted through all stages.
        values: Shape (stage.layout.values,): float64 with noise, int64 where sums are exact.
        contributors: Roster points in the sum, in order.
    """

    stage: Stage
    round_number: int
    values: FloatArray | IntArray
    contributors: tuple[int, ...]

    @property
    def answer(self) -> FloatArray | IntArray:
        """The values without an audit block, shape (stage.answer_values,)."""
        return self.values[: self.stage.answer_values]

    @property
    def block(self) -> FloatArray | IntArray:
        """The audit block, shape (stage.canaries,)."""
        return self.values[self.stage.answer_values :]


class Program(Protocol):
    """The coordinator's half of one study; pure, so a study that is resumed goes on exactly."""

    def begin(self) -> Arrays:
        """The state before the first round."""
        ...

    def inputs(self, state: Arrays, stage: Stage) -> bytes:
        """What the next round computes on, the same bytes for every node: little-endian float64 values.

        Args:
            state: The state before the round.
            stage: The round's stage; its ``input_values`` is the number of values.
        """
        ...

    def absorb(self, state: Arrays, opened: OpenedSum) -> Arrays:
        """The state after a round; ``state`` is left as it is."""
        ...

    def is_finished(self, state: Arrays) -> bool:
        """Whether no further round is wanted although the study has some left; they stay unspent."""
        ...

    def trace(self, state: Arrays) -> Arrays:
        """What to keep of the round that led to this state, for people who look at it later; may be empty."""
        ...

    def document(self, state: Arrays) -> Mapping[str, object]:
        """The result as JSON, from the final state: this is what the study's readers get."""
        ...


def decoded(fields: WordArray, stage: Stage, *, contributors: int) -> FloatArray | IntArray:
    """An opened sum of fields as its stage means it: floats with noise, integers to the last unit without.

    Raises:
        OpeningOutOfBounds: a field is larger than that many contributors can make it.
    """
    if stage.event is None and stage.layout.grid == 1.0:
        return decode_integers(fields, stage.layout, contributors)
    return decode(fields, stage.layout, contributors)


def same_bytes(values: FloatArray) -> bytes:
    """Inputs as they travel: little-endian float64, equal on every machine."""
    return np.ascontiguousarray(values, dtype="<f8").tobytes()
