import pytest

from fedmed.data.feature_sets.definition import Measure, packaged_feature_set
from fedmed.data.nhsa.sample import ROWS, column_sample, derived_sample
from fedmed.data.nhsa.schema import Table, schema


@pytest.mark.parametrize("table", schema().tables, ids=lambda table: table.name)
def test_a_sample_fits_code_lists_and_bounds_and_is_always_the_same(table: Table) -> None:
    for column in table.columns:
        found = column_sample(table.name, column)
        assert found == column_sample(table.name, column)
        assert len(found) == ROWS
        for value in found:
            assert value
            assert not column.codes or value in schema().code_lists[column.codes].codes
            assert column.low is None or float(value) >= column.low
            assert column.high is None or float(value) <= column.high


def test_a_derived_sample_fits_the_public_bounds() -> None:
    for one in (*packaged_feature_set().features, *packaged_feature_set().outcomes):
        for value in derived_sample(one):
            if one.measure is Measure.ATTRIBUTE:
                assert value in one.categories
            elif one.measure is Measure.CODES:
                assert set(value.strip("[]").split(", ")) <= set(one.vocabulary)
            else:
                assert one.low <= float(value) <= one.high
