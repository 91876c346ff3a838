"""Bad dealings, lying holders, lost nodes: the ceremony stops everywhere, and no key survives it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedmed import wire
from fedmed.aggregation.threshold_coordinator import ThresholdCombiner
from fedmed.crypto.lattice_secret import SecretKey, deal, read_share
from fedmed.errors import CeremonyStopped, FedMedError, OpeningOutOfBounds, RehearsalFailed, error_from_code
from fedmed.protocol import envelope, node_ceremony
from fedmed.protocol.steps import Phase, PhaseKind, Reply
from fedmed.types import WordArray
from tests.federation import (
    COORDINATOR,
    Federation,
    Tamper,
    Trial,
    make_federation,
    no_check,
    small_study,
)
from tests.hostile.ceremony_by_hand import (
    ATTACKER,
    FRIEND,
    NODES,
    THRESHOLD,
    VICTIM,
    Parts,
    ceremony,
    new_federation,
    up_to,
)

# Together these take more than the fast part of the suite can spare.
pytestmark = pytest.mark.slow

# --- Bad dealings and lying holders ------------------------------------------------------------------


def assert_nothing_is_left(federation: Federation) -> None:
    for node in federation.nodes.values():
        contents = node.contents()
        assert not contents.secrets
        records = [value for key, value in contents.values.items() if key.startswith("epoch/")]
        assert all(b'"active": false' in value for value in records)
        assert not [key for key in contents.values if key.startswith("study/")]
        later = node.custodian.answer(PhaseKind.CEREMONY, (b"confirm", b""))
        assert later.code == CeremonyStopped.code


def wrong_degree(monkeypatch: pytest.MonkeyPatch) -> Tamper:
    """The attacker's custodian shares its key by a polynomial of one degree more."""

    def deal_badly(secret: SecretKey, custodians: int, threshold: int, source: Any) -> Parts:
        return deal(secret, custodians, threshold + 1, source)

    def tamper(phase: Phase, point: int, parts: Parts) -> Parts:
        bad = phase.name == "ceremony deal" and point == ATTACKER
        monkeypatch.setattr(node_ceremony, "deal", deal_badly if bad else deal)
        return parts

    return tamper


def one_wrong_share(monkeypatch: pytest.MonkeyPatch) -> Tamper:
    """The attacker deals well but for the share of custodian 4, whom the first rehearsal does not ask."""

    def deal_badly(secret: SecretKey, custodians: int, threshold: int, source: Any) -> Parts:
        good, strange = (deal(secret, custodians, threshold, source) for _ in range(2))
        return (*good[:-1], strange[-1])

    def tamper(phase: Phase, point: int, parts: Parts) -> Parts:
        bad = phase.name == "ceremony deal" and point == ATTACKER
        monkeypatch.setattr(node_ceremony, "deal", deal_badly if bad else deal)
        return parts

    return tamper


def lying_holder(monkeypatch: pytest.MonkeyPatch) -> Tamper:
    """The attacker's custodian answers with other shares than it was dealt."""
    read = read_share

    def read_badly(data: bytes) -> WordArray:
        return np.roll(read(data), 1, axis=1)

    def tamper(phase: Phase, point: int, parts: Parts) -> Parts:
        bad = phase.name == "ceremony share" and point == ATTACKER
        monkeypatch.setattr(node_ceremony, "read_share", read_badly if bad else read)
        return parts

    return tamper


