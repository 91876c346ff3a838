"""Inputs come from public bounds and the row alone; persons stay whole."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.data.features import examples, labels, scaled
from fedmed.errors import ConfigError, DataContractError
from fedmed.types import DatasetSpec, Feature, FeatureKind, Label


def number(name, low=0.0, high=10.0, log=False):
    return Feature(name=name, kind=FeatureKind.NUMBER, low=low, high=high, log=log)


def category(name, *categories):
    return Feature(name=name, kind=FeatureKind.CATEGORY, categories=categories)


def code(name, size):
    return Feature(name=name, kind=FeatureKind.CODES, vocabulary_size=size)


def spec(*features, at_least=None, held_out=0.3):
    label = Label(column="y", at_least=at_least)
    return DatasetSpec(name="t", person="id", label=label, features=features, held_out=held_out)


FULL = spec(number("x"), category("c", "1", "2"), code("k", 5), code("m", 3))
rows = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.sampled_from("abcdefgh"),
            "x": st.none() | st.floats(-1e6, 1e6),
            "c": st.none() | st.sampled_from(["1", "2", "3"]),
            "k": st.none() | st.lists(st.integers(0, 4), max_size=4),
            "m": st.lists(st.integers(0, 2), max_size=4),
            "y": st.integers(0, 1),
        }
    ),
    min_size=1,
    max_size=30,
)
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("x", pa.float64()),
        ("c", pa.string()),
        ("k", pa.list_(pa.uint16())),
        ("m", pa.list_(pa.uint16())),
        ("y", pa.int8()),
    ]
)


def table_of(records):
    return pa.Table.from_pylist(records, schema=SCHEMA)


def obvious(record):
    """One row's inputs, the slow way."""
    x = record["x"]
    dense = [0.0 if x is None else 2 * min(max(x, 0.0), 10.0) / 10 - 1]
    dense += [float(record["c"] == value) for value in ("1", "2")]
    codes = [float(i in (record["k"] or [])) for i in range(5)]
    return dense + codes + [float(i in record["m"]) for i in range(3)]


@settings(deadline=None, max_examples=60)
@given(records=rows)
def test_all_rows_equal_the_row_by_row_reference_in_person_order(records):
    found = examples(table_of(records), FULL, part="all")
    order = {person: i for i, person in enumerate(dict.fromkeys(r["id"] for r in records))}
    expected = sorted(records, key=lambda r: order[r["id"]])  # sorted() is stable
    np.testing.assert_allclose(found.matrix(), [obvious(r) for r in expected], atol=1e-6)
    assert found.labels.tolist() == [r["y"] for r in expected]
    counts = [sum(r["id"] == person for r in records) for person in order]
    assert np.diff(found.person_starts).tolist() == counts


@settings(deadline=None, max_examples=60)
@given(records=rows)
def test_train_and_test_share_no_person_and_make_up_all(records):
    table = table_of(records)
    train, test = (examples(table, FULL, part=part) for part in ("train", "test"))
    whole = examples(table, FULL, part="all")
    assert train.persons + test.persons == whole.persons
    assert train.rows + test.rows == whole.rows
    both = np.vstack([train.matrix(), test.matrix()])
    assert sorted(map(tuple, both)) == sorted(map(tuple, whole.matrix()))


@settings(deadline=None, max_examples=40)
@given(records=rows, other=rows)
def test_a_row_does_not_feel_the_rows_beside_it(records, other):
    alone = examples(table_of(records), FULL, part="all").matrix()
    renamed = [{**r, "id": "z" + r["id"]} for r in other]
    among = examples(table_of(records + renamed), FULL, part="all").matrix()
    np.testing.assert_array_equal(alone, among[: len(alone)])


@settings(deadline=None, max_examples=100)
@given(
    value=st.floats(allow_nan=True, allow_infinity=False),
    low=st.floats(-1e6, 1e6),
    width=st.floats(1e-3, 1e6),
    log=st.booleans(),
)
def test_scaled_numbers_lie_between_minus_one_and_one(value, low, width, log):
    found = scaled(np.array([value, low, low + width]), number("x", low, low + width, log))
    assert np.all(np.abs(found) <= 1)
    assert found[1] == -1
    assert found[2] == pytest.approx(1)
    assert not np.isnan(value) or found[0] == 0


