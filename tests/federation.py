"""A whole federation inside one test, with every private key in the test's hand.

The custodians are the real ones, on real stores, after a real ceremony (held once a process and copied).
A test can sign any message as any roster member, so that a hostile message differs from an honest one in
exactly the property under attack. Point 0 stands for the coordinator.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeVar

import pyarrow as pa
import pytest

from fedmed import wire
from fedmed.aggregation.contract import Combiner
from fedmed.aggregation.plain_coordinator import PlainCombiner
from fedmed.aggregation.threshold_coordinator import ThresholdCombiner
from fedmed.crypto.identity import Identity, signed_bytes
from fedmed.governance.audit_chain import EMPTY_CHAIN, AuditEntry, AuditKind, ChainHead
from fedmed.governance.policy import Policy
from fedmed.messages import (
    EVERYONE,
    NO_EPOCH,
    Header,
    Member,
    OpeningRequest,
    Plan,
    Roster,
    Signed,
    Statement,
    StudyProposal,
)
from fedmed.privacy.ledger_record import LedgerRecord
from fedmed.privacy.noise import ByteSource, fresh_source
from fedmed.protocol import envelope
from fedmed.protocol.binding import headers_digest, inputs_digest, plan_digest
from fedmed.protocol.coordinator_ceremony import hold_ceremony
from fedmed.protocol.coordinator_round import Desk, Standing
from fedmed.protocol.schedule import Schedule, Terms, schedule_for, terms_for
from fedmed.protocol.steps import LOST, Phase, PhaseKind, Replies, Reply, Steps
from fedmed.study import StudySpec, canonical_bytes, from_canonical_bytes, study_digest, study_from_document
from fedmed.types import DatasetSpec, Scheme, WordArray
from fedmed_nodes.custodian import Custodian, Effects, Settings
from fedmed_nodes.sources import RowSource, TableSource
from fedmed_nodes.stores import Batch, CustodianStore, MemorySecretStore, MemoryStore

NOW = datetime.datetime(2026, 3, 2, 9, 0, tzinfo=datetime.UTC)
COORDINATOR = 0
DATASET = "person_year"
DECLARED = 10
PERSONS = 6
T = TypeVar("T")

# One privacy setting for all tests: calibrating another one takes seconds.
EPSILON, DELTA, AGGREGATIONS, SPARE_ATTEMPTS = 1.0, 1e-5, 3, 1

OPEN_POLICY = Policy(
    max_epsilon_per_study=EPSILON,
    max_epsilon_per_year=4 * EPSILON,
    schemes=frozenset(Scheme),
    min_cohort=1,
    allow_continue=True,
    research=True,
    auto_approve=True,
)


def insecure_no_noise() -> ByteSource:
    """Zero bytes make the sampler draw nothing but 0, so that opened sums are exact integers of the rows."""
    return bytes


class SetClock:
    """A clock that a test sets."""

    def __init__(self, at: datetime.datetime = NOW) -> None:
        self.at = at

    def now(self) -> datetime.datetime:
        return self.at

    def wait_for_tick(self, tick_s: float) -> None:
        pass


class CopyableStore(MemoryStore):
    """A store in memory that shows all it holds."""

    def values(self) -> dict[str, bytes]:
        return dict(self._values)

    def whole(self) -> Batch:
        """The batch that makes an empty store equal to this one."""
        return Batch(puts=self.values(), ledger=self.ledger(), audit=self.audit())


class UnreadableSource:
    """A dataset that is registered and whose rows must not be read."""

    declared_persons = DECLARED
    data_year = NOW.year
    fingerprint = bytes(32)

    def __init__(self) -> None:
        self.reads = 0

    def training_examples(self, spec: DatasetSpec) -> Any:
        self.reads += 1
        raise AssertionError("a row was read")


def names(nodes: int) -> tuple[str, ...]:
    """Node keys in roster order."""
    return tuple(f"node{point}" for point in range(1, nodes + 1))


def small_study(nodes: int = 4, *, scheme: Scheme = Scheme.THRESHOLD, **changes: object) -> StudySpec:
    """A logistic model of two inputs; ``section__key=value`` changes one key of the study file."""
    document: dict[str, dict[str, object]] = {
        "study": {
            "id": "small",
            "title": "Small",
            "purpose": "academic_research",
            "owner": "tests",
            "expires": "2026-12-31",
        },
        "data": {
            "dataset": DATASET,
            "label": {"column": "sick"},
            "features": [
                {"name": "age", "kind": "number", "low": 0.0, "high": 100.0},
                {"name": "visits", "kind": "number", "low": 0.0, "high": 10.0},
            ],
            "held_out": 0.0,
            "min_cohort": 1,
            "declared_persons": dict.fromkeys(names(nodes), DECLARED),
        },
        "privacy": {"epsilon": EPSILON, "delta": DELTA, "clip_norm": 1.0},
        "aggregation": {"scheme": scheme.value, "clamp_persons": DECLARED},
        "training": {"aggregations": AGGREGATIONS, "spare_attempts": SPARE_ATTEMPTS},
    }
    for name, value in changes.items():
        section, _, key = name.partition("__")
        document.setdefault(section, {})[key] = value
    return study_from_document(document)


def small_table(point: int) -> pa.Table:
    """A few persons with one row each, different at every node."""
    return pa.table(
        {
            "psn_no": [f"p{point}-{i}" for i in range(PERSONS)],
            "age": [float((17 * i + 11 * point) % 100) for i in range(PERSONS)],
            "visits": [float((3 * i + point) % 11) for i in range(PERSONS)],
            "sick": [(i * point) % 2 for i in range(PERSONS)],
        }
    )


def small_source(point: int) -> TableSource:
    """The rows of `small_table` as a registered dataset."""
    return TableSource(small_table(point), declared_persons=DECLARED, data_year=NOW.year)


@functools.cache
def identity_of(point: int) -> Identity:
    """Keys of a node, or of the coordinator at point 0; the same in every test."""
    name = "coordinator" if point == COORDINATOR else f"node{point}"
    return Identity(name, signing_key=bytes([point + 1]) * 32, sealing_key=bytes([point + 101]) * 32)


def roster_of(nodes: int, *, threshold: int, colluders: int) -> Roster:
    """The roster of the first nodes."""

    def card(point: int) -> Member:
        public = identity_of(point).public
        return Member(name=public.name, signing_key=public.signing_key, sealing_key=public.sealing_key)

    return Roster(
        version=1,
        members=tuple(card(point) for point in range(1, nodes + 1)),
        threshold=threshold,
        colluders=colluders,
        coordinator=card(COORDINATOR),
    )


# --- A custodian and its store -----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Contents:
    """All that a custodian keeps, its audit chain aside."""

    values: Mapping[str, bytes]
    ledger: tuple[LedgerRecord, ...]
    secrets: Mapping[bytes, bytes | None]


@dataclass(kw_only=True)
class Node:
    """One province: what its operator set, its effects, and the custodian that runs on them."""

    settings: Settings
    effects: Effects
    custodian: Custodian = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A new process on the same disk: memory is lost."""
        self.custodian = Custodian(self.settings, self.effects)

    def with_policy(self, policy: Policy) -> None:
        """The operator writes another policy; the custodian starts anew."""
        self.settings = replace(self.settings, policy=policy)
        self.restart()

    def with_source(self, source: RowSource) -> None:
        """The operator registers other rows; the custodian starts anew."""
        self.settings = replace(self.settings, datasets={DATASET: source})
        self.restart()

    @property
    def audit(self) -> tuple[AuditEntry, ...]:
        """The audit chain."""
        return self.effects.store.audit()

    def contents(self) -> Contents:
        """What is kept now; only for stores in memory."""
        store, secrets = self.effects.store, self.effects.secrets
        assert isinstance(store, CopyableStore)
        return Contents(
            values=store.values(),
            ledger=store.ledger(),
            secrets={epoch: secrets.get(epoch) for epoch in secrets.epochs()},
        )


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


