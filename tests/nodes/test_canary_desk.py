"""A custodian's coins: drawn after approval, sealed before the first round, shown at the end, charged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedmed import wire
from fedmed.errors import ApprovalPending, StudyEnded
from fedmed.privacy.canaries import Coins, check_seal, owned
from fedmed.protocol import envelope
from fedmed.protocol.steps import PhaseKind, Reply
from fedmed.types import Scheme
from tests.federation import COORDINATOR, OPEN_POLICY, Federation, Trial, make_federation, small_study

CANARIES = 120
POINT = 2


def audited_trial(**parts: object) -> Trial:
    spec = small_study(scheme=Scheme.PLAIN, audit__canaries=CANARIES)
    return Trial(make_federation(scheme=Scheme.PLAIN, **parts), spec)


def second(reply: Reply, message_type: str, federation: Federation) -> bytes:
    """What the second part of a reply says, its signature checked."""
    member, receiver = federation.roster.member(POINT), federation.roster.coordinator.name
    return envelope.open_message(
        reply.parts[1], message_type, member, context=None, receiver=receiver
    ).content


def end(trial: Trial) -> Reply:
    signed = trial.federation.sign(COORDINATOR, envelope.STUDY_END, trial.epoch_id, context=trial.digest)
    return trial.federation.ask(POINT, PhaseKind.CLOSE, signed)


def count() -> int:
    own = owned(CANARIES, POINT, nodes=4)
    return int(own.stop - own.start)


def test_coins_are_sealed_with_the_acceptance_and_shown_at_the_end() -> None:
    trial = audited_trial()
    federation = trial.federation
    reply = federation.ask(POINT, PhaseKind.PROPOSE, trial.proposal())
    seal = second(reply, envelope.AUDIT_SEAL, federation)
    told = [entry.event.detail for entry in federation.nodes[POINT].audit]
    assert told[-1] == f"canaries sealed as {seal.hex()}"
    coins = Coins.from_bytes(second(end(trial), envelope.AUDIT_COINS, federation), count=count())
    check_seal(coins, seal, study_digest=trial.digest, node="node2")
    assert 0 < coins.present.sum() < count()


def test_coins_stay_the_same_through_restarts_and_new_proposals() -> None:
    trial = audited_trial()
    first = trial.federation.ask(POINT, PhaseKind.PROPOSE, trial.proposal())
    trial.federation.nodes[POINT].restart()
    again = trial.federation.ask(POINT, PhaseKind.PROPOSE, trial.proposal())
    seals = [second(reply, envelope.AUDIT_SEAL, trial.federation) for reply in (first, again)]
    assert seals[0] == seals[1]


def test_a_study_without_an_audit_block_has_no_coins() -> None:
    trial = Trial(make_federation(scheme=Scheme.PLAIN), small_study(scheme=Scheme.PLAIN))
    reply = trial.federation.ask(POINT, PhaseKind.PROPOSE, trial.proposal())
    assert len(reply.parts) == 1
    assert len(end(trial).parts) == 1


def test_an_audit_needs_approval_and_is_charged_like_any_round() -> None:
    trial = audited_trial(policy=replace(OPEN_POLICY, auto_approve=False))
    node = trial.federation.nodes[POINT]
    reply = trial.federation.ask(POINT, PhaseKind.PROPOSE, trial.proposal())
    assert (reply.code, reply.parts) == (ApprovalPending.code, ())
    assert not [key for key in node.contents().values if key.endswith("/coins")]
    assert node.effects.store.ledger() == ()
    node.custodian.studies.approve(trial.digest)
    for point in trial.points:
        if point != POINT:
            trial.federation.ask(point, PhaseKind.PROPOSE, trial.proposal())
            trial.federation.nodes[point].custodian.studies.approve(trial.digest)
    trial.propose()
    trial.contribute(POINT, trial.plan())
    (charge,) = node.effects.store.ledger()
    assert charge.study_digest == trial.digest
    assert charge.noise_multiplier == trial.schedule.noise_multiplier


def test_a_node_fills_its_own_coordinates_and_leaves_the_model_alone() -> None:
    """With no noise the sum is exact: C where a coin says so, and the answer of a study without audit."""
    from fedmed.aggregation.encoding import decode
    from tests.federation import insecure_no_noise

    trial = audited_trial(noise=insecure_no_noise)
    trial.propose()
    fields = np.frombuffer(trial.contribute(POINT, trial.plan())[1], dtype="<u8").astype(np.uint64)
    values = decode(fields, trial.layout, 1)
    coins = Coins.from_bytes(second(end(trial), envelope.AUDIT_COINS, trial.federation), count=count())
    block, own = np.zeros(CANARIES), owned(CANARIES, POINT, nodes=4)
    block[own] = coins.present * trial.spec.privacy.clip_norm
    np.testing.assert_allclose(values[3:], block, atol=trial.layout.grid)
    plain = Trial(
        make_federation(scheme=Scheme.PLAIN, noise=insecure_no_noise), small_study(scheme=Scheme.PLAIN)
    )
    plain.propose()
    alone = np.frombuffer(plain.contribute(POINT, plain.plan())[1], dtype="<u8").astype(np.uint64)
    np.testing.assert_array_equal(values[:3], decode(alone, plain.layout, 1))


def test_the_coins_never_leave_before_the_end() -> None:
    trial = audited_trial()
    trial.propose()
    stored = trial.federation.nodes[POINT].contents().values
    (coins,) = (value for key, value in stored.items() if key.endswith("/coins"))
    parts = trial.contribute(POINT, trial.plan())
    nonce = trial.federation.sign(COORDINATOR, envelope.NONCE, b"", context=trial.digest, receiver=POINT)
    sent = [*parts, *trial.federation.ask(POINT, PhaseKind.NONCE, nonce).parts]
    assert not any(coins in part or coins[:32] in part for part in sent)
    assert wire.decode_signed(sent[0]).type == envelope.HEADER


def test_a_study_whose_coins_were_shown_goes_on_no_more() -> None:
    """The coordinator ends a study under way to see the coins, then asks for the next round."""
    trial = audited_trial()
    federation = trial.federation
    trial.propose()
    trial.contribute(POINT, trial.plan())
    first, again = end(trial), end(trial)
    assert second(first, envelope.AUDIT_COINS, federation) == second(again, envelope.AUDIT_COINS, federation)
    trial.ask_nonce(POINT)
    for _ in range(2):
        plan = trial.plan(2)
        assert federation.refused(POINT, PhaseKind.CONTRIBUTE, plan, trial.inputs) == StudyEnded.code
        assert federation.refused(POINT, PhaseKind.PROPOSE, trial.proposal()) == StudyEnded.code
        federation.nodes[POINT].restart()


def test_coins_that_were_shown_before_the_first_round_are_drawn_anew() -> None:
    """A study ends when another province has not approved it yet, and is proposed again later."""
    trial = audited_trial()
    federation = trial.federation
    trial.propose()
    old = second(end(trial), envelope.AUDIT_COINS, federation)
    trial.ask_nonce(POINT)
    plan = trial.plan()
    assert federation.refused(POINT, PhaseKind.CONTRIBUTE, plan, trial.inputs) == StudyEnded.code
    seal = second(federation.ask(POINT, PhaseKind.PROPOSE, trial.proposal()), envelope.AUDIT_SEAL, federation)
    trial.ask_nonce(POINT)
    trial.contribute(POINT, trial.plan())
    new = second(end(trial), envelope.AUDIT_COINS, federation)
    assert new != old
    check_seal(Coins.from_bytes(new, count=count()), seal, study_digest=trial.digest, node="node2")


@pytest.mark.parametrize("point", [1, 4])
def test_every_node_draws_coins_of_its_own(point: int) -> None:
    trial = audited_trial()
    trial.propose()
    values = [trial.federation.nodes[p].contents().values for p in (point, POINT)]
    mine, other = (next(v for k, v in held.items() if k.endswith("/coins")) for held in values)
    assert mine != other
