"""Groups of few persons are found whatever rows they have, and a number that hides one as well."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.analytics.design import Design, Term
from fedmed.analytics.families import Family
from fedmed.analytics.model import Model, ModelRows
from fedmed.analytics.persons import Persons, person_counts, persons_size, read_persons, too_few
from fedmed.errors import ConfigError
from tests.examples import at_most

LEVELS = Design(terms=(Term(name="sex", levels=("f", "m", "z")),))


def model_of(design, *, both=False):
    """Of 0 and 1, or of a count up to 2 that is 0 or 1."""
    family = Family.LOGISTIC if both else Family.POISSON
    return Model(design=design, family=family, high=1.0 if both else 2.0)


def rows_of(matrix, outcome, starts, offset=None):
    count = len(matrix)
    return ModelRows(
        matrix=matrix,
        outcome=np.asarray(outcome, dtype=float),
        places=np.zeros(count, dtype=np.int64),
        offset=np.zeros(count) if offset is None else offset,
        starts=np.asarray(starts),
    )


def counted(design, values, event, *, rows=1, both=False):
    """Of one column, the same rows for each person."""
    (term,) = design.terms
    column = np.repeat(values, rows)
    matrix = design.matrix({term.name: column.tolist() if term.levels else column})
    starts = np.arange(len(values) + 1) * rows
    return person_counts(rows_of(matrix, np.repeat(event, rows), starts), model_of(design, both=both))


def said(design, values, event, *, rows=1, minimum=11, both=False, precision=1e-10):
    counts = counted(design, np.asarray(values), np.asarray(event), rows=rows, both=both)
    model = model_of(design, both=both)
    return too_few(read_persons(counts, design), model, minimum=minimum, precision=precision)


def sexes(of_z, *, of_f=60):
    return ["f"] * of_f + ["m"] * 60 + ["z"] * of_z


def shares(of_z, events_of_z, *, of_f=60):
    """Every second person of f and m has an event, and so many of z."""
    return [i % 2 == 0 for i in range(of_f + 60)] + [i < events_of_z for i in range(of_z)]


@pytest.mark.parametrize(
    ("case", "both", "match"),
    [
        ({"of_z": 11, "events": 11}, False, ""),
        ({"of_z": 10, "events": 10}, False, "sex[z] rests on fewer than 11 persons:"),
        (
            {"of_z": 40, "events": 10},
            False,
            "sex[z] rests on fewer than 11 persons with an outcome above its lower bound:",
        ),
        ({"of_z": 40, "events": 30}, False, ""),
        ({"of_z": 40, "events": 30}, True, "sex[z] rests on fewer than 11 persons without an event:"),
        ({"of_z": 40, "events": 29}, True, ""),
        ({"of_z": 0, "events": 0}, True, ""),  # nobody is no group; the fit says that the level is empty
        ({"of_z": 40, "events": 20, "of_f": 10}, False, "sex[f] rests on fewer than 11 persons:"),
    ],
)
@pytest.mark.parametrize("rows", [1, 5])
def test_empty_only_if_each_level_consists_of_nobody_or_of_the_minimum(case, both, match, rows):
    of_f = case.get("of_f", 60)
    found = said(
        LEVELS,
        sexes(case["of_z"], of_f=of_f),
        shares(case["of_z"], case["events"], of_f=of_f),
        rows=rows,
        both=both,
    )
    assert found.startswith(match) if match else found == ""
    assert not any(word in found.split() for word in ("10", "5", "30", "0"))


def test_the_whole_and_its_events_are_groups_too():
    age = Design(terms=(Term(name="age", low=0, high=100),))
    ages = np.linspace(20, 80, 100)
    assert said(age, ages[::10], [True] * 10).startswith("the fit rests on fewer than 11 persons:")
    assert said(age, ages, np.arange(100) < 10).startswith(
        "the fit rests on fewer than 11 persons with an out"
    )
    few_without = np.arange(100) >= 10
    assert said(age, ages, few_without) == ""
    assert "11 persons without an event: correct the bounds, or widen" in said(
        age, ages, few_without, both=True
    )
    assert said(age, ages[:0], np.zeros(0, dtype=bool)) == "", "nobody: the fit says so"


@settings(max_examples=at_most(15))
@given(
    persons=st.integers(30, 3000),
    few=st.integers(1, 14),
    low=st.floats(-3, 0),
    high=st.floats(1, 4),
    rows=st.sampled_from([1, 7]),
)
def test_zero_and_one_between_any_bounds_are_known_for_the_persons_they_single_out(
    persons, few, low, high, rows
):
    design = Design(terms=(Term(name="x", low=low, high=high),))
    for values in (np.arange(persons) < few, np.arange(persons) >= few):
        found = said(design, values.astype(float), np.ones(persons, dtype=bool), rows=rows)
        assert bool(found) == (few < 11)
        assert not found or found.startswith("term x rests on fewer than 11 persons")


AGES = np.concatenate([np.linspace(20.0, 100.0, 499), [107.0]])


@pytest.mark.parametrize(
    ("low", "high", "values"),
    [
        (106.0, 107.0, AGES),  # one person above the lower bound
        (-107.0, -106.0, -AGES),  # one person below the upper bound
        (0.0, 1e12, np.append(np.full(499, 1e3), 1e12)),  # an outlier
        (0.0, 1e15, np.append(np.full(499, 0.0), 1e7)),  # one that is lost on the way
        (40.0, 100.0, np.where(np.arange(500) < 10, 60.0, 50.0)),  # ten persons apart, far from both bounds
        (0.0, 120.0, np.full(500, 50.0)),  # nobody
    ],
)
def test_a_number_that_singles_persons_out_is_named(low, high, values):
    design = Design(terms=(Term(name="age", low=low, high=high),))
    found = said(design, values, np.ones(500, dtype=bool))
    assert found.startswith("term age rests on fewer than 11 persons whose values differ")


def test_in_each_group_of_the_whole_as_many_persons_weigh_in_a_number():
    design = Design(terms=(Term(name="sick", low=0, high=1),))
    sick, others = np.arange(500) < 40, np.arange(500) % 2 == 0
    for with_event, both, match in (
        (10, True, "persons with an event"),
        (30, True, "without"),
        (30, False, ""),
    ):
        event = np.where(sick, np.arange(500) < with_event, others)
        found = said(design, sick.astype(float), event, both=both)
        assert match in found
        assert bool(found) == bool(match)
    assert said(Design(terms=(Term(name="age", low=0, high=120),)), AGES, others, both=True) == ""


def test_rows_beyond_one_that_say_nothing_new_change_no_count():
    event = np.array(shares(20, 12))
    once, often = (counted(LEVELS, np.array(sexes(20)), event, rows=rows) for rows in (1, 9))
    assert np.array_equal(once, often)
    age = Design(terms=(Term(name="age", low=0, high=120),))
    once, often = (counted(age, AGES, AGES > 50, rows=rows) for rows in (1, 9))
    np.testing.assert_allclose(once, often, rtol=1e-12)


def test_a_person_in_two_levels_counts_in_both_and_once_in_the_whole():
    matrix = LEVELS.matrix({"sex": ["f", "m", "m"]})
    vector = person_counts(rows_of(matrix, [True, False, False], [0, 3]), model_of(LEVELS, both=True))
    found = read_persons(vector + counted(LEVELS, np.array(["z"]), np.array([False]), both=True), LEVELS)
    assert isinstance(found, Persons)
    assert found.whole[:3].tolist() == [2, 1, 2]
    assert found.levels[:, :3].tolist() == [[1, 1, 0], [1, 0, 1], [1, 0, 1]]


def test_counts_of_another_design_are_refused():
    with pytest.raises(ConfigError, match="no counts of this design's groups"):
        read_persons(np.zeros(persons_size(LEVELS) + 1), LEVELS)


@pytest.mark.parametrize(
    ("of", "low", "high", "match"),
    [
        ("outcome", 40.0, 100.0, "the fit rests on fewer than 11 persons with an outcome above its lower"),
        ("outcome", 0.0, 1.0, "the fit rests on fewer than 11 persons with an outcome below its upper"),
        ("exposure", 40.0, 100.0, "the fit rests on fewer than 11 persons with an exposure above its lower"),
        ("exposure", 0.5, 1.0, "the fit rests on fewer than 11 persons with an exposure below its upper"),
        ("outcome", 0.0, 100.0, ""),
        ("exposure", 0.5, 100.0, ""),
    ],
)
def test_outcome_and_exposure_hide_no_group_behind_a_bound(of, low, high, match):
    """Ten persons lie far above all others, and ten other ones at 0.5 or nothing."""
    values = np.where(np.arange(300) < 10, 60.0, np.where(np.arange(300) < 20, 0.0, 5.0))
    if of == "exposure":
        values = np.maximum(values, 0.5)
    within = np.clip(values, low, high)
    design = Design(terms=(Term(name="age", low=0, high=100),))
    bounds = {"low": low, "high": high} if of == "outcome" else {"exposure": (low, high), "high": 9.0}
    model = Model(design=design, family=Family.POISSON, **bounds)
    rows = rows_of(
        design.matrix({"age": np.linspace(20, 80, 300)}),
        within if of == "outcome" else np.arange(300) % 3,
        np.arange(301),
        np.log(within) if of == "exposure" else None,
    )
    found = too_few(read_persons(person_counts(rows, model), design), model, minimum=11, precision=1e-10)
    assert found.startswith(match) if match else found == ""
