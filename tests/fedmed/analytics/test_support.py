"""Fits that rest on too little are not shown, and the refusal names no count."""

from __future__ import annotations

import numpy as np
import pytest

from fedmed.analytics.design import Design, Term
from fedmed.analytics.support import check_support, read_support, support_counts
from fedmed.errors import DataContractError

DESIGN = Design(terms=(Term(name="level", levels=("1", "2", "3")),))


def support(*, of_third: int, events_of_third: int, of_first: int = 50):
    level = np.array(["1"] * of_first + ["2"] * 50 + ["3"] * of_third)
    event = np.concatenate([np.arange(of_first + 50) % 2 == 0, np.arange(of_third) < events_of_third])
    counts = support_counts(DESIGN.matrix({"level": level.tolist()}), event)
    halves = counts + support_counts(DESIGN.matrix({"level": []}), event[:0])  # a node without rows
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
