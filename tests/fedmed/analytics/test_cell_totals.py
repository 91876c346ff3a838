from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.analytics.cell_totals import (
    HIGH_BITS,
    distinct_in_cells,
    kept,
    person_order,
    squares_of_persons,
    totals,
)
from fedmed.errors import ConfigError
from tests.examples import at_most


def words(people: list[int]) -> np.ndarray:
    return np.array([[p // 2, p % 2] for p in people], dtype=np.uint64).reshape(len(people), 2)


rows = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2**64 - 1), st.booleans()), max_size=30)


@settings(deadline=None, max_examples=at_most(12))
@given(rows=rows, most=st.integers(1, 4))
def test_of_each_person_at_most_so_many_counted_rows_are_kept_and_no_others(
    rows: list[tuple[int, int, bool]], most: int
) -> None:
    people, contents, flags = ([row[i] for row in rows] for i in range(3))
    counted = np.array(flags, dtype=np.bool_)
    order = person_order(words(people), np.array(contents, dtype=np.uint64))
    chosen = order.order[kept(counted, order, max_rows_per_person=most)]
    assert len(set(people)) == order.persons
    assert counted[chosen].all()
    for person in set(people):
        mine = [contents[i] for i in range(len(rows)) if people[i] == person and counted[i]]
        assert sorted(contents[i] for i in chosen if people[i] == person) == sorted(mine)[:most]


def test_nobody_is_kept_of_no_rows_and_a_cap_is_needed() -> None:
    order = person_order(words([]), np.zeros(0, dtype=np.uint64))
    assert order.persons == 0
    assert kept(np.zeros(0, dtype=np.bool_), order, max_rows_per_person=1).size == 0
    with pytest.raises(ConfigError, match="max_rows_per_person"):
        kept(np.zeros(0, dtype=np.bool_), order, max_rows_per_person=0)


@settings(deadline=None, max_examples=at_most(30))
@given(values=st.lists(st.tuples(st.integers(0, 3), st.integers(-(2**62), 2**62)), max_size=20))
def test_totals_are_exact_beyond_64_bits(values: list[tuple[int, int]]) -> None:
    cells, numbers = (np.array([v[i] for v in values], dtype=np.int64) for i in range(2))
    high, low = totals(cells, numbers, size=4)
    for cell in range(4):
        assert (int(high[cell]) << HIGH_BITS) + int(low[cell]) == sum(v for c, v in values if c == cell)


def test_a_person_counts_once_in_every_cell() -> None:
    cells, persons = np.array([0, 0, 2, 2, 2]), np.array([7, 7, 7, 8, 9])
    assert distinct_in_cells(cells, persons, size=4).tolist() == [1, 0, 3, 0]
    assert distinct_in_cells(cells[:0], persons[:0], size=2).tolist() == [0, 0]


@settings(deadline=None, max_examples=at_most(20))
@given(seen=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(-9, 9)), max_size=20))
def test_what_a_person_has_in_a_cell_is_squared_as_a_whole(seen: list[tuple[int, int, int]]) -> None:
    cells, persons, values = (np.array([row[i] for row in seen], dtype=np.int64) for i in range(3))
    expected = [0] * 4
    for cell, person in {(c, p) for c, p, _ in seen}:
        expected[cell] += sum(v for c, p, v in seen if (c, p) == (cell, person)) ** 2
    high, low = squares_of_persons(cells, persons, values, size=4)
    assert high.tolist() == [0] * 4
    assert low.tolist() == expected


def test_persons_times_cells_beyond_64_bits_are_refused() -> None:
    persons = np.array([2**40], dtype=np.int64)
    with pytest.raises(ConfigError, match="64 bits"):
        distinct_in_cells(np.zeros(1, dtype=np.int64), persons, size=2**23)
