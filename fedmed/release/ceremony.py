"""The ceremony as a release shows it: every nonce, dealing, transcript, rehearsal and final signature.

That the rehearsals decoded to zero cannot be seen here, for their payloads are not in a release: all
custodians signed that they took part in these rehearsals, and the coordinator that they opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedmed import wire
from fedmed.messages import EVERYONE, Rehearsals
from fedmed.protocol import envelope
from fedmed.protocol.binding import call_for, epoch_id_of, result_digest, transcript_of
from fedmed.protocol.schedule import rehearsal_openers, rehearsal_rounds, rehearsal_terms
from fedmed.protocol.steps import PhaseKind
from fedmed.release.exchange import Exchange, Part
from fedmed.release.rounds import Rounds, follow_contribution, follow_nonces, follow_opening
from fedmed.release.trail import Trail, answers_of_all, asked_of_all, named, need, take_nonce
from fedmed.types import Scheme

STEPS_BEFORE = ("start", "deal", "share", "agree")
STEPS_AFTER = ("confirm", "conclude")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A ceremony that holds: its epoch, how many rehearsals it had, and the custodians after it."""

    epoch_id: bytes
    rehearsals: int
    trail: Trail


def follow_ceremony(
    trail: Trail, exchanges: Sequence[Exchange], *, roster_digest: bytes, scheme: Scheme
) -> Held:
    """Follow a ceremony from its first step to its last.

    Args:
        trail: The custodians before it.
        exchanges: The phases of the ceremony, in order.
        roster_digest: Of the roster that every message must belong to.
        scheme: Whose keys the study needs.

    Raises:
        ReleaseBroken: names the step that does not hold.
    """
    shown = tuple(e.name for e in exchanges)
    first = tuple(f"ceremony {s}" for s in STEPS_BEFORE)
    last = tuple(f"ceremony {s}" for s in STEPS_AFTER)
    whole = shown[: len(first)] == first and shown[-len(last) :] == last
    need(whole, f"the steps {', '.join(first)} and {', '.join(last)} are not all there, in this order")
    start, deal, share, agree = exchanges[: len(first)]
    trail, nonces, epoch_id = _start(trail, start, roster_digest=roster_digest, scheme=scheme)
    trail, dealings = _deal(trail, deal, nonces=nonces, epoch_id=epoch_id)
    transcript = transcript_of(epoch_id, [p.kept for p in dealings])
    trail, signed = _share(trail, (deal, share), epoch_id=epoch_id, transcript=transcript)
    with named("ceremony agree"):
        step, *asked = asked_of_all(trail.roster, agree, 1 + len(signed))
        _step(step, "agree")
        need(tuple(asked) == signed, "a custodian was shown other transcripts than were signed")
        for point, (part,) in answers_of_all(trail.roster, agree, 1).items():
            trail = take_nonce(trail, point, part, context=transcript)
    digests = (transcript, roster_digest, epoch_id)
    terms = rehearsal_terms(trail.roster, digests=digests, scheme=scheme, today=trail.today)
    rounds = _rehearse(Rounds(trail=trail, terms=terms), exchanges[len(first) : -len(last)])
    trail = _conclude(rounds, (exchanges[-2], exchanges[-1]), epoch_id=epoch_id, transcript=transcript)
    return Held(epoch_id=epoch_id, rehearsals=len(rounds.opened), trail=trail.for_next_study())


def _step(part: Part, name: str) -> None:
    """The first part of a ceremony message names its step."""
    need(part.kept == name.encode(), f"the message is not of the step {name}")


def _start(
    trail: Trail, exchange: Exchange, *, roster_digest: bytes, scheme: Scheme
) -> tuple[Trail, tuple[Part, ...], bytes]:
    """Step 1: fresh nonces, and the epoch's name from them."""
    with named("ceremony start"):
        step, call = asked_of_all(trail.roster, exchange, 2)
        _step(step, "start")
        said = trail.hear_coordinator(call, envelope.CEREMONY_START, context=roster_digest)
        need(said.content == call_for(scheme), "the ceremony was called for another scheme")
        parts, nonces = [], []
        for point, (part,) in answers_of_all(trail.roster, exchange, 1).items():
            receiver = trail.roster.coordinator.name
            trail, statement = trail.hear(
                point, part, envelope.CEREMONY_NONCE, context=roster_digest, receiver=receiver
            )
            nonces.append(wire.decode_nonce(statement.content))
            parts.append(part)
    return trail, tuple(parts), epoch_id_of(roster_digest, nonces, scheme)


