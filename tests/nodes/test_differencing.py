"""The differencing guard at real custodians: answers are remembered, and only signed exceptions pass."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from typing import Any, cast

import pytest

from fedmed.errors import DifferencingRefused, IntegrityError, StudyUnknown
from fedmed.governance.operators import ActKind, sign_act
from fedmed.governance.policy import Policy
from fedmed.protocol.steps import PhaseKind
from fedmed.types import Mode, Scheme
from fedmed_nodes.differencing import QUESTIONS, QuestionBook, question_of
from fedmed_nodes.office import Office
from fedmed_nodes.sources import TableSource
from tests.federation import DATASET, NOW, OPEN_POLICY, Federation, Trial, make_federation
from tests.operator_acts import OPERATORS, act_at, operator
from tests.small_question import BY, DECLARED, STAYS, small_question, stays

POLICY = replace(OPEN_POLICY, modes=frozenset(Mode), exact_statistics=True)
REFUSED = DifferencingRefused.code


def federation(policy: Policy = POLICY) -> Federation:
    made = make_federation(scheme=Scheme.PLAIN, policy=policy)
    for point, node in made.nodes.items():
        source = TableSource(stays(point), declared_persons=DECLARED, data_year=NOW.year)
        node.settings = replace(node.settings, datasets={DATASET: source})
        node.restart()
    return made


def question(made: Federation, title: str, **changes: Any) -> Trial:
    spec = small_question(study__title=title, **changes)
    return Trial(made, cast(Any, spec))  # a trial runs any kind; its annotation names the usual one


def answer(trial: Trial, points: tuple[int, ...]) -> None:
    trial.propose()
    begun = trial.begin(points=points)
    trial.open(begun, contributors=points, openers=points[:3])


def proposed(trial: Trial, point: int) -> str:
    return trial.federation.ask(point, PhaseKind.PROPOSE, trial.proposal()).code


@pytest.fixture(scope="module")
def answered() -> Federation:
    """Three of four provinces were added up: node4 was lost."""
    made = federation()
    answer(question(made, "first"), (1, 2, 3))
    return made


@pytest.mark.slow
def test_a_question_over_one_more_node_is_refused_by_all_that_answered(answered: Federation) -> None:
    again = question(answered, "again")
    assert [proposed(again, point) for point in (1, 2, 3)] == [REFUSED] * 3
    for node in answered.nodes.values():
        node.restart()
    assert proposed(again, 1) == REFUSED, "also after a restart"
    assert proposed(again, 4) == "", "node4 opened nothing and knows of nothing"


@pytest.mark.slow
def test_the_same_question_again_is_answered(answered: Federation) -> None:
    first = question(answered, "first")
    assert proposed(first, 1) == ""


@pytest.mark.slow
def test_what_is_refused_waits_without_a_reservation(answered: Federation) -> None:
    again = question(answered, "and again")
    assert proposed(again, 1) == REFUSED
    desk = answered.nodes[1].custodian.studies
    assert again.digest.hex() in desk.known()
    with pytest.raises(StudyUnknown):
        desk.get(again.digest)


@pytest.mark.slow
def test_other_columns_are_another_question(answered: Federation) -> None:
    other = question(answered, "other", statistics=[{**STAYS, "by": BY[:1]}])
    assert proposed(other, 1) == ""


@pytest.mark.slow
def test_an_answer_out_of_the_window_is_no_obstacle(answered: Federation) -> None:
    again, node = question(answered, "a year later"), answered.nodes[2]
    before = node.settings.policy
    with_old = QuestionBook.from_bytes(node.effects.store.get(QUESTIONS))
    assert len(with_old.questions) == 1
    node.with_policy(replace(before, differencing_window_days=1))
    assert proposed(again, 2) == REFUSED
    answered.clock.at += datetime.timedelta(days=2)
    try:
        assert proposed(again, 2) == ""
    finally:
        answered.clock.at = NOW


@pytest.mark.slow
def test_the_window_runs_from_the_answer_and_not_from_the_proposal() -> None:
    """A coordinator proposes, waits for the window to pass, opens, and asks nearly the same next day."""
    made = federation(replace(POLICY, differencing_window_days=10))
    first, second = question(made, "first"), question(made, "second")
    first.propose()
    made.clock.at += datetime.timedelta(days=10)
    begun = first.begin(points=(1, 2, 3))
    first.open(begun, contributors=(1, 2, 3), openers=(1, 2, 3))
    made.clock.at += datetime.timedelta(days=1)
    assert proposed(second, 1) == REFUSED
    made.clock.at += datetime.timedelta(days=10)
    assert proposed(second, 1) == ""


def test_an_exact_question_never_goes_on_without_a_node() -> None:
    """The sums of four and then of three provinces, without noise, would be the fourth province's own."""
    made = federation(replace(POLICY, allow_continue=True))
    trial = question(made, "first", aggregation__on_dropout="continue")
    assert proposed(trial, 1) == "study_refused"


