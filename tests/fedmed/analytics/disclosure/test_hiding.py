"""Plays the attacker: nothing small appears, and nothing small can be worked out from what appears."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linprog

from fedmed.analytics.disclosure.cells import CountTable, Dimension, counts_of, equations, known_values
from fedmed.analytics.disclosure.hiding import hide
from fedmed.errors import ConfigError

MINIMUM = 11
REGION = Dimension(
    column="region", levels={"31": frozenset({"31"}), "32": frozenset({"32"}), "rest": frozenset()}
)
DISEASE = Dimension(column="disease", levels={"a": frozenset("a"), "b": frozenset("b"), "rest": frozenset()})
COARSE = Dimension(column="disease", levels={"ab": frozenset("ab"), "rest": frozenset()})


def everything(tables):
    values = known_values(tables)
    counts = {}
    for table in tables:
        for cell, count in counts_of(table, values).items():
            assert counts.setdefault(cell, count) == count
    return counts, equations(counts, values)


def interval(counts, rules, hidden, cell):
    """An attacker's interval by two linear programmes over the joint system, written apart from the code."""
    order = list(hidden)
    rows, right = [], []
    for rule in rules:
        row, known = np.zeros(len(order)), 0
        for c, sign in ((rule.whole, -1), *((p, 1) for p in rule.parts)):
            if c in hidden:
                row[order.index(c)] += sign
            else:
                known += sign * counts[c]
        rows.append(row)
        right.append(-known)
    goal = np.zeros(len(order))
    goal[order.index(cell)] = 1
    ends = []
    for sign in (1, -1):
        found = linprog(sign * goal, A_eq=np.array(rows), b_eq=np.array(right), bounds=(0, None))
        ends.append(found.fun * sign if found.status == 0 else np.inf)
    return ends


def assert_nothing_small_is_known(counts, rules, choice):
    hidden = frozenset(counts) - choice.shown
    assert not any(0 < counts[c] < MINIMUM for c in choice.shown)
    for cell in choice.small:
        low, high = interval(counts, rules, hidden, cell)
        assert high - low > 0.99
        assert low < 1 or high >= MINIMUM - 1e-6
    for rule in rules:
        blank = [c for c in rule.parts if c in hidden]
        if rule.whole not in hidden and blank:
            together = sum(counts[c] for c in blank)
            assert together == 0 or together >= MINIMUM


small_tables = arrays(np.int64, (3, 3), elements=st.one_of(st.integers(0, 30), st.integers(0, 3000)))


@pytest.mark.slow
@given(small_tables)
@settings(max_examples=25)
def test_rows_columns_and_totals_give_no_small_count_away(persons):
    counts, rules = everything([CountTable(dimensions=(REGION, DISEASE), persons=persons, where={})])
    assert_nothing_small_is_known(counts, rules, hide(counts, rules, minimum=MINIMUM))


@pytest.mark.slow
@given(arrays(np.int64, (3, 3, 2), elements=st.one_of(st.integers(0, 25), st.integers(0, 500))))
@settings(max_examples=15)
def test_three_dimensions_and_coarser_tables_give_no_small_count_away(persons):
    sex = Dimension(column="sex", levels={"1": frozenset("1"), "2": frozenset()})
    coarse = np.stack([persons[:, 0] + persons[:, 1], persons[:, 2]], axis=1)
    tables = [
        CountTable(dimensions=(REGION, DISEASE, sex), persons=persons, where={}),
        CountTable(dimensions=(COARSE, sex), persons=coarse.sum(axis=0), where={}),
    ]
    counts, rules = everything(tables)
    assert_nothing_small_is_known(counts, rules, hide(counts, rules, minimum=MINIMUM))


@pytest.mark.slow
@given(small_tables)
@settings(max_examples=20)
def test_successive_queries_give_no_small_count_away(persons):
    first = CountTable(
        dimensions=(COARSE,), persons=np.stack([persons[:, :2].sum(), persons[:, 2].sum()]), where={}
    )
    second = CountTable(dimensions=(REGION, DISEASE), persons=persons, where={})
    counts, rules = everything([first])
    shown = hide(counts, rules, minimum=MINIMUM).shown
    counts, rules = everything([first, second])
    choice = hide(counts, rules, minimum=MINIMUM, published=shown)
    assert shown <= choice.shown
    assert_nothing_small_is_known(counts, rules, choice)


def test_a_lone_small_cell_takes_another_one_with_it():
    persons = np.array([[5, 200, 300], [400, 500, 600], [700, 800, 900]])
    counts, rules = everything([CountTable(dimensions=(REGION, DISEASE), persons=persons, where={})])
    choice = hide(counts, rules, minimum=MINIMUM)
    assert len(choice.small) == 1
    assert len(choice.complementary) >= 3


def test_large_tables_without_small_cells_are_shown_whole():
    persons = np.arange(9).reshape(3, 3) + 20
    counts, rules = everything([CountTable(dimensions=(REGION, DISEASE), persons=persons, where={})])
    assert hide(counts, rules, minimum=MINIMUM).shown == frozenset(counts)


def test_a_table_restricted_to_a_condition_is_part_of_the_whole():
    whole = CountTable(dimensions=(DISEASE,), persons=np.array([100, 200, 300]), where={})
    part = CountTable(dimensions=(), persons=np.array(95), where={"disease": frozenset("a")})
    values = known_values([whole, part])
    assert set(counts_of(part, values)) <= set(counts_of(whole, values))


@pytest.mark.parametrize("minimum", [4, 31])
def test_a_minimum_outside_its_bounds_is_refused(minimum):
    with pytest.raises(ConfigError, match="5 to 30"):
        hide({}, (), minimum=minimum)


def test_the_choice_does_not_depend_on_the_order_of_levels():
    persons = np.random.default_rng(3).integers(0, 40, (3, 3))
    choices = []
    for first, second in (("31", "32"), ("32", "31")):
        levels = {first: frozenset({first}), second: frozenset({second}), "rest": frozenset()}
        rows = [("31", "32").index(first), ("31", "32").index(second), 2]
        table = CountTable(
            dimensions=(Dimension(column="region", levels=levels), DISEASE), persons=persons[rows], where={}
        )
        counts, rules = everything([table])
        choices.append(hide(counts, rules, minimum=MINIMUM))
    assert choices[0] == choices[1]