@pytest.mark.parametrize("attack", [wrong_degree, one_wrong_share, lying_holder])
def test_a_bad_dealing_or_holder_fails_a_rehearsal_and_no_key_survives(
    attack: Callable[[pytest.MonkeyPatch], Tamper], monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = new_federation(4)
    tamper, rehearsed = attack(monkeypatch), []

    def count(phase: Phase, point: int, parts: Parts) -> Parts | None:
        if phase.name == "ceremony open" and point == VICTIM:
            rehearsed.append(phase)
        return tamper(phase, point, parts)

    with pytest.raises(RehearsalFailed):
        federation.drive(ceremony(federation), tamper=count)
    assert len(rehearsed) == (2 if attack is one_wrong_share else 1)
    assert_nothing_is_left(federation)
    monkeypatch.undo()
    assert federation.drive(ceremony(federation)).rehearsals == 2, "a new ceremony works"


class Lenient(ThresholdCombiner):
    """A coordinator that does not look at what its rehearsals gave."""

    def total(self) -> WordArray:
        return np.zeros(1, np.uint64)


def test_without_rehearsals_a_bad_dealing_spoils_the_first_study(monkeypatch: pytest.MonkeyPatch) -> None:
    federation = new_federation(4)
    epoch = federation.drive(ceremony(federation, Lenient), tamper=wrong_degree(monkeypatch))
    federation.epoch_id = epoch.epoch_id
    trial = Trial(federation, small_study(4))
    trial.propose()
    with pytest.raises(OpeningOutOfBounds):
        trial.round()


# --- A stopped ceremony ------------------------------------------------------------------------------

STEPS = ("start", "deal", "share", "agree", "contribute", "open", "confirm", "conclude")


@pytest.mark.parametrize("step", STEPS)
def test_a_node_lost_at_any_step_ends_the_ceremony_at_all_nodes(step: str) -> None:
    federation = new_federation()

    def lose(phase: Phase, point: int, parts: Parts) -> Parts | None:
        return None if (phase.name, point) == (f"ceremony {step}", FRIEND) else parts

    with pytest.raises(FedMedError) as stopped:
        federation.drive(ceremony(federation), tamper=lose)
    assert stopped.value.code == "too_few_nodes"
    federation.nodes[FRIEND].restart()
    for node in federation.nodes.values():
        assert not node.effects.secrets.epochs()
    assert federation.drive(ceremony(federation)).epoch_id


def test_only_the_coordinator_ends_an_epoch_and_only_the_one_that_it_names() -> None:
    federation = make_federation(NODES, threshold=THRESHOLD)
    secrets = federation.nodes[VICTIM].effects.secrets

    def end(signer: int, epoch_id: bytes) -> Reply:
        signed = federation.sign(signer, envelope.EPOCH_END, b"", context=epoch_id)
        return federation.ask(VICTIM, PhaseKind.CEREMONY, b"end", signed)

    assert end(ATTACKER, federation.epoch_id).code == "signature_invalid"
    assert not end(COORDINATOR, bytes(32)).is_refusal
    assert secrets.epochs() == {federation.epoch_id}
    assert not end(COORDINATOR, federation.epoch_id).is_refusal
    assert not secrets.epochs()


def test_ending_an_old_epoch_leaves_a_ceremony_under_way_alone() -> None:
    federation = new_federation()
    request = up_to(federation, "share")[VICTIM]
    signed = federation.sign(COORDINATOR, envelope.EPOCH_END, b"", context=bytes(32))
    assert not federation.ask(VICTIM, PhaseKind.CEREMONY, b"end", signed).is_refusal
    assert not federation.ask(VICTIM, PhaseKind.CEREMONY, *request).is_refusal


def test_a_crash_between_agreement_and_end_leaves_no_key() -> None:
    federation = new_federation()
    up_to(federation, "conclude")
    node = federation.nodes[VICTIM]
    assert len(node.effects.secrets.epochs()) == 1
    node.restart()
    assert not node.effects.secrets.epochs()


def inactive_epoch() -> Trial:
    federation = new_federation()
    requests = up_to(federation, "conclude")
    first = wire.decode_signed(requests[VICTIM][1])
    federation.epoch_id = wire.decode_statement(first.body).context
    return Trial(federation, small_study(NODES))


def test_no_study_starts_under_an_epoch_that_not_all_concluded(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = inactive_epoch()
    code = trial.federation.refused(VICTIM, PhaseKind.PROPOSE, trial.proposal())
    assert code == "epoch_mismatch"
    assert error_from_code(code, "").code == code
    monkeypatch.setattr("fedmed_nodes.study_desk.check_epoch_active", no_check)
    trial.propose(VICTIM)


def test_no_study_starts_under_an_epoch_that_this_node_never_saw() -> None:
    trial = inactive_epoch()
    trial.epoch_id = bytes([1]) * 32
    assert trial.federation.refused(VICTIM, PhaseKind.PROPOSE, trial.proposal()) == "epoch_mismatch"
