"""Attacks on the ceremony: each message is validly signed, each is refused by one check, and needs it.

The attacker is the coordinator with node 3, whose keys it has. Where a refusal is a matter of form, the
message is accepted once the check is taken away; where it is more, the effect is shown beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from fedmed import wire
from fedmed.crypto.identity import seal
from fedmed.crypto.lattice_secret import SecretKey, deal, read_share
from fedmed.errors import CeremonyStopped
from fedmed.messages import Dealing, Rehearsals
from fedmed.protocol import envelope, node_ceremony
from fedmed.protocol.binding import epoch_id_of, payload_digest
from fedmed.protocol.steps import Phase, PhaseKind, Reply
from fedmed.types import WordArray
from tests.federation import (
    COORDINATOR,
    Federation,
    identity_of,
    no_check,
)
from tests.hostile.ceremony_by_hand import (
    ATTACKER,
    FRIEND,
    NODES,
    OTHER_POSITION,
    THRESHOLD,
    VICTIM,
    Parts,
    new_federation,
    replaced,
    up_to,
)

# --- The table: property under attack, its code, and the check that stops it ---------------------------


def old_nonces(federation: Federation) -> Parts:
    """All nonces are of an earlier ceremony, whose name the epoch would take again."""
    old = up_to(federation, "deal")[VICTIM]
    up_to(federation, "deal")
    return old


def missing_nonce(federation: Federation) -> Parts:
    return up_to(federation, "deal")[VICTIM][:-1]


def doubled_nonce(federation: Federation) -> Parts:
    parts = up_to(federation, "deal")[VICTIM]
    return replaced(parts, ATTACKER, parts[FRIEND])


def share_parts(federation: Federation) -> tuple[Parts, bytes]:
    """The honest request of step ``share`` to the victim, and the epoch id."""
    parts = up_to(federation, "share")[VICTIM]
    return parts, wire.decode_statement(wire.decode_signed(parts[1]).body).context


def blob_at(dealer: int) -> int:
    """Where a dealer's sealed share lies in the parts of step ``share``; its dealing lies at ``dealer``."""
    return NODES + dealer


def signed_dealing(epoch_id: bytes, dealer: int, digests: tuple[bytes, ...]) -> bytes:
    return envelope.sign_message(
        identity_of(dealer),
        envelope.DEALING,
        wire.encode_dealing(Dealing(blob_digests=digests)),
        context=epoch_id,
        position=OTHER_POSITION,
    )


def digests_in(parts: Parts, dealer: int) -> tuple[bytes, ...]:
    statement = wire.decode_statement(wire.decode_signed(parts[dealer]).body)
    return wire.decode_dealing(statement.content).blob_digests


def dealt_by_attacker(parts: Parts, epoch_id: bytes, blob: bytes) -> Parts:
    """The attacker's blob for the victim, properly named in a dealing that it signs."""
    digests = digests_in(parts, ATTACKER)
    digests = (payload_digest(blob), *digests[1:])
    parts = replaced(parts, ATTACKER, signed_dealing(epoch_id, ATTACKER, digests))
    return replaced(parts, blob_at(ATTACKER), blob)


def sealed(
    federation: Federation, epoch_id: bytes, plain: bytes, *, dealer: int = ATTACKER, bound_to: int = VICTIM
) -> bytes:
    """A share sealed to the victim under a dealer's name; anybody can seal, so the digest must be signed."""
    associated = node_ceremony._associated(epoch_id, federation.roster_digest, dealer, bound_to)
    return seal(identity_of(VICTIM).public, plain, associated=associated)


def good_share() -> bytes:
    secret = SecretKey(np.zeros(8192, np.int8))
    return bytes(32) + deal(secret, NODES, THRESHOLD, bytes)[0]


def other_own_dealing(federation: Federation) -> Parts:
    parts, epoch_id = share_parts(federation)
    return replaced(parts, VICTIM, signed_dealing(epoch_id, VICTIM, digests_in(parts, VICTIM)))


def forged_blob(federation: Federation) -> Parts:
    """A share that the coordinator chose, in the place of the friend's."""
    parts, epoch_id = share_parts(federation)
    return replaced(parts, blob_at(FRIEND), sealed(federation, epoch_id, good_share(), dealer=FRIEND))


def short_dealing(federation: Federation) -> Parts:
    parts, epoch_id = share_parts(federation)
    return replaced(parts, ATTACKER, signed_dealing(epoch_id, ATTACKER, digests_in(parts, ATTACKER)[:-1]))


def extra_blob(federation: Federation) -> Parts:
    parts, _ = share_parts(federation)
    return (*parts, parts[-1])


def copied_share(federation: Federation) -> Parts:
    """The friend's sealed share, dealt by the attacker as its own: the attacker's key is the friend's."""
    parts, epoch_id = share_parts(federation)
    return dealt_by_attacker(parts, epoch_id, parts[blob_at(FRIEND)])


def old_share(federation: Federation) -> Parts:
    old = up_to(federation, "share")[VICTIM]
    parts, epoch_id = share_parts(federation)
    return dealt_by_attacker(parts, epoch_id, old[blob_at(ATTACKER)])


