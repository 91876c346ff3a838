"""A whole study as the coordinator runs it: ceremony, proposal, aggregations, end. A pure generator.

What an aggregation computes and what follows from it is the program's business (`fedmed.programs`).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from fedmed import wire
from fedmed.aggregation.combiners import combiner_for
from fedmed.crypto.identity import Identity
from fedmed.errors import FedMedError
from fedmed.messages import NO_EPOCH, Roster, StudyProposal
from fedmed.phase_record import spent
from fedmed.programs.audited import AuditFindings, Claim, audit_findings, require_conformance
from fedmed.programs.by_kind import program_for
from fedmed.programs.contract import Arrays, OpenedSum, Program, decoded
from fedmed.programs.training import PARAMETERS
from fedmed.protocol import envelope
from fedmed.protocol.coordinator_ceremony import end_epoch, hold_ceremony
from fedmed.protocol.coordinator_round import Desk, Standing, aggregate, propose
from fedmed.protocol.schedule import Schedule, schedule_for, terms_for
from fedmed.protocol.sealed_coins import read_coins
from fedmed.protocol.steps import Phase, PhaseKind, Replies, Steps
from fedmed.study import StudySpec, canonical_bytes, study_digest
from fedmed.types import FloatArray, WordArray


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundSummary:
    """One finished aggregation.

    Attributes:
        round_number: From 1.
        contributors: Points in the sum.
        openers: Points that opened it.
        attempts: How many it took.
        fields: The opened sum as it was decoded, shape (values,), uint64.
        trace: What the program keeps of it, in training the parameters of the model after it.
    """

    round_number: int
    contributors: tuple[int, ...]
    openers: tuple[int, ...]
    attempts: int
    fields: WordArray
    trace: Arrays

    @property
    def parameters(self) -> FloatArray:
        """Parameters after a training aggregation, shape (p,)."""
        return self.trace[PARAMETERS]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOutcome:
    """What a finished study gives.

    Attributes:
        state: The program's final state, in training ``parameters`` of shape (p,) among it.
        schedule: The study worked out.
        study_digest: What the provinces approved.
        epoch_id: The key epoch, zeros for scheme ``plain``.
        rounds: One summary an aggregation.
        plans: Plans sent, each of them charged.
        lost: Points that were lost at the end, with the last code of each.
        audit: What the audit block says, which passed the gate; None where the study has none.
    """

    state: Arrays
    schedule: Schedule
    study_digest: bytes
    epoch_id: bytes
    rounds: tuple[RoundSummary, ...]
    plans: int
    lost: dict[int, str]
    audit: AuditFindings | None = None

    @property
    def parameters(self) -> FloatArray:
        """Final parameters of a training study, shape (p,)."""
        return self.state[PARAMETERS]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRun:
    """Who runs which study, and on which day it began.

    Attributes:
        spec: The study.
        identity: The coordinator's private keys.
        roster: The roster that all provinces pinned.
        today: The coordinator's date when the study began; a resumed study keeps it.
    """

    spec: StudySpec
    identity: Identity
    roster: Roster
    today: datetime.date


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyState:
    """All that the rest of a study needs, after the proposal or after an aggregation.

    Attributes:
        epoch_id: The key epoch, zeros for scheme ``plain``.
        standing: What the coordinator remembers of the nodes.
        program: The program's state.
        rounds: One summary for each finished aggregation.
    """

    epoch_id: bytes
    standing: Standing
    program: Arrays
    rounds: tuple[RoundSummary, ...]


OnRound = Callable[[RoundSummary], None]
OnState = Callable[[StudyState], None]


def run_study(
    spec: StudySpec, identity: Identity, roster: Roster, *, today: datetime.date, on_round: OnRound
) -> Steps[StudyOutcome]:
    """Run a study that nobody resumes; see `conduct`, whose errors it raises.

    Args:
        spec: The study.
        identity: The coordinator's private keys.
        roster: The roster that all provinces pinned.
        today: The coordinator's date.
        on_round: Called after each aggregation.
    """

    def tell(state: StudyState) -> None:
        if state.rounds:
            on_round(state.rounds[-1])

    return conduct(StudyRun(spec=spec, identity=identity, roster=roster, today=today), on_state=tell)


def conduct(run: StudyRun, *, on_state: OnState, start: StudyState | None = None) -> Steps[StudyOutcome]:
    """Run a study from the ceremony, or from where it stood, to the destruction of its keys.

    Args:
        run: Who runs which study.
        on_state: Called after the proposal and after each aggregation.
        start: Where an earlier run of the same study stood; ceremony, proposal and the aggregations in it
            are not done again.

    Raises:
        FedMedError: whatever stops the study; the keys are destroyed all the same.
        AuditFailed: the study is over and its audit block does not hold: there is no outcome.
    """
    spec, schedule, program = run.spec, schedule_for(run.spec), program_for(run.spec)
    scheme = spec.aggregation.scheme
    combiner = combiner_for(scheme)
    canonical, roster_id = canonical_bytes(spec), wire.roster_digest(run.roster)
    # Before the ceremony: a study that does not fit the roster must not leave keys behind.
    terms = terms_for(spec, schedule, run.roster, digests=(study_digest(canonical), roster_id, NO_EPOCH))
    if start is not None:
        terms = replace(terms, epoch_id=start.epoch_id)
    elif scheme.has_keys:
        epoch = yield from hold_ceremony(
            run.identity, run.roster, today=run.today, combiner=combiner, scheme=scheme
        )
        terms = replace(terms, epoch_id=epoch.epoch_id)
    desk = Desk(identity=run.identity, terms=terms, combiner=combiner)
    try:
        if start is None:
            proposal = StudyProposal(canonical=canonical, roster_digest=roster_id, epoch_id=terms.epoch_id)
            start = yield from _begin(desk, proposal, program)
            on_state(start)
        outcome = yield from _aggregate_all(program, schedule, desk, start, on_state=on_state)
    except FedMedError:
        yield from _close(desk)
        if scheme.has_keys:  # a custodian that refused the study does not know which epoch its end ends
            yield from end_epoch(run.identity, run.roster, terms.epoch_id)
        raise
    ended = yield from _close(desk)
    return _audited(desk, outcome, seals=start.standing.seals, ended=ended)


def _begin(desk: Desk, proposal: StudyProposal, program: Program) -> Steps[StudyState]:
    """Propose the study; the state before its first aggregation."""
    standing = yield from propose(desk, wire.encode_proposal(proposal))
    return StudyState(epoch_id=desk.terms.epoch_id, standing=standing, program=program.begin(), rounds=())


def _aggregate_all(
    program: Program, schedule: Schedule, desk: Desk, state: StudyState, *, on_state: OnState
) -> Steps[StudyOutcome]:
    """All aggregations that are left and wanted, each followed by the program's step."""
    for round_number in range(len(state.rounds) + 1, desk.terms.aggregations + 1):
        if program.is_finished(state.program):
            break
        stage = desk.terms.stage(round_number)
        opened, standing = yield from aggregate(
            desk,
            state.standing,
            round_number=round_number,
            inputs=program.inputs(state.program, stage),
        )
        after = program.absorb(
            state.program,
            _opened_sum(desk, round_number, opened.fields, opened.contributors),
        )
        summary = RoundSummary(
            round_number=round_number,
            contributors=opened.contributors,
            openers=opened.openers,
            attempts=opened.attempts,
            fields=opened.fields,
            trace=program.trace(after),
        )
        state = replace(state, standing=standing, program=after, rounds=(*state.rounds, summary))
        on_state(state)
    return StudyOutcome(
        state=state.program,
        schedule=schedule,
        study_digest=desk.terms.study_digest,
        epoch_id=desk.terms.epoch_id,
        rounds=state.rounds,
        plans=state.standing.plans,
        lost=dict(state.standing.lost),
    )


