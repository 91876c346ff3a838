"""Seconds and peak memory of deriving a person's year from claims, beside a plain scan of the same columns.

Claims of one made-up province are written once, in copies under other pseudonyms and visit numbers until
there are about as many fee lines as asked for; each measurement is a process of its own. The scan reads
every column that the feature set reads in the same engine with the same threads: less no derivation can do.

    python benchmarks/micro/features.py [--json] [--lines 10000000] [--repeats 3] [--folder CLAIMS]

``--folder`` measures claims that lie there already (a province of ``fedmed data generate --tables claims``).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fedmed.cli.claims_folder import write_claims
from fedmed.data.claims.generate import ClaimsSettings
from fedmed.data.duckdb_files import column_types, united
from fedmed.data.feature_sets.compile import Derivation
from fedmed.data.feature_sets.definition import packaged_feature_set
from fedmed.data.feature_sets.derive import derive, parts_for
from fedmed.data.nhsa.folder import open_folder
from fedmed.data.nhsa.queries import columns_of
from fedmed.data.nhsa.schema import schema

# Not as benchmarks.facts: opacus installs a package named benchmarks.
sys.path.append(str(Path(__file__).resolve().parents[1]))
from facts import facts, peak_mib, run_apart

SEED = 20_240_601
PROVINCE, REGION = "jiangsu", "320000"
YEARS, FIRST_YEAR = 3, 2023
LINES_A_PERSON = 35
"""Fee lines of a person in the three years, about."""
COPIES = 10
KEYS = ("psn_no", "mdtrt_id", "setl_id", "feedetl_sn")
MEMORY_MIB, THREADS = 3_072, 2
PACKAGES = ("duckdb", "pyarrow", "numpy")


def write_province(folder: Path, lines: int) -> Path:
    """Write claims with about so many fee lines; the province's folder."""
    people = max(100, lines // COPIES // LINES_A_PERSON)
    write_claims(folder, ClaimsSettings(people=people, seed=SEED, provinces=(PROVINCE,), years=YEARS))
    place = folder / PROVINCE
    for table in packaged_feature_set().needs:
        for path in sorted((place / table).rglob("*.parquet")):
            rows = pq.read_table(path, partitioning=None)
            for number in range(1, COPIES):
                copied = path.with_name(f"{path.stem}-copy{number}.parquet")
                pq.write_table(renamed(rows, number), copied, compression="zstd", store_schema=False)
    return place


def renamed(rows: pa.Table, number: int) -> pa.Table:
    """The rows with other keys."""
    for at, name in enumerate(rows.column_names):
        if name in KEYS:
            keys = pc.binary_join_element_wise(rows.column(at), str(number), "x")
            rows = rows.set_column(at, name, keys)
    return rows


def measure_here(folder: Path, work: str) -> dict[str, float]:
    """Scan or derive once in this process."""
    features = packaged_feature_set()
    with open_folder(folder, memory_mib=MEMORY_MIB, threads=THREADS) as opened:
        lines = opened.tables["fee_list"].rows
        begun = time.perf_counter()
        if work == "scan":
            for table, columns in sorted(features.needs.items()):
                files = opened.tables[table].files
                source = united(files.paths, files.kind)
                types = column_types(opened.engine, source, files.paths[0])
                names = [
                    n for n in columns_of(schema().table(table), types) if schema().canonical(n) in columns
                ]
                sums = ", ".join(f"max(hash({name}))" for name in sorted(names))
                query = f"SELECT count(*), {sums} FROM {source}"  # noqa: S608  # names of the schema
                opened.engine.execute(query).fetchall()
            rows = 0
        else:
            present = {name: table.columns for name, table in opened.tables.items()}
            largest = max(table.rows for table in opened.tables.values())
            derivation = Derivation(features=features, year=FIRST_YEAR, regions=(REGION,))
            parts = parts_for(largest, MEMORY_MIB)
            derived = derive(opened.engine, derivation, present=present, parts=parts)
            rows = sum(chunk.num_rows for chunk in derived.chunks(derived.columns))
        seconds = time.perf_counter() - begun
    return {"seconds": seconds, "peak_mib": peak_mib(), "lines": lines, "persons": rows}


def measure(folder: Path, work: str, *, repeats: int) -> dict[str, Any]:
    """Measure in fresh processes; medians, least and greatest."""
    found = [run_apart(__file__, "--work", work, "--folder", str(folder)) for _ in range(repeats)]
    row: dict[str, Any] = {"work": work, "lines": found[0]["lines"], "persons": found[0]["persons"]}
    for name in ("seconds", "peak_mib"):
        values = [one[name] for one in found]
        row[name] = round(statistics.median(values), 3)
        row[f"{name}_min"], row[f"{name}_max"] = round(min(values), 3), round(max(values), 3)
    return row


def run(lines: int, *, repeats: int, folder: Path | None = None) -> dict[str, Any]:
    """Measure both; the document that ``--json`` prints."""
    with tempfile.TemporaryDirectory() as name:
        claims = folder or write_province(Path(name) / "claims", lines)
        rows = [measure(claims, work, repeats=repeats) for work in ("scan", "derive")]
    return {
        "benchmark": "features",
        **facts(PACKAGES, seed=SEED, repeats=repeats),
        "feature_set": packaged_feature_set().reference,
        "memory_mib": MEMORY_MIB,
        "threads": THREADS,
        "rows": rows,
        "ratio": round(rows[1]["seconds"] / rows[0]["seconds"], 2),
    }


def table(document: dict[str, Any]) -> str:
    """The document for people."""
    lines = [f"{'work':<8}{'fee lines':>12}{'persons':>10}{'seconds':>9}{'peak MiB':>10}"]
    for row in document["rows"]:
        size = f"{row['lines']:>12,}{row['persons']:>10,}"
        lines.append(f"{row['work']:<8}{size}{row['seconds']:>9.1f}{row['peak_mib']:>10.0f}")
    lines.append(f"deriving takes {document['ratio']} times a scan")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time deriving a person's year from claims.")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--lines", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--folder", type=Path, default=None, help="claims of a province that lie there already"
    )
    parser.add_argument("--work", default="", help=argparse.SUPPRESS)
    settings = parser.parse_args(arguments)
    if settings.work:
        print(json.dumps(measure_here(settings.folder, settings.work)))
        return
    document = run(settings.lines, repeats=settings.repeats, folder=settings.folder)
    print(json.dumps(document, indent=1) if settings.json else table(document))


if __name__ == "__main__":
    main()
