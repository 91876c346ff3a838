"""Cells as rows of numbers."""

import numpy as np

from fedmed.analytics.disclosure.cells import OTHER, Dimension, ValueSets, known_values

AGE = Dimension(column="age", levels={"young": frozenset("01"), "old": frozenset()})
SEX = Dimension(column="sex", levels={"m": frozenset("m"), "f": frozenset("f")})


def sets_of(*dimensions):
    return ValueSets(known_values([(dimensions, {})]))


def conditions(cell, sets):
    return [sets.covered(column, (int(number),)) for column, number in enumerate(cell)]


def test_a_margin_counts_whoever_is_in_some_level():
    sets = sets_of(AGE, SEX)
    table = sets.cells_of((SEX, AGE), {}, kept=(0, 1))
    assert table.shape == (2, 2, 2)
    assert conditions(table[1, 1], sets) == [{OTHER}, {"f"}]
    by_age = sets.cells_of((SEX, AGE), {}, kept=(1,))
    assert conditions(by_age[0], sets) == [{"0", "1"}, {"m", "f"}]
    assert conditions(sets.cells_of((SEX, AGE), {}, kept=(0,))[0], sets) == [{"0", "1", OTHER}, {"m"}]


def test_equal_cells_have_equal_codes_however_many_columns_there_are():
    columns = [
        Dimension(column=f"c{n:02}", levels={v: frozenset({v}) for v in "abcdefgh"}) for n in range(30)
    ]
    sets = sets_of(*columns)
    one_each = [sets.cells_of((d,), {}, kept=(0,)) for d in columns]
    assert np.prod(np.array(sets.sizes, dtype=float)) > 2**63
    chosen = np.random.default_rng(3).integers(0, 8, (200, 30))
    cells = np.stack([one_each[c][chosen[:, c], c] for c in range(30)], axis=1)
    cells = np.concatenate([cells, cells[::-1]])
    assert sets.codes(cells).tolist() == sets.codes(cells)[::-1].tolist()
    assert len(np.unique(sets.codes(cells))) == len(np.unique(chosen, axis=0))
    cells[200:, 4] = 0
    assert sets.codes(cells, without=4)[:200].tolist() == sets.codes(cells, without=4)[200:][::-1].tolist()


def test_the_order_of_cells_does_not_depend_on_which_set_was_asked_for_first():
    found = []
    for turned in (AGE, SEX), (SEX, AGE):
        sets = sets_of(AGE, SEX)
        each = [sets.cells_of((d,), {}, kept=kept) for d in turned for kept in ((), (0,))]
        cells = np.unique(np.concatenate([cells.reshape(-1, 2) for cells in each]), axis=0)
        found.append([conditions(cell, sets) for cell in cells[sets.in_order(cells)]])
    assert found[0] == found[1]
    assert found[0][0] == [{"0", "1", OTHER}, {"m", "f", OTHER}]
