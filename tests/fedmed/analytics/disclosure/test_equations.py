"""Sums that hold among cells, found by sorting numbers: against what their values say."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.analytics.disclosure.cells import EVERYBODY, ValueSets
from fedmed.analytics.disclosure.equations import equations
from tests.examples import at_most

VALUES = {"a": frozenset("xyz*"), "b": frozenset("pq*")}
conditions = st.fixed_dictionaries(
    {}, optional={c: st.frozensets(st.sampled_from(sorted(v)), min_size=1) for c, v in VALUES.items()}
)


def as_cells(asked, sets):
    found = np.full((len(asked), len(sets.columns)), EVERYBODY)
    for cell, conditions_of in zip(found, asked, strict=True):
        for column, chosen in conditions_of.items():
            place = sets.columns.index(column)
            cell[place] = sets.number(place, chosen)
    return found


def persons_of(cell, sets):
    """Which combinations of values a cell counts."""
    inside = [sets.covered(column, (int(number),)) for column, number in enumerate(cell)]
    return {(a, b) for a in inside[0] for b in inside[1]}


@given(asked=st.lists(conditions, max_size=7))
@settings(max_examples=at_most(15))
def test_every_equation_splits_the_persons_of_its_whole(asked):
    sets = ValueSets(VALUES)
    found = equations(as_cells(asked, sets), sets)
    assert len(set(map(tuple, found.cells.tolist()))) == len(found.cells)
    for rule, whole in enumerate(found.wholes.tolist()):
        parts = found.parts[found.ends[rule] : found.ends[rule + 1]].tolist()
        each = [persons_of(found.cells[part], sets) for part in parts]
        assert len(parts) > 1
        assert sum(map(len, each)) == len(set().union(*each))
        assert set().union(*each) == persons_of(found.cells[whole], sets)
        assert all(np.count_nonzero(found.cells[p] != found.cells[whole]) == 1 for p in parts)


def test_a_sum_follows_from_levels_that_overlap_by_their_common_part():
    """Of x, y and y, z with all of them: the part y, which no table has, joins them."""
    sets = ValueSets(VALUES)
    asked = [{"a": frozenset(s)} for s in ("xy", "yz", "xyz")]
    found = equations(as_cells(asked, sets), sets)
    assert len(found.wholes) == 3
    parts = [found.parts[a:b] for a, b in zip(found.ends, found.ends[1:], strict=False)]
    alone = {c for part in parts for c in part.tolist()}
    assert {sets.covered(0, (int(found.cells[c, 0]),)) for c in alone} == {*map(frozenset, "xyz")}


def test_cells_of_one_classification_alone_say_nothing_about_each_other():
    sets = ValueSets(VALUES)
    found = equations(as_cells([{"a": frozenset(s)} for s in "xyz"], sets), sets)
    assert len(found.wholes) == len(found.cells) == 0
