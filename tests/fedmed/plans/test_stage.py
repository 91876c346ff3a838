from __future__ import annotations

import tomllib
from dataclasses import replace

import pyarrow as pa
import pytest

from fedmed.errors import ConfigError
from fedmed.plans.stage import events_of, stage_of
from fedmed.protocol.schedule import schedule_for
from fedmed.study import study_from_document, to_toml
from fedmed.types import RoundKind
from tests.federation import AGGREGATIONS, EPSILON, SPARE_ATTEMPTS, small_study
from tests.small_question import small_question
from tests.small_regression import fitting

AGE = {"column": "age", "low": 0, "high": 100}
TIME = {"column": "month", "event": "died", "intervals": 12}
EVALUATED = {"data__held_out": 0.3, "report__evaluation_epsilon": 0.3}


@pytest.mark.slow
def test_every_round_has_one_kind_counted_through_all_stages() -> None:
    stages = schedule_for(small_study(**EVALUATED)).stages  # type: ignore[arg-type]  # keys of the file
    kinds = [stage_of(stages, number).kind for number in range(1, AGGREGATIONS + 2)]
    assert kinds == [RoundKind.TRAINING] * AGGREGATIONS + [RoundKind.EVALUATION]
    for beyond in (0, AGGREGATIONS + 2):
        with pytest.raises(ConfigError, match="round_number"):
            stage_of(stages, beyond)


@pytest.mark.slow
def test_plans_cost_what_their_stages_cost_and_spare_ones_the_most() -> None:
    stages = schedule_for(small_study(**EVALUATED)).stages  # type: ignore[arg-type]  # keys of the file
    training, evaluation = stages
    assert events_of(stages, 0) == ()
    assert events_of(stages, 2) == training.events(2)
    assert events_of(stages, AGGREGATIONS + 1) == (*training.events(AGGREGATIONS), *evaluation.events(1))
    costly = max((training, evaluation), key=lambda stage: 1 / stage.noise_multiplier)
    (event,) = (
        e for e in events_of(stages, AGGREGATIONS + 2) if e.noise_multiplier == costly.noise_multiplier
    )
    assert event.count == costly.rounds + 1


def test_exact_sums_cost_no_epsilon_and_need_no_noise() -> None:
    schedule = schedule_for(small_question())
    (stage,) = schedule.stages
    assert schedule.planned_events == events_of(schedule.stages, 2) == ()
    assert (stage.noise_multiplier, stage.layout.noise_scale, stage.layout.grid) == (0.0, 0.0, 1.0)
    with pytest.raises(ConfigError, match="noise and an event, or neither"):
        replace(stage, event=schedule_for(small_study()).stages[0].event)


@pytest.mark.slow
def test_a_reservation_pays_every_stage_with_all_spare_attempts() -> None:
    schedule = schedule_for(small_study(**EVALUATED))  # type: ignore[arg-type]  # keys of the file
    assert [event.count for event in schedule.planned_events] == [
        AGGREGATIONS + SPARE_ATTEMPTS,
        1 + SPARE_ATTEMPTS,
    ]
    assert schedule.epsilon == EPSILON


def test_an_audit_block_stands_behind_the_answer_and_leaves_the_noise_as_it_is() -> None:
    (bare,) = schedule_for(small_study()).stages
    (audited,) = schedule_for(small_study(audit__canaries=400)).stages  # type: ignore[arg-type]  # a key
    assert (bare.canaries, bare.answer_values) == (0, bare.layout.values)
    assert (audited.canaries, audited.answer_values) == (400, bare.answer_values)
    assert audited.layout == replace(bare.layout, values=bare.layout.values + 400)
    assert audited.event == bare.event
    with pytest.raises(ConfigError, match="behind the question's values"):
        replace(audited, canaries=audited.layout.values)


@pytest.mark.parametrize(
    ("kind", "section", "why"),
    [
        ("regression", {"family": "cox", "time": TIME, "terms": [AGE]}, "standard errors rest on"),
        ("survival", {"time": TIME}, "would be at risk twice"),
    ],
)
def test_rows_of_one_person_at_several_nodes_are_refused_with_reason_and_remedy(
    kind: str, section: dict[str, object], why: str
) -> None:
    nodes = {f"node{point}": pa.table({"x": [0] * 50}) for point in range(1, 5)}
    document = tomllib.loads(to_toml(fitting(kind, section, nodes)))
    document["privacy"]["max_nodes_per_person"] = 2
    with pytest.raises(ConfigError, match=rf"got 2: .*{why}.*where the person is insured"):
        schedule_for(study_from_document(document))
