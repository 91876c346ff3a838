"""The coordinator's half of a round: plan, contributions, one set, openings, sum.

Pure generators over `fedmed.protocol.steps`. The coordinator is trusted with nothing: what it must not
do, the custodians refuse. What it checks here protects the result: signatures, digests, bounds.

Source: PROTOCOL.md section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fedmed import wire
from fedmed.aggregation.contract import Combiner
from fedmed.crypto.identity import Identity
from fedmed.errors import (
    DigestMismatch,
    FedMedError,
    IntegrityError,
    OpeningOutOfBounds,
    PlansExhausted,
    ProtocolError,
    SumForged,
    TooFewNodes,
    error_from_code,
)
from fedmed.messages import Header, OpeningRequest, Plan, Roster
from fedmed.protocol import envelope
from fedmed.protocol.binding import (
    check_digests,
    check_header,
    headers_digest,
    inputs_digest,
    plan_digest,
)
from fedmed.protocol.schedule import Terms, chunk_count
from fedmed.protocol.sealed_coins import read_seals
from fedmed.protocol.steps import LOST, Phase, PhaseKind, Replies, Reply, Steps
from fedmed.types import Layout, WordArray

_SPOILT = frozenset({SumForged.code, OpeningOutOfBounds.code})
"""What openers that decrypt say of a sum which a contributor spoilt; another attempt would cost the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the coordinator works with in one study.

    Attributes:
        identity: The coordinator's private keys.
        terms: The study as every custodian computes it.
        combiner: Makes an empty running sum for a layout.
    """

    identity: Identity
    terms: Terms
    combiner: Callable[[Layout], Combiner]

    @property
    def roster(self) -> Roster:
        """The roster of the study."""
        return self.terms.roster


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the coordinator remembers between rounds.

    Attributes:
        nonces: Open nonce of each point; a silent node's is dropped, for a restart voids it.
        fixed_set: S of the last opening request; empty before the first.
        plans: Plans sent so far.
        lost: Points that were silent or refused, with the last code of each.
        seals: Seal on the canaries' coins of each point; empty where the study has no audit block.
    """

    nonces: Mapping[int, bytes] = field(default_factory=dict)
    fixed_set: tuple[int, ...] = ()
    plans: int = 0
    lost: Mapping[int, str] = field(default_factory=dict)
    seals: Mapping[int, bytes] = field(default_factory=dict)

    def without(self, point: int, code: str) -> Standing:
        """The standing after ``point`` was silent or refused."""
        nonces = {p: n for p, n in self.nonces.items() if p != point}
        return replace(self, nonces=nonces, lost={**self.lost, point: code})

    def with_nonce(self, point: int, nonce: bytes) -> Standing:
        """The standing after ``point`` gave a nonce."""
        lost = {p: c for p, c in self.lost.items() if p != point}
        return replace(self, nonces={**self.nonces, point: nonce}, lost=lost)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """One opened sum: the sum of fields, who is in it, how many attempts it took, and its digests."""

    fields: WordArray
    contributors: tuple[int, ...]
    openers: tuple[int, ...]
    attempts: int
    plan_digest: bytes
    headers_digest: bytes


