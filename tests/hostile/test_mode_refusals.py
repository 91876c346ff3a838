"""Modes beside `aggregate` at a custodian: what a coordinator cannot change, and what is charged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedmed.aggregation.encoding import decode, encode
from fedmed.errors import OpeningOutOfBounds
from fedmed.privacy.clipping import ClippedSum
from fedmed.privacy.ledger_record import Mechanism
from fedmed.protocol.binding import inputs_digest
from fedmed.protocol.schedule import schedule_for
from fedmed.protocol.steps import PhaseKind
from fedmed.study import canonical_bytes, study_digest
from fedmed.types import Mode, Scheme
from tests.federation import OPEN_POLICY, Trial, make_trial, small_study

LOCAL = {"privacy__mode": "local", "local__steps": 3, "local__sample_rate": 0.5, "local__update_clip": 2.0}
STATISTICS = {"privacy__mode": "statistics", "training__aggregations": 1}
POLICY = replace(OPEN_POLICY, modes=frozenset(Mode))
POINT = 2


def trial_of(changes: dict[str, Any]) -> Trial:
    return make_trial(scheme=Scheme.PLAIN, policy=POLICY, **changes)


def contribute_refused(trial: Trial, plan: bytes, inputs: bytes | None = None) -> str:
    sent = trial.inputs if inputs is None else inputs
    return trial.federation.refused(POINT, PhaseKind.CONTRIBUTE, plan, sent)


@pytest.mark.parametrize("mode", [Mode.LOCAL, Mode.STATISTICS])
def test_a_mode_that_the_policy_does_not_name_is_refused(mode: Mode) -> None:
    trial = make_trial(scheme=Scheme.PLAIN)
    changes = LOCAL if mode is Mode.LOCAL else STATISTICS
    other = Trial(trial.federation, small_study(scheme=Scheme.PLAIN, **changes))
    code = trial.federation.refused(POINT, PhaseKind.PROPOSE, other.proposal())
    assert code == "study_refused"


def test_an_attempt_in_mode_local_is_charged_for_every_step_at_its_rate() -> None:
    trial = trial_of(LOCAL)
    trial.contribute(POINT, trial.plan())
    (record,) = trial.federation.nodes[POINT].effects.store.ledger()
    stage = trial.schedule.stages[0]
    assert record.mechanism is Mechanism.LOCAL_GAUSSIAN_STEPS
    assert record.event == stage.event
    assert (record.releases, record.sample_rate, record.clip_norm) == (3, 0.5, 1.0)
    assert stage.local is not None
    assert record.grid == stage.local.grid


@pytest.mark.parametrize(
    "change",
    [
        {"local__sample_rate": 1.0},
        pytest.param({"local__steps": 1}, marks=pytest.mark.slow),
        {"local__update_clip": 1000.0},
    ],
    ids=["rate", "steps", "update clip"],
)
def test_a_plan_cannot_bring_other_local_settings_than_those_approved(change: dict[str, Any]) -> None:
    """They are in the study's bytes: another setting is another study, and its layout another layout."""
    trial = trial_of(LOCAL)
    other = small_study(scheme=Scheme.PLAIN, **{**LOCAL, **change})
    unknown = trial.plan(study_digest=study_digest(canonical_bytes(other)))
    assert contribute_refused(trial, unknown) == "study_unknown"
    layout = schedule_for(other).layout
    if layout != trial.layout:
        assert contribute_refused(trial, trial.plan(layout=layout)) == "layout_mismatch"


def test_a_coordinator_cannot_ask_for_noise_free_sums_of_another_mode() -> None:
    """The layout of mode `local` has no noise; under a study in mode `aggregate` it is refused."""
    trial = make_trial(scheme=Scheme.PLAIN)
    quiet = schedule_for(small_study(scheme=Scheme.PLAIN, **LOCAL)).layout
    assert contribute_refused(trial, trial.plan(layout=quiet)) == "layout_mismatch"


@pytest.mark.parametrize("changes", [LOCAL, STATISTICS], ids=["local", "statistics"])
def test_inputs_that_the_mode_does_not_take_are_refused_before_the_debit(changes: dict[str, Any]) -> None:
    trial = trial_of(changes)
    inputs = np.zeros(4).tobytes()
    plan = trial.plan(inputs_digest=inputs_digest(inputs))
    assert contribute_refused(trial, plan, inputs) == "parameters_unfit"
    assert trial.federation.nodes[POINT].effects.store.ledger() == ()


def test_an_update_beyond_the_clip_cannot_be_encoded_and_a_forged_one_does_not_open() -> None:
    stage = schedule_for(small_study(**LOCAL)).stages[0]  # type: ignore[arg-type]
    layout = stage.layout
    huge = ClippedSum(values=np.array([1e9, -1e9, 0.0]), clip_norm=stage.clip_norm)
    fields = encode(huge, np.zeros(3, dtype=np.int64), layout, clip_norm=stage.clip_norm)
    assert np.abs(decode(fields, layout, 1)).max() <= stage.clip_norm
    forged = fields + np.uint64(4 * layout.offset)
    with pytest.raises(OpeningOutOfBounds):
        decode(forged + fields, layout, 2)


@pytest.mark.parametrize("changes", [LOCAL, STATISTICS], ids=["local", "statistics"])
def test_the_same_plan_gets_the_stored_bytes_and_no_second_draw(changes: dict[str, Any]) -> None:
    trial = trial_of(changes)
    plan = trial.plan()
    first = trial.contribute(POINT, plan)
    again = trial.federation.ask(POINT, PhaseKind.CONTRIBUTE, plan, trial.inputs)
    assert again.parts == first
    assert len(trial.federation.nodes[POINT].effects.store.ledger()) == 1
