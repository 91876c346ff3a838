"""A whole federation inside one test, with every private key in the test's hand.

The custodians are the real ones, on real stores, after a real ceremony (held once a process and copied).
A test can sign any message as any roster member, so that a hostile message differs from an honest one in
exactly the property under attack. Point 0 stands for the coordinator.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypeVar

from fedmed import wire
from fedmed.aggregation.combiners import combiner_for
from fedmed.governance.audit_chain import EMPTY_CHAIN, AuditKind, ChainHead
from fedmed.governance.policy import Policy
from fedmed.messages import (
    EVERYONE,
    NO_EPOCH,
    OpeningRequest,
    Plan,
    Roster,
    StudyProposal,
)
from fedmed.privacy.noise import ByteSource, fresh_source
from fedmed.programs.by_kind import program_for
from fedmed.protocol import envelope
from fedmed.protocol.binding import inputs_digest, plan_digest
from fedmed.protocol.coordinator_ceremony import hold_ceremony
from fedmed.protocol.coordinator_round import Desk, Standing
from fedmed.protocol.schedule import Schedule, Terms, schedule_for, terms_for
from fedmed.protocol.steps import LOST, Phase, PhaseKind, Replies, Reply, Steps
from fedmed.study import TrainingStudy, as_training, canonical_bytes, from_canonical_bytes, study_digest
from fedmed.types import Layout, Scheme, WordArray
from fedmed_nodes.custodian import Effects, Settings
from fedmed_nodes.stores import CustodianStore, MemorySecretStore
from tests.small_province import (
    AGGREGATIONS,
    COORDINATOR,
    DATASET,
    DECLARED,
    DELTA,
    EPSILON,
    NOW,
    OPEN_POLICY,
    PERSONS,
    SPARE_ATTEMPTS,
    Contents,
    CopyableStore,
    Node,
    SetClock,
    UnreadableSource,
    identity_of,
    insecure_no_noise,
    names,
    no_check,
    roster_of,
    small_source,
    small_study,
    small_table,
)

__all__ = [  # the names of small provinces that come from here as well
    "AGGREGATIONS",
    "COORDINATOR",
    "DATASET",
    "DECLARED",
    "DELTA",
    "EPSILON",
    "NOW",
    "OPEN_POLICY",
    "PERSONS",
    "SPARE_ATTEMPTS",
    "Contents",
    "CopyableStore",
    "Node",
    "SetClock",
    "UnreadableSource",
    "identity_of",
    "insecure_no_noise",
    "names",
    "no_check",
    "roster_of",
    "small_source",
    "small_study",
    "small_table",
]
T = TypeVar("T")


Tamper = Callable[[Phase, int, tuple[bytes, ...]], tuple[bytes, ...] | None]
Garble = Callable[[Phase, int, Reply], Reply | None]


def untouched(phase: Phase, point: int, parts: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Pass a request on."""
    return parts


def unaltered(phase: Phase, point: int, reply: Reply) -> Reply:
    """Pass a reply on."""
    return reply


class Federation:
    """Custodians by roster point, and the keys of everybody."""

    def __init__(self, roster: Roster, nodes: Mapping[int, Node], *, clock: SetClock) -> None:
        self.roster = roster
        self.roster_digest = wire.roster_digest(roster)
        self.nodes = nodes
        self.clock = clock
        self.epoch_id = NO_EPOCH

    def ask(self, point: int, kind: PhaseKind, *parts: bytes) -> Reply:
        """Give one message to one custodian."""
        return self.nodes[point].custodian.answer(kind, parts)

    def refused(self, point: int, kind: PhaseKind, *parts: bytes) -> str:
        """Give a message that must be refused; the code, after proof that it left nothing but its entry."""
        node = self.nodes[point]
        before, entries = node.contents(), len(node.audit)
        reply = self.ask(point, kind, *parts)
        assert reply.is_refusal, "the custodian accepted the message"
        assert reply.parts == (), "a refusal carries nothing but its code"
        assert node.contents() == before, f"{reply.code} changed what the custodian keeps"
        (entry,) = node.audit[entries:]
        assert (entry.event.kind, entry.event.code) == (AuditKind.REFUSED, reply.code)
        return reply.code

    def sign(
        self,
        point: int,
        message_type: str,
        content: bytes,
        *,
        context: bytes,
        receiver: int | str = EVERYONE,
        position: ChainHead = EMPTY_CHAIN,
    ) -> bytes:
        """Sign as any member (0 = coordinator); ``receiver`` is a point or a name."""
        return envelope.sign_message(
            identity_of(point),
            message_type,
            content,
            context=context,
            receiver=receiver if isinstance(receiver, str) else identity_of(receiver).name,
            position=position,
        )

    def drive(self, steps: Steps[T], *, tamper: Tamper = untouched, garble: Garble = unaltered) -> T:
        """Run a coordinator's generator; a hook that returns None loses the request or the reply."""
        try:
            phase = next(steps)
            while True:
                phase = steps.send(self._answer(phase, tamper, garble))
        except StopIteration as stop:
            result: T = stop.value
            return result

    def _answer(self, phase: Phase, tamper: Tamper, garble: Garble) -> Replies:
        replies = {}
        for point, parts in phase.requests.items():
            sent = tamper(phase, point, parts)
            reply = Reply(code=LOST) if sent is None else self.ask(point, phase.kind, *sent)
            replies[point] = garble(phase, point, reply) or Reply(code=LOST)
        return replies


