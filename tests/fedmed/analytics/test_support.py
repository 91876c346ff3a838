"""Fits that rest on too little are not shown, and the refusal names no count."""

from __future__ import annotations

import numpy as np
import pytest

from fedmed.analytics.design import Design, Term
from fedmed.analytics.support import check_support, read_support, support_counts
from fedmed.errors import DataContractError

DESIGN = Design(terms=(Term(name="level", levels=("1", "2", "3")),))


def counted(matrix, event, design=DESIGN):
    return support_counts(matrix, event, is_number=design.is_number)


def support(*, of_third: int, events_of_third: int, of_first: int = 50):
    level = np.array(["1"] * of_first + ["2"] * 50 + ["3"] * of_third)
    event = np.concatenate([np.arange(of_first + 50) % 2 == 0, np.arange(of_third) < events_of_third])
    counts = counted(DESIGN.matrix({"level": level.tolist()}), event)
    halves = counts + counted(DESIGN.matrix({"level": []}), event[:0])  # a node without rows
    return read_support(halves)


def test_enough_rows_and_events_pass():
    found = support(of_third=40, events_of_third=20)
    assert (found.rows, found.events) == (140, 70)
    assert found.term_rows.tolist() == [140, 50, 40]
    assert found.term_events.tolist() == [70, 25, 20]
    check_support(found, DESIGN, minimum=10, both_outcomes=True)


@pytest.mark.parametrize(
    ("shape", "both", "match"),
    [
        ({"of_third": 9, "events_of_third": 9}, False, r"level\[3\] rests on fewer than 10"),
        ({"of_third": 40, "events_of_third": 9}, False, r"level\[3\] rests on fewer than 10"),
        ({"of_third": 40, "events_of_third": 35}, True, r"level\[3\] rests on fewer than 10"),
        ({"of_third": 40, "events_of_third": 20, "of_first": 9}, False, r"level\[1\] rests on fewer than 10"),
        ({"of_third": 0, "events_of_third": 0, "of_first": 0}, True, r"level"),
    ],
)
def test_a_rare_level_is_named_without_its_count(shape, both, match):
    with pytest.raises(DataContractError, match=match) as caught:
        check_support(support(**shape), DESIGN, minimum=10, both_outcomes=both)
    assert not any(word in str(caught.value).split() for word in ("9", "5", "0"))


def test_too_few_events_for_the_coefficients_are_said():
    with pytest.raises(DataContractError, match="fewer than 40 events for each of its coefficients"):
        check_support(support(of_third=40, events_of_third=20), DESIGN, minimum=40, both_outcomes=False)


AGES = np.concatenate([np.linspace(20.0, 100.0, 499), [107.0]])


@pytest.mark.parametrize(
    ("low", "high", "values"),
    [
        (106.0, 107.0, AGES),  # one person above the lower bound
        (-107.0, -106.0, -AGES),  # one person below the upper bound
        (0.0, 1e12, np.append(np.full(499, 1e3), 1e12)),  # an outlier
        (0.0, 1e15, np.append(np.full(499, 0.0), 1e7)),  # an outlier whose square is lost on the way
    ],
)
def test_a_number_that_singles_out_a_person_is_refused(low, high, values):
    design = Design(terms=(Term(name="age", low=low, high=high),))
    counts = counted(design.matrix({"age": values}), np.ones(500, dtype=bool), design)
    with pytest.raises(DataContractError, match="term age rests on fewer than 5 rows") as caught:
        check_support(read_support(counts), design, minimum=5, both_outcomes=False)
    assert "1" not in str(caught.value)


def test_a_number_with_rows_at_both_ends_passes():
    design = Design(terms=(Term(name="age", low=0.0, high=120.0), Term(name="sick", low=0.0, high=1.0)))
    matrix = design.matrix({"age": AGES, "sick": (np.arange(500) % 40 == 0).astype(float)})
    found = read_support(counted(matrix, np.ones(500, dtype=bool), design))
    assert found.term_rows[2] == found.term_events[2] == 13
    check_support(found, design, minimum=10, both_outcomes=False)
    with pytest.raises(DataContractError, match="term sick"):
        check_support(found, design, minimum=14, both_outcomes=False)
