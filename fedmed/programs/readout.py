"""Mode ``statistics`` of a training study at the coordinator: a model from one opened sum of moments."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fedmed.analytics.moments import logistic_from_moments
from fedmed.plans.stage import Stage
from fedmed.programs.contract import Arrays, OpenedSum
from fedmed.programs.training import PARAMETERS, TrainingProgram
from fedmed.types import RoundKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutProgram:
    """A `fedmed.programs.contract.Program`.

    Attributes:
        training: The same study's program of mode ``aggregate``: model, evaluation and result are alike.
    """

    training: TrainingProgram

    def begin(self) -> Arrays:
        """See `Program.begin`: a model that says the same of everybody."""
        return {PARAMETERS: self.training.begin()[PARAMETERS]}

    def inputs(self, state: Arrays, stage: Stage) -> bytes:
        """See `Program.inputs`: moments are computed on nothing but rows, an evaluation on the model."""
        return self.training.inputs(state, stage) if stage.input_values else b""

    def absorb(self, state: Arrays, opened: OpenedSum) -> Arrays:
        """See `Program.absorb`."""
        if opened.stage.kind is RoundKind.EVALUATION:
            return self.training.absorb(state, opened)
        layout = opened.stage.layout
        found = logistic_from_moments(
            opened.values.astype(np.float64),
            inputs=self.training.spec.dataset_spec.inputs,
            noise_std=layout.noise_scale * layout.grid * math.sqrt(len(opened.contributors)),
        )
        return {PARAMETERS: found}

    def is_finished(self, state: Arrays) -> bool:
        """See `Program.is_finished`: all planned rounds are done."""
        return self.training.is_finished(state)

    def trace(self, state: Arrays) -> Arrays:
        """See `Program.trace`: the model."""
        return self.training.trace(state)

    def document(self, state: Arrays) -> Mapping[str, object]:
        """See `Program.document`."""
        return self.training.document(state)
