"""Training: an optimiser step for each opened gradient sum, then the counts of the evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fedmed.plans.stage import Stage
from fedmed.plans.training import LABELS, model_of
from fedmed.programs.contract import Arrays, OpenedSum, same_bytes
from fedmed.study import TrainingStudy
from fedmed.training.optimiser import OptimiserState, begin, step
from fedmed.types import FloatArray, RoundKind

PARAMETERS = "parameters"
VELOCITY = "velocity"
SCORE_COUNTS = "score_counts"
"""Name of the evaluation's result: noisy counts of held-out persons, shape (2, bins), by label and score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProgram:
    """A `fedmed.programs.contract.Program`.

    Attributes:
        spec: The study.
        study_digest: Seeds the public initial values.
    """

    spec: TrainingStudy
    study_digest: bytes

    def begin(self) -> Arrays:
        """See `Program.begin`: public initial parameters, no velocity."""
        return _arrays(begin(model_of(self.spec).initial(self.study_digest)))

    def inputs(self, state: Arrays, stage: Stage) -> bytes:
        """See `Program.inputs`: the parameters, in training as in evaluation."""
        del stage
        return same_bytes(state[PARAMETERS])

    def absorb(self, state: Arrays, opened: OpenedSum) -> Arrays:
        """See `Program.absorb`.

        The divisor is the public number of training persons of the nodes in the sum, never a count of rows.
        """
        if opened.stage.kind is RoundKind.EVALUATION:
            return {**state, SCORE_COUNTS: opened.values.astype(np.float64).reshape(LABELS, -1)}
        before = OptimiserState(parameters=state[PARAMETERS], velocity=state[VELOCITY])
        after = step(
            before,
            opened.answer.astype(np.float64),
            persons=sum(self.spec.training_persons(self.spec.nodes[p - 1]) for p in opened.contributors),
            learning_rate=self.spec.training.learning_rate,
            momentum=self.spec.training.momentum,
        )
        return _arrays(after)

    def is_finished(self, state: Arrays) -> bool:
        """See `Program.is_finished`: all planned rounds are done."""
        del state
        return False

    def trace(self, state: Arrays) -> Arrays:
        """See `Program.trace`: the parameters after each training round."""
        return {} if SCORE_COUNTS in state else {PARAMETERS: state[PARAMETERS]}

    def document(self, state: Arrays) -> Mapping[str, object]:
        """See `Program.document`: the evaluation's counts; the model itself is a file of its own."""
        if SCORE_COUNTS not in state:
            return {}
        counts: FloatArray = state[SCORE_COUNTS]
        return {SCORE_COUNTS: counts.tolist()}


def _arrays(state: OptimiserState) -> Arrays:
    """An optimiser's state by name."""
    return {PARAMETERS: state.parameters, VELOCITY: state.velocity}
