"""A custodian's half of a ceremony: deal, check, agree, conclude (PROTOCOL.md section 3).

Each step takes the state that the step before returned and gives the next one; nothing is on disk until
the keys are agreed. Any error stops the ceremony: the caller deletes everything and draws anew.

Threat model: the coordinator relays and may swap, drop or replay; up to ``colluders`` dealers deal badly.
Every statement is signed by its dealer, blobs are bound by digest, and all n custodians sign one
transcript before a key is used; a bad dealing shows in the rehearsals.

The coordinator's call names the scheme, and so do epoch id and with it every seal. For ``threshold`` a dealer
seals a share of its own secret and a zero seed to each custodian; for ``ckks`` the same 32-byte seed to all,
and the key is one hash over the seeds of all n: no dealer chooses it, and one who deals unlike seeds leaves
custodians with unlike keys, whose rehearsal does not open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fedmed import wire
from fedmed.crypto.ckks_secret import CkksKeys, joint_key
from fedmed.crypto.identity import Identity, seal
from fedmed.crypto.lattice_secret import EpochKeys, SecretKey, deal, pair_key, read_share
from fedmed.errors import (
    CeremonyStopped,
    DigestMismatch,
    MessageMalformed,
    NonceMismatch,
    RehearsalFailed,
    SealingInvalid,
)
from fedmed.governance.audit_chain import ChainHead
from fedmed.messages import EVERYONE, Dealing, Rehearsals, Roster
from fedmed.protocol import envelope
from fedmed.protocol.binding import called_for, epoch_id_of, payload_digest, result_digest, transcript_of
from fedmed.protocol.schedule import rehearsal_rounds
from fedmed.types import NONCE_BYTES, Scheme, digest

SEED_BYTES = 32
ByteSource = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Who this custodian is: its keys, the pinned roster and its point."""

    identity: Identity
    roster: Roster
    roster_digest: bytes
    point: int

    @property
    def coordinator(self) -> str:
        """Name of the coordinator."""
        return self.roster.coordinator.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """After step 1: the fresh ceremony nonce, in memory only, and whose keys are dealt."""

    nonce: bytes
    scheme: Scheme = Scheme.THRESHOLD


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Dealt:
    """After step 2: own secret (None where all share a key) and seeds; no repr, for they are keys."""

    epoch_id: bytes
    secret: SecretKey | None
    seeds: tuple[bytes, ...]
    dealing: bytes


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Received:
    """After step 3: all shares, and the transcript that this custodian signed."""

    epoch_id: bytes
    keys: EpochKeys | CkksKeys
    transcript: bytes

    @property
    def scheme(self) -> Scheme:
        """Whose keys they are."""
        return Scheme.CKKS if isinstance(self.keys, CkksKeys) else Scheme.THRESHOLD


def _associated(epoch_id: bytes, roster_digest: bytes, dealer: int, receiver: int) -> bytes:
    """What a sealed share is bound to."""
    return digest(
        "fedmed/sealed-share",
        epoch_id,
        roster_digest,
        dealer.to_bytes(4, "little"),
        receiver.to_bytes(4, "little"),
    )


def start(seat: Seat, request: bytes, *, source: ByteSource, position: ChainHead) -> tuple[Started, bytes]:
    """Step 1: answer the coordinator's call with a fresh nonce.

    Raises:
        SignatureInvalid, MessageMalformed, WrongReceiver: the call is not the coordinator's.
    """
    call = envelope.open_message(
        request, envelope.CEREMONY_START, seat.roster.coordinator, context=seat.roster_digest
    )
    scheme = called_for(call.content)
    state = Started(nonce=source(NONCE_BYTES), scheme=scheme)
    answer = envelope.sign_message(
        seat.identity,
        envelope.CEREMONY_NONCE,
        wire.encode_nonce(state.nonce),
        context=seat.roster_digest,
        receiver=seat.coordinator,
        position=position,
    )
    return state, answer


def _open_all(
    seat: Seat, envelopes: Sequence[bytes], message_type: str, *, context: bytes, receiver: str
) -> list[bytes]:
    """Check one envelope of each member, in the order of points, and return their contents."""
    check_one_of_each(seat.roster, envelopes, message_type)
    return [
        envelope.open_message(data, message_type, member, context=context, receiver=receiver).content
        for data, member in zip(envelopes, seat.roster.members, strict=False)  # counted just before
    ]


def check_one_of_each(roster: Roster, envelopes: Sequence[bytes], message_type: str) -> None:
    """There is one message of every custodian: a ceremony needs all of them."""
    if len(envelopes) != len(roster.members):
        raise MessageMalformed(f"expected {len(roster.members)} messages of type {message_type}")


def check_own_nonce(state: Started, nonces: Sequence[bytes], point: int) -> None:
    """The epoch is fresh because this custodian's own nonce is in its name."""
    if nonces[point - 1] != state.nonce:
        raise NonceMismatch("the ceremony does not carry this custodian's nonce")


