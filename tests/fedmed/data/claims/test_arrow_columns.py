"""Exact money and names as Arrow arrays."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.data.claims.arrow_columns import coded, decimals, numbered, table
from tests.examples import at_most

AMOUNTS = st.lists(st.integers(-(10**15), 10**15), max_size=20)


@settings(max_examples=at_most(30))
@given(fen=AMOUNTS)
def test_money_is_exact_and_keeps_its_sign(fen):
    found = decimals(np.array(fen, dtype=np.int64), 18, 2)
    assert found.to_pylist() == [Decimal(value).scaleb(-2) for value in fen]


def test_empty_cells_are_null():
    found = decimals(np.array([1, 2, 3]), 16, 2, empty=np.array([False, True, False]))
    assert found.to_pylist() == [Decimal("0.01"), None, Decimal("0.03")]
    assert coded(np.array([1, 0]), ["a", "b"], empty=np.array([True, False])).to_pylist() == [None, "a"]


@settings(max_examples=at_most(30))
@given(numbers=st.lists(st.integers(0, 10**9 - 1), max_size=20))
def test_names_carry_their_number(numbers):
    found = numbered("S31", np.array(numbers, dtype=np.int64), 9).to_pylist()
    assert found == [f"S31{number:09d}" for number in numbers]


def test_a_table_needs_every_column():
    with pytest.raises(KeyError):
        table("fund_split", {"setl_id": pa.array(["S"])})
