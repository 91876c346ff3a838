"""CSV and Parquet files as DuckDB reads them: what it may open, and what its errors may say.

DuckDB sees the named files and nothing else: no network, no extension, no other path, no temporary files,
no configuration afterwards. It opens nothing for writing.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TextIO, TypeAlias

import duckdb
import pyarrow as pa

from fedmed.data.tables import refuse_identifiers
from fedmed.errors import DataContractError, StoreFailed

Engine: TypeAlias = duckdb.DuckDBPyConnection
"""An open DuckDB."""

LONGEST_HEADER = 1 << 20
"""Characters in the header line of a CSV file."""

# Every column is text until a study says what it is; the dialect is never guessed from the first rows.
_CSV = (
    "auto_detect=false, header=true, delim=',', quote='\"', escape='\"', nullstr='', skip=0, "
    "strict_mode=true, null_padding=false, ignore_errors=false, hive_partitioning=false"
)
_PARQUET = "hive_partitioning=false, filename=false, union_by_name=false"
_UNREADABLE = (duckdb.Error, pa.ArrowException, OSError, UnicodeError, csv.Error, EOFError)


class FileKind(Enum):
    """How the rows are written."""

    CSV = "csv"
    PARQUET = "parquet"


def quoted(name: str) -> str:
    """A column's name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def open_engine(files: Sequence[Path], *, memory_mib: int, threads: int) -> Iterator[Engine]:
    """A DuckDB in memory that can open the files and nothing else.

    Args:
        files: Absolute paths, none with a character of DuckDB's own patterns.
        memory_mib: Bound of its memory, MiB.
        threads: Its threads.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "allow_persistent_secrets": False,
        "enable_object_cache": False,
        "memory_limit": f"{memory_mib}MiB",
        "threads": threads,
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
def own_words(what: str) -> Iterator[None]:
    """Turn the engine's errors into ours: its texts quote rows.

    Args:
        what: For the message, such as a file's name.

    Raises:
        StoreFailed: the memory was too small.
        DataContractError: anything else that the engine could not read.
    """
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise StoreFailed(f"{what}: DuckDB's memory_mib is too small; raise it") from None
    except _UNREADABLE:
        raise DataContractError(
            f"{what}: not readable; CSV must be UTF-8 with commas, one header line and as many fields in "
            "every row, Parquet whole: export again"
        ) from None


def relation(path: Path, kind: FileKind) -> str:
    """SQL that stands for a file's rows; every column of a CSV file is text.

    Raises:
        DataContractError: the file is empty, or its header is unusable.
    """
    if path.stat().st_size == 0:
        raise DataContractError(f"{path.name}: the file is empty; export it again")
    if kind is FileKind.PARQUET:
        return f"read_parquet({literal(str(path))}, {_PARQUET})"
    names = _header(path)
    _check_names(names, path)
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    return f"read_csv({literal(str(path))}, columns={{{columns}}}, {_CSV})"


def united(paths: Sequence[Path], kind: FileKind) -> str:
    """SQL that stands for the rows of several files of one kind; columns go together by name.

    Raises:
        DataContractError: a file is empty, or its header is unusable.
    """
    each = [relation(path, kind) for path in paths]
    if kind is FileKind.CSV:
        return "(" + " UNION ALL BY NAME ".join(f"SELECT * FROM {source}" for source in each) + ")"  # noqa: S608
    listed = ", ".join(literal(str(path)) for path in paths)
    return f"read_parquet([{listed}], hive_partitioning=false, filename=false, union_by_name=true)"


def _header(path: Path) -> list[str]:
    """The column names of a CSV file; DuckDB would rename doubled ones in silence."""
    packed = path.suffix.lower() == ".gz"
    with (
        own_words(path.name),
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


def column_types(engine: Engine, source: str, path: Path) -> Mapping[str, str]:
    """Columns of a file with DuckDB's types, in the file's order.

    Args:
        engine: Of `open_engine`.
        source: What `relation` gave.
        path: For messages.

    Raises:
        DataContractError: the file is unreadable, or has doubled, empty or forbidden column names.
    """
    with own_words(path.name):
        # Names and types only: no row is read for it.
        found = engine.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()  # noqa: S608
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
