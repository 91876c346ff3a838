"""Registering a dataset: from what the operator wrote to a source that refuses changed rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from fedmed.data.duckdb_files import FileKind
from fedmed.data.feature_sets.recipe import Recipe
from fedmed.errors import ConfigError, DataContractError
from fedmed.types import DatasetSpec, require
from fedmed_nodes.claims_source import ClaimFiles, ClaimTables
from fedmed_nodes.duckdb_source import DuckdbFiles
from fedmed_nodes.fingerprint import content_fingerprint
from fedmed_nodes.postgres_source import PostgresTable
from fedmed_nodes.sources import PERSON, Registration, RowSource, StoredSource, StoredTable, require_columns

_SUFFIXES = {".csv": "csv", ".csv.gz": "csv", ".parquet": "parquet", ".pq": "parquet"}


class SourceKind(Enum):
    """Where the rows of a dataset lie."""

    CSV = "csv"
    PARQUET = "parquet"
    POSTGRESQL = "postgresql"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetEntry:
    """One dataset as the node's settings name it.

    Attributes:
        kind: Where the rows lie; None = by the ending of ``path``.
        path: For files: absolute path or pattern.
        connection_file: For PostgreSQL: a file of mode 0600 with the connection string.
        table: For PostgreSQL: the table or view.
        schema: For PostgreSQL: its schema.
        declared_persons: Insured persons, public; an upper bound.
        data_year: Year that the rows describe.
        columns: Columns that studies may read; empty = all that there are when it is registered.
        fingerprint: What `register` found, 32 bytes; empty before.
        person: Column with the person's pseudonym; the province decides who one person is.
        claims: Folder with insurance tables to derive from; ``derivation`` says what.
        derivation: What is derived from claims: those of ``claims``, or of a schema in PostgreSQL.
        memory_mib: Bound of DuckDB's memory.
        threads: DuckDB's threads.
    """

    declared_persons: int
    data_year: int
    kind: SourceKind | None = None
    path: Path | None = None
    connection_file: Path | None = None
    table: str = ""
    schema: str = "public"
    columns: tuple[str, ...] = ()
    fingerprint: bytes = b""
    person: str = PERSON
    claims: Path | None = None
    derivation: Recipe | None = None
    memory_mib: int = 512
    threads: int = 1

    def __post_init__(self) -> None:
        require(self.declared_persons >= 1, f"declared_persons must be >= 1, got {self.declared_persons}")
        if self.derivation is not None:
            is_alone = self.path is None and not self.table
            require(is_alone, "features derives the rows: remove path and table")
            one_place = (self.claims is None) != (self.connection_file is None)
            require(one_place, "features needs claims, a folder, or connection_file, and not both")
            require(self.person == PERSON, f"person must be {PERSON} where features derives the rows")
        elif self.kind is SourceKind.POSTGRESQL:
            require(self.path is None, "path is for files; a dataset in PostgreSQL has none")
            require(self.connection_file is not None, "connection_file must name the connection's file")
            require(bool(self.table), "table must name the table in PostgreSQL")
        else:
            require(self.path is not None, "path must name the dataset's file")
            is_file = self.connection_file is None and not self.table
            require(is_file, "connection_file and table are for kind postgresql")

    @property
    def stored_table(self) -> StoredTable:
        """Where the rows lie; nothing is opened."""
        if self.derivation is not None:
            return self._derived(self.derivation)
        if self.connection_file is not None:
            return PostgresTable(connection_file=self.connection_file, table=self.table, schema=self.schema)
        path = self.path or Path()
        kind = FileKind(self.kind.value) if self.kind is not None else _kind_by_name(path)
        return DuckdbFiles(pattern=path, kind=kind, memory_mib=self.memory_mib, threads=self.threads)

    @property
    def feature_set(self) -> str:
        """``name@digest`` of the set that derives the rows; empty = they lie there as they are."""
        return "" if self.derivation is None else self.derivation.reference

    def _derived(self, derivation: Recipe) -> StoredTable:
        """Claims that are derived when they are read."""
        if self.connection_file is not None:
            return ClaimTables(
                connection_file=self.connection_file,
                schema=self.schema,
                derivation=derivation,
                memory_mib=self.memory_mib,
                threads=self.threads,
            )
        return ClaimFiles(
            folder=self.claims or Path(),
            derivation=derivation,
            memory_mib=self.memory_mib,
            threads=self.threads,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a registration read, for the operator's eyes only.

    Attributes:
        entry: The entry with its columns and its fingerprint, for the node's settings.
        rows: Number of rows.
        persons: Number of persons, held out or not; None where no study says how to count them.
        quality: Dimension -> score of the claims, as written; empty where there are none.
        withheld: Why the policy of now lets no study read it, with the remedy; empty = studies may.
    """

    entry: DatasetEntry
    rows: int
    persons: int | None = None
    quality: Mapping[str, float] = field(default_factory=dict)
    withheld: str = ""


def register(entry: DatasetEntry, spec: DatasetSpec | None = None) -> DatasetEntry:
    """Read a dataset once and fix what it holds: the entry of `read_through`, which has the details."""
    return read_through(entry, spec).entry


def read_through(entry: DatasetEntry, spec: DatasetSpec | None = None) -> Reading:
    """Read a dataset once and fix what it holds.

    Args:
        entry: What the operator wrote; an earlier fingerprint in it is replaced.
        spec: A study to check the rows against as well: columns, types, persons, outcome.

    Returns:
        The registered entry, and the counts.

    Raises:
        DataContractError: there are no rows, columns are missing, or the study's checks fail; the text is
            for the operator and counts rows, so it goes into no reply and no log.
        ConfigError, StoreFailed: as `StoredTable.snapshot`.
    """
    with entry.stored_table.snapshot() as snapshot:
        columns = entry.columns or snapshot.columns
        require_columns(columns, snapshot.columns)
        found, rows = content_fingerprint(snapshot.chunks(columns), columns)
    if rows == 0:
        raise DataContractError("the dataset has no rows; check the selection of the export")
    registered = replace(entry, columns=tuple(columns), fingerprint=found)
    persons = None if spec is None else open_source(registered).check(spec).persons
    return Reading(entry=registered, rows=rows, persons=persons)


def open_source(entry: DatasetEntry, *, withheld: str = "") -> StoredSource:
    """A source of a registered dataset; no row is read and no file opened.

    Args:
        entry: The dataset.
        withheld: Why no study may read it, beginning with the rule; empty = studies may.

    Raises:
        ConfigError: the entry was never registered.
    """
    if not entry.fingerprint:
        raise ConfigError("fingerprint is missing: register the dataset first")
    source = StoredSource(
        entry.stored_table,
        Registration(
            declared_persons=entry.declared_persons,
            data_year=entry.data_year,
            columns=entry.columns,
            fingerprint=entry.fingerprint,
            person=entry.person,
            feature_set=entry.feature_set,
            withheld=withheld,
        ),
    )
    _: RowSource = source  # what a custodian asks for
    return source


def _kind_by_name(path: Path) -> FileKind:
    """CSV or Parquet by the end of a file's name."""
    for suffix, kind in _SUFFIXES.items():
        if path.name.lower().endswith(suffix):
            return FileKind(kind)
    raise ConfigError(f"kind: {path.name} does not say what it is; write kind = csv or parquet")
