from __future__ import annotations

import pytest

from fedmed.errors import ConfigError
from fedmed.privacy.accounting import epsilon
from fedmed.protocol.schedule import schedule_for
from tests.federation import EPSILON, small_study


@pytest.mark.slow
def test_training_and_evaluation_together_spend_the_studys_epsilon() -> None:
    spec = small_study(data__held_out=0.3, report__evaluation_epsilon=0.3)
    schedule = schedule_for(spec)
    training, evaluation = schedule.planned_events
    delta = schedule.accounted_delta
    assert 0.99 * EPSILON < epsilon([training, evaluation], delta) <= EPSILON
    assert 0.99 * 0.3 < epsilon([evaluation], delta) <= 0.3
    alone = schedule_for(small_study(data__held_out=0.3)).noise_multiplier
    assert training.noise_multiplier > alone, "training pays for the evaluation"


@pytest.mark.slow
def test_the_evaluation_sends_the_model_and_gets_two_rows_of_cells() -> None:
    spec = small_study(data__held_out=0.3, report__evaluation_epsilon=0.3, report__bins=7)
    training, evaluation = schedule_for(spec).stages
    assert evaluation.input_values == training.input_values == 3
    assert (evaluation.layout.values, evaluation.clip_norm, evaluation.rounds) == (14, 1.0, 1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"report__evaluation_epsilon": 1.0, "data__held_out": 0.3}, "below privacy.epsilon"),
        ({"report__evaluation_epsilon": 0.3, "data__held_out": 0.0}, "held-out"),
    ],
)
def test_an_evaluation_that_cannot_be_is_a_fault_of_the_file(change: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        small_study(**change)  # type: ignore[arg-type]  # keys of the study file
