"""A node's half of training: clipped gradient sums, and score counts of held-out persons."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from fedmed.data.examples import Examples
from fedmed.models.canary_rows import ClipSum, canary_sum
from fedmed.models.gradients import clipped_gradient_sum
from fedmed.models.layout import ModelLayout, PersonClip, check_parameters
from fedmed.models.row_independence import prove_row_independence
from fedmed.models.score_counts import score_counts
from fedmed.plans.stage import Stage
from fedmed.plans.training import model_of, person_clip
from fedmed.privacy.canaries import BoolArray
from fedmed.privacy.clipping import ClippedSum
from fedmed.study import TrainingStudy
from fedmed.types import FloatArray, RoundKind
from fedmed_nodes.gathering import gather
from fedmed_nodes.sources import RowSource, require_declared


@functools.lru_cache(maxsize=32)
def prove_once(model: ModelLayout) -> None:
    """Prove once a process that rows do not touch each other; the machine does not change meanwhile.

    Raises:
        RowsNotIndependent: this machine must not train such a model; asked again, it is tried again.
    """
    prove_row_independence(model, threads=1)


def _clipped(parameters: FloatArray, rows: Examples, model: ModelLayout, clip: PersonClip) -> ClippedSum:
    """The kernel, as `ClipSum` names it."""
    return clipped_gradient_sum(parameters, rows, layout=model, clip=clip)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingHalf:
    """A `fedmed_nodes.answers.contract.NodeHalf`."""

    spec: TrainingStudy

    def prove(self) -> None:
        """See `NodeHalf.prove`: rows must not touch each other on this machine."""
        prove_once(model_of(self.spec))

    def check_inputs(self, stage: Stage, inputs: FloatArray) -> None:
        """See `NodeHalf.check_inputs`: parameters of the model, not too large."""
        del stage
        check_parameters(inputs, model_of(self.spec))

    def read(self, source: RowSource) -> TrainingAnswerer:
        """See `NodeHalf.read`: training rows, and held-out ones if the study evaluates."""
        training = source.training_examples(self.spec.dataset_spec)
        return TrainingAnswerer(spec=self.spec, training=training, held_out=self._held_out(source))

    def _held_out(self, source: RowSource) -> Examples | None:
        """Rows of held-out persons if the study evaluates."""
        if self.spec.report.evaluation_epsilon is None:
            return None
        with source.chunks(self.spec.columns) as chunks:
            found = gather(chunks, self.spec.dataset_spec, part="test")
        return require_declared(found, source.declared_persons)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingAnswerer:
    """A `fedmed_nodes.answers.contract.Answerer`.

    Attributes:
        spec: The study.
        training: Rows of the persons that train.
        held_out: Rows of the others; None where the study does not evaluate.
        clip_sum: What sums clipped gradients, of persons and of canaries alike.
    """

    spec: TrainingStudy
    training: Examples
    held_out: Examples | None
    clip_sum: ClipSum = _clipped

    @property
    def _clip(self) -> PersonClip:
        """The bound of one person, real or made up."""
        return person_clip(self.spec)

    def answer(self, stage: Stage, inputs: FloatArray) -> ClippedSum:
        """See `Answerer.answer`."""
        model = model_of(self.spec)
        if stage.kind is RoundKind.EVALUATION and self.held_out is not None:
            return score_counts(inputs, self.held_out, layout=model, bins=self.spec.report.bins)
        return self.clip_sum(inputs, self.training, model, self._clip)

    def with_canaries(self, answer: ClippedSum, present: BoolArray, *, own: slice) -> ClippedSum:
        """See `AuditedAnswerer.with_canaries`."""
        block = np.zeros(len(present))
        block[own] = canary_sum(present[own], clip=self._clip, clip_sum=self.clip_sum)
        return ClippedSum(values=np.concatenate([answer.values, block]), clip_norm=answer.clip_norm)
