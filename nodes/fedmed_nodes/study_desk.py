"""Studies at a custodian: proposal, policy, budget reservation, and what is worked out of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fedmed import wire
from fedmed.errors import (
    ApprovalPending,
    DataContractError,
    EpochMismatch,
    RosterMismatch,
    SignatureNeeded,
    StudyRefused,
    StudyRevoked,
    StudyUnknown,
)
from fedmed.governance.audit_chain import AuditKind
from fedmed.governance.differencing import AskedQuestion
from fedmed.governance.operators import SignedAct
from fedmed.governance.policy import NO_GRADES, Decision, Grades, Policy, check_policy_day, decide
from fedmed.messages import NO_EPOCH, StudyProposal
from fedmed.plans.stage import Stage
from fedmed.privacy.canaries import BoolArray
from fedmed.privacy.clipping import ClippedSum
from fedmed.privacy.ledger_record import LedgerRecord, Mechanism
from fedmed.protocol import envelope
from fedmed.protocol.node_ceremony import Seat
from fedmed.protocol.node_round import SignedPlan
from fedmed.protocol.schedule import Schedule, Terms, schedule_for, terms_for
from fedmed.study import StudySpec, from_canonical_bytes, study_digest
from fedmed.types import FloatArray, Scheme
from fedmed_nodes.answers.by_kind import half_for
from fedmed_nodes.answers.contract import Answerer, AuditedAnswerer, NodeHalf
from fedmed_nodes.approvals import DIFFERENCE_ALLOWED, Approvals, check_approved
from fedmed_nodes.budget_desk import RESERVATIONS, BudgetBook, check_budget, read_book, reservation_for
from fedmed_nodes.budget_view import proposed_bytes
from fedmed_nodes.canary_desk import check_coins_unseen
from fedmed_nodes.ceremony_desk import CeremonyDesk, EpochRecord
from fedmed_nodes.clock import Clock
from fedmed_nodes.differencing import DifferencingDesk, question_of
from fedmed_nodes.logbook import Logbook
from fedmed_nodes.sources import RowSource, require_served
from fedmed_nodes.study_keys import INDEX, RESTORED, known_studies, restored_values, study_key
from fedmed_nodes.year_caps import puts_of_serving, year_cap


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """An approved study as this custodian works it out; ``half`` is what this node does for it."""

    spec: StudySpec
    schedule: Schedule
    terms: Terms
    source: RowSource
    half: NodeHalf


def check_roster(proposal: StudyProposal, seat: Seat) -> None:
    """The proposal names the roster that this operator pinned."""
    if proposal.roster_digest != seat.roster_digest:
        raise RosterMismatch("the proposal names another roster than the pinned one")


def check_epoch_active(record: EpochRecord, *, has_keys: bool) -> None:
    """All custodians signed the result of the epoch's ceremony, and its keys were not destroyed since."""
    if not record.is_active:
        raise EpochMismatch("not all custodians signed this epoch's result")
    if not has_keys:
        raise EpochMismatch("the keys of this epoch were destroyed; run a ceremony")


def check_declared(spec: StudySpec, node: str, source: RowSource) -> None:
    """The study counts this node's persons as its catalogue does: cohort and clamp hang on that count."""
    if source.declared_persons != spec.data.declared_persons[node]:
        raise StudyRefused("declared_persons: the study names another count than this node's catalogue")


def check_person(spec: StudySpec, source: RowSource) -> None:
    """The study's unit of privacy is this node's.

    A study that could name the column could call every visit a person of its own, and a person with many
    visits would lose many times what is claimed and charged.
    """
    if spec.data.person != source.person:
        raise StudyRefused("person: the study names another pseudonym column than this node registered")


def check_feature_set(spec: StudySpec, source: RowSource) -> None:
    """The study's columns mean what this node derives: a name alone would not say how they were made."""
    named = spec.data.feature_set
    if named is not None and named != source.feature_set:
        raise StudyRefused("feature_set: the study names another feature set than this node registered")


def check_not_revoked(*, revoked: bool) -> None:
    """Operators withdrew the study for good: what it had not spent is free for others."""
    if revoked:
        raise StudyRevoked("the approval of this study was withdrawn for good; propose a changed study")


