"""What every row source must do; inherited by the tests of each.

The fixture `registered` gives a function from an Arrow table to a source of the same contents, registered
with `DECLARED` persons. Where a kind of storage has its own types, the function translates.
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fedmed.data.examples import Examples
from fedmed.errors import DataContractError
from fedmed.types import DatasetSpec, Feature, FeatureKind, Label
from fedmed_nodes.sources import RowSource, TableSource

DECLARED, YEAR = 60, 2025
MONEY, SEX, CODES = '费用 "元"', "O'性别; DROP TABLE rows; --", "diagnoses"
Registered = Callable[[pa.Table], RowSource]


def number(name: str, low: float, high: float) -> Feature:
    return Feature(name=name, kind=FeatureKind.NUMBER, low=low, high=high)


SPEC = DatasetSpec(
    name="person_year",
    person="psn_no",
    label=Label(column="sick"),
    features=(
        number("age", 0, 100),
        number(MONEY, 0, 1000),
        number("share", 0, 1),
        number("visits", 0, 50),
        Feature(name=SEX, kind=FeatureKind.CATEGORY, categories=("男", "女", "其他, \n不详")),
        Feature(name="retired", kind=FeatureKind.CATEGORY, categories=("0", "1")),
        Feature(name="birth", kind=FeatureKind.CATEGORY, categories=("1950-01-31", "1980-12-01")),
        Feature(name=CODES, kind=FeatureKind.CODES, vocabulary_size=9),
    ),
    held_out=0.3,
)


def contents(rows: int = 150, *, seed: int = 7) -> pa.Table:
    """Rows of about 50 persons, with missing values, in no order."""
    draws = np.random.default_rng(seed)
    persons = [f"甲{i}" if i % 3 else f"p {i}" for i in draws.integers(0, 50, rows).tolist()]

    def some(values: list[Any]) -> list[Any]:
        return [None if missing else value for value, missing in zip(values, draws.random(rows) < 0.1)]  # noqa: B905

    cents = draws.integers(0, 100_000, rows).tolist()
    sexes = [("男", "女", "其他, \n不详", 'a"b')[i] for i in draws.integers(0, 4, rows)]
    births = [datetime.date(1950, 1, 31), datetime.date(1980, 12, 1)]
    lists = [draws.integers(0, 9, size).tolist() for size in draws.integers(0, 4, rows)]
    return pa.table(
        {
            "psn_no": persons,
            "age": pa.array(some((100 * draws.random(rows)).tolist()), pa.float64()),
            MONEY: pa.array(some([decimal.Decimal(c).scaleb(-2) for c in cents]), pa.decimal128(16, 2)),
            # A short float means the text it is written as: 0.1, not 0.10000000149.
            "share": pa.array(some([c / 100_000 for c in cents]), pa.float32()),
            "visits": pa.array(some(draws.integers(0, 50, rows).tolist()), pa.int32()),
            SEX: some(sexes),
            "retired": pa.array(some((draws.random(rows) < 0.5).tolist()), pa.bool_()),
            "birth": pa.array(some([births[i] for i in draws.integers(0, 2, rows)]), pa.date32()),
            CODES: pa.array(some(lists), pa.list_(pa.int32())),
            "sick": pa.array(draws.integers(0, 2, rows), pa.int64()),
            "remark": [f"never read {i}" for i in range(rows)],
        }
    )


def as_bytes(found: Examples) -> tuple[bytes, ...]:
    """All arrays of examples, bit by bit."""
    arrays = (
        found.dense,
        found.code_starts,
        found.codes,
        np.array(found.code_inputs),
        found.labels,
        found.person_starts,
    )
    return tuple(f"{array.dtype}{array.shape}".encode() + array.tobytes() for array in arrays)


def in_memory(table: pa.Table) -> Examples:
    """What the simulation's source gives."""
    return TableSource(table, declared_persons=DECLARED, data_year=YEAR).training_examples(SPEC)


class SourceContract:
    """The contract of `RowSource`."""

    def test_the_public_facts_are_those_declared(self, registered: Registered) -> None:
        source = registered(contents())
        assert (source.declared_persons, source.data_year) == (DECLARED, YEAR)
        assert len(source.fingerprint) == 32

    def test_equal_contents_give_equal_bytes_whatever_stores_them(self, registered: Registered) -> None:
        found = registered(contents()).training_examples(SPEC)
        assert as_bytes(found) == as_bytes(in_memory(contents()))
        assert 20 < found.persons < found.rows
        assert found.codes.size > 0
        assert np.unique(found.dense).size > 100

    def test_the_order_of_the_rows_does_not_matter(self, registered: Registered) -> None:
        table = contents()
        turned = table.take(pa.array(np.random.default_rng(1).permutation(table.num_rows)))
        mine, other = registered(table), registered(turned)
        assert as_bytes(mine.training_examples(SPEC)) == as_bytes(other.training_examples(SPEC))

    def test_other_contents_have_another_fingerprint(self, registered: Registered) -> None:
        assert registered(contents()).fingerprint == registered(contents()).fingerprint
        assert registered(contents()).fingerprint != registered(contents(seed=8)).fingerprint
        assert registered(contents()).fingerprint != registered(contents(rows=149)).fingerprint

    def test_a_missing_column_is_named_with_its_nearest_neighbour(self, registered: Registered) -> None:
        source = registered(contents().rename_columns({"visits": "visit"}))
        with pytest.raises(DataContractError, match=r"column visits is missing; did you mean visit\?"):
            source.training_examples(SPEC)

    def test_more_persons_than_declared_are_refused(self, registered: Registered) -> None:
        rows = [
            contents().set_column(0, "psn_no", pa.array([f"{at}-{i}" for i in range(150)])) for at in range(2)
        ]
        source = registered(pa.concat_tables(rows))
        with pytest.raises(DataContractError, match="more persons than were declared"):
            source.training_examples(SPEC)

    def test_chunks_hold_all_rows_with_exactly_the_columns_asked_for(self, registered: Registered) -> None:
        with registered(contents()).chunks(("psn_no", "visits", SEX)) as chunks:
            parts = list(chunks)
        assert {tuple(part.column_names) for part in parts} == {("psn_no", "visits", SEX)}
        whole = pa.concat_tables(parts, promote_options="permissive")
        due = contents()
        assert whole.num_rows == due.num_rows
        for name in ("psn_no", SEX):
            assert sorted(map(str, whole[name].to_pylist())) == sorted(map(str, due[name].to_pylist()))
        found = [None if value in (None, "") else int(value) for value in whole["visits"].to_pylist()]
        assert sorted(map(str, found)) == sorted(map(str, due["visits"].to_pylist()))
        with (
            pytest.raises(DataContractError, match="column cost is missing"),
            registered(contents()).chunks(("psn_no", "cost")) as chunks,
        ):
            list(chunks)

    def test_no_value_decides_whether_a_study_is_answered(self, registered: Registered) -> None:
        """A refusal is seen by the coordinator: with chosen bounds it would answer questions about a row."""
        source = registered(contents())
        codes = Feature(name=CODES, kind=FeatureKind.CODES, vocabulary_size=1)
        narrow = replace(SPEC, label=Label(column="visits"), features=(number(SEX, 0, 1), codes))
        assert source.training_examples(narrow).persons == source.training_examples(SPEC).persons
        assert source.training_examples(replace(narrow, held_out=1 - 1e-12)).persons == 0
