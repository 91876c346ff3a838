"""What mode `local` costs, and where its noise is."""

from __future__ import annotations

import pytest

from fedmed.errors import ConfigError
from fedmed.plans.local import local_table, node_weight
from fedmed.privacy.accounting import epsilon
from fedmed.protocol.schedule import schedule_for
from tests.federation import AGGREGATIONS, EPSILON, SPARE_ATTEMPTS, names, small_study

LOCAL = {"privacy__mode": "local", "local__steps": 3, "local__sample_rate": 0.5}


@pytest.mark.slow
def test_every_local_step_is_charged_and_the_plan_spends_its_epsilon() -> None:
    schedule = schedule_for(small_study(**LOCAL))  # type: ignore[arg-type]  # keys of the study file
    (event,) = schedule.planned_events
    assert (event.count, event.sample_rate) == (3 * (AGGREGATIONS + SPARE_ATTEMPTS), 0.5)
    assert 0.99 * EPSILON < epsilon([event], schedule.accounted_delta) <= EPSILON


def test_the_noise_is_inside_the_answer_and_needs_nobody_else() -> None:
    schedule = schedule_for(small_study(**LOCAL))  # type: ignore[arg-type]
    (stage,) = schedule.stages
    assert stage.layout.noise_scale == 0
    assert stage.local is not None
    assert stage.local.scale == pytest.approx(stage.noise_multiplier * (4096 + 3**0.5), rel=1e-3)
    assert schedule.fallback_epsilon() == epsilon(schedule.planned_events, schedule.accounted_delta)


@pytest.mark.slow
@pytest.mark.parametrize("homes", [2, 4])
def test_a_person_at_several_nodes_is_charged_at_each(homes: int) -> None:
    one = schedule_for(small_study(**LOCAL)).stages[0]  # type: ignore[arg-type]
    spec = small_study(**LOCAL, privacy__max_nodes_per_person=homes)  # type: ignore[arg-type]
    schedule = schedule_for(spec)
    (several,) = schedule.stages
    assert several.event is not None
    assert several.local is not None
    assert (several.event.count, several.local.steps) == (3 * homes, 3)
    assert several.noise_multiplier > one.noise_multiplier
    assert epsilon(schedule.planned_events, schedule.accounted_delta) <= EPSILON


@pytest.mark.slow
def test_an_evaluation_is_paid_for_beside_the_steps() -> None:
    spec = small_study(**LOCAL, data__held_out=0.3, report__evaluation_epsilon=0.3)  # type: ignore[arg-type]
    schedule = schedule_for(spec)
    assert 0.99 * EPSILON < epsilon(schedule.planned_events, schedule.accounted_delta) <= EPSILON
    assert schedule.fallback_epsilon() > EPSILON, "the evaluation's noise is shared"


def test_a_node_weighs_as_much_as_its_declared_persons() -> None:
    spec = small_study(**LOCAL, data__declared_persons=dict(zip(names(4), (10, 20, 30, 40), strict=True)))  # type: ignore[arg-type]
    assert [node_weight(spec, spec.training_persons(n)) for n in spec.nodes] == [0.25, 0.5, 0.75, 1.0]


def test_only_a_local_study_has_local_steps() -> None:
    with pytest.raises(ConfigError, match="local"):
        local_table(small_study())