def deal_shares(
    seat: Seat, state: Started, envelopes: Sequence[bytes], *, source: ByteSource, position: ChainHead
) -> tuple[Dealt, tuple[bytes, ...]]:
    """Step 2: draw a secret and seal one share of it, and a seed, to every custodian.

    Returns:
        The state, and the signed dealing followed by n sealed blobs in the order of points.
    """
    contents = _open_all(
        seat, envelopes, envelope.CEREMONY_NONCE, context=seat.roster_digest, receiver=seat.coordinator
    )
    nonces = [wire.decode_nonce(c) for c in contents]
    check_own_nonce(state, nonces, seat.point)
    epoch_id = epoch_id_of(seat.roster_digest, nonces, state.scheme)
    n = len(seat.roster.members)
    secret, shares, seeds = None, (b"",) * n, (source(SEED_BYTES),) * n  # ckks: one seed, told to all
    if state.scheme is Scheme.THRESHOLD:
        secret = SecretKey.draw(source)
        shares = deal(secret, n, seat.roster.threshold, source)
        seeds = tuple(source(SEED_BYTES) for _ in seat.roster.points)
    blobs = tuple(
        seal(
            envelope.public_identity(seat.roster.member(receiver)),
            seeds[receiver - 1] + shares[receiver - 1],
            associated=_associated(epoch_id, seat.roster_digest, seat.point, receiver),
        )
        for receiver in seat.roster.points
    )
    dealing = envelope.sign_message(
        seat.identity,
        envelope.DEALING,
        wire.encode_dealing(Dealing(blob_digests=tuple(payload_digest(b) for b in blobs))),
        context=epoch_id,
        position=position,
    )
    return Dealt(epoch_id=epoch_id, secret=secret, seeds=seeds, dealing=dealing), (dealing, *blobs)


def check_own_dealing(state: Dealt, envelopes: Sequence[bytes], point: int) -> None:
    """The dealing shown for this custodian is byte for byte its own."""
    if envelopes[point - 1] != state.dealing:
        raise DigestMismatch("the dealing shown for this custodian is not the one that it sent")


def check_blob(dealing: Dealing, blob: bytes, point: int) -> None:
    """The sealed share is the one that its dealer signed for this custodian; raises `DigestMismatch`."""
    if dealing.blob_digests[point - 1] != payload_digest(blob):
        raise DigestMismatch("a sealed share does not have the digest that its dealer signed")


def check_dealing(roster: Roster, dealing: Dealing) -> None:
    """A dealing names one sealed share for each custodian; raises `DigestMismatch`."""
    if len(dealing.blob_digests) != len(roster.members):
        raise DigestMismatch("a dealing does not name one sealed share for each custodian")


def check_share_parts(roster: Roster, parts: Sequence[bytes]) -> None:
    """There are one dealing and one sealed share of each custodian, and nothing else."""
    n = len(roster.members)
    if len(parts) != 2 * n:
        raise MessageMalformed(f"expected {n} dealings and {n} blobs")


def receive_shares(
    seat: Seat, state: Dealt, parts: Sequence[bytes], *, position: ChainHead
) -> tuple[Received, bytes]:
    """Step 3: open the n blobs meant for this custodian and sign the transcript.

    Args:
        seat: This custodian.
        state: From step 2.
        parts: n signed dealings, then the n blobs sealed to this custodian, both by point.
        position: This custodian's audit chain.

    Raises:
        SealingInvalid, DigestMismatch, CiphertextMalformed: a share does not hold.
    """
    n = len(seat.roster.members)
    check_share_parts(seat.roster, parts)
    envelopes, blobs = parts[:n], parts[n : 2 * n]
    contents = _open_all(seat, envelopes, envelope.DEALING, context=state.epoch_id, receiver=EVERYONE)
    check_own_dealing(state, envelopes, seat.point)
    dealings = [wire.decode_dealing(c) for c in contents]
    dealt = {}
    for dealer, dealing, blob in zip(seat.roster.points, dealings, blobs, strict=True):
        check_dealing(seat.roster, dealing)
        check_blob(dealing, blob, seat.point)
        dealt[dealer] = _open_blob(seat, state, dealer, blob)
    transcript = transcript_of(state.epoch_id, envelopes)
    keys = _shared_keys(seat, state, dealt) if state.secret is None else _own_keys(seat, state, dealt)
    answer = envelope.sign_message(
        seat.identity,
        envelope.TRANSCRIPT,
        wire.encode_transcript(transcript),
        context=state.epoch_id,
        position=position,
    )
    return Received(epoch_id=state.epoch_id, keys=keys, transcript=transcript), answer


def _open_blob(seat: Seat, state: Dealt, dealer: int, blob: bytes) -> tuple[bytes, bytes]:
    """Zero seed and share of one dealer; bound to epoch, roster, dealer and receiver."""
    plain = seat.identity.open(
        blob, associated=_associated(state.epoch_id, seat.roster_digest, dealer, seat.point)
    )
    if state.secret is None:
        check_seed(plain)
    else:
        check_plain(plain)
    return plain[:SEED_BYTES], plain[SEED_BYTES:]


