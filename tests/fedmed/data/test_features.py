"""Inputs come from public bounds and the row alone; persons stay whole."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.data.features import examples, labels, scaled
from fedmed.errors import ConfigError, DataContractError
from fedmed.models.gradients import clipped_gradient_sum
from fedmed.models.layout import ModelLayout, PersonClip
from fedmed.types import DatasetSpec, Feature, FeatureKind, Label
from tests.examples import at_most


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


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(records=rows)
def test_all_rows_equal_the_row_by_row_reference_in_person_order(records):
    found = examples(table_of(records), FULL, part="all")
    order = {person: i for i, person in enumerate(dict.fromkeys(r["id"] for r in records))}
    expected = sorted(records, key=lambda r: order[r["id"]])  # sorted() is stable
    np.testing.assert_allclose(found.matrix(), [obvious(r) for r in expected], atol=1e-6)
    assert found.labels.tolist() == [r["y"] for r in expected]
    counts = [sum(r["id"] == person for r in records) for person in order]
    assert np.diff(found.person_starts).tolist() == counts


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(records=rows)
def test_train_and_test_share_no_person_and_make_up_all(records):
    table = table_of(records)
    train, test = (examples(table, FULL, part=part) for part in ("train", "test"))
    whole = examples(table, FULL, part="all")
    assert train.persons + test.persons == whole.persons
    assert train.rows + test.rows == whole.rows
    both = np.vstack([train.matrix(), test.matrix()])
    assert sorted(map(tuple, both)) == sorted(map(tuple, whole.matrix()))


@settings(deadline=None, max_examples=at_most(20))
@given(records=rows, other=rows)
def test_a_row_does_not_feel_the_rows_beside_it(records, other):
    alone = examples(table_of(records), FULL, part="all").matrix()
    renamed = [{**r, "id": "z" + r["id"]} for r in other]
    among = examples(table_of(records + renamed), FULL, part="all").matrix()
    np.testing.assert_array_equal(alone, among[: len(alone)])


@settings(deadline=None, max_examples=at_most(100))
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


def test_floating_pseudonyms_that_merge_persons_count_as_missing():
    columns = {"x": [1.0, 2.0], "c": ["1", "2"], "k": [[1], [2]], "m": [[1], [2]], "y": [0, 1]}
    sharp = pa.table(columns | {"id": [7.0, 2.0**53 - 1]})
    assert examples(sharp, FULL, part="all").persons == 2
    with pytest.raises(DataContractError, match="column id: 1 of 2 rows have no pseudonym"):
        examples(pa.table(columns | {"id": [7.0, 2.0**53]}), FULL, part="all")


wild_rows = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.sampled_from(["a", "b", "c", " a", "", "NA"]),
            "x": st.sampled_from(["1", "2.5", "abc", "inf", "-1e999", "", None]),
            "c": st.sampled_from(["1", "2", "zz", None]),
            "k": st.sampled_from(["1 2", "4", "99", "x y", "-1", None]),
            "m": st.sampled_from(["0", "", None]),
            "y": st.sampled_from(["0", "1", "2", "", "abc", "nan", None]),
        }
    ),
    max_size=12,
)
TEXT_SCHEMA = pa.schema([(name, pa.string()) for name in ["id", "x", "c", "k", "m", "y"]])


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(records=wild_rows, at_least=st.none() | st.just(1.0))
def test_silenced_faults_never_raise_and_touch_no_other_row(records, at_least):
    study = spec(*FULL.features, at_least=at_least)
    table = pa.Table.from_pylist(records, schema=TEXT_SCHEMA)
    found = examples(table, study, part="all", unfit="silence")
    alone = [
        examples(table.slice(row, 1), study, part="all", unfit="silence")
        for row, record in enumerate(records)
        if record["id"] not in ("", "NA")
    ]
    assert found.rows == len(alone)
    together = np.concatenate([found.matrix(), found.labels[:, None]], axis=1)
    separate = [np.concatenate([e.matrix(), e.labels[:, None]], axis=1) for e in alone]
    assert sorted(r.tobytes() for r in together) == sorted(r.tobytes() for r in separate)
    assert np.isfinite(found.dense).all()
    assert set(found.labels[~np.isnan(found.labels)].tolist()) <= {0.0, 1.0}


@settings(deadline=None, max_examples=at_most(20))
@given(records=rows)
def test_tables_without_faults_give_the_same_either_way(records):
    left = examples(table_of(records), FULL, part="all")
    right = examples(table_of(records), FULL, part="all", unfit="silence")
    for name in ("dense", "code_starts", "codes", "labels", "person_starts"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))


def test_a_person_with_an_unfit_label_contributes_zero():
    columns = {"id": ["a", "b", "b"], "x": [1.0, 9.0, 9.0], "y": [1, 1, 7]}
    study = spec(number("x"))
    model = ModelLayout(kind="logistic", inputs=1)
    clip = PersonClip(norm=1.0)

    def summed(table):
        rows = examples(table, study, part="all", unfit="silence")
        return clipped_gradient_sum(np.zeros(2), rows, layout=model, clip=clip).values

    both, one = pa.table(columns), pa.table({name: values[:1] for name, values in columns.items()})
    np.testing.assert_array_equal(summed(both), summed(one))


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.7e308), (-8e307, 8e307), (0.0, 5e-324)])
def test_bounds_at_the_ends_of_the_float_range_scale_without_overflow(low, high):
    found = scaled(np.array([low, high, np.inf, -np.inf]), number("x", low, high))
    np.testing.assert_array_equal(found, [-1.0, 1.0, 1.0, -1.0])


@pytest.mark.parametrize(("low", "high"), [(-1.7e308, 1.7e308), (0.0, np.inf), (np.nan, 1.0), (1.0, 1.0)])
def test_bounds_without_a_finite_width_are_refused(low, high):
    with pytest.raises(ConfigError, match="low must be < high"):
        number("x", low, high)