def aggregate(
    desk: Desk, standing: Standing, *, round_number: int, inputs: bytes, prefer: Sequence[int] = ()
) -> Steps[tuple[Opened, Standing]]:
    """Run one round: as many attempts as the study allows, until a sum opens.

    Args:
        desk: The coordinator's desk.
        standing: What is remembered from the rounds before.
        round_number: From 1.
        inputs: What the round computes on (model parameters), equal for all.
        prefer: Points that should answer, in this order (a rehearsal names its T).

    Yields:
        Phases ``nonce`` (only where one is missing), ``contribute`` and ``open``.

    Returns:
        The opened sum and the new standing.

    Raises:
        TooFewNodes: the set that the study and the protocol need is not there; nothing was opened.
        PlansExhausted: all spare attempts of the study are used.
        IntegrityError: the opened fields lie outside their bounds, or all openers found the sum spoilt.
    """
    terms = desk.terms
    for attempt in range(1, 2 + terms.spare_attempts):
        standing = yield from _gather_nonces(desk, standing)
        _check_reachable(desk, standing)
        if standing.plans >= round_number + terms.spare_attempts:
            raise PlansExhausted(f"all {terms.spare_attempts} spare attempts of the study are used")
        plan_bytes = _make_plan(desk, standing, position=(round_number, attempt), inputs=inputs)
        standing = replace(standing, plans=standing.plans + 1)
        received = yield from _contribute(
            desk, standing, plan_bytes=plan_bytes, inputs=inputs, layout=terms.stage(round_number).layout
        )
        standing, opened = received.standing, None
        if _is_enough(desk, standing, received.headers):
            openers = _choose_openers(desk, standing, received, prefer=prefer)
            standing, opened = yield from _open(desk, received, plan_bytes=plan_bytes, openers=openers)
        if opened is not None:
            return replace(opened, attempts=attempt), standing
    raise TooFewNodes(f"round {round_number}: no attempt found enough nodes; {_losses(desk, standing)}")


def _phase_name(desk: Desk, name: str) -> str:
    """A rehearsal's phases belong to the ceremony, in records as in people's minds."""
    return f"ceremony {name}" if desk.terms.is_rehearsal else name


def _losses(desk: Desk, standing: Standing) -> str:
    """Who was lost and why, in public words."""
    named = [f"{desk.roster.member(p).name} ({c})" for p, c in sorted(standing.lost.items())]
    return "lost: " + (", ".join(named) or "none")


def _gather_nonces(desk: Desk, standing: Standing) -> Steps[Standing]:
    """Ask every node without an open nonce for one; this costs no budget."""
    missing = [p for p in desk.roster.points if p not in standing.nonces]
    if not missing:
        return standing
    request = {
        p: (
            envelope.sign_message(
                desk.identity,
                envelope.NONCE,
                b"",
                context=desk.terms.study_digest,
                receiver=desk.roster.member(p).name,
            ),
        )
        for p in missing
    }
    replies = yield Phase(name=_phase_name(desk, "nonce"), kind=PhaseKind.NONCE, requests=request)
    for point in missing:
        reply = replies.get(point, Reply(code=LOST))
        nonce = None if reply.is_refusal else _read_nonce(desk, point, reply)
        standing = (
            standing.without(point, reply.code or "message_malformed")
            if nonce is None
            else standing.with_nonce(point, nonce)
        )
    return standing


def _read_nonce(desk: Desk, point: int, reply: Reply) -> bytes | None:
    """A node's nonce, or None when its message does not hold."""
    try:
        statement = envelope.open_message(
            reply.parts[0],
            envelope.NONCE,
            desk.roster.member(point),
            context=desk.terms.study_digest,
            receiver=desk.roster.coordinator.name,
        )
        return wire.decode_nonce(statement.content)
    except (ProtocolError, IntegrityError):
        return None


def _check_reachable(desk: Desk, standing: Standing) -> None:
    """Stop before anybody is debited when the needed set cannot come together."""
    terms, here = desk.terms, set(standing.nonces)
    may_contribute = here & set(standing.fixed_set) if standing.fixed_set else here
    if standing.fixed_set and not terms.may_shrink and may_contribute != set(standing.fixed_set):
        raise TooFewNodes(
            "a contributor of the set that was opened before is missing and on_dropout is stop; "
            + _losses(desk, standing)
        )
    if len(may_contribute) < terms.allowance.least_set or len(here) < terms.allowance.threshold:
        raise TooFewNodes(
            f"a sum needs {terms.allowance.least_set} contributors and {terms.allowance.threshold} openers, "
            f"{len(may_contribute)} and {len(here)} are there; {_losses(desk, standing)}"
        )


