import pyarrow as pa
import pytest

from fedmed_nodes.sources import TableSource
from tests.contracts.source_contract import DECLARED, YEAR, Registered, SourceContract


class TestTableSource(SourceContract):
    @pytest.fixture
    def registered(self) -> Registered:
        def make(table: pa.Table) -> TableSource:
            return TableSource(table, declared_persons=DECLARED, data_year=YEAR)

        return make
