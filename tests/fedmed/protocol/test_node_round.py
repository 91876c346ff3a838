"""The rules of a round as pure functions; what each refusal is worth is shown in ``tests/hostile``."""

from __future__ import annotations

import functools
import itertools
import json
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed import wire
from fedmed.errors import (
    NoLongerContributing,
    PlanNotNewer,
    ProtocolError,
    SecondContribution,
    SetChanged,
    UnknownVersion,
)
from fedmed.messages import OpeningRequest, Plan
from fedmed.protocol.binding import headers_digest
from fedmed.protocol.node_round import (
    Answered,
    Circumstances,
    SignedPlan,
    StudyState,
    accept_opening,
    accept_plan,
    check_contributing,
    is_repeat,
)
from fedmed.protocol.schedule import Terms, schedule_for, terms_for
from fedmed.types import Scheme, digest
from tests.attacks import header_by_hand
from tests.examples import at_most
from tests.federation import (
    NOW,
    Trial,
    make_trial,
    roster_of,
    small_study,
)

NODES, THRESHOLD, COLLUDERS = 4, 3, 1
POINTS = tuple(range(1, NODES + 1))


@functools.cache
def terms(*, on_dropout: str = "stop") -> Terms:
    spec = small_study(NODES, scheme=Scheme.PLAIN, aggregation__on_dropout=on_dropout)
    roster = roster_of(NODES, threshold=THRESHOLD, colluders=COLLUDERS)
    digests = (bytes([1]) * 32, wire.roster_digest(roster), bytes(32))
    return terms_for(spec, schedule_for(spec), roster, digests=digests)


def plan(round_number: int = 1, attempt: int = 1, *, on_dropout: str = "stop") -> SignedPlan:
    t = terms(on_dropout=on_dropout)
    value = Plan(
        study_digest=t.study_digest,
        epoch_id=t.epoch_id,
        roster_digest=t.roster_digest,
        kind=t.stage(1).kind,
        round_number=round_number,
        attempt=attempt,
        nonces=tuple((p, nonce(p)) for p in POINTS),
        inputs_digest=bytes(32),
        layout=t.stage(1).layout,
        planned_contributors=t.allowance.planned_contributors,
        dropouts=t.allowance.dropouts,
        colluders=t.allowance.colluders,
    )
    return SignedPlan(plan=value, digest=digest("plan", wire.encode_plan(value)))


def nonce(point: int) -> bytes:
    return bytes([point]) * 16


def now(point: int = 1, *accepted: SignedPlan) -> Circumstances:
    return Circumstances(
        point=point,
        nonce=nonce(point),
        today=NOW.date(),
        restored=False,
        accepted_here=frozenset(signed.digest for signed in accepted),
        polynomials_opened=0,
    )


# --- state -------------------------------------------------------------------------------------------

SETS = st.sets(st.integers(1, 31), max_size=6).map(lambda points: tuple(sorted(points)))
STATES = st.builds(
    StudyState,
    plans_accepted=st.integers(0, 1000),
    last=st.tuples(st.integers(0, 1000), st.integers(0, 100)),
    plan_digest=st.binary(max_size=32),
    header=st.binary(max_size=200),
    first_set=SETS,
    last_set=SETS,
    answered=st.none()
    | st.builds(Answered, contributors=SETS, openers=SETS, headers_digest=st.binary(max_size=32)),
)


@settings(deadline=None, max_examples=at_most(50))
@given(state=STATES)
def test_a_stored_state_reads_back_as_it_was(state: StudyState) -> None:
    assert StudyState.from_bytes(state.to_bytes()) == state


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_a_state_of_another_version_is_refused(version: object) -> None:
    stored = json.loads(StudyState().to_bytes())
    stored["version"] = version
    with pytest.raises(UnknownVersion):
        StudyState.from_bytes(json.dumps(stored).encode())


# --- plans -------------------------------------------------------------------------------------------


def test_accepting_a_plan_counts_it_and_forgets_what_belongs_to_the_one_before() -> None:
    before = StudyState(
        plans_accepted=1,
        last=(1, 1),
        plan_digest=bytes(32),
        header=b"header",
        first_set=POINTS,
        last_set=POINTS,
        answered=Answered(contributors=POINTS, openers=(1, 2, 3), headers_digest=bytes(32)),
    )
    signed = plan(2)
    after = accept_plan(terms(), before, signed, now=now())
    assert after == StudyState(
        plans_accepted=2,
        last=(2, 1),
        plan_digest=signed.digest,
        first_set=POINTS,
        last_set=POINTS,
    )


