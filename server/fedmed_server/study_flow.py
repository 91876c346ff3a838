"""A whole study as the coordinator runs it: ceremony, proposal, aggregations, end. A pure generator."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, replace

from fedmed import wire
from fedmed.aggregation.encoding import decode
from fedmed.aggregation.plain_coordinator import PlainCombiner
from fedmed.aggregation.threshold_coordinator import ThresholdCombiner
from fedmed.crypto.identity import Identity
from fedmed.errors import FedMedError
from fedmed.messages import NO_EPOCH, Roster, StudyProposal
from fedmed.protocol import envelope
from fedmed.protocol.coordinator_ceremony import end_epoch, hold_ceremony
from fedmed.protocol.coordinator_round import Desk, Opened, Standing, aggregate, propose
from fedmed.protocol.schedule import Schedule, schedule_for, terms_for
from fedmed.protocol.steps import Phase, PhaseKind, Steps
from fedmed.study import StudySpec, canonical_bytes, study_digest
from fedmed.training.optimiser import OptimiserState, begin, step
from fedmed.types import FloatArray, Scheme, WordArray


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundSummary:
    """One finished aggregation.

    Attributes:
        round_number: From 1.
        contributors: Points in the sum.
        openers: Points that opened it.
        attempts: How many it took.
        fields: The opened sum as it was decoded, shape (values,), uint64.
        parameters: Of the model after it, shape (p,).
    """

    round_number: int
    contributors: tuple[int, ...]
    openers: tuple[int, ...]
    attempts: int
    fields: WordArray
    parameters: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOutcome:
    """What a finished study gives.

    Attributes:
        parameters: Final model parameters, shape (p,).
        schedule: The study worked out.
        study_digest: What the provinces approved.
        epoch_id: The key epoch, zeros for scheme ``plain``.
        rounds: One summary an aggregation.
        plans: Plans sent, each of them charged.
        lost: Points that were lost at the end, with the last code of each.
    """

    parameters: FloatArray
    schedule: Schedule
    study_digest: bytes
    epoch_id: bytes
    rounds: tuple[RoundSummary, ...]
    plans: int
    lost: dict[int, str]


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
        optimiser: Parameters and velocity.
        rounds: One summary for each finished aggregation.
    """

    epoch_id: bytes
    standing: Standing
    optimiser: OptimiserState
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
    """
    spec, schedule = run.spec, schedule_for(run.spec)
    is_threshold = spec.aggregation.scheme is Scheme.THRESHOLD
    canonical, roster_id = canonical_bytes(spec), wire.roster_digest(run.roster)
    # Before the ceremony: a study that does not fit the roster must not leave keys behind.
    terms = terms_for(spec, schedule, run.roster, digests=(study_digest(canonical), roster_id, NO_EPOCH))
    if start is not None:
        terms = replace(terms, epoch_id=start.epoch_id)
    elif is_threshold:
        epoch = yield from hold_ceremony(
            run.identity, run.roster, today=run.today, combiner=ThresholdCombiner
        )
        terms = replace(terms, epoch_id=epoch.epoch_id)
    desk = Desk(
        identity=run.identity, terms=terms, combiner=ThresholdCombiner if is_threshold else PlainCombiner
    )
    try:
        if start is None:
            proposal = StudyProposal(canonical=canonical, roster_digest=roster_id, epoch_id=terms.epoch_id)
            start = yield from _begin(desk, proposal, schedule)
            on_state(start)
        outcome = yield from _train(spec, schedule, desk, start, on_state=on_state)
    except FedMedError:
        yield from _close(desk)
        if is_threshold:  # a custodian that refused the study does not know which epoch its end ends
            yield from end_epoch(run.identity, run.roster, terms.epoch_id)
        raise
    yield from _close(desk)
    return outcome


def _begin(desk: Desk, proposal: StudyProposal, schedule: Schedule) -> Steps[StudyState]:
    """Propose the study; the state before its first aggregation."""
    standing = yield from propose(desk, wire.encode_proposal(proposal))
    return StudyState(
        epoch_id=desk.terms.epoch_id,
        standing=standing,
        optimiser=begin(schedule.model.initial(desk.terms.study_digest)),
        rounds=(),
    )


def _train(
    spec: StudySpec, schedule: Schedule, desk: Desk, state: StudyState, *, on_state: OnState
) -> Steps[StudyOutcome]:
    """All aggregations that are left, with an optimiser step after each."""
    for round_number in range(len(state.rounds) + 1, spec.training.aggregations + 1):
        opened, standing = yield from aggregate(
            desk,
            state.standing,
            round_number=round_number,
            inputs=state.optimiser.parameters.astype("<f8").tobytes(),
        )
        optimiser = _step(spec, schedule, state.optimiser, opened)
        summary = RoundSummary(
            round_number=round_number,
            contributors=opened.contributors,
            openers=opened.openers,
            attempts=opened.attempts,
            fields=opened.fields,
            parameters=optimiser.parameters,
        )
        state = replace(state, standing=standing, optimiser=optimiser, rounds=(*state.rounds, summary))
        on_state(state)
    return StudyOutcome(
        parameters=state.optimiser.parameters,
        schedule=schedule,
        study_digest=desk.terms.study_digest,
        epoch_id=desk.terms.epoch_id,
        rounds=state.rounds,
        plans=state.standing.plans,
        lost=dict(state.standing.lost),
    )


def _step(spec: StudySpec, schedule: Schedule, state: OptimiserState, opened: Opened) -> OptimiserState:
    """Decode the opened sum and take the optimiser's step.

    The divisor is the public number of training persons of the nodes in the sum, never a count of rows.
    """
    gradient = decode(opened.fields, schedule.layout, len(opened.contributors))
    persons = sum(spec.training_persons(spec.nodes[p - 1]) for p in opened.contributors)
    return step(
        state,
        gradient,
        persons=persons,
        learning_rate=spec.training.learning_rate,
        momentum=spec.training.momentum,
    )


def _close(desk: Desk) -> Steps[None]:
    """Tell every custodian that the study is over; one that is lost destroys its keys at their expiry."""
    end = envelope.sign_message(
        desk.identity, envelope.STUDY_END, desk.terms.epoch_id, context=desk.terms.study_digest
    )
    yield Phase(name="close", kind=PhaseKind.CLOSE, requests=dict.fromkeys(desk.roster.points, (end,)))
