"""A province's tables as files in one folder: which there are, and an engine that reads them typed.

A table lies in ``setl.parquet`` or ``setl.csv`` (``.csv.gz``), or in a folder ``setl`` with such files at any
depth, as in ``setl/month=2024-01/part-0.parquet``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedmed.data.duckdb_files import Engine, FileKind, column_types, open_engine, own_words, united
from fedmed.data.nhsa.queries import columns_of, typed_view
from fedmed.data.nhsa.schema import schema
from fedmed.errors import DataContractError

_ENDINGS: Final = {".parquet": FileKind.PARQUET, ".csv": FileKind.CSV, ".csv.gz": FileKind.CSV}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFiles:
    """The files of one table.

    Attributes:
        table: Its name.
        kind: How they are written, all alike.
        paths: Absolute, in order of their names.
    """

    table: str
    kind: FileKind
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTable:
    """One table that the engine has a view of.

    Attributes:
        files: Its files; None = it was copied out of a database.
        rows: Number of rows; for this process alone.
        columns: The schema's columns that are there.
        aliases: Spelling in the files -> the schema's, where they differ.
        unknown: Columns of the files that the schema does not have.
    """

    files: TableFiles | None
    rows: int
    columns: frozenset[str]
    aliases: Mapping[str, str]
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFolder:
    """The tables of a folder or a database, opened.

    Attributes:
        tables: By name, in the schema's order.
        engine: Has a view for each of them, with the schema's columns and types.
    """

    tables: Mapping[str, FoundTable]
    engine: Engine

    def numbers(self, sql: str) -> tuple[int, ...]:
        """The one row of whole numbers that a counting query gives.

        Raises:
            StoreFailed: the engine's memory was too small.
            DataContractError: a file could not be read.
        """
        with own_words("the tables"):
            row = self.engine.execute(sql).fetchone()
        return tuple(int(number or 0) for number in row or ())


def find_tables(folder: Path) -> tuple[TableFiles, ...]:
    """Find the schema's tables in a folder; nothing is opened.

    Args:
        folder: As the module's text describes; other files in it are left alone.

    Returns:
        The tables that are there, in the schema's order.

    Raises:
        DataContractError: no folder, none of the tables, a table in two forms, or an unreadable file.
    """
    found = find_named(folder, schema().names)
    if not found:
        raise DataContractError(
            f"{folder}: none of the schema's tables is there; expected files such as setl.parquet, setl.csv "
            "or setl/month=2024-01/part-0.parquet"
        )
    return found


def find_named(folder: Path, names: Sequence[str]) -> tuple[TableFiles, ...]:
    """Find tables by their names, which need not be the schema's; as `find_tables`, but there may be none."""
    if not folder.is_dir():
        raise DataContractError(f"{folder}: no such folder; name the one that holds the tables")
    root = folder.resolve()
    return tuple(table for name in names if (table := _table_files(root, name)) is not None)


@contextmanager
def open_folder(folder: Path, *, memory_mib: int, threads: int) -> Iterator[OpenFolder]:
    """Open a folder's tables with one engine that sees them and nothing else.

    Args:
        folder: See `find_tables`.
        memory_mib: Bound of the engine's memory, MiB.
        threads: Its threads.

    Raises:
        DataContractError: as `find_tables`; a file is unreadable, or names persons outright.

    Guarantees:
        No row is put on disk; files are only read.
    """
    tables = find_tables(folder)
    paths = [path for table in tables for path in table.paths]
    with open_engine(paths, memory_mib=memory_mib, threads=threads) as engine:
        found = {files.table: _opened(engine, files) for files in tables}
        yield OpenFolder(tables=found, engine=engine)


def _opened(engine: Engine, files: TableFiles) -> FoundTable:
    """Make the view of one table and count its rows."""
    table = schema().table(files.table)
    source = united(files.paths, files.kind)
    types = column_types(engine, source, files.paths[0])
    known = columns_of(table, types)
    with own_words(table.name):
        engine.execute(typed_view(table, source, types))
        row = engine.execute(f"SELECT count(*) FROM {source}").fetchone()  # noqa: S608
    spelled = {name: schema().canonical(name) for name in known}
    return FoundTable(
        files=files,
        rows=int(row[0]) if row else 0,
        columns=frozenset(spelled.values()),
        aliases={name: column for name, column in spelled.items() if name != column},
        unknown=tuple(name for name in types if name not in known),
    )


def _table_files(root: Path, name: str) -> TableFiles | None:
    """The files of one table, or None."""
    whole = [root / f"{name}{ending}" for ending in _ENDINGS if (root / f"{name}{ending}").is_file()]
    inside = _inside(root / name)
    if len(whole) + bool(inside) > 1:
        raise DataContractError(f"{name} is there in two forms; keep one of them in {root.name}")
    paths = tuple(whole or inside)
    kinds = {_kind(path) for path in paths}
    if len(kinds) > 1:
        raise DataContractError(f"{name}: its folder holds CSV and Parquet files; keep one kind")
    for path in paths:
        _require_usable(path)
    return TableFiles(table=name, kind=kinds.pop() or FileKind.CSV, paths=paths) if kinds else None


def _inside(folder: Path) -> list[Path]:
    """Files of a table's folder, in order; hidden ones are not of it."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and _kind(path) is not None]
    return [path for path in found if not any(part[0] in "._" for part in path.relative_to(folder).parts)]


def _kind(path: Path) -> FileKind | None:
    """How a file is written, by the end of its name."""
    name = path.name.lower()
    return next((kind for ending, kind in _ENDINGS.items() if name.endswith(ending)), None)


def _require_usable(path: Path) -> None:
    """Refuse what the engine would read as a pattern, and what is closed to this user."""
    if set(str(path)) & set("*?[]{}"):
        raise DataContractError(f"{path.name}: its path must be without any of *?[]{{}}; rename it")
    if not os.access(path, os.R_OK):
        raise DataContractError(f"{path.name} is closed to this user; open it and its folders for reading")
