"""Attacks that a reading with fresh eyes found to work, each against the custodians as they are now.

Every test shows the refusal; where one check alone makes the difference, it is then taken away and the
attack does what it did when it was found.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from fedmed import wire
from fedmed.aggregation.threshold_coordinator import ThresholdCombiner
from fedmed.aggregation.threshold_node import ThresholdContributor, insecure_epoch_keys
from fedmed.errors import MessageMalformed
from fedmed.protocol.coordinator_ceremony import hold_ceremony
from fedmed.protocol.node_ceremony import Dealt, Received
from fedmed.protocol.schedule import rehearsal_terms
from fedmed.protocol.steps import PhaseKind
from fedmed.types import Allowance, Scheme
from fedmed_nodes.stores import MemorySecretStore
from tests.federation import (
    COORDINATOR,
    NOW,
    Attempt,
    CopyableStore,
    Federation,
    Trial,
    identity_of,
    insecure_no_noise,
    make_federation,
    make_trial,
    no_check,
    roster_of,
    small_study,
)

VICTIM = 1
ALL, T = (1, 2, 3, 4), (1, 2, 3)


def new_epoch(federation: Federation) -> bytes:
    """Hold another ceremony."""
    steps = hold_ceremony(
        identity_of(COORDINATOR), federation.roster, today=NOW.date(), combiner=ThresholdCombiner
    )
    return federation.drive(steps).epoch_id


def ask_to_open(trial: Trial, attempt: Attempt, point: int, contributors: Sequence[int]) -> str:
    """The code that a custodian gives, empty when it answers."""
    parts = trial.request(attempt, point, contributors=contributors, openers=T)
    return trial.federation.ask(point, PhaseKind.OPEN, *parts).code


# --- One plan under two key epochs -------------------------------------------------------------------


@pytest.mark.slow
def test_a_plan_is_not_answered_with_the_keys_of_another_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The study is proposed again under a second epoch while a plan of the first one is open."""
    trial = make_trial()
    begun, second = trial.begin(), new_epoch(trial.federation)
    for point in ALL:
        proposal = trial.proposal(epoch_id=second)
        assert not trial.federation.ask(point, PhaseKind.PROPOSE, proposal).is_refusal
    assert ask_to_open(trial, begun, VICTIM, ALL) == "epoch_mismatch"
    monkeypatch.setattr("fedmed.protocol.node_round.check_epoch", no_check)
    assert ask_to_open(trial, begun, VICTIM, ALL) == "", "answered with keys that nobody contributed under"


# --- A backup from before the study ------------------------------------------------------------------


def forget(trial: Trial, backup: CopyableStore) -> None:
    """The operator copies an old store back and says so."""
    node = trial.federation.nodes[VICTIM]
    node.effects = dataclasses.replace(node.effects, store=backup)
    node.restart()
    node.custodian.studies.mark_restored()


def opened_study_and_older_backup() -> tuple[Trial, CopyableStore]:
    """A study that was opened for everybody, and a copy of one store from before it was proposed."""
    older = make_trial()
    backup, store = CopyableStore(), older.federation.nodes[VICTIM].effects.store
    assert isinstance(store, CopyableStore)
    backup.commit(store.whole())
    trial = Trial(older.federation, small_study(training__learning_rate=0.5))
    trial.propose()
    trial.round()
    return trial, backup


@pytest.mark.slow
def test_a_restored_custodian_does_not_take_a_forgotten_study_for_a_new_one() -> None:
    """It knew neither the study nor the set that it had answered: a second set would have been its first."""
    trial, backup = opened_study_and_older_backup()
    forget(trial, backup)
    node = trial.federation.nodes[VICTIM]
    assert not node.effects.secrets.epochs()
    assert trial.federation.refused(VICTIM, PhaseKind.PROPOSE, trial.proposal()) == "epoch_mismatch"

    trial.epoch_id = new_epoch(trial.federation)
    again = trial.federation.ask(VICTIM, PhaseKind.PROPOSE, trial.proposal())
    assert again.code == "approval_pending", "the policy approves by itself, after a restore nobody does"
    node.restart()
    again = trial.federation.ask(VICTIM, PhaseKind.PROPOSE, trial.proposal())
    assert again.code == "approval_pending"


def test_an_unnoticed_restore_answers_a_second_set_and_counts_as_one_more_colluder() -> None:
    """Section 7 says so; the others still refuse, so fewer than t answers come together."""
    trial, backup = opened_study_and_older_backup()
    node = trial.federation.nodes[VICTIM]
    node.effects = dataclasses.replace(node.effects, store=backup)
    node.restart()
    trial.propose(VICTIM)
    begun = trial.begin(2)
    codes = [ask_to_open(trial, begun, point, T) for point in T]
    assert codes == ["", "set_changed", "set_changed"]


def test_a_crash_while_a_restore_is_noted_leaves_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = make_trial()
    node = trial.federation.nodes[VICTIM]
    with monkeypatch.context() as crash:
        crash.setattr(MemorySecretStore, "destroy", no_check)
        node.custodian.studies.mark_restored()
    assert node.effects.secrets.epochs()
    node.restart()
    assert not node.effects.secrets.epochs()


