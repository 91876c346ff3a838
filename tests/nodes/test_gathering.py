import dataclasses
import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.data.examples import Examples
from fedmed.data.features import examples
from fedmed.errors import ConfigError, DataContractError
from fedmed_nodes.gathering import as_written, columns_of, gather, survey
from tests.contracts.source_contract import CODES, MONEY, SEX, SPEC, as_bytes, contents

EVERYBODY = dataclasses.replace(SPEC, held_out=0.0)


def rows_by_person(found: Examples) -> list[list[bytes]]:
    """Each person's rows, as sorted bytes; persons sorted."""
    matrix = np.hstack([found.matrix(), found.labels[:, None]])
    spans = zip(found.person_starts[:-1], found.person_starts[1:], strict=True)
    return sorted(sorted(row.tobytes() for row in matrix[a:b]) for a, b in spans)


@pytest.mark.slow
@settings(deadline=None, max_examples=12)
@given(data=st.data(), rows=st.integers(1, 60), seed=st.integers(0, 50))
def test_neither_order_nor_cuts_change_a_byte(data: st.DataObject, rows: int, seed: int) -> None:
    table = contents(rows, seed=seed)
    order = data.draw(st.permutations(range(rows)))
    cuts = sorted({0, rows, *data.draw(st.lists(st.integers(0, rows), max_size=5))})
    turned = table.take(pa.array(order))
    pieces = [turned.slice(a, b - a) for a, b in itertools.pairwise(cuts)]
    assert as_bytes(gather(pieces, SPEC)) == as_bytes(gather([table], SPEC))


@settings(deadline=None, max_examples=10)
@given(rows=st.integers(1, 80), seed=st.integers(0, 50))
def test_every_person_has_the_rows_that_the_whole_table_gives(rows: int, seed: int) -> None:
    table = contents(rows, seed=seed)
    whole = examples(as_written(table), SPEC, part="train")
    assert rows_by_person(gather([table], SPEC)) == rows_by_person(whole)


def test_a_row_without_a_pseudonym_is_left_out() -> None:
    table = contents()
    nameless = contents(5).set_column(0, "psn_no", pa.array([None, "", "NA", " ", None], pa.string()))
    found = gather([nameless, table, nameless], EVERYBODY)
    assert as_bytes(found) == as_bytes(gather([table], EVERYBODY))


def test_a_pseudonym_may_be_an_input_too() -> None:
    table = pa.table({"psn_no": [2, 1, 2], "sick": [0, 1, 1]})
    feature = dataclasses.replace(SPEC.features[0], name="psn_no")
    spec = dataclasses.replace(SPEC, features=(feature,), held_out=0.0)
    found = gather([table.slice(0, 1), table.slice(1, 2)], spec)
    assert found.persons == 2
    assert rows_by_person(found) == rows_by_person(examples(table, spec, part="all"))


def test_a_table_without_rows_gives_no_examples() -> None:
    found = gather([contents().slice(0, 0)], SPEC)
    assert (found.rows, found.persons, found.code_inputs) == (0, 0, 9)
    with pytest.raises(ConfigError, match="at least one part"):
        gather([], SPEC)


def test_a_study_reads_each_of_its_columns_once() -> None:
    expected = ("psn_no", "sick", "age", MONEY, "share", "visits", SEX, "retired", "birth", CODES)
    assert columns_of(SPEC) == expected
    again = dataclasses.replace(SPEC, features=(dataclasses.replace(SPEC.features[0], name="sick"),))
    assert columns_of(again) == ("psn_no", "sick")


def test_a_survey_counts_everybody_over_all_chunks() -> None:
    table = contents()
    persons = len(set(table["psn_no"].to_pylist()))
    found = survey([table.slice(0, 70), table.slice(70)], SPEC)
    assert (found.rows, found.persons) == (150, persons)


def test_a_survey_refuses_what_the_steward_must_mend() -> None:
    table = contents()
    one = table.filter(pa.compute.equal(table["psn_no"], table["psn_no"][0]))
    with pytest.raises(DataContractError, match="fewer than two persons"):
        survey([one], SPEC)
    well = table.filter(pa.compute.equal(table["sick"], 0))
    with pytest.raises(DataContractError, match="one class only"):
        survey([well], SPEC)
    at = table.column_names.index("visits")
    with pytest.raises(DataContractError, match="column visits: 150 of 150 values are not numbers") as fault:
        survey([table.set_column(at, "visits", pa.array(["secret"] * 150))], SPEC)
    assert "secret" not in str(fault.value)
