"""The contract of an answer: the province's half of a kind of study.

The custodian checks plans, debits, adds noise, encodes and encrypts without knowing what is computed. All
that it needs is a sum that carries the bound of one person's part, which this half promises.

Threat model: the inputs come from the coordinator and may be chosen to single out a row. They are checked
before the debit and before a row is read; after that no value of a row may decide whether an answer comes.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from fedmed.plans.stage import Stage
from fedmed.privacy.canaries import BoolArray
from fedmed.privacy.clipping import ClippedSum
from fedmed.types import FloatArray
from fedmed_nodes.sources import RowSource


class Answerer(Protocol):
    """Rows that were read, ready to answer every round of one study."""

    def answer(self, stage: Stage, inputs: FloatArray) -> ClippedSum:
        """This node's sum before noise.

        Args:
            stage: What the round computes.
            inputs: Shape (stage.input_values,), checked by `NodeHalf.check_inputs`.

        Returns:
            Shape (stage.answer_values,).

        Guarantees:
            Taking one person away moves the sum by at most its ``clip_norm`` in L2, whatever the rows and
            the inputs hold; that is at most ``stage.clip_norm``. No value of a row decides whether the call
            succeeds.
        """
        ...


@runtime_checkable
class AuditedAnswerer(Answerer, Protocol):
    """An answerer whose sums may carry an audit block."""

    def with_canaries(self, answer: ClippedSum, present: BoolArray, *, own: slice) -> ClippedSum:
        """Set the node's canaries behind its answer.

        Args:
            answer: Shape (stage.answer_values,).
            present: Shape (stage.canaries,), bool: which of this node's canaries take part; nobody else's.
            own: This node's coordinates of the block.

        Returns:
            Shape (stage.layout.values,), with the answer's bound.

        Guarantees:
            Canaries are bounded by the very function that bounds persons; none touches the answer.
        """
        ...


class NodeHalf(Protocol):
    """What a node does for one study."""

    def prove(self) -> None:
        """Prove what must hold of this machine, without rows; raises an error when it does not."""
        ...

    def check_inputs(self, stage: Stage, inputs: FloatArray) -> None:
        """Refuse inputs that must not be computed with, before anything is charged or read.

        Args:
            stage: What the round computes.
            inputs: Shape (stage.input_values,), finite.

        Raises:
            ParametersUnfit: they must not be used.
        """
        ...

    def read(self, source: RowSource) -> Answerer:
        """Read the rows, once a process.

        Raises:
            DataContractError: the table does not hold what the study needs; decided by columns and types,
                by changed contents or by more persons than declared, never by a single value.
            StoreFailed: the place where the rows lie cannot be reached.
        """
        ...
