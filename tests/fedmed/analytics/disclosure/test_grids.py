"""Sums that two tables have in common."""

import numpy as np

from fedmed.analytics.disclosure.cells import Dimension, ValueSets, known_values
from fedmed.analytics.disclosure.grids import cells_of_grids, grid_of, sums_in_common

AGE = Dimension(column="age", levels={"young": frozenset("01"), "old": frozenset()})
SEX = Dimension(column="sex", levels={"m": frozenset("m"), "rest": frozenset()})


def grids_of(*tables):
    """Grids of tables with some dimensions and conditions, and their sets of values."""
    sets = ValueSets(known_values(tables))
    each = (sets.cells_of(dims, where, kept=tuple(range(len(dims)))) for dims, where in tables)
    return [grid_of(cells) for cells in each], sets


def test_persons_by_age_and_by_sex_are_as_many():
    grids, sets = grids_of(((AGE,), {}), ((SEX,), {}))
    assert sums_in_common(grids, sets) == {((0,), (0,))}


def test_tables_of_different_persons_have_no_sum_in_common():
    grids, sets = grids_of(((AGE,), {"sex": frozenset("m")}), ((AGE,), {"sex": frozenset("f")}))
    assert sums_in_common(grids, sets) == frozenset()


def test_a_grid_has_every_combination_once():
    (grid,), sets = grids_of(((SEX, AGE), {"node": frozenset("ab")}))
    cells = cells_of_grids([grid], len(sets.columns))
    asked = sets.cells_of((SEX, AGE), {"node": frozenset("ab")}, kept=(0, 1)).reshape(-1, 3)
    assert np.array_equal(np.unique(cells, axis=0), np.unique(asked, axis=0))
    assert len(cells) == 4
