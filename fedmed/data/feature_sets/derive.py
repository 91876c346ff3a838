"""Deriving a table inside an engine that holds a province's tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa

from fedmed.data.duckdb_files import Engine, own_words
from fedmed.data.feature_sets.recipe import RESULT, Recipe, require_tables
from fedmed.data.nhsa.folder import open_folder
from fedmed.errors import DataContractError

CHUNK_ROWS: Final = 65_536
"""Rows of a chunk."""
ROWS_PER_MIB: Final = 4_000
"""Rows of the largest table for which a MiB of the engine's memory is enough; most are only scanned."""

_STATED: Final = b"fedmed.feature_set"


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedTable:
    """A derived table; it lives as long as its engine.

    Attributes:
        engine: Holds it as `RESULT`.
        columns: In order, the person first.
        rows: Their number; for this process alone.
    """

    engine: Engine
    columns: tuple[str, ...]
    rows: int

    def chunks(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Read all rows in any order, exactly these columns; at least one table comes.

        Args:
            columns: Some of `columns`.

        Raises:
            StoreFailed: the engine's memory was too small.
        """
        query = f"SELECT {', '.join(columns)} FROM {RESULT}"  # noqa: S608  # names of the set, which are plain
        with own_words("the derived table"):
            reader = self.engine.sql(query).to_arrow_reader(CHUNK_ROWS)
            yield reader.schema.empty_table()
            for batch in reader:
                yield pa.Table.from_batches([batch])


@contextmanager
def open_derived(folder: Path, recipe: Recipe, *, memory_mib: int, threads: int) -> Iterator[DerivedTable]:
    """Derive from a folder of insurance tables, CSV or Parquet.

    Args:
        folder: See `fedmed.data.nhsa.folder`.
        recipe: What to derive.
        memory_mib: Bound of the engine's memory, MiB.
        threads: Its threads.

    Raises:
        DataContractError: tables or columns that the set reads are not there, or cannot be read.
        StoreFailed: ``memory_mib`` is too small.

    Guarantees:
        Nothing is written to disk.
    """
    with open_folder(folder, memory_mib=memory_mib, threads=threads) as opened:
        columns = {name: table.columns for name, table in opened.tables.items()}
        rows = max(table.rows for table in opened.tables.values())
        yield derive(opened.engine, recipe, present=columns, parts=parts_for(rows, memory_mib))


def derive(
    engine: Engine, recipe: Recipe, *, present: Mapping[str, frozenset[str]], parts: int = 1
) -> DerivedTable:
    """Derive from the typed views or tables that an engine has under the schema's names.

    Args:
        engine: Has them.
        recipe: What to derive.
        present: Table -> columns that are there.
        parts: In how many parts persons are taken, each with a scan of its own.

    Returns:
        The derived table.

    Guarantees:
        Equal tables give equal rows, for every kind of storage, order of rows, number of parts and threads.
        A feature set gives no person two rows, and one with no claims zeros.

    Raises:
        DataContractError: a table or column is missing or cannot be read, or the settlements end before the
            year that the recipe must reach.
        StoreFailed: the engine's memory was too small.
    """
    require_tables(recipe, present)
    with own_words("the tables"):
        _require_reach(engine, recipe)
        for statement in recipe.statements(parts):
            engine.execute(statement)
        ((rows,),) = engine.execute(f"SELECT count(*) FROM {RESULT}").fetchall()  # noqa: S608
    return DerivedTable(engine=engine, columns=recipe.columns, rows=int(rows))


def _require_reach(engine: Engine, recipe: Recipe) -> None:
    """Refuse claims that end before the outcomes begin: zeros would be made of what nobody knows yet."""
    if recipe.must_reach is None:
        return
    found = engine.execute("SELECT max(enddate) FROM setl").fetchone()
    last = None if found is None else found[0]
    if last is None or last.year < recipe.must_reach:
        ends = "have no last day" if last is None else f"end in {last:%Y-%m}"
        raise DataContractError(
            f"setl: the claims {ends}, and outcomes are of {recipe.must_reach}; derive an earlier year, the "
            "one before the last whole year of the claims"
        )


def parts_for(rows: int, memory_mib: int) -> int:
    """In how many parts tables whose largest has ``rows`` rows fit into the memory."""
    return 1 + rows // (memory_mib * ROWS_PER_MIB)


def stating(table: pa.Table, reference: str) -> pa.Table:
    """The table with the feature set that made it in its schema, where files keep it."""
    return table.replace_schema_metadata({_STATED: reference.encode()})


def stated(table: pa.Table) -> str:
    """What `stating` wrote, empty where nothing did: a file's own word, enough for a simulation alone."""
    return bytes((table.schema.metadata or {}).get(_STATED, b"")).decode(errors="replace")
