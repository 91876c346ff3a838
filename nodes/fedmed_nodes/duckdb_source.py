"""CSV and Parquet files where they lie, read by DuckDB: no copy, no server, bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from fedmed.data.duckdb_files import FileKind, column_types, open_engine, own_words, quoted, relation
from fedmed.errors import ConfigError, DataContractError
from fedmed.types import require
from fedmed_nodes.gathering import CHUNK_ROWS

_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
_AS_STORED = (*_INTEGERS, "DOUBLE", "VARCHAR", *(f"{kind}[]" for kind in _INTEGERS))
# Decimals and short floats go by way of their text: 0.1 is then 0.1 in every kind of storage.
_AS_TEXT = ("FLOAT", "UBIGINT", "HUGEINT", "DECIMAL", "DATE", "TIMESTAMP", "TIME", "UUID", "ENUM", '"NULL"')


@dataclass(frozen=True, slots=True, kw_only=True)
class DuckdbFiles:
    """One table in one file or several with equal columns.

    Attributes:
        pattern: Absolute path; ``*``, ``?`` and ``[...]`` in it stand for several files.
        kind: CSV (UTF-8, commas, one header line; ``.gz`` compressed) or Parquet.
        memory_mib: Bound of DuckDB's own memory, MiB.
        threads: DuckDB's threads.
    """

    pattern: Path
    kind: FileKind
    memory_mib: int = 512
    threads: int = 1

    def __post_init__(self) -> None:
        require(self.pattern.is_absolute(), f"path must be absolute, got {self.pattern}")
        require(64 <= self.memory_mib <= 1 << 20, f"memory_mib must be in 64..2^20, got {self.memory_mib}")
        require(1 <= self.threads <= 256, f"threads must be in 1..256, got {self.threads}")

    @contextmanager
    def snapshot(self) -> Iterator[FilesSnapshot]:
        """See `fedmed_nodes.sources.StoredTable.snapshot`; changes are seen in the files' status."""
        files = self._files()
        before = [file_identity(path) for path in files]
        with open_engine(files, memory_mib=self.memory_mib, threads=self.threads) as engine:
            yield FilesSnapshot(engine, files, kind=self.kind)
        if self._files() != files or [file_identity(path) for path in files] != before:
            raise DataContractError("dataset changed while it was read: register it again")

    def _files(self) -> tuple[Path, ...]:
        """The files that the pattern stands for, in order of their names."""
        try:
            if self.pattern.is_file():
                found = [self.pattern]
            else:
                root = Path(self.pattern.anchor)
                found = sorted(root.glob(str(self.pattern.relative_to(root))))
            files = tuple(path.resolve() for path in found if path.is_file())
        except PermissionError:
            raise _closed(self.pattern) from None
        if not files:
            raise DataContractError(f"{self.pattern}: no such file; check the path in the settings")
        for path in files:
            # DuckDB would read them as patterns of its own.
            is_plain = not set(str(path)) & set("*?[]{}")
            require(is_plain, f"{path.name}: its path must be without any of *?[]{{}}; rename it")
            if not os.access(path, os.R_OK):
                raise _closed(path)
        return files


class FilesSnapshot:
    """See `fedmed_nodes.sources.Snapshot`."""

    def __init__(self, engine: duckdb.DuckDBPyConnection, files: Sequence[Path], *, kind: FileKind) -> None:
        self._engine = engine
        self._relations = tuple(relation(path, kind) for path in files)
        self._types = column_types(engine, self._relations[0], files[0])
        for path, source in zip(files[1:], self._relations[1:], strict=True):
            if column_types(engine, source, path) != self._types:
                raise DataContractError(f"{path.name}: other columns or types than in {files[0].name}")

    @property
    def columns(self) -> tuple[str, ...]:
        """See `fedmed_nodes.sources.Snapshot.columns`."""
        return tuple(self._types)

    def chunks(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """See `fedmed_nodes.sources.Snapshot.chunks`."""
        chosen = ", ".join(_expression(name, self._types[name]) for name in columns)
        query = " UNION ALL ".join(f"SELECT {chosen} FROM {source}" for source in self._relations)  # noqa: S608
        with own_words("the files"):
            reader = self._engine.sql(query).to_arrow_reader(CHUNK_ROWS)
            yield reader.schema.empty_table()
            for batch in reader:
                yield pa.Table.from_batches([batch])


def _closed(path: Path) -> ConfigError:
    """For a file that the custodian's user has no right to."""
    return ConfigError(f"{path} is closed to the custodian's user; chown it, or open it and its folders")


def file_identity(path: Path) -> tuple[int, int, int, int, int]:
    """What changes when a file is replaced or written; raises `DataContractError` where it went away."""
    try:
        status = path.stat()
    except OSError:
        raise DataContractError(f"{path.name}: the file went away; check the path in the settings") from None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _expression(name: str, kind: str) -> str:
    """How a column is selected, so that its values do not depend on how they were stored."""
    column = quoted(name)
    if kind in _AS_STORED:
        return column
    if kind == "BOOLEAN":
        return f"CAST({column} AS TINYINT) AS {column}"
    if kind.startswith(_AS_TEXT) and not kind.endswith("]"):
        return f"CAST({column} AS VARCHAR) AS {column}"
    raise ConfigError(f"column {name} has type {kind}; leave it out of the registered columns")
