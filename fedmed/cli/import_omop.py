"""What ``fedmed data import-omop`` does: read OMOP tables and write the insurance tables beside them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fedmed.data.duckdb_files import Engine, column_types, open_engine, own_words, united
from fedmed.data.nhsa.arrow import arrow_schema
from fedmed.data.nhsa.folder import TableFiles, find_named
from fedmed.data.nhsa.omop import REQUIRED, SOURCES, OmopImport, selects, source_view
from fedmed.data.nhsa.results import shown_count
from fedmed.data.nhsa.schema import schema
from fedmed.errors import ConfigError, DataContractError

BATCH_ROWS = 65_536


def import_omop(
    folder: Path, out: Path, declared: OmopImport, *, memory_mib: int = 1024
) -> Mapping[str, str]:
    """Write the insurance tables that OMOP tables give.

    Args:
        folder: Holds ``person.csv`` and so on, CSV or Parquet, as `fedmed.data.nhsa.folder` describes.
        out: Folder to make; must not exist.
        declared: What OMOP does not say.
        memory_mib: Bound of the engine's memory, MiB.

    Returns:
        Table -> its number of rows, as shown.

    Raises:
        ConfigError: ``out`` exists or cannot be written.
        DataContractError: a table of `REQUIRED` is missing, or files cannot be read.
        StoreFailed: the memory was too small.

    Guarantees:
        ``out`` holds all tables, or does not exist.
    """
    files = find_named(folder, tuple(SOURCES))
    missing = sorted(set(REQUIRED) - {table.table for table in files})
    if missing:
        raise DataContractError(
            f"{folder}: OMOP table {', '.join(missing)} is missing; export it as CSV or Parquet"
        )
    paths = [path for table in files for path in table.paths]
    with _new_folder(out) as place, open_engine(paths, memory_mib=memory_mib, threads=2) as engine:
        _make_views(engine, files)
        return {name: _write(engine, name, sql, place) for name, sql in selects(declared).items()}


def _make_views(engine: Engine, files: tuple[TableFiles, ...]) -> None:
    """A view for each OMOP table, there or not."""
    there = {table.table: table for table in files}
    for name in SOURCES:
        source, columns = None, frozenset[str]()
        if name in there:
            table = there[name]
            source = united(table.paths, table.kind)
            columns = frozenset(c.lower() for c in column_types(engine, source, table.paths[0]))
        with own_words(name):
            engine.execute(source_view(name, source, columns))


def _write(engine: Engine, name: str, sql: str, place: Path) -> str:
    """Write one table batch by batch; its number of rows, as shown."""
    wanted = arrow_schema(schema().table(name))
    # What OMOP leaves empty is empty in the file, too: the quality gate then says so.
    loose = pa.schema([field.with_nullable(True) for field in wanted])
    rows = 0
    with own_words(name), pq.ParquetWriter(place / f"{name}.parquet", loose) as writer:
        for batch in engine.sql(sql).to_arrow_reader(BATCH_ROWS):
            writer.write_table(pa.Table.from_batches([batch]).cast(loose))
            rows += batch.num_rows
    return shown_count(rows)


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder that gets its name when all is written."""
    if out.exists():
        raise ConfigError(f"{out} exists; name a new folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as fault:
        raise ConfigError(f"cannot write {out}: {fault.strerror}; name another folder") from None
    try:
        yield place
        place.chmod(0o755)
        place.rename(out)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