def charge_for(study: Study, signed: SignedPlan, *, recorded_at: str) -> LedgerRecord:
    """What one attempt costs, whether or not it is opened.

    Args:
        study: The approved study.
        signed: The accepted plan.
        recorded_at: ISO 8601 time with offset.
    """
    schedule, plan = study.schedule, signed.plan
    stage = study.terms.stage(plan.round_number)
    return LedgerRecord(
        dataset_fingerprint=study.source.fingerprint,
        data_year=study.source.data_year,
        study_digest=plan.study_digest,
        round_number=plan.round_number,
        attempt=plan.attempt,
        plan_digest=signed.digest,
        mechanism=_mechanism(stage),
        noise_multiplier=stage.noise_multiplier,
        clip_norm=stage.person_clip_norm,
        grid=stage.layout.grid if stage.local is None else stage.local.grid,
        sample_rate=1.0 if stage.event is None else stage.event.sample_rate,
        releases=1 if stage.event is None else stage.event.count,
        max_nodes_per_person=study.spec.privacy.max_nodes_per_person,
        planned_contributors=schedule.allowance.planned_contributors,
        dropouts=schedule.allowance.dropouts,
        colluders=schedule.allowance.colluders,
        recorded_at=recorded_at,
    )


def _mechanism(stage: Stage) -> Mechanism:
    """What a round of a stage releases."""
    if stage.event is None:
        return Mechanism.EXACT_SUM
    return Mechanism.DISCRETE_GAUSSIAN_SUM if stage.local is None else Mechanism.LOCAL_GAUSSIAN_STEPS


