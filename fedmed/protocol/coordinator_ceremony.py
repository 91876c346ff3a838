"""The coordinator's half of a ceremony: relay, rehearse, gather n signatures on the result.

The coordinator sees sealed blobs and public statements only. Source: PROTOCOL.md section 3.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fedmed import wire
from fedmed.aggregation.contract import Combiner
from fedmed.crypto.identity import Identity
from fedmed.errors import FedMedError, RehearsalFailed, TooFewNodes
from fedmed.messages import Rehearsals, Roster
from fedmed.protocol import envelope
from fedmed.protocol.binding import call_for, epoch_id_of, transcript_of
from fedmed.protocol.coordinator_round import Desk, Opened, Standing, aggregate, refusal, take_nonces
from fedmed.protocol.schedule import rehearsal_openers, rehearsal_rounds, rehearsal_terms
from fedmed.protocol.steps import LOST, Phase, PhaseKind, Reply, Steps
from fedmed.types import Layout, Scheme


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """A key epoch that all custodians signed."""

    epoch_id: bytes
    transcript: bytes
    rehearsals: int


def hold_ceremony(
    identity: Identity,
    roster: Roster,
    *,
    today: datetime.date,
    combiner: Callable[[Layout], Combiner],
    scheme: Scheme = Scheme.THRESHOLD,
) -> Steps[Epoch]:
    """Run a whole ceremony.

    Args:
        identity: The coordinator's private keys.
        roster: The roster that all provinces pinned.
        today: The coordinator's date.
        combiner: Makes an empty running sum for a layout.
        scheme: Whose keys are dealt; the combiner is of it.

    Yields:
        Phases ``ceremony`` and those of the rehearsals.

    Returns:
        The new epoch.

    Raises:
        TooFewNodes: a custodian did not answer; a ceremony needs all of them.
        RehearsalFailed: a rehearsal did not decode to zero.
        FedMedError: a custodian refused. In every case all custodians are told to delete what they have.
    """
    roster_id = wire.roster_digest(roster)
    call = envelope.sign_message(identity, envelope.CEREMONY_START, call_for(scheme), context=roster_id)
    started = yield from _ask_all(roster, "start", dict.fromkeys(roster.points, (call,)))
    nonces = [started[p][0] for p in roster.points]
    epoch_id = _epoch_of(roster, roster_id, nonces, scheme=scheme)
    try:
        transcript, agreed = yield from _share_keys(roster, epoch_id, nonces)
        digests = (transcript, roster_id, epoch_id)
        terms = rehearsal_terms(roster, digests=digests, scheme=scheme, today=today)
        desk = Desk(identity=identity, terms=terms, combiner=combiner)
        opened = yield from _rehearse(desk, take_nonces(desk, {p: Reply(parts=agreed[p]) for p in agreed}))
        yield from _conclude(desk, opened)
    except FedMedError:
        # A stopped ceremony is never resumed: those who saw nothing wrong must not keep its keys.
        yield from end_epoch(identity, roster, epoch_id)
        raise
    return Epoch(epoch_id=epoch_id, transcript=transcript, rehearsals=len(opened))


def end_epoch(identity: Identity, roster: Roster, epoch_id: bytes) -> Steps[None]:
    """Tell every custodian to destroy its keys of an epoch; what it answers, or whether, changes nothing.

    Args:
        identity: The coordinator's private keys.
        roster: The roster of the ceremony.
        epoch_id: The epoch, active or not.
    """
    signed = envelope.sign_message(identity, envelope.EPOCH_END, b"", context=epoch_id)
    yield Phase(
        name="ceremony end",
        kind=PhaseKind.CEREMONY,
        requests=_to_all(roster, [b"end", signed]),
    )


def _share_keys(
    roster: Roster, epoch_id: bytes, nonces: Sequence[bytes]
) -> Steps[tuple[bytes, dict[int, tuple[bytes, ...]]]]:
    """Relay dealings and signatures until all agree: the transcript, and each custodian's first nonce."""
    dealt = yield from _ask_all(roster, "deal", _to_all(roster, nonces))
    dealings = [dealt[p][0] for p in roster.points]
    _check_blobs(roster, dealt)
    shared = yield from _ask_all(
        roster,
        "share",
        {p: (*dealings, *(dealt[dealer][p] for dealer in roster.points)) for p in roster.points},
    )
    agreed = yield from _ask_all(roster, "agree", _to_all(roster, [shared[p][0] for p in roster.points]))
    return transcript_of(epoch_id, dealings), agreed


