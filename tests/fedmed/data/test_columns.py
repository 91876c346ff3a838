"""Text, numbers and code lists mean the same whatever file they came from."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.data.columns import as_code_lists, as_numbers, as_text, column, person_groups
from fedmed.errors import DataContractError
from tests.examples import at_most


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, 0, None]),
        pa.array([1.0, 0.0, None]),
        pa.array([True, False, None]),
        pa.array([" 1.0", "0", "?"]),
    ],
)
def test_one_and_zero_are_the_same_category_in_every_type(values):
    assert as_text(values).to_pylist() == ["1", "0", None]


@pytest.mark.parametrize("text", ["", "?", "NA", "NaN", "null", " "])
def test_text_that_says_missing_is_missing(text):
    assert np.isnan(as_numbers(pa.array([text, "2"]), name="x")).tolist() == [True, False]


@settings(deadline=None, max_examples=at_most(50))
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.none(), max_size=20))
def test_numbers_written_as_text_are_read_back_exactly(values):
    text = pa.array([None if v is None else repr(v) for v in values], pa.string())
    typed = as_numbers(pa.array(values, pa.float64()), name="x")
    np.testing.assert_array_equal(as_numbers(text, name="x"), typed)


@settings(deadline=None, max_examples=at_most(60))
@given(
    lists=st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=10),
    mark=st.sampled_from([" ", ",", ";", ", ", "|"]),
)
def test_code_lists_written_as_text_are_read_back(lists, mark):
    text = pa.array([mark.join(map(str, codes)) for codes in lists], pa.string())
    typed = pa.array(lists, pa.list_(pa.uint16()))
    left, right = (as_code_lists(values, name="k", vocabulary_size=10) for values in (text, typed))
    assert left.starts.tolist() == right.starts.tolist()
    assert left.values.tolist() == right.values.tolist() == [code for codes in lists for code in codes]


def test_persons_are_numbered_in_the_order_of_their_first_row():
    assert person_groups(pa.array(["b", "a", "b", "c"])).tolist() == [0, 1, 0, 2]


def test_columns_in_chunks_and_dictionaries_come_in_one_plain_piece():
    chunks = pa.chunked_array([pa.array(["a", "b"]).dictionary_encode(), pa.array(["a"]).dictionary_encode()])
    assert column(pa.table({"c": chunks}), "c").to_pylist() == ["a", "b", "a"]
    empty = pa.table({"c": pa.chunked_array([], pa.string())})
    assert column(empty, "c").to_pylist() == []
    with pytest.raises(DataContractError, match="column d is missing"):
        column(empty, "d")


@pytest.mark.parametrize(
    "values",
    [
        pa.array([["a"], ["b"]]),
        pa.array([{"a": 1}, {"a": 2}]),
        pa.array([b"a", b"\xff"]),
        pa.array([b"a", b"b"]),
        pa.array([b"ab", b"cd"], pa.binary(2)),
    ],
    ids=lambda values: str(values.type),
)
def test_nested_values_and_bytes_are_no_text_whatever_they_hold(values):
    with pytest.raises(DataContractError, match=r"column c has type .* must hold plain text"):
        as_text(values, name="c")


def test_codes_beyond_64_bits_are_refused_without_showing_one():
    values = pa.array([[2**64 - 1], [2**63]], pa.list_(pa.uint64()))
    with pytest.raises(DataContractError, match=r"column k: 2 codes lie outside 0\.\.9") as caught:
        as_code_lists(values, name="k", vocabulary_size=10)
    assert str(2**64 - 1) not in str(caught.value)


def test_silenced_cells_are_missing_and_leave_the_others_alone():
    numbers = as_numbers(pa.array(["1", "abc", "inf", "1e999", None]), name="x", unfit="silence")
    np.testing.assert_array_equal(numbers, [1.0, np.nan, np.inf, np.inf, np.nan])
    for values in (pa.array(["1 2", "x", "9 77 3", None]), pa.array([[1, 2], [-4, None], [9, 77, 3], None])):
        lists = as_code_lists(values, name="k", vocabulary_size=10, unfit="silence")
        assert lists.starts.tolist() == [0, 2, 2, 4, 4]
        assert lists.values.tolist() == [1, 2, 9, 3]