def combiner_for(scheme: Scheme) -> Callable[[Any], Combiner]:
    """The coordinator's half of a scheme."""
    return ThresholdCombiner if scheme is Scheme.THRESHOLD else PlainCombiner


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
def _held_ceremony(nodes: int, threshold: int, colluders: int) -> Federation:
    """A federation whose ceremony is over; never handed out, only copied."""
    federation = fresh_federation(nodes, threshold=threshold, colluders=colluders)
    steps = hold_ceremony(
        identity_of(COORDINATOR), federation.roster, today=NOW.date(), combiner=ThresholdCombiner
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
    """A federation of its own for a test; scheme ``threshold`` starts with a finished ceremony.

    ``parts`` are those of `fresh_federation`: ``policy``, ``noise``, ``store``.
    """
    federation = fresh_federation(nodes, threshold=threshold, colluders=colluders, **parts)
    if scheme is Scheme.PLAIN:
        return federation
    _copy(_held_ceremony(nodes, threshold, colluders), federation)
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

    def __init__(self, federation: Federation, spec: StudySpec) -> None:
        self.federation = federation
        self.spec = spec
        self.schedule: Schedule = schedule_for(spec)
        self.canonical = canonical_bytes(spec)
        self.digest = study_digest(self.canonical)
        threshold = spec.aggregation.scheme is Scheme.THRESHOLD
        self.epoch_id = federation.epoch_id if threshold else NO_EPOCH
        digests = (self.digest, federation.roster_digest, self.epoch_id)
        self.terms: Terms = terms_for(spec, self.schedule, federation.roster, digests=digests)
        self.nonces: dict[int, bytes] = {}
        self.inputs = self.schedule.model.initial(self.digest).astype("<f8").tobytes()

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
            kind=self.terms.kind,
            round_number=round_number,
            attempt=attempt,
            nonces=tuple(sorted(self.nonces.items())),
            inputs_digest=inputs_digest(self.inputs),
            layout=self.terms.layout,
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
    ) -> tuple[bytes, bytes]:
        """Signed opening request and plan, as one custodian gets them."""
        given = attempt.headers(contributors) if headers is None else tuple(headers)
        content = OpeningRequest(contributors=tuple(contributors), openers=tuple(openers), headers=given)
        signed = self.federation.sign(
            COORDINATOR,
            envelope.OPENING_REQUEST,
            wire.encode_opening_request(content),
            context=attempt.digest,
            receiver=receiver,
        )
        return signed, attempt.plan

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
        total = combiner_for(self.spec.aggregation.scheme)(self.terms.layout)
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
    return _new_trial(from_canonical_bytes(canonical))