def others_share(federation: Federation) -> Parts:
    parts, epoch_id = share_parts(federation)
    return dealt_by_attacker(parts, epoch_id, sealed(federation, epoch_id, good_share(), bound_to=FRIEND))


def short_share(federation: Federation) -> Parts:
    parts, epoch_id = share_parts(federation)
    return dealt_by_attacker(parts, epoch_id, sealed(federation, epoch_id, good_share()[:-1]))


def empty_share(federation: Federation) -> Parts:
    parts, epoch_id = share_parts(federation)
    return dealt_by_attacker(parts, epoch_id, sealed(federation, epoch_id, bytes(32)))


def residue_out_of_range(federation: Federation) -> Parts:
    parts, epoch_id = share_parts(federation)
    return dealt_by_attacker(parts, epoch_id, sealed(federation, epoch_id, good_share()[:-7] + b"\xff" * 7))


def equivocation(federation: Federation) -> Parts:
    """The attacker's dealing, signed twice; the victim saw one of them, the others the other one."""

    def show_another(phase: Phase, point: int, parts: Parts) -> Parts:
        if phase.name != "ceremony share" or point != VICTIM:
            return parts
        epoch_id = wire.decode_statement(wire.decode_signed(parts[1]).body).context
        again = signed_dealing(epoch_id, ATTACKER, digests_in(parts, ATTACKER))
        return replaced(parts, ATTACKER, again)

    return up_to(federation, "agree", show_another)[VICTIM]


def missing_signature(federation: Federation) -> Parts:
    return up_to(federation, "agree")[VICTIM][:-1]


def borrowed_signature(federation: Federation) -> Parts:
    parts = up_to(federation, "agree")[VICTIM]
    return replaced(parts, ATTACKER, parts[FRIEND])


def unrehearsed(federation: Federation) -> Parts:
    """The coordinator skips the rehearsals and says that they went well."""
    agreed = up_to(federation, "agree")
    for point, parts in agreed.items():
        assert not federation.ask(point, PhaseKind.CEREMONY, *parts).is_refusal
    result = Rehearsals(plan_digests=(bytes(32),), header_digests=(bytes(32),))
    signed = envelope.sign_message(
        identity_of(COORDINATOR),
        envelope.REHEARSALS,
        wire.encode_rehearsals(result),
        context=wire.decode_statement(wire.decode_signed(agreed[VICTIM][1]).body).context,
    )
    return (b"confirm", signed)


def differing_results(federation: Federation) -> Parts:
    """The friend is told of other headers than the victim, and signs another result."""

    def tell_another(phase: Phase, point: int, parts: Parts) -> Parts:
        if phase.name != "ceremony confirm" or point != FRIEND:
            return parts
        statement = wire.decode_statement(wire.decode_signed(parts[1]).body)
        told = wire.decode_rehearsals(statement.content)
        other = Rehearsals(plan_digests=told.plan_digests, header_digests=(bytes(32),))
        signed = envelope.sign_message(
            identity_of(COORDINATOR),
            envelope.REHEARSALS,
            wire.encode_rehearsals(other),
            context=statement.context,
        )
        return (b"confirm", signed)

    return up_to(federation, "conclude", tell_another)[VICTIM]


def missing_conclusion(federation: Federation) -> Parts:
    return up_to(federation, "conclude")[VICTIM][:-1]


def any_share(data: bytes) -> WordArray:
    """Reads whatever a dealer sent as a share."""
    return np.zeros((4, 8192), np.uint64)


