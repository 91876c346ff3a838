"""A dataset that is derived from insurance tables where they lie: files or PostgreSQL.

Both kinds of storage end in the same engine under the same statements, so they give the same rows. Nothing
derived is written anywhere: it is made in memory when a study asks, and again for the next one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa

from fedmed.data.duckdb_files import Engine, column_types, open_engine, own_words, quoted
from fedmed.data.feature_sets.derive import DerivedTable, derive, open_derived, parts_for
from fedmed.data.feature_sets.recipe import Recipe
from fedmed.data.nhsa.folder import FoundTable, OpenFolder, find_tables
from fedmed.data.nhsa.queries import columns_of, typed_view
from fedmed.data.nhsa.schema import schema
from fedmed.errors import DataContractError
from fedmed_nodes.duckdb_source import file_identity
from fedmed_nodes.postgres_source import PostgresSnapshot, open_tables

_KINDS: Final = {pa.int64(): "BIGINT", pa.float64(): "DOUBLE", pa.string(): "VARCHAR"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimFiles:
    """Insurance tables in a folder, CSV or Parquet, as `fedmed.data.nhsa.folder` describes.

    Attributes:
        folder: The folder.
        derivation: What is derived.
        memory_mib: Bound of DuckDB's own memory, MiB; the derived table takes about 0.5 KiB a person of it.
        threads: DuckDB's threads.
    """

    folder: Path
    derivation: Recipe
    memory_mib: int
    threads: int

    @contextmanager
    def snapshot(self) -> Iterator[DerivedTable]:
        """See `fedmed_nodes.sources.StoredTable.snapshot`; changes are seen in the files' status."""
        before = self._identities()
        with open_derived(
            self.folder, self.derivation, memory_mib=self.memory_mib, threads=self.threads
        ) as derived:
            yield derived
        if self._identities() != before:
            raise DataContractError("the claims changed while they were read: register the dataset again")

    def _identities(self) -> Mapping[Path, tuple[int, ...]]:
        """What changes when a file of a table is replaced, written, added or taken away."""
        read = self.derivation.needs
        tables = (table for table in find_tables(self.folder) if table.table in read)
        return {path: file_identity(path) for table in tables for path in table.paths}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimTables:
    """Insurance tables in one schema of PostgreSQL, under the schema's names.

    The columns that the set reads are copied into the engine's memory in one transaction: about 100 bytes a
    fee line. From some ten million lines on, keep claims as Parquet.

    Attributes:
        connection_file: As for `fedmed_nodes.postgres_source.PostgresTable`.
        schema: Name of the schema in the database.
        derivation: What is derived.
        memory_mib: Bound of DuckDB's own memory, MiB.
        threads: DuckDB's threads.
    """

    connection_file: Path
    schema: str
    derivation: Recipe
    memory_mib: int
    threads: int

    @contextmanager
    def snapshot(self) -> Iterator[DerivedTable]:
        """See `fedmed_nodes.sources.StoredTable.snapshot`; the transaction sees no change."""
        needs = self.derivation.needs
        with (
            open_tables(self.connection_file, self.schema, tuple(sorted(needs))) as tables,
            open_engine((), memory_mib=self.memory_mib, threads=self.threads) as engine,
        ):
            found = {name: _copied(engine, name, tables[name], needs[name]) for name in tables}
            parts = parts_for(max(table.rows for table in found.values()), self.memory_mib)
            present = {name: table.columns for name, table in found.items()}
            yield derive(engine, self.derivation, present=present, parts=parts)

    @contextmanager
    def opened(self) -> Iterator[OpenFolder]:
        """The tables that the set reads, whole, as `fedmed.data.nhsa.gate.check_opened` takes them.

        All columns that the schema knows are copied into the engine's memory: several times what deriving
        needs. Errors as `snapshot`; `StoreFailed` also where ``memory_mib`` is too small.
        """
        needs = self.derivation.needs
        names = tuple(name for name in schema().names if name in needs)
        with (
            open_tables(self.connection_file, self.schema, names) as tables,
            open_engine((), memory_mib=self.memory_mib, threads=self.threads) as engine,
        ):
            whole = {name: frozenset(c.name for c in schema().table(name).columns) for name in names}
            found = {name: _copied(engine, name, tables[name], whole[name]) for name in names}
            yield OpenFolder(tables=found, engine=engine)


def _copied(engine: Engine, name: str, table: PostgresSnapshot, needed: frozenset[str]) -> FoundTable:
    """Copy what is needed of a table, and make its typed view."""
    spellings = [column for column in table.columns if schema().canonical(column) in needed]
    if not spellings:
        raise DataContractError(f"table {name} has none of the columns {', '.join(sorted(needed))}")
    raw, rows = f"raw_{name}", 0
    with own_words(name):
        for chunk in table.chunks(spellings):
            if not rows and not chunk.num_rows:
                cells = ", ".join(f"{quoted(f.name)} {_KINDS[f.type]}" for f in chunk.schema)
                engine.execute(f"CREATE TABLE {raw} ({cells})")
                continue
            engine.register("chunk", chunk)
            engine.execute(f"INSERT INTO {raw} SELECT * FROM chunk")  # noqa: S608  # names of the schema
            engine.unregister("chunk")
            rows += chunk.num_rows
        types = column_types(engine, raw, Path(name))
        engine.execute(typed_view(schema().table(name), raw, types))
    spelled = {column: schema().canonical(column) for column in columns_of(schema().table(name), types)}
    return FoundTable(
        files=None,
        rows=rows,
        columns=frozenset(spelled.values()),
        aliases={column: known for column, known in spelled.items() if column != known},
        unknown=tuple(column for column in table.columns if column not in types),
    )
