"""Ceremonies of scheme ``ckks``: one key from the seeds of all provinces, or none at all.

| attack | what stops it |
|---|---|
| a dealer seals unlike seeds to two custodians | the rehearsal: tags under unlike keys do not add up |
| a dealer seals something that is no seed | sealing_invalid, node_ceremony.check_seed |
| the coordinator calls for a scheme without keys | message_malformed, binding.called_for |
| it calls for one scheme here and another there | the epoch's name, which every seal is bound to |
"""

from __future__ import annotations

import datetime
import json

import pytest

from fedmed import wire
from fedmed.aggregation.ckks_coordinator import CkksCombiner
from fedmed.crypto.ckks_secret import CkksKeys
from fedmed.crypto.identity import PublicIdentity, seal
from fedmed.errors import FedMedError, RehearsalFailed, UnknownVersion
from fedmed.protocol import envelope, node_ceremony
from fedmed.protocol.coordinator_ceremony import Epoch, hold_ceremony
from fedmed.protocol.steps import Phase, PhaseKind, Steps
from fedmed.types import Scheme
from fedmed_nodes.ceremony_desk import EpochRecord, epoch_key
from tests.federation import COORDINATOR, NOW, Federation, Tamper, fresh_federation, identity_of
from tests.hostile.ceremony_by_hand import ATTACKER, VICTIM, Parts

pytestmark = pytest.mark.slow

NODES, THRESHOLD = 4, 3


def federation_of() -> Federation:
    return fresh_federation(NODES, threshold=THRESHOLD, colluders=1)


def ceremony(federation: Federation) -> Steps[Epoch]:
    return hold_ceremony(
        identity_of(COORDINATOR),
        federation.roster,
        today=NOW.date(),
        combiner=CkksCombiner,
        scheme=Scheme.CKKS,
    )


def assert_nothing_is_left(federation: Federation) -> None:
    for node in federation.nodes.values():
        contents = node.contents()
        assert not contents.secrets
        assert all(b'"active": false' in v for k, v in contents.values.items() if k.startswith("epoch/"))
        assert not [key for key in contents.values if key.startswith("study/")]


def test_all_custodians_hold_one_key_and_nothing_outside_the_secret_store_holds_it() -> None:
    federation = federation_of()
    sent: list[bytes] = []

    def listen(phase: Phase, point: int, parts: Parts) -> Parts:
        sent.extend(parts)
        return parts

    epoch = federation.drive(ceremony(federation), tamper=listen)
    kept = {point: node.effects.secrets.get(epoch.epoch_id) for point, node in federation.nodes.items()}
    keys = {CkksKeys.from_bytes(data).derived("any") for data in kept.values() if data is not None}
    assert len(keys) == 1
    assert {len(data or b"") for data in kept.values()} == {
        len(CkksKeys(bytes(32), point=1, threshold=1).to_bytes())
    }
    secret = (kept[1] or b"")[-32:]
    for node in federation.nodes.values():
        assert not [k for k, v in node.contents().values.items() if secret in v]
    assert not [part for part in sent if secret in part]
    record = EpochRecord.from_bytes(federation.nodes[1].contents().values[epoch_key(epoch.epoch_id)])
    assert (record.scheme, record.is_active) == (Scheme.CKKS, True)


def test_two_epochs_have_two_keys() -> None:
    federation = federation_of()
    ids = [federation.drive(ceremony(federation)).epoch_id for _ in range(2)]
    assert len({federation.nodes[1].effects.secrets.get(epoch_id) for epoch_id in ids}) == 2


def dealing_badly(monkeypatch: pytest.MonkeyPatch, plain: bytes) -> Tamper:
    """The attacker's custodian seals other bytes to the victim than to all others."""

    def badly(receiver: PublicIdentity, given: bytes, *, associated: bytes) -> bytes:
        return seal(
            receiver, plain if receiver.name == identity_of(VICTIM).name else given, associated=associated
        )

    def tamper(phase: Phase, point: int, parts: Parts) -> Parts:
        bad = phase.name == "ceremony deal" and point == ATTACKER
        monkeypatch.setattr(node_ceremony, "seal", badly if bad else seal)
        return parts

    return tamper


def test_unlike_seeds_do_not_pass_the_rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    federation = federation_of()
    with pytest.raises(RehearsalFailed, match="sum_forged"):
        federation.drive(ceremony(federation), tamper=dealing_badly(monkeypatch, bytes([7]) * 32))
    assert_nothing_is_left(federation)
    monkeypatch.undo()
    assert federation.drive(ceremony(federation)).rehearsals == 2, "a new ceremony works"


@pytest.mark.parametrize("size", [0, 31, 33, 229_408])
def test_what_is_no_seed_stops_the_ceremony(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    federation = federation_of()
    with pytest.raises(FedMedError) as stopped:
        federation.drive(ceremony(federation), tamper=dealing_badly(monkeypatch, bytes(size)))
    assert stopped.value.code == "sealing_invalid"
    assert_nothing_is_left(federation)


def call(federation: Federation, content: bytes) -> bytes:
    context = wire.roster_digest(federation.roster)
    return envelope.sign_message(identity_of(COORDINATOR), envelope.CEREMONY_START, content, context=context)


@pytest.mark.parametrize("content", [b"plain", b"threshold", b"bfv", b"CKKS", b"ckks\0", b"\0"])
def test_a_call_for_a_scheme_without_keys_is_refused(content: bytes) -> None:
    federation = federation_of()
    parts = (b"start", call(federation, content))
    assert federation.ask(VICTIM, PhaseKind.CEREMONY, *parts).code == "message_malformed"


@pytest.mark.parametrize("told_otherwise", [VICTIM, ATTACKER])
def test_custodians_that_were_called_for_two_schemes_share_no_epoch(told_otherwise: int) -> None:
    federation = federation_of()

    def tamper(phase: Phase, point: int, parts: Parts) -> Parts:
        if phase.name == "ceremony start" and point == told_otherwise:
            return (b"start", call(federation, b""))
        return parts

    with pytest.raises(FedMedError):
        federation.drive(ceremony(federation), tamper=tamper)
    assert_nothing_is_left(federation)


def test_records_of_epochs_before_this_scheme_are_of_threshold() -> None:
    record = EpochRecord(last_day=datetime.date(2026, 3, 2), is_active=True, scheme=Scheme.CKKS)
    assert EpochRecord.from_bytes(record.to_bytes()) == record
    old = {"version": 1, "active": True, "opened": 3, "last_day": "2026-03-02"}
    assert EpochRecord.from_bytes(json.dumps(old).encode()).scheme is Scheme.THRESHOLD
    with pytest.raises(UnknownVersion):
        EpochRecord.from_bytes(json.dumps({**old, "version": 3}).encode())