def _make_plan(desk: Desk, standing: Standing, *, position: tuple[int, int], inputs: bytes) -> bytes:
    """Sign the plan of one attempt."""
    terms, stage = desk.terms, desk.terms.stage(position[0])
    plan = Plan(
        study_digest=terms.study_digest,
        epoch_id=terms.epoch_id,
        roster_digest=terms.roster_digest,
        kind=stage.kind,
        round_number=position[0],
        attempt=position[1],
        nonces=tuple(sorted(standing.nonces.items())),
        inputs_digest=inputs_digest(inputs),
        layout=stage.layout,
        planned_contributors=terms.allowance.planned_contributors,
        dropouts=terms.allowance.dropouts,
        colluders=terms.allowance.colluders,
    )
    return envelope.sign_message(
        desk.identity, envelope.PLAN, wire.encode_plan(plan), context=terms.study_digest
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Received:
    """Contributions of one attempt: standing after them, signed headers by point, running sum."""

    standing: Standing
    headers: Mapping[int, bytes]
    total: Combiner


def _contribute(
    desk: Desk, standing: Standing, *, plan_bytes: bytes, inputs: bytes, layout: Layout
) -> Steps[_Received]:
    """Ask for contributions and add up those that hold."""
    askable = set(standing.fixed_set or desk.roster.points) & set(standing.nonces)
    replies = yield Phase(
        name=_phase_name(desk, "contribute"),
        kind=PhaseKind.CONTRIBUTE,
        requests=dict.fromkeys(sorted(askable), (plan_bytes, inputs)),
    )
    this_digest, total, headers = plan_digest(plan_bytes), desk.combiner(layout), {}
    chunks = chunk_count(layout)
    for point in sorted(askable):
        reply = replies.get(point, Reply(code=LOST))
        if reply.is_refusal:
            standing = standing.without(point, reply.code)
            continue
        try:
            header = check_header(
                desk.roster, reply.parts[0], point=point, this_digest=this_digest, chunks=chunks
            )
            _take_contribution(reply, header, total=total)
            standing = standing.with_nonce(point, header.next_nonce)
            headers[point] = reply.parts[0]
        except (ProtocolError, IntegrityError) as fault:
            standing = standing.without(point, fault.code)
    return _Received(standing=standing, headers=headers, total=total)


def _take_contribution(reply: Reply, header: Header, *, total: Combiner) -> None:
    """Check one contribution against its header and add it."""
    check_digests(reply.parts[1:], header.chunk_digests)
    total.add_contribution(reply.parts[1:])


def _is_enough(desk: Desk, standing: Standing, headers: Mapping[int, bytes]) -> bool:
    """Whether the contributions that arrived are a set that may be opened."""
    complete = not standing.fixed_set or desk.terms.may_shrink or set(headers) == set(standing.fixed_set)
    return (
        complete
        and len(headers) >= desk.terms.allowance.least_set
        and len(standing.nonces) >= desk.terms.allowance.threshold
    )


def _choose_openers(
    desk: Desk, standing: Standing, received: _Received, *, prefer: Sequence[int]
) -> tuple[int, ...]:
    """T: the preferred points first, then contributors, then others that are there."""
    order = [*prefer, *sorted(received.headers), *sorted(standing.nonces)]
    chosen = list(dict.fromkeys(p for p in order if p in standing.nonces))
    return tuple(sorted(chosen[: desk.terms.allowance.threshold]))


def _open(
    desk: Desk, received: _Received, *, plan_bytes: bytes, openers: tuple[int, ...]
) -> Steps[tuple[Standing, Opened | None]]:
    """Fix S and T, ask T, and decode; None when an opener was lost (a new attempt is needed)."""
    contributors = tuple(sorted(received.headers))
    headers = tuple(received.headers[p] for p in contributors)
    this_digest = plan_digest(plan_bytes)
    request = wire.encode_opening_request(
        OpeningRequest(contributors=contributors, openers=openers, headers=headers)
    )
    sums = received.total.sums()
    replies = yield Phase(
        name=_phase_name(desk, "open"),
        kind=PhaseKind.OPEN,
        requests={
            p: (
                envelope.sign_message(
                    desk.identity,
                    envelope.OPENING_REQUEST,
                    request,
                    context=this_digest,
                    receiver=desk.roster.member(p).name,
                ),
                plan_bytes,
                *sums,
            )
            for p in openers
        },
    )
    _check_spoilt(replies, openers)
    # From here on S counts as opened, whoever answered: custodians hold the study to it.
    standing = replace(received.standing, fixed_set=contributors)
    complete = True
    for point in openers:
        reply = replies.get(point, Reply(code=LOST))
        code = reply.code or _take_answer(
            desk, point, reply, expected=(contributors, openers, this_digest), total=received.total
        )
        if isinstance(code, bytes):
            standing = standing.with_nonce(point, code)
        else:
            standing, complete = standing.without(point, code), False
    if not complete:
        return standing, None
    opened = Opened(
        fields=received.total.total(),
        contributors=contributors,
        openers=openers,
        attempts=1,
        plan_digest=this_digest,
        headers_digest=headers_digest(headers),
    )
    return standing, opened


def _check_spoilt(replies: Replies, openers: Sequence[int]) -> None:
    """Every opener found the sum spoilt: stop, before more attempts are debited for it.

    Raises:
        SumForged, OpeningOutOfBounds: what they found; which contributor did it, none of them can tell.
    """
    codes = {replies.get(point, Reply(code=LOST)).code for point in openers}
    if codes <= _SPOILT:
        raise refusal(
            min(codes), "every opener refused the sum: a contributor spoilt it, and none can tell which"
        )


def _take_answer(
    desk: Desk,
    point: int,
    reply: Reply,
    *,
    expected: tuple[tuple[int, ...], tuple[int, ...], bytes],
    total: Combiner,
) -> bytes | str:
    """Check one answer and add it: the opener's next nonce, or the code of what does not hold."""
    contributors, openers, this_digest = expected
    try:
        statement = envelope.open_message(
            reply.parts[0],
            envelope.ANSWER,
            desk.roster.member(point),
            context=this_digest,
            receiver=desk.roster.coordinator.name,
        )
        answer = wire.decode_answer(statement.content)
        if (answer.contributors, answer.openers) != (contributors, openers):
            raise DigestMismatch("an answer names another set than the one asked for")
        check_digests(reply.parts[1:], answer.chunk_digests)
        total.add_opening(reply.parts[1:])
    except (ProtocolError, IntegrityError) as fault:
        return fault.code
    return answer.next_nonce


def propose(desk: Desk, proposal: bytes) -> Steps[Standing]:
    """Propose the study to every custodian and gather the first nonces.

    Args:
        desk: The coordinator's desk.
        proposal: Encoded `StudyProposal`.

    Raises:
        FedMedError: the refusal of a custodian, with its name; no study starts without all of them.
        TooFewNodes: a node did not answer.
        IntegrityError: a nonce, or the seal on a node's canaries, does not hold.
    """
    signed = envelope.sign_message(desk.identity, envelope.STUDY, proposal, context=desk.terms.study_digest)
    replies = yield Phase(
        name="propose", kind=PhaseKind.PROPOSE, requests=dict.fromkeys(desk.roster.points, (signed,))
    )
    for point in desk.roster.points:
        reply = replies.get(point, Reply(code=LOST))
        name = desk.roster.member(point).name
        if reply.code == LOST:
            raise TooFewNodes(f"{name} did not answer the proposal; start its node and try again")
        if reply.is_refusal:
            raise refusal(reply.code, f"{name} refused the study")
    standing = take_nonces(desk, replies)
    if desk.terms.canaries == 0:
        return standing
    seals = read_seals(desk.roster, replies, study_digest=desk.terms.study_digest)
    return replace(standing, seals=seals)


def take_nonces(desk: Desk, replies: Replies) -> Standing:
    """The standing after every custodian sent its first nonce.

    Raises:
        IntegrityError: a custodian's message does not hold.
    """
    standing = Standing()
    for point in desk.roster.points:
        nonce = _read_nonce(desk, point, replies[point])
        if nonce is None:
            raise IntegrityError(f"{desk.roster.member(point).name} sent a nonce that does not hold")
        standing = standing.with_nonce(point, nonce)
    return standing


def refusal(code: str, context: str) -> FedMedError:
    """The error to raise at the coordinator for a code that a custodian sent."""
    return error_from_code(code, context)