# --- Ceremony, held once a process -------------------------------------------------------------------


def fresh_federation(
    nodes: int = 4,
    *,
    threshold: int = 3,
    colluders: int = 1,
    policy: Policy = OPEN_POLICY,
    noise: Callable[[], ByteSource] = fresh_source,
    store: Callable[[int], CustodianStore] = lambda point: CopyableStore(),
) -> Federation:
    """Custodians that know nothing yet: no ceremony, no study."""
    roster, clock = roster_of(nodes, threshold=threshold, colluders=colluders), SetClock()
    built = {
        point: Node(
            settings=Settings(
                identity=identity_of(point),
                roster=roster,
                policy=policy,
                datasets={DATASET: small_source(point)},
                response_tick_s=0.0,
            ),
            effects=Effects(store=store(point), secrets=MemorySecretStore(), clock=clock, noise=noise),
        )
        for point in roster.points
    }
    return Federation(roster, MappingProxyType(built), clock=clock)


@functools.cache
def _held_ceremony(nodes: int, threshold: int, colluders: int, scheme: Scheme) -> Federation:
    """A federation whose ceremony is over; never handed out, only copied."""
    federation = fresh_federation(nodes, threshold=threshold, colluders=colluders)
    steps = hold_ceremony(
        identity_of(COORDINATOR),
        federation.roster,
        today=NOW.date(),
        combiner=combiner_for(scheme),
        scheme=scheme,
    )
    federation.epoch_id = federation.drive(steps).epoch_id
    return federation


def make_federation(
    nodes: int = 4,
    *,
    threshold: int = 3,
    colluders: int = 1,
    scheme: Scheme = Scheme.THRESHOLD,
    **parts: Any,
) -> Federation:
    """A federation of its own for a test; a scheme with keys starts with a finished ceremony.

    ``parts`` are those of `fresh_federation`: ``policy``, ``noise``, ``store``.
    """
    federation = fresh_federation(nodes, threshold=threshold, colluders=colluders, **parts)
    if scheme.has_keys:
        _copy(_held_ceremony(nodes, threshold, colluders, scheme), federation)
    return federation


def _copy(held: Federation, federation: Federation) -> None:
    """Fill the empty stores of a federation with what another one's hold."""
    for point, node in federation.nodes.items():
        past = held.nodes[point].effects
        assert isinstance(past.store, CopyableStore)
        node.effects.store.commit(past.store.whole())
        for epoch_id in past.secrets.epochs():
            secret = past.secrets.get(epoch_id)
            assert secret is not None
            node.effects.secrets.put(epoch_id, secret)
        node.restart()  # its store was written behind its back
    federation.epoch_id = held.epoch_id


# --- A study under way -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One honest attempt up to its contributions: the signed plan and each contributor's parts."""

    plan: bytes
    contributions: Mapping[int, tuple[bytes, ...]]

    @property
    def digest(self) -> bytes:
        """Digest of the plan."""
        return plan_digest(self.plan)

    def headers(self, points: Sequence[int]) -> tuple[bytes, ...]:
        """Signed headers of the points, in their order."""
        return tuple(self.contributions[p][0] for p in points)


