"""A node's half of mode ``statistics`` of a training study: bounded moments of its rows."""

from __future__ import annotations

from dataclasses import dataclass

from fedmed.analytics.moment_sums import clipped_moments
from fedmed.plans.stage import Stage
from fedmed.privacy.clipping import ClippedSum
from fedmed.study import TrainingStudy
from fedmed.types import FloatArray, RoundKind
from fedmed_nodes.answers.training import TrainingAnswerer, TrainingHalf
from fedmed_nodes.sources import RowSource


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutHalf:
    """A `fedmed_nodes.answers.contract.NodeHalf`."""

    spec: TrainingStudy

    def prove(self) -> None:
        """See `NodeHalf.prove`: only an evaluation computes more than sums of products."""
        if self.spec.report.evaluation_epsilon is not None:
            TrainingHalf(spec=self.spec).prove()

    def check_inputs(self, stage: Stage, inputs: FloatArray) -> None:
        """See `NodeHalf.check_inputs`: moments have no inputs."""
        if stage.kind is RoundKind.EVALUATION:
            TrainingHalf(spec=self.spec).check_inputs(stage, inputs)

    def read(self, source: RowSource) -> ReadoutAnswerer:
        """See `NodeHalf.read`."""
        return ReadoutAnswerer(training=TrainingHalf(spec=self.spec).read(source))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutAnswerer:
    """A `fedmed_nodes.answers.contract.Answerer`.

    Attributes:
        training: Rows, and the answer to an evaluation.
    """

    training: TrainingAnswerer

    def answer(self, stage: Stage, inputs: FloatArray) -> ClippedSum:
        """See `Answerer.answer`."""
        if stage.kind is RoundKind.EVALUATION:
            return self.training.answer(stage, inputs)
        return clipped_moments(self.training.training, row_norm=self.training.spec.privacy.clip_norm)
