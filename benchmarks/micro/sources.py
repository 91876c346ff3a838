"""Rows per second and peak memory of a custodian's data sources: CSV, Parquet and PostgreSQL.

Each kind of storage is measured in a process of its own, on the same made-up rows: registering them (one pass
for the fingerprint), and reading a study's examples (the fingerprint again, then the columns of the study).
With a server, fetching by COPY is timed beside fetching from a server-side cursor.

    python benchmarks/micro/sources.py [--json] [--rows 1000000] [--repeats 3] [--postgres CONNECTION]

Without ``--postgres`` (a connection string of a superuser of a test server) files only are measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from psycopg import conninfo

from fedmed.types import DatasetSpec, Feature, FeatureKind, Label
from fedmed_nodes.gathering import columns_of
from fedmed_nodes.postgres_source import connection_parameters
from fedmed_nodes.registration import DatasetEntry, SourceKind, open_source, register

# Not as benchmarks.facts: opacus installs a package named benchmarks.
sys.path.append(str(Path(__file__).resolve().parents[1]))
from facts import facts, peak_mib, run_apart

SEED = 20_240_601
CHUNK = 100_000
ROWS_OF_A_PERSON = 2
NUMBERS = tuple(f"cost_{i}" for i in range(8))
SPEC = DatasetSpec(
    name="person_year",
    person="psn_no",
    label=Label(column="sick"),
    features=(
        *(Feature(name=name, kind=FeatureKind.NUMBER, low=0, high=1000) for name in NUMBERS),
        Feature(name="sex", kind=FeatureKind.CATEGORY, categories=("1", "2")),
        Feature(name="codes", kind=FeatureKind.CODES, vocabulary_size=400),
    ),
)
PACKAGES = ("duckdb", "psycopg", "pyarrow", "numpy")
READER, TABLE = "fedmed_bench_reader", "fedmed_bench_rows"


def made_up_rows(rows: int) -> Iterator[pa.Table]:
    """Rows in chunks; two a person, far apart."""
    draws = np.random.default_rng(SEED)
    for start in range(0, rows, CHUNK):
        count = min(CHUNK, rows - start)
        person = (np.arange(start, start + count) * 7919) % max(rows // ROWS_OF_A_PERSON, 1)
        codes = draws.integers(0, 400, (count, 3))
        yield pa.table(
            {
                "psn_no": [f"P{number:012d}" for number in person.tolist()],
                **{name: draws.uniform(0, 1000, count) for name in NUMBERS},
                "sex": draws.integers(1, 3, count),
                "codes": [" ".join(map(str, row)) for row in codes.tolist()],
                "sick": draws.integers(0, 2, count),
            }
        )


def write_files(folder: Path, rows: int) -> None:
    """Write the rows as ``rows.csv`` and ``rows.parquet``."""
    chunks = made_up_rows(rows)
    first = next(chunks)
    with (
        pacsv.CSVWriter(folder / "rows.csv", first.schema) as text,
        pq.ParquetWriter(folder / "rows.parquet", first.schema) as columns,
    ):
        for chunk in (first, *chunks):
            text.write_table(chunk)
            columns.write_table(chunk)


@contextmanager
def loaded(server: str, folder: Path) -> Iterator[None]:
    """The rows of ``rows.csv`` in a table of the server, and ``connection``, the file of a reading role."""
    kinds = ", ".join(f"{name} double precision" for name in NUMBERS)
    with psycopg.connect(server, autocommit=True) as connection:
        drop(connection)
        connection.execute(
            f"CREATE TABLE {TABLE} (psn_no text, {kinds}, sex int, codes text, sick int)".encode()
        )
        csv_file = folder / "rows.csv"
        copy_in = f"COPY {TABLE} FROM STDIN (FORMAT csv, HEADER)".encode()
        with connection.cursor() as cursor, cursor.copy(copy_in) as copy, csv_file.open("rb") as file:
            while block := file.read(1 << 20):
                copy.write(block)
        connection.execute(f"CREATE ROLE {READER} LOGIN; GRANT SELECT ON {TABLE} TO {READER}".encode())
        connection.execute(f"ANALYZE {TABLE}".encode())
        path = folder / "connection"
        path.write_text(conninfo.make_conninfo(server, user=READER))
        path.chmod(0o600)
        try:
            yield
        finally:
            drop(connection)


def drop(connection: psycopg.Connection[Any]) -> None:
    connection.execute(f"DROP TABLE IF EXISTS {TABLE}".encode())
    connection.execute(f"DROP ROLE IF EXISTS {READER}".encode())


def entry(kind: str, folder: Path, rows: int) -> DatasetEntry:
    """The dataset as an operator would name it."""
    if kind == SourceKind.POSTGRESQL.value:
        return DatasetEntry(
            kind=SourceKind.POSTGRESQL,
            connection_file=folder / "connection",
            table=TABLE,
            declared_persons=rows,
            data_year=2025,
        )
    return DatasetEntry(path=folder / f"rows.{kind}", declared_persons=rows, data_year=2025)


def measure_here(kind: str, folder: Path, rows: int) -> dict[str, float]:
    """Register and read once in this process."""
    before = peak_mib()
    dataset, register_s = timed(lambda: register(entry(kind, folder, rows)))
    registered = peak_mib()
    found, examples_s = timed(lambda: open_source(dataset).training_examples(SPEC))
    arrays = (found.dense, found.code_starts, found.codes, found.labels, found.person_starts)
    result = {
        "register_s": register_s,
        "examples_s": examples_s,
        "register_peak_mib": registered - before,
        "examples_peak_mib": peak_mib() - before,
        "examples_mib": sum(array.nbytes for array in arrays) / 2**20,
    }
    if kind == SourceKind.POSTGRESQL.value:
        result["copy_s"] = timed(lambda: fetch_by_copy(dataset))[1]
        result["cursor_s"] = timed(lambda: fetch_from_cursor(dataset))[1]
    return result


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.perf_counter()
    found = work()
    return found, time.perf_counter() - begun


def fetch_by_copy(dataset: DatasetEntry) -> int:
    """All rows of the study's columns as Arrow tables, as the source does it."""
    with dataset.stored_table.snapshot() as snapshot:
        return sum(chunk.num_rows for chunk in snapshot.chunks(columns_of(SPEC)))


