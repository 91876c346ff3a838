"""Puts a run's result together from what the federated part gave."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from fedmed.outcome import FOLDER_MODE, FederatedRun, make_result, write_run
from fedmed.phase_record import PhaseTotals
from fedmed.plans.training import model_of
from fedmed.privacy.accounting import epsilon, fallback_epsilon
from fedmed.protocol.schedule import Schedule, schedule_for
from fedmed.report.result import Arm, Arms, CurvePoint, NodeScore, Result
from fedmed.study import StudySpec, load_study
from fedmed.types import PrivacyEvent, Scheme
from tests.federation import small_study

NOW = datetime.datetime(2026, 3, 2, 9, 0, tzinfo=datetime.UTC)
PLANS = 4


def federated_run(spec: StudySpec, schedule: Schedule) -> FederatedRun:
    """Three aggregations in four attempts; node 2 fell out after the first."""
    event = PrivacyEvent(noise_multiplier=schedule.noise_multiplier, count=PLANS)
    values = np.arange(model_of(spec).size, dtype=np.float64)
    return FederatedRun(
        state={"parameters": values},
        history=(values - 2, values - 1, values),
        contributors=(spec.nodes, ("node1", "node3", "node4"), ("node1", "node3", "node4")),
        plans=PLANS,
        lost=(("node2", 2, "contribute"),),
        totals={
            "ceremony": PhaseTotals(seconds=1.0, down=1000, up=2000),
            "contribute": PhaseTotals(seconds=2.0, down=300, up=480),
            "open": PhaseTotals(seconds=0.5, down=96, up=240),
        },
        seconds=4.0,
        epsilon_spent=epsilon([event], schedule.accounted_delta),
    )


def made(scheme: Scheme = Scheme.THRESHOLD) -> tuple[StudySpec, Schedule, FederatedRun, Result]:
    spec = small_study(4, scheme=scheme)
    schedule = schedule_for(spec)
    run = federated_run(spec, schedule)
    scores = NodeScore(persons=3, positives=1, auc=0.7, average_precision=0.5, expected_over_observed=1.0)
    arm = Arm(
        auc=0.7,
        average_precision=0.5,
        expected_over_observed=1.0,
        per_node=dict.fromkeys(spec.nodes, scores),
    )
    result = make_result(
        spec,
        schedule,
        run,
        arms=Arms(federated=arm),
        curve=(CurvePoint(aggregation=1, federated=0.6),),
        seconds={"baselines": 0.25, "total": 5.0},
        now=NOW,
    )
    return spec, schedule, run, result


def test_privacy_says_planned_spent_and_what_is_left_when_all_others_collude() -> None:
    spec, schedule, run, result = made()
    spent = [PrivacyEvent(noise_multiplier=schedule.noise_multiplier, count=PLANS)]
    privacy = result.privacy
    assert (privacy.epsilon, privacy.epsilon_spent) == (spec.privacy.epsilon, run.epsilon_spent)
    assert privacy.fallback_epsilon == fallback_epsilon(
        spent, schedule.accounted_delta, honest_contributors=schedule.allowance.honest_contributors
    )
    assert privacy.fallback_epsilon > privacy.epsilon_spent
    assert privacy.epsilon_rdp is not None
    assert privacy.epsilon_rdp >= privacy.epsilon_spent, "the looser accountant never promises more"
    assert (privacy.dropouts, privacy.colluders, privacy.unit) == (1, 1, "person")
    assert privacy.delta == spec.privacy.delta


def test_the_aggregation_part_counts_attempts_sets_and_bytes() -> None:
    _, schedule, _, result = made()
    part = result.aggregation
    assert (part.nodes, part.threshold, part.aggregations, part.attempts) == (4, 3, 3, PLANS)
    assert part.contributors == (("node1", "node2", "node3", "node4"), ("node1", "node3", "node4"))
    assert [(n.node, n.aggregation, n.phase) for n in part.lost_nodes] == [("node2", 2, "contribute")]
    moved = schedule.layout.values * PLANS * 4
    assert part.bytes_up_per_value == (480 + 240) / moved
    assert part.bytes_down_per_value == (300 + 96) / moved
    assert part.bytes_total == 1000 + 2000 + 300 + 480 + 96 + 240
    assert part.margin_bits is not None
    assert part.margin_bits > 1


def test_scheme_plain_has_no_threshold_and_no_margin() -> None:
    *_, result = made(Scheme.PLAIN)
    assert result.aggregation.threshold == 0
    assert result.aggregation.margin_bits is None


def test_scheme_ckks_has_a_threshold_of_answers_and_the_margin_of_its_set() -> None:
    *_, result = made(Scheme.CKKS)
    assert (result.aggregation.threshold, result.aggregation.parameter_set) == (3, "ckks400")
    assert (result.aggregation.margin_bits or 0) > 1


def test_seconds_and_phases_add_up_to_the_federated_part() -> None:
    _, _, run, result = made()
    assert [p.phase for p in result.phases] == ["ceremony", "contribute", "open", "combine", "baselines"]
    assert result.seconds["combine"] == pytest.approx(0.5)
    assert sum(p.seconds for p in result.phases[:-1]) == pytest.approx(run.seconds)
    assert result.seconds["total"] == 5.0


def test_nodes_stand_in_roster_order_with_their_points() -> None:
    spec, *_, result = made()
    assert [(n.key, n.point) for n in result.nodes] == [(node, at) for at, node in enumerate(spec.nodes, 1)]
    assert result.created == "2026-03-02T09:00:00+00:00"
    assert {"fedmed", "flwr", "torch", "tenseal", "python"} <= set(result.versions)


def test_the_written_folder_reads_back(tmp_path: Path) -> None:
    spec, _, run, result = made()
    folder = tmp_path / "deep" / "run"
    write_run(folder, spec, result, parameters=run.parameters, model=model_of(spec), seed=7)
    assert Result.from_json((folder / "result.json").read_text()) == result
    assert load_study((folder / "study.toml").read_text()) == spec
    arrays = load_file(str(folder / "model.safetensors"))
    expected = model_of(spec).split(run.parameters)
    assert all(np.array_equal(arrays[name], expected[name]) for name in model_of(spec).names)
    with safe_open(str(folder / "model.safetensors"), framework="np") as model:
        assert model.metadata() == {"study": result.study.digest, "seed": "7", "kind": "logistic"}
    assert "logistic" in (folder / "model_card.md").read_text()


def test_only_the_owner_reads_a_runs_folder_and_its_model(tmp_path: Path) -> None:
    """Whatever the umask, and although somebody had left a readable file of that name."""
    spec, _, run, result = made()
    before = os.umask(0)
    try:
        write_run(tmp_path / "run", spec, result, parameters=run.parameters, model=model_of(spec), seed=7)
        (tmp_path / "run" / "model.safetensors").chmod(0o644)
        write_run(tmp_path / "run", spec, result, parameters=run.parameters, model=model_of(spec), seed=7)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == FOLDER_MODE == 0o700
    assert stat.S_IMODE((tmp_path / "run" / "model.safetensors").stat().st_mode) == 0o600


def test_absent_arms_are_absent_and_never_null() -> None:
    *_, result = made()
    document = json.loads(result.to_json())
    assert set(document["arms"]) == {"federated"}
    assert "null" not in result.to_json()


def test_the_result_is_written_last(tmp_path: Path) -> None:
    """A folder with a result is complete: a write that fails before leaves none."""
    spec, _, run, result = made()
    (tmp_path / "model_card.md").mkdir()
    with pytest.raises(OSError, match="model_card"):
        write_run(tmp_path, spec, result, parameters=run.parameters, model=model_of(spec), seed=1)
    assert not (tmp_path / "result.json").exists()


def test_a_run_is_a_frozen_value() -> None:
    _, _, run, _ = made()
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.plans = 0  # type: ignore[misc]