@settings(deadline=None, max_examples=at_most(60))
@given(
    positions=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 2)), min_size=1, max_size=8),
    contributes=st.booleans(),
)
def test_accepted_plans_only_grow_and_never_exceed_the_study(
    positions: list[tuple[int, int]], contributes: bool
) -> None:
    state, accepted = StudyState(), []
    for position in positions:
        try:
            state = accept_plan(terms(), state, plan(*position), now=now())
        except ProtocolError:
            continue
        state = replace(state, header=b"mine" if contributes else b"")
        accepted.append(position)
    assert accepted == sorted(set(accepted))
    assert len(accepted) <= state.plans_accepted <= terms().most_plans
    rounds = {number for number, _ in accepted}
    assert len(accepted) - len(rounds) <= terms().spare_attempts


def test_gaps_are_allowed_and_going_back_is_not() -> None:
    state = accept_plan(terms(), StudyState(), plan(3, 2), now=now())
    for position in ((3, 1), (1, 1), (3, 2)):
        with pytest.raises(PlanNotNewer):
            accept_plan(terms(), state, plan(*position), now=now())
    with pytest.raises(SecondContribution):
        accept_plan(terms(), replace(state, header=b"mine"), plan(3, 2), now=now())


def test_whoever_answered_for_a_set_without_itself_contributes_no_more() -> None:
    check_contributing(StudyState(), now(1))
    check_contributing(StudyState(first_set=POINTS, last_set=(1, 2, 3)), now(1))
    with pytest.raises(NoLongerContributing):
        check_contributing(StudyState(first_set=POINTS, last_set=(2, 3, 4)), now(1))


# --- openings ----------------------------------------------------------------------------------------


@functools.cache
def signing_trial() -> Trial:
    """Only its keys are used: to sign headers as any member."""
    return make_trial(NODES, scheme=Scheme.PLAIN)


@functools.cache
def headers_of(round_number: int, attempt: int, on_dropout: str = "stop") -> dict[int, bytes]:
    """A header of every member for one plan; `header_by_hand` takes the plan's own signed bytes."""
    trial = signing_trial()
    signed = trial.sign_plan(plan(round_number, attempt, on_dropout=on_dropout).plan)
    return {p: header_by_hand(trial, p, signed) for p in POINTS}


@functools.cache
def signed_plan(round_number: int = 1, attempt: int = 1, *, on_dropout: str = "stop") -> SignedPlan:
    """The plan with the digest of its signed bytes, as the headers name it."""
    value = plan(round_number, attempt, on_dropout=on_dropout)
    header = headers_of(round_number, attempt, on_dropout)[1]
    return replace(value, digest=wire.decode_statement(wire.decode_signed(header).body).context)


def request(
    contributors: tuple[int, ...], openers: tuple[int, ...], headers: dict[int, bytes]
) -> OpeningRequest:
    return OpeningRequest(
        contributors=contributors, openers=openers, headers=tuple(headers[p] for p in contributors)
    )


def accepted_by(point: int, signed: SignedPlan, header: bytes, *, on_dropout: str = "stop") -> StudyState:
    """The state of a custodian that contributed to the plan."""
    state = accept_plan(terms(on_dropout=on_dropout), StudyState(), signed, now=now(point))
    return replace(state, header=header)


def test_an_answer_is_remembered_and_only_the_same_question_is_a_repeat() -> None:
    signed, headers = signed_plan(), headers_of(1, 1)
    asked = request(POINTS, (1, 2, 3), headers)
    state = accepted_by(1, signed, headers[1])
    assert not is_repeat(state, asked, signed.digest)
    answered = accept_opening(terms(), state, signed, asked, now=now(1, signed))
    assert answered.first_set == answered.last_set == POINTS
    assert answered.answered == Answered(
        contributors=POINTS, openers=(1, 2, 3), headers_digest=headers_digest(asked.headers)
    )
    assert is_repeat(answered, asked, signed.digest)
    assert not is_repeat(answered, asked, bytes(32))
    assert not is_repeat(answered, replace(asked, openers=(1, 2, 4)), signed.digest)
    assert not is_repeat(answered, request((1, 2, 3), (1, 2, 3), headers), signed.digest)
    assert not is_repeat(answered, replace(asked, headers=asked.headers[::-1]), signed.digest)


def test_with_stop_the_first_set_binds_every_later_round() -> None:
    signed, headers = signed_plan(), headers_of(1, 1)
    state = accept_opening(
        terms(),
        accepted_by(1, signed, headers[1]),
        signed,
        request(POINTS, (1, 2, 3), headers),
        now=now(1, signed),
    )
    later, headers = signed_plan(2), headers_of(2, 1)
    state = replace(accept_plan(terms(), state, later, now=now(1)), header=headers[1])
    for contributors in itertools.combinations(POINTS, 3):
        asked = request(contributors, (1, 2, 3), headers)
        with pytest.raises(SetChanged):
            accept_opening(terms(), state, later, asked, now=now(1, later))
    asked = request(POINTS, (1, 2, 4), headers)
    assert accept_opening(terms(), state, later, asked, now=now(1, later)).last_set == POINTS


