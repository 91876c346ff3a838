"""Rounds as a release shows them: nonces, plans, headers, sets, answers, each by the custodians' own rules.

A reply that does not hold counts as a lost node, as it did for the coordinator; as soon as something rests
on it (a sum, a later plan's nonce), what was wrong with it is what does not hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fedmed import wire
from fedmed.crypto.ckks_parameters import CKKS_SETS
from fedmed.errors import FedMedError
from fedmed.messages import OpeningRequest, Plan
from fedmed.protocol import envelope, node_round
from fedmed.protocol.binding import check_header, headers_digest, inputs_digest, payload_digest, plan_digest
from fedmed.protocol.node_round import Circumstances, SignedPlan, StudyState
from fedmed.protocol.schedule import Terms, chunk_count
from fedmed.release.exchange import Exchange, Part, Said
from fedmed.release.trail import Trail, Watched, named, need, take_nonce

LOST = Said(code="node_lost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One plan and what came of it.

    Attributes:
        plan: The plan.
        digest: Of its signed bytes.
        part: Its envelope.
        headers: Signed headers that hold, by point.
        contributors: S of its opening request; empty when there was none.
        headers_digest: Of the headers of S in order; empty without an opening request.
        is_open: Whether every opener answered.
        contributions: Payloads of the headers that hold, by point.
        answers: Payloads of every opener's answer, by point; empty unless all hold.
    """

    plan: Plan
    digest: bytes
    part: Part
    headers: Mapping[int, bytes] = field(default_factory=dict)
    contributors: tuple[int, ...] = ()
    headers_digest: bytes = b""
    is_open: bool = False
    contributions: Mapping[int, tuple[Part, ...]] = field(default_factory=dict)
    answers: Mapping[int, tuple[Part, ...]] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Where it stands, for people."""
        return f"round {self.plan.round_number} attempt {self.plan.attempt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """All rounds of one study, or of one ceremony's rehearsals, as far as they were followed.

    Attributes:
        trail: The custodians.
        terms: What every plan must say.
        attempts: All attempts in order.
        asked: The sets that opening requests named: the coordinator is held to one S as custodians are.
        used: Nonces that plans have used up.
    """

    trail: Trail
    terms: Terms
    attempts: tuple[Attempt, ...] = ()
    asked: StudyState = field(default_factory=StudyState)
    used: frozenset[bytes] = frozenset()

    @property
    def round_number(self) -> int:
        """The round that the next plan of an honest coordinator belongs to."""
        if not self.attempts:
            return 1
        last = self.attempts[-1]
        return last.plan.round_number + last.is_open

    @property
    def opened(self) -> tuple[Attempt, ...]:
        """The attempt that opened each round: the last one of it."""
        by_round = {a.plan.round_number: a for a in self.attempts if a.is_open}
        return tuple(by_round[n] for n in sorted(by_round))


def follow_nonces(rounds: Rounds, exchange: Exchange) -> Rounds:
    """Follow a request for nonces; a node that gave none, or one that does not hold, has none.

    Raises:
        ReleaseBroken: the coordinator's request does not hold.
    """
    trail, context = rounds.trail, rounds.terms.study_digest
    for point, parts in exchange.asked.items():
        name = trail.roster.member(point).name
        with named(f"request for a nonce of {name} in round {rounds.round_number}"):
            need(len(parts) == 1, "a request for a nonce has one part")
            trail.hear_coordinator(parts[0], envelope.NONCE, context=context, receiver=name)
        said = exchange.answered.get(point, LOST)
        trail = _without(trail, point, None)
        if not said.code:
            try:
                need(len(said.parts) == 1, f"the nonce of {name} has one part")
                trail = take_nonce(trail, point, said.parts[0], context=context)
            except FedMedError as fault:
                trail = _without(trail, point, fault)
    return replace(rounds, trail=trail)


def follow_contribution(rounds: Rounds, exchange: Exchange, *, inputs: bytes) -> Rounds:
    """Follow one plan and the headers that answer it.

    Args:
        rounds: What was followed so far.
        exchange: A phase ``contribute``.
        inputs: The bytes that every contributor must have been sent.

    Raises:
        ReleaseBroken: names the plan, or the contribution whose audit head does not follow.
    """
    attempt = _plan(rounds, exchange, inputs=inputs)
    with named(f"plan of {attempt.place}"):
        rounds = _use_nonces(rounds, attempt)
    trail, headers = rounds.trail, {}
    for point in sorted(exchange.asked):
        said = exchange.answered.get(point, LOST)
        if said.code:
            trail = _without(trail, point, None)
            continue
        try:
            trail, headers[point] = _contribution(trail, rounds.terms, attempt, (point, said))
        except FedMedError as fault:
            trail = _without(trail, point, fault)
    payloads = {point: exchange.answered[point].parts[1:] for point in headers}
    attempt = replace(attempt, headers=headers, contributions=payloads)
    return replace(rounds, trail=trail, attempts=(*rounds.attempts, attempt))


def _plan(rounds: Rounds, exchange: Exchange, *, inputs: bytes) -> Attempt:
    """The plan that was sent, checked against study, inputs and the plans before it."""
    trail, terms = rounds.trail, rounds.terms
    with named(f"plan {len(rounds.attempts) + 1}"):
        sent = set(exchange.asked.values())
        need(len(sent) == 1, "contributors were sent different plans or parameters")
        (parts,) = sent
        need(len(parts) == 2, "a contribution is asked for with a plan and its inputs")
        statement = trail.hear_coordinator(parts[0], envelope.PLAN, context=terms.study_digest)
        plan = wire.decode_plan(statement.content)
        attempt = Attempt(plan=plan, digest=plan_digest(parts[0].kept), part=parts[0])
    with named(f"plan of {attempt.place}"):
        position = (plan.round_number, plan.attempt)
        need(position in _next_positions(rounds), "a plan is missing before it, or it is out of order")
        need(plan.study_digest == terms.study_digest, "it names another study")
        need(bool(plan.nonces), "it carries no nonce")
        need(plan.inputs_digest == inputs_digest(inputs), "its inputs are not what the sums so far give")
        need(parts[1].digest == payload_digest(inputs), "the parameters sent are not what the sums give")
        need(set(exchange.asked) <= set(plan.points), "a node was asked that the plan does not name")
        node_round.accept_plan(
            terms,
            StudyState(plans_accepted=len(rounds.attempts), last=_last_position(rounds)),
            SignedPlan(plan=plan, digest=attempt.digest),
            now=_circumstances(trail, plan.points[0], nonce=plan.nonces[0][1]),
        )
    return attempt


def _last_position(rounds: Rounds) -> tuple[int, int]:
    """(round, attempt) of the last plan; zeros before the first."""
    last = rounds.attempts[-1].plan if rounds.attempts else None
    return (0, 0) if last is None else (last.round_number, last.attempt)


def _next_positions(rounds: Rounds) -> set[tuple[int, int]]:
    """(round, attempt) that may follow: one more attempt, or the next round once this one is open."""
    if not rounds.attempts:
        return {(1, 1)}
    last = rounds.attempts[-1]
    again = (last.plan.round_number, last.plan.attempt + 1)
    return {again, (last.plan.round_number + 1, 1)} if last.is_open else {again}


def _use_nonces(rounds: Rounds, attempt: Attempt) -> Rounds:
    """Every nonce of a plan is the open one of its node, and serves once."""
    for point, nonce in attempt.plan.nonces:
        name, watched = rounds.trail.roster.member(point).name, rounds.trail.custodians[point]
        if nonce != watched.nonce and watched.fault is not None:
            with named(f"the last answer of {name} before it"):
                raise watched.fault
        need(nonce not in rounds.used, f"the nonce of {name} was used by an earlier plan")
        need(nonce == watched.nonce, f"the nonce of {name} is not the last one that it gave")
    return replace(rounds, used=rounds.used | {nonce for _, nonce in attempt.plan.nonces})


def _contribution(
    trail: Trail, terms: Terms, attempt: Attempt, said: tuple[int, Said]
) -> tuple[Trail, bytes]:
    """One contribution: signed, for this plan, by a custodian that could accept it."""
    point, parts = said[0], said[1].parts
    chunks = chunk_count(terms.stage(attempt.plan.round_number).layout)
    need(bool(parts[0].kept), "a header is named but not in the release")
    header = check_header(trail.roster, parts[0].kept, point=point, this_digest=attempt.digest, chunks=chunks)
    need([p.digest for p in parts[1:]] == list(header.chunk_digests), "its payload is not the signed one")
    trail, _ = trail.hear(
        point,
        parts[0],
        envelope.HEADER,
        context=attempt.digest,
        receiver=trail.roster.coordinator.name,
    )
    watched = trail.custodians[point]
    signed = SignedPlan(plan=attempt.plan, digest=attempt.digest)
    now = _circumstances(trail, point)
    node_round.check_contributing(watched.state, now)
    accepted = node_round.accept_plan(terms, watched.state, signed, now=now)
    known = replace(
        watched, state=replace(accepted, header=parts[0].kept), nonce=header.next_nonce, fault=None
    )
    return trail.at(point, known), parts[0].kept


def follow_opening(rounds: Rounds, exchange: Exchange) -> Rounds:
    """Follow one opening request and its answers.

    Args:
        rounds: What was followed so far, an attempt at its end.
        exchange: A phase ``open``.

    Raises:
        ReleaseBroken: the request, or an answer in it, is not one that the protocol allows.
    """
    need(bool(rounds.attempts) and not rounds.attempts[-1].contributors, "an opening without a plan")
    attempt = rounds.attempts[-1]
    with named(f"opening of {attempt.place}"):
        request = _request(rounds, attempt, exchange)
    trail, complete = rounds.trail, True
    for point in request.openers:
        with named(f"opening of {attempt.place} asked of {trail.roster.member(point).name}"):
            state = _answering(trail, rounds.terms, attempt, (point, request))
        said = exchange.answered.get(point, LOST)
        fault: FedMedError | None = None
        try:
            need(not said.code, said.code)
            trail = _answer(trail, rounds.terms, attempt, (point, request, said, state))
        except FedMedError as found:
            complete, fault = False, None if said.code else found
            trail = _without(trail, point, fault)
    attempt = replace(
        attempt,
        contributors=request.contributors,
        headers_digest=headers_digest(request.headers),
        is_open=complete,
        answers={p: exchange.answered[p].parts[1:] for p in request.openers} if complete else {},
    )
    asked = replace(
        rounds.asked,
        first_set=rounds.asked.first_set or request.contributors,
        last_set=request.contributors,
    )
    return replace(rounds, trail=trail, asked=asked, attempts=(*rounds.attempts[:-1], attempt))


def _request(rounds: Rounds, attempt: Attempt, exchange: Exchange) -> OpeningRequest:
    """The one request that all openers were sent, over headers of this attempt."""
    trail, terms, found = rounds.trail, rounds.terms, set()
    need(len({parts[2:] for parts in exchange.asked.values()}) <= 1, "openers were shown different sums")
    for point, parts in exchange.asked.items():
        need(len(parts) >= 2 and parts[1] == attempt.part, "an opener was sent another plan")
        need(len(parts) - 2 == _sums_shown(terms, attempt), "an opener was shown sums that it does not open")
        statement = trail.hear_coordinator(
            parts[0],
            envelope.OPENING_REQUEST,
            context=attempt.digest,
            receiver=trail.roster.member(point).name,
        )
        found.add(wire.decode_opening_request(statement.content))
    need(len(found) == 1, "openers were sent different sets")
    (request,) = found
    need(
        tuple(sorted(exchange.asked)) == request.openers,
        "the openers asked are not those that the request names",
    )
    node_round.check_sets(attempt.plan, request)
    node_round.check_set_size(terms, request)
    node_round.check_header_count(request)
    node_round.check_same_set(terms, rounds.asked, request)
    for point, header in zip(request.contributors, request.headers, strict=True):
        fault = trail.custodians[point].fault
        if point not in attempt.headers and fault is not None:
            with named(f"contribution of {trail.roster.member(point).name}"):
                raise fault
        need(attempt.headers.get(point) == header, "a header is not the one that its contributor sent")
    return request


def _sums_shown(terms: Terms, attempt: Attempt) -> int:
    """Sums that an opener is shown: one a chunk where it decrypts, none where it answers for a set."""
    layout = terms.stage(attempt.plan.round_number).layout
    return chunk_count(layout) if layout.parameter_set in CKKS_SETS else 0


def _answering(trail: Trail, terms: Terms, attempt: Attempt, asked: tuple[int, OpeningRequest]) -> StudyState:
    """The state in which a custodian answers, by its own rules."""
    point, request = asked
    watched = trail.custodians[point]
    signed, state = SignedPlan(plan=attempt.plan, digest=attempt.digest), watched.state
    if state.plan_digest != attempt.digest:  # one that only answers takes the plan with the request
        nonce = dict(attempt.plan.nonces).get(point, b"")
        now = _circumstances(trail, point, nonce=nonce)
        state = node_round.accept_plan(terms, state, signed, now=now)
    now = replace(_circumstances(trail, point), accepted_here=frozenset({attempt.digest}))
    return node_round.accept_opening(terms, state, signed, request, now=now)


def _answer(
    trail: Trail, terms: Terms, attempt: Attempt, told: tuple[int, OpeningRequest, Said, StudyState]
) -> Trail:
    """One answer: signed, for this set, with the digests of what was sent."""
    point, request, said, state = told
    trail, statement = trail.hear(
        point,
        said.parts[0],
        envelope.ANSWER,
        context=attempt.digest,
        receiver=trail.roster.coordinator.name,
    )
    answer = wire.decode_answer(statement.content)
    chunks = chunk_count(terms.stage(attempt.plan.round_number).layout)
    need(
        (answer.contributors, answer.openers) == (request.contributors, request.openers),
        "an answer names another set than the one asked for",
    )
    need(len(answer.chunk_digests) == chunks, f"an answer must name {chunks} chunks")
    need(
        [p.digest for p in said.parts[1:]] == list(answer.chunk_digests), "its payload is not the signed one"
    )
    watched = trail.custodians[point]
    known = replace(
        watched,
        state=state,
        nonce=answer.next_nonce,
        polynomials=watched.polynomials + chunks,
        fault=None,
    )
    return trail.at(point, known)


def _circumstances(trail: Trail, point: int, *, nonce: bytes | None = None) -> Circumstances:
    """What a custodian knew when it was asked."""
    watched = trail.custodians[point]
    return Circumstances(
        point=point,
        nonce=watched.nonce if nonce is None else nonce,
        today=trail.today,
        restored=False,
        accepted_here=frozenset(),
        polynomials_opened=watched.polynomials,
    )


def _without(trail: Trail, point: int, fault: FedMedError | None) -> Trail:
    """A node that was silent, refused, or whose answer did not hold: its nonce is void."""
    watched: Watched = trail.custodians[point]
    return trail.at(point, replace(watched, nonce=b"", fault=fault))