def _new_trial(spec: StudySpec, **parts: Any) -> Trial:
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


def digest_of_headers(attempt: Attempt, points: Sequence[int]) -> bytes:
    """What masks bind of the headers."""
    return headers_digest(attempt.headers(points))


# --- Attacks -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One hostile message, ready to be sent, and the honest one that differs in nothing but the property.

    Attributes:
        trial: The study under attack.
        point: The custodian that gets the message.
        kind: Which phase.
        hostile: Parts of the hostile message.
        honest: Gives the parts of the honest message, asked for after the hostile one was refused; None where
            nothing honest can follow.
    """

    trial: Trial
    point: int
    kind: PhaseKind
    hostile: tuple[bytes, ...]
    honest: Callable[[], tuple[bytes, ...]] | None


@dataclass(frozen=True, kw_only=True)
class Case:
    """A row of the table of refusals.

    Attributes:
        code: The error code of this refusal and of no other.
        what: The property under attack.
        arrange: Makes the attack in a federation of its own.
        checks: Dotted names of the checks that stop it; more than one where the same property is checked
            twice on purpose (the reason stands beside the row).
    """

    code: str
    what: str
    arrange: Callable[[], Attack]
    checks: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.code}: {self.what}"


def no_check(*args: object, **kwargs: object) -> None:
    """Stands in for a check that was taken away."""


def assert_refused(case: Case) -> None:
    """The hostile message gets its own code and leaves nothing; the honest one is then still accepted."""
    attack = case.arrange()
    federation = attack.trial.federation
    assert federation.refused(attack.point, attack.kind, *attack.hostile) == case.code
    if attack.honest is not None:
        reply = federation.ask(attack.point, attack.kind, *attack.honest())
        assert not reply.is_refusal, f"the honest message was refused: {reply.code}"


def assert_needed(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the one check patched off, the hostile message is accepted."""
    attack = case.arrange()
    for check in case.checks:
        monkeypatch.setattr(check, no_check)
    reply = attack.trial.federation.ask(attack.point, attack.kind, *attack.hostile)
    assert not reply.is_refusal, f"something else stopped it: {reply.code}"


def forged(
    message_type: str, content: bytes, *, signer: int, sender: int, receiver: str, context: bytes
) -> bytes:
    """A message that one member signs in another's name."""
    statement = Statement(
        sender=identity_of(sender).name,
        receiver=receiver,
        context=context,
        audit_head=EMPTY_CHAIN.head,
        audit_counter=EMPTY_CHAIN.counter,
        content=content,
    )
    body = wire.encode_statement(statement)
    signature = identity_of(signer).sign(signed_bytes(message_type, body))
    return wire.encode_signed(Signed(type=message_type, body=body, signature=signature))


def header_by_hand(
    trial: Trial,
    point: int,
    plan: bytes,
    *,
    chunk_digests: Sequence[bytes] = (bytes(32),),
    position: ChainHead = EMPTY_CHAIN,
) -> bytes:
    """A header that a member signs for any plan, without its custodian."""
    header = Header(chunk_digests=tuple(chunk_digests), next_nonce=bytes(16))
    return trial.federation.sign(
        point,
        envelope.HEADER,
        wire.encode_header(header),
        context=plan_digest(plan),
        receiver=COORDINATOR,
        position=position,
    )