def test_with_continue_the_set_shrinks_and_never_grows_again() -> None:
    t = terms(on_dropout="continue")
    state, sets = StudyState(), ((1, 2, 3, 4), (1, 2, 3), (1, 2, 3))
    for round_number, contributors in enumerate(sets, start=1):
        signed = signed_plan(round_number, on_dropout="continue")
        headers = headers_of(round_number, 1, "continue")
        state = replace(accept_plan(t, state, signed, now=now(1)), header=headers[1])
        for larger in ((1, 2, 3, 4), (1, 2, 4)):
            if not set(larger) <= set(state.last_set or POINTS):
                asked = request(larger, (1, 2, 3), headers)
                with pytest.raises(SetChanged):
                    accept_opening(t, state, signed, asked, now=now(1, signed))
        asked = request(contributors, (1, 2, 3), headers)
        state = accept_opening(t, state, signed, asked, now=now(1, signed))
        assert state.last_set == contributors
        assert state.first_set == POINTS


# --- equivocation ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """One (S, T) that a lying coordinator may ask."""

    contributors: tuple[int, ...]
    openers: tuple[int, ...]


def allowed_questions() -> list[Question]:
    """Every S and T that pass all checks of form and size, for n = 4, t = 3, c = 1, d = 1."""
    sets = [s for size in (3, 4) for s in itertools.combinations(POINTS, size)]
    return [Question(s, t) for s in sets for t in itertools.combinations(POINTS, THRESHOLD)]


def answers_of(point: int, asked: tuple[Question, Question], *, later_round: bool) -> frozenset[Question]:
    """What an honest custodian answers when it is asked two things, in one attempt or in two rounds."""
    state, answered = StudyState(), set()
    for number, question in enumerate(asked, start=1):
        round_number = number if later_round else 1
        signed, headers = signed_plan(round_number), headers_of(round_number, 1)
        try:
            if signed.digest != state.plan_digest:
                state = replace(accept_plan(terms(), state, signed, now=now(point)), header=headers[point])
            state = accept_opening(
                terms(),
                state,
                signed,
                request(question.contributors, question.openers, headers),
                now=now(point, signed),
            )
        except ProtocolError:
            continue
        answered.add(question)
    return frozenset(answered)


@functools.cache
def outcomes(point: int, *, later_round: bool) -> frozenset[frozenset[Question]]:
    """All that one honest custodian can be brought to answer: any two questions in any order.

    Questions for openers without it are refused whatever came before (`check_openers`), so they are left out.
    """
    for_it = [question for question in allowed_questions() if point in question.openers]
    pairs = itertools.permutations(for_it, 2)
    return frozenset(answers_of(point, pair, later_round=later_round) for pair in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("later_round", [False, True], ids=["one attempt", "two rounds"])
@pytest.mark.parametrize("colluder", POINTS)
def test_no_equivocation_collects_threshold_answers_for_two_sets(colluder: int, later_round: bool) -> None:
    """Exhaustive for n = 4, t = 3, c = 1: the coordinator asks every honest custodian anything, twice.

    The colluder answers everything; an answer for (S, T) counts only with those of all others of T.
    """
    honest = [point for point in POINTS if point != colluder]
    possible = [outcomes(point, later_round=later_round) for point in honest]
    assert all(len({q.contributors for q in answered}) <= 1 for each in possible for answered in each)
    if not later_round:
        assert all(len(answered) <= 1 for each in possible for answered in each)
    for answered in itertools.product(*possible):
        opened = {
            question.contributors
            for question in set().union(*answered)
            if all(
                point == colluder or question in answered[honest.index(point)] for point in question.openers
            )
        }
        assert len(opened) <= 1, f"two sets opened: {opened}"


def test_two_colluders_of_four_could_open_two_sets() -> None:
    """Why c is bounded: with two colluders any single honest custodian completes an opening."""
    colluders = {3, 4}
    first, second = Question((1, 2, 3, 4), (1, 3, 4)), Question((1, 3, 4), (2, 3, 4))
    answered = {1: answers_of(1, (first, second), later_round=False)}
    answered[2] = answers_of(2, (second, first), later_round=False)
    opened = {
        question.contributors
        for question in (first, second)
        if all(point in colluders or question in answered[point] for point in question.openers)
    }
    assert opened == {(1, 2, 3, 4), (1, 3, 4)}
