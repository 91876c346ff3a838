"""A node's answer in mode `statistics` of a training study."""

from __future__ import annotations

import numpy as np
import pytest

from fedmed.analytics.moments import moment_values
from fedmed.errors import ParametersUnfit
from fedmed.protocol.schedule import schedule_for
from fedmed_nodes.answers.by_kind import half_for
from tests.federation import PERSONS, small_source, small_study

SPEC = small_study(
    privacy__mode="statistics",
    training__aggregations=1,
    privacy__clip_norm=9.0,
    data__held_out=0.3,
    report__evaluation_epsilon=0.3,
)


@pytest.mark.slow
def test_a_node_sends_moments_and_then_score_counts() -> None:
    moments, evaluation = schedule_for(SPEC).stages
    half = half_for(SPEC)
    ready = half.read(small_source(2))
    answer = ready.answer(moments, np.zeros(0))
    assert answer.values.shape == (moment_values(2),) == (moments.layout.values,)
    assert answer.clip_norm <= moments.clip_norm
    counts = ready.answer(evaluation, np.zeros(3))
    assert answer.values[5] + counts.values.sum() == pytest.approx(PERSONS), "training and held-out persons"
    half.check_inputs(moments, np.zeros(0))
    with pytest.raises(ParametersUnfit):
        half.check_inputs(evaluation, np.full(3, 2.0**41))
