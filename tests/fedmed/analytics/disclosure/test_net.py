"""Cells and equations as arrays."""

import numpy as np

from fedmed.analytics.disclosure.cells import Dimension, ValueSets, known_values
from fedmed.analytics.disclosure.net import Net

REGIONS = {"a": frozenset("a"), "b": frozenset("b"), "rest": frozenset()}


def net_of(levels):
    """The net of persons by region and in all, the total given last."""
    dimension = Dimension(column="region", levels={name: REGIONS[name] for name in levels})
    sets = ValueSets(known_values([((dimension,), {})]))
    each = [sets.cells_of((dimension,), {}, kept=kept).reshape(-1, 1) for kept in ((0,), ())]
    cells = np.concatenate(each)
    return Net.of(cells, sets, between=cells[:0])


def test_a_total_is_the_sum_of_its_levels():
    net = net_of(("a", "b", "rest"))
    assert net.is_known.all()
    assert net.given[net.wholes].tolist() == [3]
    numbers = np.array([5, 7, 11, 23])
    assert (net.signed @ numbers[net.given]).tolist() == [0]
    assert sorted(net.given[net.parts_of(0)].tolist()) == [0, 1, 2]


def test_the_order_of_cells_is_that_of_their_values():
    one, other = net_of(("a", "b", "rest")), net_of(("b", "a", "rest"))
    assert one.given.tolist() != other.given.tolist()
    assert np.array([1, 0, 2, 3])[one.given].tolist() == other.given.tolist()
    assert np.array_equal(one.signed.toarray(), other.signed.toarray())


def test_a_part_that_no_table_has_is_in_the_net_but_not_known():
    """Of the levels only some: what the total has more is a cell of nobody's."""
    dimension = Dimension(column="region", levels={"a": frozenset("a")})
    sets = ValueSets(known_values([((dimension,), {})]))
    cells = np.concatenate([sets.cells_of((dimension,), {}, kept=(0,)), np.zeros((1, 1), dtype=np.int64)])
    net = Net.of(cells, sets, between=cells[:0])
    assert sorted(net.given.tolist()) == [-1, 0, 1]
    assert np.count_nonzero(~net.is_known) == 1
