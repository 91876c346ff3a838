"""CSV and Parquet files where they lie, read by DuckDB: no copy, no server, bounded memory.

DuckDB sees the named files and nothing else: no network, no extension, no other path, no temporary files,
no configuration afterwards. It opens nothing for writing.
"""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TextIO

import duckdb
import pyarrow as pa

from fedmed.data.tables import refuse_identifiers
from fedmed.errors import ConfigError, DataContractError, StoreFailed
from fedmed.types import require
from fedmed_nodes.gathering import CHUNK_ROWS

LONGEST_HEADER = 1 << 20
"""Characters in the header line of a CSV file."""

# Every column is text until a study says what it is; the dialect is never guessed from the first rows.
_CSV = (
    "auto_detect=false, header=true, delim=',', quote='\"', escape='\"', nullstr='', skip=0, "
    "strict_mode=true, null_padding=false, ignore_errors=false"
)
_PARQUET = "hive_partitioning=false, filename=false, union_by_name=false"
_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
_AS_STORED = (*_INTEGERS, "DOUBLE", "VARCHAR", *(f"{kind}[]" for kind in _INTEGERS))
# Decimals and short floats go by way of their text: 0.1 is then 0.1 in every kind of storage.
_AS_TEXT = ("FLOAT", "UBIGINT", "HUGEINT", "DECIMAL", "DATE", "TIMESTAMP", "TIME", "UUID", "ENUM", '"NULL"')
_UNREADABLE = (duckdb.Error, pa.ArrowException, OSError, UnicodeError, csv.Error, EOFError)


class FileKind(Enum):
    """How the rows are written."""

    CSV = "csv"
    PARQUET = "parquet"


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
        before = [_identity(path) for path in files]
        with _engine(self, files) as engine:
            yield FilesSnapshot(engine, files, kind=self.kind)
        if self._files() != files or [_identity(path) for path in files] != before:
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
        self._relations = tuple(_relation(path, kind) for path in files)
        self._types = _types(engine, self._relations[0], files[0])
        for path, relation in zip(files[1:], self._relations[1:], strict=True):
            if _types(engine, relation, path) != self._types:
                raise DataContractError(f"{path.name}: other columns or types than in {files[0].name}")

    @property
    def columns(self) -> tuple[str, ...]:
        """See `fedmed_nodes.sources.Snapshot.columns`."""
        return tuple(self._types)

    def chunks(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """See `fedmed_nodes.sources.Snapshot.chunks`."""
        chosen = ", ".join(_expression(name, self._types[name]) for name in columns)
        query = " UNION ALL ".join(f"SELECT {chosen} FROM {relation}" for relation in self._relations)  # noqa: S608
        with _own_words("the files"):
            reader = self._engine.sql(query).to_arrow_reader(CHUNK_ROWS)
            yield reader.schema.empty_table()
            for batch in reader:
                yield pa.Table.from_batches([batch])


def _closed(path: Path) -> ConfigError:
    """For a file that the custodian's user has no right to."""
    return ConfigError(f"{path} is closed to the custodian's user; chown it, or open it and its folders")


def quoted(name: str) -> str:
    """A column's name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def _engine(settings: DuckdbFiles, files: Sequence[Path]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB in memory that can open the files and nothing else."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "allow_persistent_secrets": False,
        "enable_object_cache": False,
        "memory_limit": f"{settings.memory_mib}MiB",
        "threads": settings.threads,
        "temp_directory": "",  # rows are never put on disk
        "preserve_insertion_order": False,
    }
    engine = duckdb.connect(":memory:", config=config)
    try:
        named = ", ".join(literal(str(path)) for path in files)
        engine.execute(f"SET allowed_paths = [{named}]")
        engine.execute("SET enable_external_access = false")
        engine.execute("SET lock_configuration = true")
        yield engine
    finally:
        engine.close()


@contextmanager
def _own_words(what: str) -> Iterator[None]:
    """Turn the engine's errors into ours: its texts quote rows."""
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise StoreFailed(f"{what}: DuckDB's memory_mib is too small; raise it") from None
    except _UNREADABLE:
        raise DataContractError(
            f"{what}: not readable; CSV must be UTF-8 with commas, one header line and as many fields in "
            "every row, Parquet whole: export again"
        ) from None


def _identity(path: Path) -> tuple[int, int, int, int, int]:
    """What changes when a file is replaced or written."""
    try:
        status = path.stat()
    except OSError:
        raise DataContractError(f"{path.name}: the file went away; check the path in the settings") from None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _relation(path: Path, kind: FileKind) -> str:
    """SQL that stands for a file's rows."""
    if path.stat().st_size == 0:
        raise DataContractError(f"{path.name}: the file is empty; export it again")
    if kind is FileKind.PARQUET:
        return f"read_parquet({literal(str(path))}, {_PARQUET})"
    names = _header(path)
    _check_names(names, path)
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    return f"read_csv({literal(str(path))}, columns={{{columns}}}, {_CSV})"


def _header(path: Path) -> list[str]:
    """The column names of a CSV file; DuckDB would rename doubled ones in silence."""
    packed = path.suffix.lower() == ".gz"
    with (
        _own_words(path.name),
        gzip.open(path, "rt", encoding="utf-8-sig", newline="")
        if packed
        else path.open(encoding="utf-8-sig", newline="") as text,
    ):
        return next(csv.reader(_short_lines(text)), [])


def _short_lines(text: TextIO) -> Iterator[str]:
    """Lines of a file; a file without line ends is not read into memory."""
    while line := text.readline(LONGEST_HEADER):
        if len(line) == LONGEST_HEADER:
            raise csv.Error("no line end in sight")
        yield line


def _types(engine: duckdb.DuckDBPyConnection, relation: str, path: Path) -> Mapping[str, str]:
    """Columns of a file with DuckDB's types, in the file's order."""
    with _own_words(path.name):
        # Names and types only: no row is read for it.
        found = engine.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()  # noqa: S608
    types = {str(row[0]): str(row[1]) for row in found}
    _check_names(list(types), path)
    return types


def _check_names(names: list[str], path: Path) -> None:
    """Refuse names that SQL or a reader could mistake, and direct identifiers."""
    lowered = [name.lower() for name in names]
    doubled = sorted({name for name in names if lowered.count(name.lower()) > 1})
    if doubled:
        raise DataContractError(
            f"{path.name}: columns {', '.join(doubled)} have one name but for capitals; rename or drop one"
        )
    if not names or any(not name.strip() or "\x00" in name for name in names):
        raise DataContractError(f"{path.name}: the header has an empty column name; name every column")
    refuse_identifiers(names, where=path.name)


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