@pytest.mark.slow
def test_a_set_that_turns_out_too_near_is_not_opened() -> None:
    made = federation()
    first, second = question(made, "first"), question(made, "second")
    for trial in (first, second):
        trial.propose()
    begun = first.begin(points=(1, 2, 3))
    first.open(begun, contributors=(1, 2, 3), openers=(1, 2, 3))
    late = second.begin()
    request = second.request(late, 1, contributors=(1, 2, 3, 4), openers=(1, 2, 3))
    assert made.ask(1, PhaseKind.OPEN, *request).code == REFUSED
    second.open(late, contributors=(1, 2, 3), openers=(1, 2, 3))


@pytest.mark.slow
def test_only_as_many_operators_as_the_policy_asks_for_can_sign_an_exception() -> None:
    made = federation()
    answer(question(made, "first"), (1, 2, 3))
    again, node = question(made, "again"), made.nodes[1]
    node.with_policy(replace(POLICY, operators=OPERATORS))
    office = Office(node.custodian, node.settings, node.effects.store)
    for by, code in (("li.wei", REFUSED), ("wang.fang", "")):
        assert proposed(again, 1) == REFUSED
        place = office.budget().place
        act = act_at(place, ActKind.APPROVE_DIFFERENCE, by=by, study_digest=again.digest)
        signed = sign_act(act, operator(by))
        office.act(signed.body, signed.signature)
        assert proposed(again, 1) == code


def test_a_book_that_was_altered_is_refused() -> None:
    assert QuestionBook.from_bytes(None).questions == {}
    for data in (b"{}", b"[]", b'{"version": 3, "questions": []}', b'{"version": 1, "questions": [{}]}'):
        with pytest.raises(IntegrityError):
            QuestionBook.from_bytes(data)


def test_a_book_is_read_as_it_was_written() -> None:
    spec = small_question()
    source = TableSource(stays(1), declared_persons=DECLARED, data_year=NOW.year)
    asked = question_of(bytes(32), spec, source=source, least_cohort=5, colluders=1, day=NOW.date())
    assert asked is not None
    book = QuestionBook(questions={}).with_question(asked)
    read = QuestionBook.from_bytes(book.to_bytes())
    assert read == book
    assert tuple(read.questions[asked.study].declared_persons) == spec.nodes
    old = json.loads(book.to_bytes())
    for entry in old["questions"]:
        for name in ("dataset", "persons_here", "is_exact"):
            del entry[name]
    first_version = QuestionBook.from_bytes(json.dumps({**old, "version": 1}).encode())
    assert first_version == QuestionBook(
        questions={asked.study: replace(asked, dataset="", persons_here=0, is_exact=False)}
    )


@pytest.mark.slow
def test_exact_answers_over_a_new_version_of_the_dataset_wait_for_an_exception() -> None:
    """The same question a day and one changed person later: its difference would be that person's row."""
    made = federation()
    answer(question(made, "first"), (1, 2, 3))
    node = made.nodes[1]
    changed = stays(1).slice(1)
    source = TableSource(changed, declared_persons=DECLARED, data_year=NOW.year)
    node.settings = replace(node.settings, datasets={DATASET: source})
    node.restart()
    assert proposed(question(made, "again"), 1) == REFUSED
    assert proposed(question(made, "other", statistics=[{**STAYS, "by": BY[:1]}]), 1) == ""