class Trial:
    """A study that all custodians accepted, with what a coordinator knows of it."""

    def __init__(self, federation: Federation, spec: TrainingStudy) -> None:
        self.federation = federation
        self.spec = spec
        self.schedule: Schedule = schedule_for(spec)
        self.canonical = canonical_bytes(spec)
        self.digest = study_digest(self.canonical)
        self.epoch_id = federation.epoch_id if spec.aggregation.scheme.has_keys else NO_EPOCH
        digests = (self.digest, federation.roster_digest, self.epoch_id)
        self.terms: Terms = terms_for(spec, self.schedule, federation.roster, digests=digests)
        self.nonces: dict[int, bytes] = {}
        self.inputs = program_for(spec).inputs(program_for(spec).begin(), self.schedule.stages[0])

    @property
    def layout(self) -> Layout:
        """Layout of the first round."""
        return self.schedule.layout

    @property
    def points(self) -> tuple[int, ...]:
        """All points of the roster."""
        return self.federation.roster.points

    @property
    def desk(self) -> Desk:
        """What the coordinator's generators work with."""
        combiner = combiner_for(self.spec.aggregation.scheme)
        return Desk(identity=identity_of(COORDINATOR), terms=self.terms, combiner=combiner)

    @property
    def standing(self) -> Standing:
        """The coordinator's memory at the start of the next round."""
        return Standing(nonces=dict(self.nonces))

    def proposal(self, **changes: Any) -> bytes:
        """The signed proposal; ``changes`` replace fields of it."""
        content = StudyProposal(
            canonical=self.canonical, roster_digest=self.federation.roster_digest, epoch_id=self.epoch_id
        )
        changed = replace(content, **changes)
        return self.federation.sign(
            COORDINATOR,
            envelope.STUDY,
            wire.encode_proposal(changed),
            context=study_digest(changed.canonical),
        )

    def propose(self, *points: int) -> None:
        """Propose the study to the given points, by default to all, and keep their nonces."""
        for point in points or self.points:
            reply = self.federation.ask(point, PhaseKind.PROPOSE, self.proposal())
            assert not reply.is_refusal, reply.code
            self.nonces[point] = self.nonce_in(reply)

    def ask_nonce(self, point: int) -> None:
        """Replace a custodian's open nonce."""
        request = self.federation.sign(COORDINATOR, envelope.NONCE, b"", context=self.digest, receiver=point)
        reply = self.federation.ask(point, PhaseKind.NONCE, request)
        assert not reply.is_refusal, reply.code
        self.nonces[point] = self.nonce_in(reply)

    @staticmethod
    def nonce_in(reply: Reply) -> bytes:
        """The nonce that a proposal's or a nonce request's reply carries."""
        statement = wire.decode_statement(wire.decode_signed(reply.parts[0]).body)
        return wire.decode_nonce(statement.content)

    def honest_plan(self, round_number: int = 1, attempt: int = 1, **changes: Any) -> Plan:
        """The plan that an honest coordinator would make now; ``changes`` replace fields of it."""
        allowance = self.terms.allowance
        plan = Plan(
            study_digest=self.digest,
            epoch_id=self.epoch_id,
            roster_digest=self.federation.roster_digest,
            kind=self.terms.stage(1).kind,
            round_number=round_number,
            attempt=attempt,
            nonces=tuple(sorted(self.nonces.items())),
            inputs_digest=inputs_digest(self.inputs),
            layout=self.layout,
            planned_contributors=allowance.planned_contributors,
            dropouts=allowance.dropouts,
            colluders=allowance.colluders,
        )
        return replace(plan, **changes)

    def plan(self, round_number: int = 1, attempt: int = 1, **changes: Any) -> bytes:
        """`honest_plan`, signed by the coordinator."""
        return self.sign_plan(self.honest_plan(round_number, attempt, **changes))

    def sign_plan(self, plan: Plan) -> bytes:
        """Any plan, signed by the coordinator."""
        return self.federation.sign(
            COORDINATOR, envelope.PLAN, wire.encode_plan(plan), context=plan.study_digest
        )

    def contribute(self, point: int, plan: bytes, inputs: bytes | None = None) -> tuple[bytes, ...]:
        """An honest contribution: header and chunks; keeps the node's next nonce."""
        sent = self.inputs if inputs is None else inputs
        reply = self.federation.ask(point, PhaseKind.CONTRIBUTE, plan, sent)
        assert not reply.is_refusal, reply.code
        statement = wire.decode_statement(wire.decode_signed(reply.parts[0]).body)
        self.nonces[point] = wire.decode_header(statement.content).next_nonce
        return reply.parts

    def begin(self, round_number: int = 1, attempt: int = 1, *, points: Sequence[int] = ()) -> Attempt:
        """Sign a plan and gather the contributions of the points, by default of all."""
        plan = self.plan(round_number, attempt)
        return Attempt(plan=plan, contributions={p: self.contribute(p, plan) for p in points or self.points})

    def request(
        self,
        attempt: Attempt,
        receiver: int,
        *,
        contributors: Sequence[int],
        openers: Sequence[int],
        headers: Sequence[bytes] | None = None,
    ) -> tuple[bytes, ...]:
        """Signed opening request and plan, as one custodian gets them, and the sum where it opens one."""
        given = attempt.headers(contributors) if headers is None else tuple(headers)
        content = OpeningRequest(contributors=tuple(contributors), openers=tuple(openers), headers=given)
        signed = self.federation.sign(
            COORDINATOR,
            envelope.OPENING_REQUEST,
            wire.encode_opening_request(content),
            context=attempt.digest,
            receiver=receiver,
        )
        return signed, attempt.plan, *self.sums(attempt, contributors)

    def sums(self, attempt: Attempt, contributors: Sequence[int]) -> tuple[bytes, ...]:
        """What openers are shown of the sum over some contributors; nothing in most schemes."""
        if self.spec.aggregation.scheme is not Scheme.CKKS:
            return ()
        total = combiner_for(Scheme.CKKS)(self.layout)
        for point in contributors:
            total.add_contribution(attempt.contributions[point][1:])
        return total.sums()

    def open(
        self, attempt: Attempt, *, contributors: Sequence[int], openers: Sequence[int]
    ) -> dict[int, tuple[bytes, ...]]:
        """Honest answers of all openers; keeps their next nonces."""
        answers = {}
        for point in openers:
            parts = self.request(attempt, point, contributors=contributors, openers=openers)
            reply = self.federation.ask(point, PhaseKind.OPEN, *parts)
            assert not reply.is_refusal, reply.code
            self.keep_nonce_of_answer(point, reply.parts)
            answers[point] = reply.parts
        return answers

    def keep_nonce_of_answer(self, point: int, parts: Sequence[bytes]) -> None:
        """Remember the nonce that an answer carries."""
        statement = wire.decode_statement(wire.decode_signed(parts[0]).body)
        self.nonces[point] = wire.decode_answer(statement.content).next_nonce

    def combine(
        self, contributions: Sequence[Sequence[bytes]], answers: Sequence[Sequence[bytes]]
    ) -> WordArray:
        """Decode the sum of contributions (header first) under answers (envelope first)."""
        total = combiner_for(self.spec.aggregation.scheme)(self.layout)
        for parts in contributions:
            total.add_contribution(tuple(parts[1:]))
        for parts in answers:
            total.add_opening(tuple(parts[1:]))
        return total.total()

    def round(self, round_number: int = 1, attempt: int = 1) -> WordArray:
        """A whole honest round over everybody, opened by the first ``threshold`` custodians."""
        openers = self.points[: self.terms.allowance.threshold]
        begun = self.begin(round_number, attempt)
        answers = self.open(begun, contributors=self.points, openers=openers)
        return self.combine(list(begun.contributions.values()), list(answers.values()))