# --- A province alone among the roster's colluders ---------------------------------------------------

COLLUDERS = (4, 5)
LOWERED: dict[str, Any] = {
    "aggregation__threshold": 4,
    "aggregation__dropouts": 2,
    "aggregation__colluders": 0,
    "aggregation__min_contributors": 3,
}


def lowered_study() -> Trial:
    """Five provinces whose roster counts on two colluders, and a study that reckons with none."""
    federation = make_federation(5, threshold=4, colluders=2, noise=insecure_no_noise)
    spec = small_study(5, **LOWERED)
    return Trial(federation, spec)


@pytest.mark.slow
def test_a_study_cannot_leave_a_province_alone_with_the_rosters_colluders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check = "fedmed.protocol.schedule.check_company"
    with monkeypatch.context() as coordinator:
        coordinator.setattr(check, no_check)
        trial = lowered_study()
    assert trial.federation.refused(VICTIM, PhaseKind.PROPOSE, trial.proposal()) == "config_error"

    monkeypatch.setattr(check, no_check)
    trial.propose()
    among, openers = (VICTIM, *COLLUDERS), (1, 2, 3, 4)
    begun = trial.begin(points=among)
    answers = trial.open(begun, contributors=among, openers=openers)
    total = trial.combine([begun.contributions[p] for p in among], list(answers.values()))
    clear = make_trial(5, scheme=Scheme.PLAIN, noise=insecure_no_noise, **LOWERED)
    plan = clear.plan()
    sent = {p: np.frombuffer(b"".join(clear.contribute(p, plan)[1:]), "<u8") for p in among}
    known = sum(sent[p] for p in COLLUDERS)  # what they sent themselves
    np.testing.assert_array_equal(total - known, sent[VICTIM])


@pytest.mark.slow
def test_the_same_study_is_accepted_with_sums_that_are_large_enough() -> None:
    federation = make_federation(5, threshold=4, colluders=2)
    trial = Trial(federation, small_study(5, **{**LOWERED, "aggregation__min_contributors": 4}))
    trial.propose()
    trial.round()


@pytest.mark.parametrize(
    ("nodes", "threshold", "colluders"),
    [(4, 2, 0), (4, 2, 1), (4, 3, 2), (5, 3, 1), (3, 3, 2), (4, 4, 3), (31, 21, 11), (4, 3, -1)],
)
def test_a_roster_cannot_promise_what_its_threshold_does_not_keep(
    nodes: int, threshold: int, colluders: int
) -> None:
    """Two opening sets could share colluders only, or a sum could hold one province beside them."""
    with pytest.raises(MessageMalformed, match="colluders"):
        roster_of(nodes, threshold=threshold, colluders=colluders)


@pytest.mark.parametrize(("nodes", "threshold", "colluders"), [(3, 3, 1), (3, 2, 0), (4, 3, 1), (31, 21, 10)])
def test_the_default_rosters_keep_their_promise(nodes: int, threshold: int, colluders: int) -> None:
    roster = roster_of(nodes, threshold=threshold, colluders=colluders)
    terms = rehearsal_terms(
        roster,
        digests=(bytes(32), wire.roster_digest(roster), bytes(32)),
        scheme=Scheme.THRESHOLD,
        today=NOW.date(),
    )
    assert isinstance(terms.allowance, Allowance)


# --- Secrets in texts and copies ---------------------------------------------------------------------


HOLDERS = (
    "custodian",
    "settings",
    "effects",
    "secret store",
    "identity",
    "epoch keys",
    "secret key",
    "factor",
    "contributor",
    "dealt",
    "received",
)


def holders() -> dict[str, object]:
    """Everything that holds keys at a custodian."""
    federation = make_federation()
    node = federation.nodes[VICTIM]
    (keys, *_) = insecure_epoch_keys(3, 2, source=os.urandom)
    return {
        "custodian": node.custodian,
        "settings": node.settings,
        "effects": node.effects,
        "secret store": node.effects.secrets,
        "identity": identity_of(VICTIM),
        "epoch keys": keys,
        "secret key": keys.secret,
        "factor": keys.secret.factor,
        "contributor": ThresholdContributor(keys),
        "dealt": Dealt(epoch_id=bytes(32), secret=keys.secret, seeds=(b"Z" * 32,), dealing=b""),
        "received": Received(epoch_id=bytes(32), keys=keys, transcript=bytes(32)),
    }


@pytest.mark.parametrize("name", HOLDERS)
def test_nothing_that_holds_keys_is_pickled_copied_deeply_or_shows_them(name: str) -> None:
    holder = holders()[name]
    for act in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            act(holder)
    text = repr(holder)
    signing, sealing = bytes([VICTIM + 1]) * 32, bytes([VICTIM + 101]) * 32
    for secret in (signing, sealing, b"Z" * 32):
        assert repr(secret)[2:-1] not in text
        assert secret.hex() not in text
    assert "array(" not in text
