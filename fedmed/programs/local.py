"""Mode ``local`` at the coordinator: the mean of the nodes' updates, then a step of the server's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fedmed.plans.local import local_table, node_weight
from fedmed.plans.stage import Stage
from fedmed.programs.contract import Arrays, OpenedSum
from fedmed.programs.training import PARAMETERS, TrainingProgram
from fedmed.study.modes import LocalTable
from fedmed.training.optimiser import AdamState, adam_step
from fedmed.types import RoundKind

FIRST_MOMENT = "first_moment"
SECOND_MOMENT = "second_moment"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalProgram:
    """A `fedmed.programs.contract.Program`.

    Attributes:
        training: The same study's program of mode ``aggregate``: model, evaluation and result are alike.
    """

    training: TrainingProgram

    def begin(self) -> Arrays:
        """See `Program.begin`: public initial parameters."""
        parameters = self.training.begin()[PARAMETERS]
        state = {PARAMETERS: parameters}
        if self._table.server == "adam":
            state |= {FIRST_MOMENT: np.zeros_like(parameters), SECOND_MOMENT: np.zeros_like(parameters)}
        return state

    def inputs(self, state: Arrays, stage: Stage) -> bytes:
        """See `Program.inputs`: the parameters."""
        return self.training.inputs(state, stage)

    def absorb(self, state: Arrays, opened: OpenedSum) -> Arrays:
        """See `Program.absorb`: the mean is weighted by public numbers of persons, never by rows."""
        if opened.stage.kind is RoundKind.EVALUATION:
            return self.training.absorb(state, opened)
        spec, table = self.training.spec, self._table
        nodes = [spec.nodes[point - 1] for point in opened.contributors]
        weight = sum(node_weight(spec, spec.training_persons(node)) for node in nodes)
        update = opened.values.astype(np.float64) / weight
        if table.server == "average":
            return {PARAMETERS: state[PARAMETERS] + table.server_learning_rate * update}
        before = AdamState(
            parameters=state[PARAMETERS], first=state[FIRST_MOMENT], second=state[SECOND_MOMENT]
        )
        after = adam_step(before, update, learning_rate=table.server_learning_rate)
        return {PARAMETERS: after.parameters, FIRST_MOMENT: after.first, SECOND_MOMENT: after.second}

    def is_finished(self, state: Arrays) -> bool:
        """See `Program.is_finished`: all planned rounds are done."""
        return self.training.is_finished(state)

    def trace(self, state: Arrays) -> Arrays:
        """See `Program.trace`: the parameters after each training round."""
        return self.training.trace(state)

    def document(self, state: Arrays) -> Mapping[str, object]:
        """See `Program.document`."""
        return self.training.document(state)

    @property
    def _table(self) -> LocalTable:
        """``[local]`` of the study."""
        return local_table(self.training.spec)