def _deal(
    trail: Trail, exchange: Exchange, *, nonces: tuple[Part, ...], epoch_id: bytes
) -> tuple[Trail, tuple[Part, ...]]:
    """Step 2: one dealing of each custodian, over the digests of what it sealed."""
    n = len(trail.roster.members)
    with named("ceremony deal"):
        step, *asked = asked_of_all(trail.roster, exchange, 1 + n)
        _step(step, "deal")
        need(tuple(asked) == nonces, "the nonces shown are not those that were given")
        dealings = []
        for point, (part, *blobs) in answers_of_all(trail.roster, exchange, 1 + n).items():
            trail, statement = trail.hear(point, part, envelope.DEALING, context=epoch_id, receiver=EVERYONE)
            signed = wire.decode_dealing(statement.content).blob_digests
            need([b.digest for b in blobs] == list(signed), "a sealed share is not the signed one")
            dealings.append(part)
    return trail, tuple(dealings)


def _share(
    trail: Trail, exchanges: tuple[Exchange, Exchange], *, epoch_id: bytes, transcript: bytes
) -> tuple[Trail, tuple[Part, ...]]:
    """Step 3: everybody got all dealings and its own sealed shares, and signed the same transcript."""
    deal, share = exchanges
    with named("ceremony share"):
        dealt = {point: deal.answered[point].parts for point in trail.roster.points}
        dealings = tuple(parts[0] for parts in dealt.values())
        need(set(share.asked) == set(trail.roster.points), "not every custodian of the roster was asked")
        for point, (step, *asked) in share.asked.items():
            _step(step, "share")
            due = (*dealings, *(parts[point] for parts in dealt.values()))
            need(tuple(asked) == due, "a custodian got other dealings or shares than were dealt")
        signed = []
        for point, (part,) in answers_of_all(trail.roster, share, 1).items():
            trail, statement = trail.hear(
                point, part, envelope.TRANSCRIPT, context=epoch_id, receiver=EVERYONE
            )
            need(wire.decode_transcript(statement.content) == transcript, "transcripts differ")
            signed.append(part)
    return trail, tuple(signed)


def _rehearse(rounds: Rounds, exchanges: Sequence[Exchange]) -> Rounds:
    """The rehearsals between agreement and result, each opened by its own custodians."""
    for exchange in exchanges:
        with named("ceremony, rehearsals"):
            if exchange.kind is PhaseKind.NONCE:
                rounds = follow_nonces(rounds, exchange)
            elif exchange.kind is PhaseKind.CONTRIBUTE:
                rounds = follow_contribution(rounds, exchange, inputs=b"")
            else:
                need(exchange.kind is PhaseKind.OPEN, f"{exchange.name} does not belong there")
                rounds = follow_opening(rounds, exchange)
    roster, opened = rounds.trail.roster, rounds.opened
    with named("ceremony, rehearsals"):
        need(len(opened) == rehearsal_rounds(roster), "they are not as many as the roster needs")
        covered = {point for n in range(1, len(opened) + 1) for point in rehearsal_openers(roster, n)}
        need(covered == set(roster.points), "they do not cover all custodians")
    return rounds


def _conclude(
    rounds: Rounds, exchanges: tuple[Exchange, Exchange], *, epoch_id: bytes, transcript: bytes
) -> Trail:
    """Steps 5 and 6: all custodians signed the same result and were shown all signatures."""
    trail, (confirm, conclude) = rounds.trail, exchanges
    with named("ceremony confirm"):
        step, signed = asked_of_all(trail.roster, confirm, 2)
        _step(step, "confirm")
        statement = trail.hear_coordinator(signed, envelope.REHEARSALS, context=epoch_id)
        result = wire.decode_rehearsals(statement.content)
        due = Rehearsals(
            plan_digests=tuple(a.digest for a in rounds.opened),
            header_digests=tuple(a.headers_digest for a in rounds.opened),
        )
        need(result == due, "the result names other rehearsals than were held")
        actives = []
        for point, (part,) in answers_of_all(trail.roster, confirm, 1).items():
            trail, heard = trail.hear(point, part, envelope.EPOCH_ACTIVE, context=epoch_id, receiver=EVERYONE)
            told = wire.decode_transcript(heard.content)
            need(told == result_digest(transcript, result), "custodians signed different results")
            actives.append(part)
    with named("ceremony conclude"):
        step, *asked = asked_of_all(trail.roster, conclude, 1 + len(actives))
        _step(step, "conclude")
        need(tuple(asked) == tuple(actives), "a custodian was shown other signatures than were given")
        answers_of_all(trail.roster, conclude, 1)
    return trail