class StudyDesk:
    """Judges proposals, keeps what was approved, and reserves budget before a study may plan."""

    def __init__(
        self,
        seat: Seat,
        *,
        policy: Policy,
        datasets: Mapping[str, RowSource],
        logbook: Logbook,
        ceremonies: CeremonyDesk,
        clock: Clock,
        grades: Mapping[str, Grades] | None = None,
    ) -> None:
        self._seat = seat
        self._policy = policy
        self._grades = grades or {}
        self._datasets = datasets
        self._logbook = logbook
        self._ceremonies = ceremonies
        self._clock = clock
        self._studies: dict[bytes, Study] = {}
        self._answerers: dict[bytes, Answerer] = {}
        self._approvals = Approvals(seat, policy, logbook)
        self._differencing = DifferencingDesk(
            logbook,
            window_days=policy.differencing_window_days,
            is_allowed=self._approvals.allows_difference,
        )

    def propose(self, data: bytes) -> bytes:
        """Judge a signed proposal.

        Returns:
            The digest of the study, which is now approved here.

        Raises:
            StudyRefused, BudgetExceeded, CohortTooSmall, StudyExpired: the policy's verdict.
            RosterMismatch, EpochMismatch, ConfigError: the study does not fit this federation.
            ApprovalPending: the operator must approve it first.
            DifferencingRefused: it is too near to a study that was asked here before.
            StudyEnded: it ended, and the coins of its canaries were shown.
            DataContractError: this node's table does not hold what the study needs.
        """
        statement = envelope.open_message(data, envelope.STUDY, self._seat.roster.coordinator, context=None)
        proposal = wire.decode_proposal(statement.content)
        digest = study_digest(proposal.canonical)
        envelope.check_context(statement, digest)
        check_not_revoked(revoked=self.is_revoked(digest))
        check_coins_unseen(self._logbook, digest)
        study = self._work_out(proposal)
        decision = self._judge(study)
        book = self._reserve(digest, study)
        study.half.prove()  # about this machine, not about rows: before anything is written
        waits = decision.waits_for_operator or self._logbook.get(RESTORED) is not None
        question = self._question(digest, study)
        refusal = self._differencing.objection(question)
        approval = None if refusal else self._approvals.of(digest, by_policy=not waits)
        puts = self._differencing.puts(question) | {RESERVATIONS: book.to_bytes()}
        puts |= puts_of_serving(self._logbook, study.source, policy_cap=self._policy.max_epsilon_per_year)
        before = self._logbook.get(study_key(digest, "proposal"))
        self._write_proposal(digest, statement.content, approval=approval, if_approved=puts)
        self._end_replaced(before, proposal.epoch_id)
        if refusal is not None:  # kept, so that operators can look at it and sign an exception
            raise refusal
        if approval is None:
            raise ApprovalPending("the province's operator must approve this study first")
        self._studies[digest] = study
        self._answerer(digest)
        return digest

    def _judge(self, study: Study) -> Decision:
        """The policy's verdict of today; a policy that was tightened holds for studies begun before."""
        return decide(
            study.spec,
            self._policy,
            declared_persons=study.source.declared_persons,
            today=self._clock.now().date(),
            allowance=study.schedule.allowance,
            grades=self._grades.get(study.spec.data.dataset, NO_GRADES),
        )

    def _question(self, digest: bytes, study: Study) -> AskedQuestion | None:
        """What the differencing guard compares."""
        return question_of(
            digest,
            study.spec,
            source=study.source,
            least_cohort=self._policy.min_cohort,
            colluders=study.schedule.allowance.colluders,
            day=self._clock.now().date(),
        )

    def check_set(self, digest: bytes, contributors: tuple[int, ...]) -> None:
        """Compare a study again once the nodes in its sum are known; raises `DifferencingRefused`."""
        self._differencing.check_set(digest, contributors, today=self._clock.now().date())

    def puts_of_answer(self, digest: bytes) -> dict[str, bytes]:
        """What to store beside an answer: the day that the differencing guard counts from."""
        return self._differencing.puts_of_answer(digest, today=self._clock.now().date())

    def _end_replaced(self, before: bytes | None, epoch_id: bytes) -> None:
        """A study that is proposed again under a new epoch ends the one that it had."""
        if before is None:
            return
        old = wire.decode_proposal(before).epoch_id
        if old not in (epoch_id, NO_EPOCH):
            self._ceremonies.destroy(old)

    def _write_proposal(
        self, digest: bytes, content: bytes, *, approval: bytes | None, if_approved: Mapping[str, bytes]
    ) -> None:
        """One batch: the proposal, its place in the index, and, if approved, its reservation and question."""
        index = self.known()
        puts = {
            study_key(digest, "proposal"): content,
            INDEX: json.dumps(sorted({*index, digest.hex()})).encode(),
        }
        key = study_key(digest, "approved")
        if approval is not None:
            puts |= {key: approval, **if_approved}
        kind = AuditKind.PROPOSED if approval is None else AuditKind.ACCEPTED
        stale = frozenset() if approval is not None else frozenset({key})
        self._logbook.write(kind, study=digest, detail="study", puts=puts, deletes=stale)

    @property
    def logbook(self) -> Logbook:
        """The one hand on this node's store; `fedmed_nodes.operator_desk` writes with it too."""
        return self._logbook

    def approve(
        self,
        digest: bytes,
        *,
        acts: tuple[SignedAct, ...] = (),
        detail: str = "",
        allow_difference: bool = False,
    ) -> None:
        """The operators' yes to a proposal that waits; the coordinator then proposes it again.

        Args:
            digest: The study.
            acts: The signature that completed the yes; none where the policy lists no operators.
            detail: Who signed, for the audit log.
            allow_difference: Whether it may be as near as it is to a study that was asked before.

        Raises:
            SignatureNeeded: the policy lists operators and nobody signed.
            StudyUnknown, StudyRevoked: there is nothing to approve.
        """
        self._require_act(digest, acts)
        puts = {study_key(digest, "approved"): self._seat.roster_digest}
        if allow_difference:
            puts[study_key(digest, DIFFERENCE_ALLOWED)] = b"1"
        self._logbook.write(AuditKind.APPROVED, study=digest, detail=detail, puts=puts, acts=acts)

    def revoke(self, digest: bytes, *, acts: tuple[SignedAct, ...] = (), detail: str = "") -> None:
        """Withdraw a study for good, whether it waits, runs or is over; arguments and errors as `approve`.

        Guarantees:
            The study is answered no more, not even what was stored for it, also after a restart. What it
            spent stays spent; only what it can never spend any more is free again. Its key epoch ends,
            unless another study that goes on uses it.
        """
        self._require_act(digest, acts)
        puts = {
            study_key(digest, "revoked"): b"1",
            RESERVATIONS: read_book(self._logbook).without_unspent(digest).to_bytes(),
        }
        deletes = frozenset({study_key(digest, "approved")})
        self._logbook.write(
            AuditKind.REVOKED, study=digest, detail=detail, puts=puts, deletes=deletes, acts=acts
        )
        self._studies.pop(digest, None)
        self._answerers.pop(digest, None)
        epoch_id = self._epoch_of(digest)
        going_on = {self._epoch_of(known) for known in self._live()}
        if epoch_id not in (NO_EPOCH, *going_on):
            self._ceremonies.destroy(epoch_id)

    def is_revoked(self, digest: bytes) -> bool:
        """Whether operators withdrew the study."""
        return self._logbook.get(study_key(digest, "revoked")) is not None

    def require_live(self, digest: bytes) -> None:
        """There is a study to decide on; raises `StudyUnknown`, `StudyRevoked`."""
        if self._logbook.get(study_key(digest, "proposal")) is None:
            raise StudyUnknown("no such study was proposed here")
        check_not_revoked(revoked=self.is_revoked(digest))

    def _require_act(self, digest: bytes, acts: tuple[SignedAct, ...]) -> None:
        """There is a study to decide on, and who decides has signed where the policy asks for it."""
        if self._policy.operators is not None and not acts:
            raise SignatureNeeded("the policy lists operators: approve or revoke with --key and a key file")
        self.require_live(digest)

    def _live(self) -> Iterator[bytes]:
        """Studies that were proposed here and not revoked."""
        digests = map(bytes.fromhex, self.known())
        return (digest for digest in digests if not self.is_revoked(digest))

    def _epoch_of(self, digest: bytes) -> bytes:
        """The key epoch that a study was last proposed under."""
        return wire.decode_proposal(self._logbook.get(study_key(digest, "proposal")) or b"").epoch_id

    def known(self) -> tuple[str, ...]:
        """Hex digests of all studies ever proposed here."""
        return known_studies(self._logbook.get(INDEX))

    def _work_out(self, proposal: StudyProposal) -> Study:
        """Everything that follows from a proposal; refuses what does not fit this federation."""
        seat = self._seat
        check_roster(proposal, seat)
        spec = from_canonical_bytes(proposal.canonical)
        self._check_epoch(spec, proposal.epoch_id)
        schedule = schedule_for(spec)
        digests = (study_digest(proposal.canonical), proposal.roster_digest, proposal.epoch_id)
        terms = terms_for(spec, schedule, seat.roster, digests=digests)
        source = self._datasets.get(spec.data.dataset)
        if source is None:
            raise StudyRefused(f"dataset: {spec.data.dataset} is not registered here")
        require_served(source)
        check_person(spec, source)
        check_feature_set(spec, source)
        check_declared(spec, seat.identity.name, source)
        return Study(spec=spec, schedule=schedule, terms=terms, source=source, half=half_for(spec))

    def _check_epoch(self, spec: StudySpec, epoch_id: bytes) -> None:
        """Schemes with keys need an active epoch of their own, ``plain`` has none."""
        scheme = spec.aggregation.scheme
        if scheme is Scheme.PLAIN:
            if epoch_id != NO_EPOCH:
                raise EpochMismatch("scheme plain has no key epoch")
        else:
            record = self._ceremonies.record(epoch_id)
            if record.scheme is not scheme:
                raise EpochMismatch(f"the epoch's keys are of scheme {record.scheme.value}; run a ceremony")
            check_epoch_active(record, has_keys=self._ceremonies.has_keys(epoch_id))

    def _reserve(self, digest: bytes, study: Study) -> BudgetBook:
        """The budget with this study in it, which must fit the cap; nothing is written yet."""
        book = read_book(self._logbook).with_study(digest, reservation_for(study.schedule, study.source))
        cap = year_cap(self._logbook, study.source, policy_cap=self._policy.max_epsilon_per_year)
        check_budget(book.committed(study.source, cap=cap), cap)
        return book

    def get(self, digest: bytes) -> Study:
        """An approved study; after a restart it is worked out again from the stored bytes.

        Raises:
            StudyRevoked: operators withdrew it.
            StudyUnknown: never proposed here, not approved, or approved without a reservation.
            StudyRefused: a rule of the policy of now does not allow it, or what was approved before lacks a
                signature that this policy asks for.

        Guarantees:
            Each call asks for the yes anew: one that does not hold under the policy of now allows nothing.
        """
        check_not_revoked(revoked=self.is_revoked(digest))
        check_policy_day(self._policy, self._clock.now().date())
        study = self._studies.get(digest)
        is_reserved, waits = study is not None, False
        if study is None:
            study = self._worked_out_again(digest)
            is_reserved = read_book(self._logbook).holds(digest, study.source)
            waits = self._judge(study).waits_for_operator
        by_policy = self._approvals.is_by_policy(digest) and not waits
        approved = self._approvals.of(digest, by_policy=by_policy) is not None
        missing = "" if approved else self._approvals.missing(digest)
        check_approved(approved=approved, reserved=is_reserved, missing=missing)
        self._studies[digest] = study
        return study

    def lapse(self, digest: bytes) -> str:
        """Why a yes of before does not hold under the policy of now, beginning with the rule; mostly empty.

        Args:
            digest: A study that was proposed here.
        """
        spec = from_canonical_bytes(proposed_bytes(self._logbook, digest))
        by_policy = self._approvals.is_by_policy(digest) and self._policy.approves_by_itself(spec)
        holds = self._approvals.of(digest, by_policy=by_policy) is not None
        return "" if holds else self._approvals.missing(digest)

    def signed_by(self, digest: bytes) -> tuple[str, ...]:
        """See `fedmed_nodes.approvals.Approvals.signed_by`."""
        return self._approvals.signed_by(digest)

    def _worked_out_again(self, digest: bytes) -> Study:
        """A study from its stored bytes."""
        content = self._logbook.get(study_key(digest, "proposal"))
        if content is None:
            raise StudyUnknown("the study was never proposed here")
        return self._work_out(wire.decode_proposal(content))

    def answer(
        self,
        digest: bytes,
        stage: Stage,
        inputs: FloatArray,
        *,
        canaries: tuple[BoolArray, slice] | None = None,
    ) -> ClippedSum:
        """This node's sum of a round, before noise; rows are read once a process.

        Args:
            digest: The study.
            stage: The round's stage.
            inputs: What the round computes on, checked.
            canaries: Which canaries take part, and where this node's stand; None where there is no audit
                block.

        Raises:
            DataContractError: always with the same public words; the cause stays with the operator.
            StudyRefused: this kind of study carries no canaries.
        """
        answerer = self._answerer(digest)
        answer = answerer.answer(stage, inputs)
        if canaries is None:
            return answer
        if not isinstance(answerer, AuditedAnswerer):
            raise StudyRefused("audit: this kind of study carries no canaries here; leave [audit] out")
        present, own = canaries
        return answerer.with_canaries(answer, present, own=own)

    def _answerer(self, digest: bytes) -> Answerer:
        """The study's rows at this node, ready to answer; see `answer`."""
        if digest not in self._answerers:
            study = self.get(digest)
            study.half.prove()
            try:
                self._answerers[digest] = study.half.read(study.source)
            except DataContractError as fault:
                self._logbook.write(AuditKind.ERROR, study=digest, code=fault.code)
                raise
        return self._answerers[digest]

    def is_restored(self, digest: bytes) -> bool:
        """Whether this custodian was restored from a backup after the study had begun."""
        return self._logbook.get(study_key(digest, "restored")) is not None

    def mark_restored(self) -> None:
        """The store was set back: studies begun before are answered no more.

        A study that was begun after the backup is forgotten, so it would pass for a new one when it is
        proposed again. Therefore all key epochs end here, and from now on every study waits for the
        operator, whatever the policy says: one that this province took part in must not be approved.
        """
        words = "a later message of this node was shown"
        puts = restored_values(self._logbook.get(INDEX), words)
        self._ceremonies.end_all(AuditKind.RESTORED, puts=puts, detail=words)
