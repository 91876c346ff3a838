"""The coordinator takes in seals and coins: what is missing, foreign or changed is refused."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fedmed.errors import AuditFailed, MessageMalformed, SignatureInvalid
from fedmed.privacy.canaries import Coins, bytes_for, coins_from
from fedmed.protocol import envelope
from fedmed.protocol.sealed_coins import read_coins, read_seals
from fedmed.protocol.steps import LOST, Replies, Reply
from tests.small_province import identity_of, roster_of

ROSTER = roster_of(4, threshold=3, colluders=1)
STUDY = bytes(range(32))
CANARIES, OWN = 100, 25


def coins_at(point: int) -> Coins:
    return coins_from(bytes([point]) * bytes_for(OWN), OWN)


def replies(message_type: str, contents: Mapping[int, bytes], *, signer: int | None = None) -> Replies:
    """A first part, then a signed one; ``signer`` signs for everybody."""
    return {
        point: Reply(
            parts=(
                b"first",
                envelope.sign_message(
                    identity_of(signer or point),
                    message_type,
                    content,
                    context=STUDY,
                    receiver=ROSTER.coordinator.name,
                ),
            )
        )
        for point, content in contents.items()
    }


def seals() -> dict[int, bytes]:
    return {p: coins_at(p).seal(STUDY, ROSTER.member(p).name) for p in ROSTER.points}


def shown() -> dict[int, bytes]:
    return {p: coins_at(p).to_bytes() for p in ROSTER.points}


def coins_in(answers: Replies, sealed: Mapping[int, bytes]) -> dict[int, Coins]:
    return read_coins(ROSTER, answers, study_digest=STUDY, seals=sealed, canaries=CANARIES)


def test_seals_and_coins_are_read() -> None:
    sealed = read_seals(ROSTER, replies(envelope.AUDIT_SEAL, seals()), study_digest=STUDY)
    assert sealed == seals()
    found = coins_in(replies(envelope.AUDIT_COINS, shown()), sealed)
    assert {p: c.to_bytes() for p, c in found.items()} == shown()


def test_a_lost_node_has_no_coins() -> None:
    answers = {**replies(envelope.AUDIT_COINS, shown()), 3: Reply(code=LOST)}
    assert sorted(coins_in(answers, seals())) == [1, 2, 4]


def test_a_node_without_a_seal_or_coins_is_refused() -> None:
    bare = {2: Reply(parts=(b"first",))}
    with pytest.raises(AuditFailed, match="node2 accepted the study without sealing"):
        read_seals(ROSTER, {**replies(envelope.AUDIT_SEAL, seals()), **bare}, study_digest=STUDY)
    with pytest.raises(AuditFailed, match="node2 ended the study without showing"):
        coins_in({**replies(envelope.AUDIT_COINS, shown()), **bare}, seals())


def test_other_coins_than_the_sealed_ones_are_refused() -> None:
    changed = {**shown(), 4: coins_at(9).to_bytes()}
    with pytest.raises(AuditFailed, match="node4 showed other coins"):
        coins_in(replies(envelope.AUDIT_COINS, changed), seals())
    with pytest.raises(AuditFailed, match="node1 showed other coins"):
        coins_in(replies(envelope.AUDIT_COINS, shown()), {})


def test_messages_of_others_and_of_another_form_are_refused() -> None:
    with pytest.raises(SignatureInvalid):
        read_seals(ROSTER, replies(envelope.AUDIT_SEAL, seals(), signer=1), study_digest=STUDY)
    with pytest.raises(MessageMalformed):
        read_seals(ROSTER, replies(envelope.AUDIT_COINS, seals()), study_digest=STUDY)
    with pytest.raises(MessageMalformed, match="a seal must be 32 bytes"):
        read_seals(
            ROSTER, replies(envelope.AUDIT_SEAL, dict.fromkeys(ROSTER.points, b"short")), study_digest=STUDY
        )
