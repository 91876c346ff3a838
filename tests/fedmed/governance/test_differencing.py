"""Questions that are too near to each other, by declared facts."""

import datetime
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import DifferencingRefused, StudyRefused
from fedmed.governance.differencing import AskedQuestion, check_difference, guarded_statistics
from fedmed.governance.policy import decide
from fedmed.types import Mode
from tests.examples import at_most
from tests.small_province import OPEN_POLICY, small_study
from tests.small_question import BY, COST, DECLARED, STAYS, small_question

DAY = datetime.date(2026, 3, 2)
NODES = dict.fromkeys("abcdefg", 1000)


def asked(**changes):
    given = {
        "study": "aa",
        "statistics": frozenset({"s"}),
        "dataset": "person_year",
        "dataset_fingerprint": "f",
        "persons_here": 1000,
        "is_exact": True,
        "declared_persons": NODES,
        "colluders": 1,
        "min_cohort": 100,
        "day": DAY,
    }
    return AskedQuestion(**{**given, **changes})


NEW = asked(study="bb")


def is_refused(question, *answered, window_days=365):
    try:
        check_difference(question, answered, window_days=window_days)
    except DifferencingRefused:
        return True
    return False


@given(st.sets(st.integers(1, 7), min_size=1), st.sets(st.integers(1, 7), min_size=1), st.integers(0, 3))
@settings(max_examples=at_most(30))
def test_sets_that_differ_by_fewer_nodes_than_colluders_and_two_are_refused(first, second, colluders):
    between = len(first ^ second)
    question = replace(NEW, colluders=colluders).over(sorted(first))
    assert is_refused(question, replace(asked(), colluders=0).over(sorted(second))) == (
        0 < between < colluders + 2
    )


@pytest.mark.parametrize(("declared", "refused"), [(1000, False), (1099, True), (901, True), (1100, False)])
def test_cohorts_that_differ_by_fewer_persons_than_the_minimum_are_refused(declared, refused):
    assert is_refused(NEW, asked(declared_persons={**NODES, "a": declared})) is refused


@pytest.mark.parametrize(
    "changes",
    [
        {"study": "bb"},
        {"statistics": frozenset({"t"})},
        {"dataset_fingerprint": "g", "dataset": "stays"},
        {"dataset_fingerprint": "g", "is_exact": False},
        {"dataset_fingerprint": "g", "persons_here": 1100},
        {"day": DAY - datetime.timedelta(days=366)},
    ],
)
def test_another_question_another_dataset_or_an_old_answer_is_no_obstacle(changes):
    near = replace(asked(), declared_persons={n: c for n, c in NODES.items() if n != "a"})
    assert is_refused(NEW, near)
    assert not is_refused(NEW, replace(near, **changes))


@pytest.mark.parametrize(
    ("persons", "refused"), [(1000, True), (1099, True), (901, True), (1100, False), (900, False)]
)
def test_exact_answers_over_two_versions_of_a_dataset_need_a_declared_difference(persons, refused):
    earlier = asked(dataset_fingerprint="g", persons_here=persons)
    assert is_refused(NEW, earlier) is refused
    assert not is_refused(replace(NEW, is_exact=False), earlier), "noise hides whoever came or went"
    with pytest.raises(DifferencingRefused, match="ask with noise"):
        check_difference(NEW, [asked(dataset_fingerprint="g")], window_days=1)


def test_what_is_asked_is_known_by_columns_whatever_the_levels_and_names():
    wider = [{**BY[0], "levels": ["1", "2", "3", "4"]}, BY[1]]
    spec = small_question(statistics=[{**STAYS, "name": "other", "by": wider}])
    assert guarded_statistics(spec) <= guarded_statistics(small_question())
    assert not guarded_statistics(small_question(statistics=[COST])) & guarded_statistics(spec)


def test_training_is_not_concerned():
    assert guarded_statistics(small_study()) == frozenset()


@pytest.mark.parametrize(("asked_cell", "least"), [(10, 11), (20, 30)])
def test_a_policy_raises_the_smallest_cell(asked_cell, least):
    policy = replace(OPEN_POLICY, modes=frozenset(Mode), exact_statistics=True, min_cell=least)
    given = {"declared_persons": DECLARED, "today": DAY}
    with pytest.raises(StudyRefused, match="min_cell"):
        decide(small_question(privacy__minimum_cell=asked_cell), policy, **given)
    decide(small_question(privacy__minimum_cell=least), policy, **given)