def test_log_scaling_is_the_logarithm_of_one_plus_the_distance_from_low():
    found = scaled(np.array([0.0, 9.0, 99.0]), number("x", 0.0, 99.0, log=True))
    np.testing.assert_allclose(found, [-1.0, 0.0, 1.0])


def test_everything_is_float32_within_minus_one_and_one():
    table = table_of(
        [{"id": str(i), "x": i * 1e5, "c": "1", "k": [1], "m": [], "y": i % 2} for i in range(9)]
    )
    found = examples(table, FULL, part="all")
    assert found.dense.dtype == np.float32
    assert np.abs(found.dense).max() <= 1
    assert found.codes.dtype == np.int32


def test_text_and_typed_columns_mean_the_same():
    typed = pa.table(
        {"id": [1, 2], "x": [5, 10], "c": [1.0, 3.0], "k": [[0, 3], []], "m": [[2], None], "y": [0, 1]}
    )
    text = pa.table(
        {
            "id": ["1", "2"],
            "x": ["5", "1e1"],
            "c": ["1", "3.0"],
            "k": ["3;0", None],
            "m": ["2", ""],
            "y": ["0", "1.0"],
        }
    )
    left, right = (examples(t, FULL, part="all") for t in (typed, text))
    np.testing.assert_array_equal(left.matrix(), right.matrix())
    np.testing.assert_array_equal(left.labels, right.labels)


def test_a_threshold_makes_the_label():
    table = pa.table({"y": [1.0, 5.0, 4.99]})
    assert labels(table, Label(column="y", at_least=5)).tolist() == [0, 1, 0]


def test_a_table_without_code_features_gives_no_code_inputs():
    table = pa.table({"id": ["a", "b"], "x": [1.0, 2.0], "y": [0, 1]})
    found = examples(table, spec(number("x")), part="all")
    assert found.code_inputs == 0
    assert found.codes.size == 0
    assert found.code_starts.tolist() == [0, 0, 0]


def test_a_part_without_persons_is_empty():
    table = pa.table({"id": ["a", "b"], "x": [1.0, 2.0], "y": [0, 1]})
    found = examples(table, spec(number("x"), held_out=0.0), part="test")
    assert (found.rows, found.persons) == (0, 0)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("id", ["a", None], "column id: 1 of 2 rows have no pseudonym"),
        ("x", ["secret", "1"], "column x: 1 of 2 values are not numbers"),
        ("x", [float("inf"), 1.0], "column x: 1 of 2 values are infinite"),
        ("x", ["-Infinity", "1"], "column x: 1 of 2 values are infinite"),
        ("x", [[1.0], [2.0]], "column x has type"),
        ("k", [[5], [0]], "column k: 1 codes lie outside 0..4"),
        ("k", ["1 x", "2"], "column k: 1 of 2 values are not lists of code numbers"),
        ("k", [1, 2], "column k has type int64; it must hold lists"),
        ("k", [[1.5], [2.0]], "column k: some codes are empty or no integers"),
        ("k", [[None], [2]], "column k: some codes are empty or no integers"),
        ("y", [0, 2], "label y: 1 of 2 values are neither 0 nor 1"),
        ("y", [0, None], "label y: 1 of 2 rows have no value"),
    ],
)
def test_unfit_columns_are_refused_with_counts_and_no_value(column, values, message):
    columns = {
        "id": ["a", "b"],
        "x": [1.0, 2.0],
        "c": ["1", "2"],
        "k": [[1], [2]],
        "m": [[1], [2]],
        "y": [0, 1],
    }
    with pytest.raises(DataContractError) as caught:
        examples(pa.table(columns | {column: values}), FULL, part="all")
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_missing_column_and_an_unknown_part_are_refused():
    table = pa.table({"id": ["a"], "y": [1]})
    with pytest.raises(DataContractError, match="column x is missing"):
        examples(table, spec(number("x")), part="all")
    with pytest.raises(ConfigError, match="part must be"):
        examples(table, spec(number("x")), part="validation")