def check_plain(plain: bytes) -> None:
    """A sealed share holds a whole zero seed and something after it; raises `SealingInvalid`."""
    if len(plain) <= SEED_BYTES:
        raise SealingInvalid("a sealed share is too short")


def check_seed(plain: bytes) -> None:
    """Of scheme ``ckks`` nothing is sealed but a seed; raises `SealingInvalid`."""
    if len(plain) != SEED_BYTES:
        raise SealingInvalid(f"a sealed seed must have {SEED_BYTES} bytes")


def _own_keys(seat: Seat, state: Dealt, dealt: Mapping[int, tuple[bytes, bytes]]) -> EpochKeys:
    """Keys of scheme ``threshold`` from the seeds and shares of all dealers."""
    if state.secret is None:
        raise CeremonyStopped("no secret was drawn here")
    pair_keys = {}
    for dealer in seat.roster.points:
        if dealer != seat.point:
            low, high = min(dealer, seat.point), max(dealer, seat.point)
            mine, theirs = state.seeds[dealer - 1], dealt[dealer][0]
            z_low, z_high = (mine, theirs) if seat.point == low else (theirs, mine)
            pair_keys[dealer] = pair_key(state.epoch_id, low, high, z_low, z_high)
    return EpochKeys(
        point=seat.point,
        threshold=seat.roster.threshold,
        secret=state.secret,
        shares={dealer: read_share(share) for dealer, (_, share) in dealt.items()},
        pair_keys=pair_keys,
    )


def _shared_keys(seat: Seat, state: Dealt, dealt: Mapping[int, tuple[bytes, bytes]]) -> CkksKeys:
    """The one key of scheme ``ckks`` from the seeds of all dealers."""
    key = joint_key(state.epoch_id, {dealer: seed for dealer, (seed, _) in dealt.items()})
    return CkksKeys(key, point=seat.point, threshold=seat.roster.threshold)


def check_agreed(seat: Seat, state: Received, envelopes: Sequence[bytes]) -> None:
    """Step 4: all n custodians signed the very transcript that this one saw.

    Raises:
        CeremonyStopped: two custodians saw different dealings (equivocation).
    """
    contents = _open_all(seat, envelopes, envelope.TRANSCRIPT, context=state.epoch_id, receiver=EVERYONE)
    if any(wire.decode_transcript(c) != state.transcript for c in contents):
        raise CeremonyStopped("the custodians signed different transcripts; the ceremony stops")


def confirm_rehearsals(
    seat: Seat, state: Received, request: bytes, *, accepted: Sequence[bytes], position: ChainHead
) -> bytes:
    """Step 5: sign the result after all rehearsals; it must name the plans that this custodian took part in.

    Args:
        seat: This custodian.
        state: From step 3.
        request: The coordinator's signed `Rehearsals`.
        accepted: Digests of the rehearsal plans accepted here, in order.
        position: This custodian's audit chain.

    Raises:
        RehearsalFailed: the result names other rehearsals than this custodian took part in.
    """
    statement = envelope.open_message(
        request, envelope.REHEARSALS, seat.roster.coordinator, context=state.epoch_id
    )
    result = wire.decode_rehearsals(statement.content)
    check_rehearsed(seat.roster, result, accepted)
    return envelope.sign_message(
        seat.identity,
        envelope.EPOCH_ACTIVE,
        wire.encode_transcript(result_digest(state.transcript, result)),
        context=state.epoch_id,
        position=position,
    )


def check_rehearsed(roster: Roster, result: Rehearsals, accepted: Sequence[bytes]) -> None:
    """The result names the very rehearsals that this custodian took part in, and all of them."""
    complete = len(accepted) == rehearsal_rounds(roster)
    if not complete or result.plan_digests != tuple(accepted):
        raise RehearsalFailed("the result does not name the rehearsals that this custodian took part in")


def read_epoch_end(seat: Seat, request: bytes) -> bytes:
    """The epoch that the coordinator ends, because its ceremony failed or nobody will use it.

    Raises:
        SignatureInvalid, MessageMalformed, WrongReceiver: the message is not the coordinator's.
    """
    return envelope.open_message(request, envelope.EPOCH_END, seat.roster.coordinator, context=None).context


def check_concluded(seat: Seat, state: Received, envelopes: Sequence[bytes], *, own: bytes) -> None:
    """Step 6: all n custodians signed the same result; only then may a study use the epoch.

    Args:
        seat: This custodian.
        state: From step 3.
        envelopes: n messages of type ``epoch-active``, by point.
        own: The message that this custodian sent in step 5.

    Raises:
        CeremonyStopped: the results differ.
    """
    contents = _open_all(seat, envelopes, envelope.EPOCH_ACTIVE, context=state.epoch_id, receiver=EVERYONE)
    if envelopes[seat.point - 1] != own or len(set(contents)) != 1:
        raise CeremonyStopped("the custodians signed different results; the ceremony stops")
