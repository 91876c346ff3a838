"""The arms of a simulation: what each is trained on, and how it is scored."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from fedmed.aggregation.encoding import sensitivity
from fedmed.comparison import (
    TWIN_AGGREGATIONS,
    Bench,
    aggregate_twin,
    central_noise,
    judge,
    judge_alone,
    make_bench,
    mean_auc,
    plain_arm,
    private_arm,
    statistics_arm,
)
from fedmed.errors import DataContractError
from fedmed.models.score import probabilities, score
from fedmed.plans.training import model_of
from fedmed.protocol.schedule import schedule_for
from fedmed.study import StudySpec
from fedmed.types import Mode
from tests.federation import names, small_study

PERSONS, DECLARED = 120, 120


def study(nodes: int = 3, **changes: object) -> StudySpec:
    return small_study(
        nodes,
        data__held_out=0.3,
        data__declared_persons=dict.fromkeys(names(nodes), DECLARED),
        aggregation__clamp_persons=DECLARED,
        **changes,  # type: ignore[arg-type]
    )


def table(point: int, *, sick_from: float = 50.0) -> pa.Table:
    rng = np.random.default_rng(point)
    age = rng.uniform(0, 100, PERSONS)
    return pa.table(
        {
            "psn_no": [f"{point}-{i}" for i in range(PERSONS)],
            "age": age,
            "visits": rng.integers(0, 11, PERSONS).astype(np.float64),
            "sick": (age + rng.normal(0, 20, PERSONS) > sick_from).astype(np.int64),
        }
    )


def bench(spec: StudySpec | None = None, **tables: pa.Table) -> Bench:
    spec = spec or study()
    schedule = schedule_for(spec)
    rows = {node: table(point) for point, node in enumerate(spec.nodes, start=1)}
    return make_bench(spec, schedule, {**rows, **tables}, start=np.zeros(model_of(spec).size))


def test_training_and_held_out_persons_are_apart_and_complete() -> None:
    here = bench()
    for node in here.spec.nodes:
        assert here.train[node].persons + here.test[node].persons == PERSONS
        assert here.test[node].persons > 0


def test_the_headline_is_the_unweighted_mean_of_the_nodes() -> None:
    here = bench()
    parameters = np.array([2.0, 0.1, 0.0])
    arm = judge(here, parameters)
    model = here.model
    aucs = []
    for node, rows in here.test.items():
        expected = score(probabilities(parameters, model, rows), rows.labels)
        found = arm.per_node[node]
        assert (found.auc, found.average_precision) == (expected.auc, expected.average_precision)
        assert (found.persons, found.positives) == (rows.persons, int(rows.labels.sum()))
        aucs.append(expected.auc)
    assert arm.auc == pytest.approx(np.mean(aucs), abs=1e-15)
    assert arm.auc == pytest.approx(mean_auc(here, parameters), abs=1e-15)
    predicted = np.concatenate([probabilities(parameters, model, rows) for rows in here.test.values()])
    labels = np.concatenate([rows.labels for rows in here.test.values()])
    assert arm.auc_pooled_test == score(predicted, labels).auc


def test_a_model_of_its_own_has_no_pooled_score() -> None:
    here = bench()
    own = {node: np.array([1.0, 0.0, float(at)]) for at, node in enumerate(here.spec.nodes)}
    arm = judge_alone(here, own)
    assert arm.auc_pooled_test is None
    for node, parameters in own.items():
        assert arm.per_node[node] == judge(here, parameters).per_node[node]


def test_a_node_with_one_class_has_counts_but_no_score_and_is_left_out_of_the_mean() -> None:
    here = bench(node2=table(2, sick_from=1e9))
    arm = judge(here, np.array([1.0, 0.0, 0.0]))
    assert arm.per_node["node2"].auc is None
    assert (arm.per_node["node2"].positives, arm.per_node["node2"].persons) == (0, here.test["node2"].persons)
    others = [arm.per_node[node].auc for node in ("node1", "node3")]
    assert arm.auc == pytest.approx(np.mean([auc for auc in others if auc is not None]), abs=1e-15)


def test_no_node_with_two_classes_is_an_error_for_the_data_steward() -> None:
    healthy = {node: table(1, sick_from=1e9) for node in names(3)}
    with pytest.raises(DataContractError, match="both classes"):
        judge(bench(**healthy), np.zeros(3))


def test_calibration_bins_hold_all_rows_in_rising_order_and_never_few() -> None:
    for node in judge(bench(), np.array([3.0, 0.5, 0.0])).per_node.values():
        bins = node.calibration
        assert sum(b.persons or 0 for b in bins) == node.persons
        assert [b.predicted for b in bins] == sorted(b.predicted for b in bins)
        assert all((b.persons or 0) >= 18 for b in bins), "about twenty rows at least"
        assert all(0 <= b.observed <= 1 for b in bins)


def test_central_noise_is_one_curators_without_the_allowance() -> None:
    here = bench()
    spec, schedule = here.spec, here.schedule
    grid = schedule.layout.grid
    drawn = central_noise(spec, schedule, persons=DECLARED)(100_000)
    moved = sensitivity(spec.privacy.clip_norm, grid, values=schedule.layout.values, max_persons=DECLARED)
    scale = schedule.noise_multiplier * moved * grid
    # Five standard deviations of a sample deviation: a false alarm in less than one of 10^6 runs.
    assert drawn.std() == pytest.approx(scale, rel=5 / math.sqrt(2 * drawn.size))
    assert abs(drawn.mean()) < 5 * scale / math.sqrt(drawn.size)
    assert np.array_equal(drawn, np.round(drawn / grid) * grid), "noise lies on the grid"
    federated = schedule.layout.noise_scale * math.sqrt(schedule.allowance.planned_contributors)
    assert federated >= schedule.noise_multiplier * moved, "all shares together are no less"


def test_private_arms_never_repeat_and_watch_every_aggregation() -> None:
    here = bench()
    seen: list[int] = []
    first = private_arm(here, here.spec.nodes, watch=lambda n, p: seen.append(n))
    second = private_arm(here, here.spec.nodes)
    assert seen == list(range(1, here.spec.training.aggregations + 1))
    assert not np.array_equal(first, second)


@pytest.mark.slow
def test_plain_arms_repeat_exactly_and_beat_nothing() -> None:
    here = bench()
    first, second = plain_arm(here, here.spec.nodes), plain_arm(here, here.spec.nodes)
    assert np.array_equal(first, second)
    assert judge(here, first).auc > 0.8
    assert not np.array_equal(plain_arm(here, ["node1"]), first)


@pytest.mark.slow
def test_a_study_in_another_mode_is_compared_with_gradient_sums_at_its_epsilon() -> None:
    spec = study(privacy__mode="local")
    twin = aggregate_twin(spec)
    assert (twin.privacy.mode, twin.privacy.epsilon) == (Mode.AGGREGATE, spec.privacy.epsilon)
    assert (twin.training.aggregations, twin.local) == (TWIN_AGGREGATIONS, None)
    assert aggregate_twin(twin) is twin
    found = bench(spec)
    assert found.spec == twin
    assert found.schedule == schedule_for(twin)


@pytest.mark.slow
def test_the_arm_of_one_sum_is_a_logistic_model_whatever_the_study_trains() -> None:
    spec = study(model__kind="mlp", model__hidden=[3], privacy__epsilon=20.0)
    own = bench(spec)
    found = statistics_arm(own)
    assert found is not None
    assert found[1].kind == "logistic"
    assert judge(own, found[0], model=found[1]).auc > 0.8
