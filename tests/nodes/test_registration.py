from pathlib import Path
from typing import Any

import pytest

from fedmed.data.duckdb_files import FileKind
from fedmed.errors import ConfigError
from fedmed_nodes.duckdb_source import DuckdbFiles
from fedmed_nodes.postgres_source import PostgresTable
from fedmed_nodes.registration import DatasetEntry, SourceKind, open_source
from fedmed_nodes.sources import Registration


def entry(**values: Any) -> DatasetEntry:
    return DatasetEntry(**{"declared_persons": 10, "data_year": 2025, **values})


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.csv", "csv"), ("a*.CSV", "csv"), ("a.csv.gz", "csv"), ("a.parquet", "parquet"), ("a.pq", "parquet")],
)
def test_the_ending_says_what_a_file_is(name: str, kind: str) -> None:
    table = entry(path=Path("/data") / name).stored_table
    assert isinstance(table, DuckdbFiles)
    assert table.kind is FileKind(kind)


def test_a_declared_kind_comes_before_the_ending() -> None:
    table = entry(path=Path("/data/rows.txt"), kind=SourceKind.PARQUET).stored_table
    assert isinstance(table, DuckdbFiles)
    assert table.kind is FileKind.PARQUET
    with pytest.raises(ConfigError, match=r"kind: rows\.txt does not say what it is"):
        _ = entry(path=Path("/data/rows.txt")).stored_table


def test_a_database_entry_names_file_and_table() -> None:
    values = {"kind": SourceKind.POSTGRESQL, "connection_file": Path("/home/x"), "table": "t"}
    assert entry(**values).stored_table == PostgresTable(connection_file=Path("/home/x"), table="t")
    for change, words in (
        ({"table": ""}, "table must name"),
        ({"connection_file": None}, "connection_file must name"),
        ({"path": Path("/x.csv")}, "path is for files"),
        ({"kind": None, "path": Path("/x.csv")}, "are for kind postgresql"),
        ({"kind": None, "connection_file": None, "table": ""}, "path must name"),
        ({"declared_persons": 0}, "declared_persons must be >= 1"),
    ):
        with pytest.raises(ConfigError, match=words):
            entry(**{**values, **change})


def test_a_dataset_that_was_not_registered_is_not_served() -> None:
    with pytest.raises(ConfigError, match="register the dataset first"):
        open_source(entry(path=Path("/data/a.csv")))
    with pytest.raises(ConfigError, match="32 bytes"):
        Registration(declared_persons=1, data_year=2025, columns=("a",), fingerprint=b"x")