def _audited(
    desk: Desk, outcome: StudyOutcome, *, seals: Mapping[int, bytes], ended: Replies
) -> StudyOutcome:
    """The outcome with what its audit block says, if it has one and that holds."""
    terms, schedule = desk.terms, outcome.schedule
    if terms.canaries == 0:
        return outcome
    digest = terms.study_digest
    coins = read_coins(desk.roster, ended, study_digest=digest, seals=seals, canaries=terms.canaries)
    opened = [_opened_sum(desk, one.round_number, one.fields, one.contributors) for one in outcome.rounds]
    claim = Claim(
        epsilon=spent(schedule, outcome.plans),
        delta=schedule.accounted_delta,
        dropouts=schedule.allowance.dropouts,
    )
    findings = audit_findings(opened, coins, nodes=len(desk.roster.members), claim=claim)
    return replace(outcome, audit=require_conformance(findings))


def _opened_sum(desk: Desk, round_number: int, fields: WordArray, contributors: tuple[int, ...]) -> OpenedSum:
    """One opened sum, decoded."""
    stage = desk.terms.stage(round_number)
    values = decoded(fields, stage, contributors=len(contributors))
    return OpenedSum(stage=stage, round_number=round_number, values=values, contributors=contributors)


def _close(desk: Desk) -> Steps[Replies]:
    """Tell every custodian that the study is over; one that is lost destroys its keys at their expiry."""
    end = envelope.sign_message(
        desk.identity, envelope.STUDY_END, desk.terms.epoch_id, context=desk.terms.study_digest
    )
    replies = yield Phase(
        name="close", kind=PhaseKind.CLOSE, requests=dict.fromkeys(desk.roster.points, (end,))
    )
    return replies