@functools.cache
def _proposed_trial(canonical: bytes) -> Trial:
    """A study that everybody accepted under the open policy; never handed out, only copied."""
    return _new_trial(as_training(from_canonical_bytes(canonical)))


def _new_trial(spec: TrainingStudy, **parts: Any) -> Trial:
    """Make a federation and propose a study to all of it."""
    allowance, scheme = schedule_for(spec).allowance, spec.aggregation.scheme
    federation = make_federation(
        len(spec.nodes), threshold=allowance.threshold, colluders=allowance.colluders, scheme=scheme, **parts
    )
    trial = Trial(federation, spec)
    trial.propose()
    return trial


def make_trial(nodes: int = 4, *, scheme: Scheme = Scheme.THRESHOLD, **changes: Any) -> Trial:
    """A federation with one study proposed to all; each custodian then started anew and gave a nonce.

    ``section__key=value`` changes the study; ``policy``, ``noise`` and ``store`` go to the federation.
    Budgeting a study takes a custodian a tenth of a second, so a proposed one is held and copied.
    """
    spec = small_study(nodes, scheme=scheme, **{k: v for k, v in changes.items() if "__" in k})
    parts = {key: value for key, value in changes.items() if "__" not in key}
    if "policy" in parts:
        return _new_trial(spec, **parts)
    held = _proposed_trial(canonical_bytes(spec))
    allowance = held.terms.allowance
    federation = fresh_federation(
        nodes, threshold=allowance.threshold, colluders=allowance.colluders, **parts
    )
    _copy(held.federation, federation)
    trial = Trial(federation, spec)
    for point in trial.points:
        trial.ask_nonce(point)
    return trial