def fetch_from_cursor(dataset: DatasetEntry) -> int:
    """The same from a server-side cursor."""
    assert dataset.connection_file is not None
    connection = psycopg.connect(conninfo.make_conninfo(**connection_parameters(dataset.connection_file)))
    with connection, connection.cursor(name="rows") as cursor:
        names = columns_of(SPEC)
        cursor.execute(f"SELECT {', '.join(names)} FROM {TABLE}".encode())  # noqa: S608
        count = 0
        while rows := cursor.fetchmany(10_000):
            columns = zip(*rows, strict=True)
            count += pa.table([pa.array(column) for column in columns], names=list(names)).num_rows
        return count


def measure(kind: str, folder: Path, *, rows: int, repeats: int) -> dict[str, Any]:
    """Measure one kind of storage in fresh processes; medians, least and greatest."""
    words = ("--kind", kind, "--folder", str(folder), "--rows", str(rows))
    found = [run_apart(__file__, *words) for _ in range(repeats)]
    row: dict[str, Any] = {"kind": kind, "rows": rows}
    for name in found[0]:
        values = [one[name] for one in found]
        row[name] = round(statistics.median(values), 3)
        row[f"{name}_min"], row[f"{name}_max"] = round(min(values), 3), round(max(values), 3)
    row["register_rows_per_s"] = round(rows / row["register_s"])
    row["examples_rows_per_s"] = round(rows / row["examples_s"])
    return row


def run(rows: int, *, repeats: int, server: str) -> dict[str, Any]:
    """Measure every kind; the document that ``--json`` prints."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, rows)
        found = [measure(kind, folder, rows=rows, repeats=repeats) for kind in ("csv", "parquet")]
        if server:
            with loaded(server, folder):
                found.append(measure("postgresql", folder, rows=rows, repeats=repeats))
    return {
        "benchmark": "sources",
        **facts(PACKAGES, seed=SEED, repeats=repeats),
        "rows": found,
    }


def table(document: dict[str, Any]) -> str:
    lines = [
        f"{'kind':<12}{'rows':>9}{'register /s':>13}{'examples /s':>13}{'peak MiB':>10}{'examples MiB':>14}"
    ]
    for row in document["rows"]:
        rates = f"{row['register_rows_per_s']:>13}{row['examples_rows_per_s']:>13}"
        memory = f"{row['examples_peak_mib']:>10.0f}{row['examples_mib']:>14.0f}"
        lines.append(f"{row['kind']:<12}{row['rows']:>9}{rates}{memory}")
        if "cursor_s" in row:
            lines.append(f"  fetching: COPY {row['copy_s']:.2f} s, cursor {row['cursor_s']:.2f} s")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time a custodian's data sources.")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--postgres", default="", help="connection string of a superuser of a test server")
    parser.add_argument("--kind", default="", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=Path(), help=argparse.SUPPRESS)
    settings = parser.parse_args(arguments)
    if settings.kind:
        print(json.dumps(measure_here(settings.kind, settings.folder, settings.rows)))
        return
    document = run(settings.rows, repeats=settings.repeats, server=settings.postgres)
    print(json.dumps(document, indent=1) if settings.json else table(document))


if __name__ == "__main__":
    main()
