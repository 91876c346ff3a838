import decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import DataContractError
from fedmed_nodes.fingerprint import content_fingerprint
from tests.contracts.source_contract import contents
from tests.examples import at_most


def of(table: pa.Table) -> bytes:
    return content_fingerprint([table], table.column_names)[0]


TEXTS = st.one_of(st.none(), st.text(max_size=4))


@settings(deadline=None, max_examples=at_most(25))
@given(rows=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8), data=st.data())
def test_order_and_cuts_do_not_matter(rows: list[tuple[str | None, str | None]], data: st.DataObject) -> None:
    a, b = zip(*rows, strict=True)
    turned = data.draw(st.permutations(rows))
    c, d = zip(*turned, strict=True)
    cut = data.draw(st.integers(0, len(rows)))
    other = pa.table({"b": pa.array(d, pa.string()), "a": pa.array(c, pa.string())})
    pieces = [other.slice(0, cut), other.slice(cut)]
    mine = of(pa.table({"a": pa.array(a, pa.string()), "b": pa.array(b, pa.string())}))
    assert content_fingerprint(pieces, ["b", "a"]) == (mine, len(rows))


@pytest.mark.parametrize(
    ("mine", "other"),
    [
        ([["a", "b"], ["c", "d"]], [["a", "b"], ["d", "c"]]),  # values change rows
        ([["ab", "c"], ["c", "d"]], [["a", "c"], ["bc", "d"]]),  # a letter changes columns
        ([["1:a", None], ["c", "d"]], [[None, "1:a"], ["c", "d"]]),
        ([["a", "a"], ["b", "b"]], [["a", "a", "a"], ["b", "b", "b"]]),  # a row more
        ([["x"], ["1.5"]], [["x"], ["1.05"]]),
        ([["x"], ["10"]], [["x"], ["1"]]),
    ],
)
def test_any_other_rows_give_another_fingerprint(
    mine: list[list[str | None]], other: list[list[str | None]]
) -> None:
    tables = [pa.table(dict(zip("pq", columns, strict=True))) for columns in (mine, other)]
    assert of(tables[0]) != of(tables[1])


def test_names_belong_to_the_contents() -> None:
    assert of(pa.table({"a": ["1"], "b": ["2"]})) != of(pa.table({"a": ["2"], "b": ["1"]}))
    assert of(pa.table({"a": ["1"]})) != of(pa.table({"b": ["1"]}))


def test_what_a_study_reads_alike_has_one_fingerprint() -> None:
    columns = [
        pa.array([1, 0, None]),
        pa.array([1.0, 0.0, float("nan")]),
        pa.array([True, False, None]),
        pa.array(["1", "0.0", "NA"]),
        pa.array([decimal.Decimal("1.00"), decimal.Decimal("0.00"), None]),
    ]
    assert len({of(pa.table({"a": column})) for column in columns}) == 1
    lists, texts = pa.array([[1, 20], [], None, [3]]), pa.array(["1 20", "", None, "3"])
    assert of(pa.table({"a": lists})) == of(pa.table({"a": texts}))
    assert of(pa.table({"a": ["1.50"]})) == of(pa.table({"a": [1.5]}))


def test_one_flipped_cell_in_many_is_seen() -> None:
    table = contents()
    ages = table["age"].to_pylist()
    ages[77] = np.nextafter(ages[77] or 50.0, 1e9)
    other = table.set_column(1, "age", pa.array(ages, pa.float64()))
    assert of(table) != of(other)


def test_columns_that_no_study_can_read_are_named() -> None:
    with pytest.raises(DataContractError, match="column a has type struct"):
        of(pa.table({"a": [{"x": 1}]}))
    with pytest.raises(DataContractError, match="column a has type list"):
        of(pa.table({"a": [["x"]]}))
    with pytest.raises(DataContractError, match="column b is missing"):
        content_fingerprint([pa.table({"a": [1]})], ["b"])