def unbound(*args: object) -> bytes:
    """Sealed shares that are bound to nothing."""
    return b""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One attack: the code that it must get and what takes the check away (dotted name to stand-in)."""

    attack: Callable[[Federation], Parts]
    code: str
    without: Mapping[str, Callable[..., Any]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.attack.__name__}-{self.code}"


HERE = "fedmed.protocol.node_ceremony."
COUNT = {HERE + "check_one_of_each": no_check}
# A message by another member is stopped by its key and by the name that the key signed.
SENDER = {
    "fedmed.protocol.envelope.check_signature": no_check,
    "fedmed.protocol.envelope.check_sender": no_check,
}
BINDING = {HERE + "_associated": unbound}
READING = {HERE + "read_share": any_share}
CASES = (
    Case(attack=old_nonces, code="nonce_mismatch", without={HERE + "check_own_nonce": no_check}),
    Case(attack=missing_nonce, code="message_malformed", without=COUNT),
    Case(attack=doubled_nonce, code="signature_invalid", without=SENDER),
    Case(attack=other_own_dealing, code="digest_mismatch", without={HERE + "check_own_dealing": no_check}),
    Case(attack=forged_blob, code="digest_mismatch", without={HERE + "check_blob": no_check}),
    Case(attack=short_dealing, code="digest_mismatch", without={HERE + "check_dealing": no_check}),
    Case(attack=extra_blob, code="message_malformed", without={HERE + "check_share_parts": no_check}),
    Case(attack=copied_share, code="sealing_invalid", without=BINDING),
    Case(attack=old_share, code="sealing_invalid", without=BINDING),
    Case(attack=others_share, code="sealing_invalid", without=BINDING),
    Case(attack=short_share, code="ciphertext_malformed", without=READING),
    Case(attack=empty_share, code="sealing_invalid", without={HERE + "check_plain": no_check, **READING}),
    Case(attack=residue_out_of_range, code="ciphertext_malformed", without=READING),
    Case(attack=equivocation, code="ceremony_stopped", without={HERE + "check_agreed": no_check}),
    Case(attack=missing_signature, code="message_malformed", without=COUNT),
    Case(attack=borrowed_signature, code="signature_invalid", without=SENDER),
    Case(attack=unrehearsed, code="rehearsal_failed", without={HERE + "check_rehearsed": no_check}),
    Case(attack=differing_results, code="ceremony_stopped", without={HERE + "check_concluded": no_check}),
    Case(attack=missing_conclusion, code="message_malformed", without=COUNT),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_hostile_ceremony_message_is_refused_and_stops_the_ceremony_for_good(case: Case) -> None:
    federation = new_federation()
    parts = case.attack(federation)
    assert federation.ask(VICTIM, PhaseKind.CEREMONY, *parts) == Reply(code=case.code)
    node = federation.nodes[VICTIM]
    assert not node.effects.secrets.epochs()
    assert node.audit[-1].event.code == case.code
    for step in ("deal", "share", "agree", "confirm", "conclude"):
        stopped = federation.ask(VICTIM, PhaseKind.CEREMONY, step.encode(), *parts[1:])
        assert stopped.code == CeremonyStopped.code, f"{step} went on"
    assert not node.effects.secrets.epochs()


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_without_its_check_the_hostile_ceremony_message_is_accepted(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = new_federation()
    for name, stand_in in case.without.items():
        monkeypatch.setattr(name, stand_in)
    reply = federation.ask(VICTIM, PhaseKind.CEREMONY, *case.attack(federation))
    assert not reply.is_refusal, f"something else stopped it: {reply.code}"


# --- What the refused messages would have done -------------------------------------------------------


def test_without_the_nonce_check_an_old_epoch_id_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    federation = new_federation()
    old = up_to(federation, "deal")[VICTIM]
    first = federation.ask(VICTIM, PhaseKind.CEREMONY, *old)
    up_to(federation, "deal")
    monkeypatch.setattr(node_ceremony, "check_own_nonce", no_check)
    second = federation.ask(VICTIM, PhaseKind.CEREMONY, *old)
    contexts = {wire.decode_statement(wire.decode_signed(r.parts[0]).body).context for r in (first, second)}
    assert len(contexts) == 1


def shares_kept(federation: Federation, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> Mapping[int, Any]:
    """Shares that the victim takes over from the parts of step ``share``."""
    kept: list[node_ceremony.Received] = []
    receive = node_ceremony.receive_shares

    def watch(*args: Any, **kwargs: Any) -> Any:
        received, answer = receive(*args, **kwargs)
        kept.append(received)
        return received, answer

    monkeypatch.setattr(node_ceremony, "receive_shares", watch)
    assert not federation.ask(VICTIM, PhaseKind.CEREMONY, *parts).is_refusal
    return kept[0].keys.shares


def test_without_the_digest_check_the_coordinator_chooses_a_members_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    federation = new_federation()
    monkeypatch.setattr(node_ceremony, "check_blob", no_check)
    shares = shares_kept(federation, forged_blob(federation), monkeypatch)
    assert np.array_equal(shares[FRIEND], read_share(good_share()[32:]))


def test_without_the_binding_a_dealer_copies_anothers_share(monkeypatch: pytest.MonkeyPatch) -> None:
    federation = new_federation()
    monkeypatch.setattr(node_ceremony, "_associated", unbound)
    shares = shares_kept(federation, copied_share(federation), monkeypatch)
    assert np.array_equal(shares[FRIEND], shares[ATTACKER])


def test_the_epoch_depends_on_every_nonce_so_that_the_last_node_chooses_nothing() -> None:
    nonces = [bytes([i]) * 16 for i in range(5)]
    seen = {epoch_id_of(bytes(32), nonces)}
    for at in range(5):
        for bit in (1, 128):
            changed = [*nonces]
            changed[at] = bytes([nonces[at][0] ^ bit]) + nonces[at][1:]
            seen.add(epoch_id_of(bytes(32), changed))
        seen.add(epoch_id_of(bytes(32), [*nonces[:at], *nonces[at + 1 :], nonces[at]]))
    # Moving the last nonce to the end changes nothing; every other of the 15 changes does.
    assert len(seen) == 1 + 10 + 4
    assert epoch_id_of(bytes([1]) * 32, nonces) not in seen


def test_all_deal_before_anybody_sees_a_share() -> None:
    """No joint key exists: what node i deals is fixed by its own entropy before it sees another's dealing."""
    federation = new_federation()
    requests = up_to(federation, "deal")
    assert all(parts == requests[VICTIM] for parts in requests.values())
    sizes = [len(part) for part in requests[VICTIM][1:]]
    assert len(sizes) == NODES
    assert max(sizes) < 400, "before dealing, a custodian is given nonces and nothing else"