def _conclude(desk: Desk, opened: Sequence[Opened]) -> Steps[None]:
    """Have the result signed by all custodians, and show each all the signatures."""
    roster = desk.roster
    result = Rehearsals(
        plan_digests=tuple(o.plan_digest for o in opened),
        header_digests=tuple(o.headers_digest for o in opened),
    )
    signed = envelope.sign_message(
        desk.identity, envelope.REHEARSALS, wire.encode_rehearsals(result), context=desk.terms.epoch_id
    )
    actives = yield from _ask_all(roster, "confirm", _to_all(roster, [signed]))
    yield from _ask_all(roster, "conclude", _to_all(roster, [actives[p][0] for p in roster.points]))


def _to_all(roster: Roster, parts: Sequence[bytes]) -> dict[int, tuple[bytes, ...]]:
    """The same parts for every custodian."""
    return {p: tuple(parts) for p in roster.points}


def _epoch_of(roster: Roster, roster_id: bytes, envelopes: Sequence[bytes], *, scheme: Scheme) -> bytes:
    """The epoch's name from the nonces, each checked against its sender."""
    nonces = [
        wire.decode_nonce(
            envelope.open_message(
                data,
                envelope.CEREMONY_NONCE,
                member,
                context=roster_id,
                receiver=roster.coordinator.name,
            ).content
        )
        for data, member in zip(envelopes, roster.members, strict=True)
    ]
    return epoch_id_of(roster_id, nonces, scheme)


def _check_blobs(roster: Roster, dealt: Mapping[int, tuple[bytes, ...]]) -> None:
    """Every dealer sent one blob for each custodian."""
    for point in roster.points:
        if len(dealt[point]) != 1 + len(roster.members):
            raise refusal(
                "message_malformed", f"{roster.member(point).name} dealt the wrong number of shares"
            )


def _ask_all(
    roster: Roster, step: str, requests: Mapping[int, tuple[bytes, ...]]
) -> Steps[dict[int, tuple[bytes, ...]]]:
    """One ceremony step to all custodians; all must answer."""
    replies = yield Phase(
        name=f"ceremony {step}",
        kind=PhaseKind.CEREMONY,
        requests={p: (step.encode(), *parts) for p, parts in requests.items()},
    )
    for point in roster.points:
        reply = replies.get(point, Reply(code=LOST))
        name = roster.member(point).name
        if reply.code == LOST:
            raise TooFewNodes(f"{name} was lost in the ceremony ({step}); a ceremony needs every custodian")
        if reply.is_refusal:
            raise refusal(reply.code, f"{name} stopped the ceremony ({step})")
    return {p: replies[p].parts for p in roster.points}


def _rehearse(desk: Desk, standing: Standing) -> Steps[list[Opened]]:
    """Open zeros until every custodian has answered once."""
    opened: list[Opened] = []
    for round_number in range(1, rehearsal_rounds(desk.roster) + 1):
        try:
            result, standing = yield from aggregate(
                desk,
                standing,
                round_number=round_number,
                inputs=b"",
                prefer=rehearsal_openers(desk.roster, round_number),
            )
        except TooFewNodes:
            raise
        except FedMedError as fault:
            raise RehearsalFailed(f"rehearsal {round_number} did not open: {fault.code}") from fault
        if result.fields.any():
            raise RehearsalFailed(f"rehearsal {round_number} did not decode to zero: a dealing is bad")
        opened.append(result)
    return opened
