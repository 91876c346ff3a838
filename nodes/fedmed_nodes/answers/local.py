"""A node's half of mode ``local``: local steps with the whole noise, then one bounded, weighted update."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fedmed.errors import ConfigError
from fedmed.models.layout import PersonClip
from fedmed.plans.local import local_table, node_weight
from fedmed.plans.stage import Stage
from fedmed.plans.training import model_of
from fedmed.privacy.clipping import ClippedSum, clip_update
from fedmed.privacy.noise import ByteSource, fresh_source
from fedmed.study import TrainingStudy, training_share
from fedmed.training.local import LocalSteps, local_update
from fedmed.types import FloatArray, RoundKind
from fedmed_nodes.answers.training import TrainingAnswerer, TrainingHalf
from fedmed_nodes.sources import RowSource


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalHalf:
    """A `fedmed_nodes.answers.contract.NodeHalf`.

    Attributes:
        spec: The study.
        noise: Opens a fresh stream for the batches and the noise of one answer.
    """

    spec: TrainingStudy
    noise: Callable[[], ByteSource] = field(default=fresh_source, repr=False)

    def prove(self) -> None:
        """See `NodeHalf.prove`: rows must not touch each other on this machine."""
        self._training.prove()

    def check_inputs(self, stage: Stage, inputs: FloatArray) -> None:
        """See `NodeHalf.check_inputs`: parameters of the model, not too large."""
        self._training.check_inputs(stage, inputs)

    def read(self, source: RowSource) -> LocalAnswerer:
        """See `NodeHalf.read`."""
        persons = training_share(source.declared_persons, self.spec.data.held_out)
        training = self._training.read(source)
        return LocalAnswerer(training=training, persons=persons, noise=self.noise)

    @property
    def _training(self) -> TrainingHalf:
        """Rows, proof and evaluation are those of mode ``aggregate``."""
        return TrainingHalf(spec=self.spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalAnswerer:
    """A `fedmed_nodes.answers.contract.Answerer`.

    Attributes:
        training: Rows, and the answer to an evaluation.
        persons: Declared number of persons that train here.
        noise: As `LocalHalf.noise`.
    """

    training: TrainingAnswerer
    persons: int
    noise: Callable[[], ByteSource] = field(repr=False)

    def answer(self, stage: Stage, inputs: FloatArray) -> ClippedSum:
        """See `Answerer.answer`: the update has its noise already, so its bound protects nobody.

        Asked again for another attempt, it is trained again on fresh batches with fresh noise, which the
        ledger charges again.
        """
        if stage.kind is RoundKind.EVALUATION:
            return self.training.answer(stage, inputs)
        spec = self.training.spec
        update = local_update(inputs, self.training.training, local=self._steps(stage), source=self.noise())
        weight = node_weight(spec, self.persons)
        return clip_update(update, clip_norm=stage.clip_norm, weight=weight)

    def _steps(self, stage: Stage) -> LocalSteps:
        """Settings of the round; noise and grid are those that the stage charges for."""
        spec = self.training.spec
        if stage.local is None:
            raise ConfigError("a round of mode local needs a stage with noise inside the answers")
        return LocalSteps(
            layout=model_of(spec),
            clip=PersonClip(norm=stage.local.clip_norm, rows=spec.training.rows_of_a_person),
            steps=stage.local.steps,
            sample_rate=local_table(spec).sample_rate,
            persons=max(1, self.persons),
            learning_rate=spec.training.learning_rate,
            momentum=spec.training.momentum,
            grid=stage.local.grid,
            noise_scale=stage.local.scale,
        )
