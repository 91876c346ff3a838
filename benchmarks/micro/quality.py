"""The quality gate on one whole generated province: what it finds, seconds, rows a second and memory.

    python benchmarks/micro/quality.py --people 1000000 --years 1 --json > benchmarks/results/quality.json

The province is written without any fault, so whatever the gate finds is a false alarm. It is checked in a
process of its own, so that the peak is the gate's own. The yardstick is counting the rows of the same files
by every column: what reading them costs at least.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

# Not as benchmarks.facts: opacus installs a package named benchmarks.
sys.path.append(str(Path(__file__).resolve().parents[1]))
from facts import facts, peak_mib, run_apart

MEMORY_MIB, THREADS = 1024, 2


def check_one(folder: Path) -> dict[str, Any]:
    """Check a province: rules by what they say, seconds of the wall and the processor, peak in MiB."""
    from fedmed.data.nhsa.gate import check_folder
    from fedmed.data.nhsa.settings import QualitySettings

    began, used = time.perf_counter(), time.process_time()
    report = check_folder(folder, QualitySettings(), memory_mib=MEMORY_MIB, threads=THREADS)
    return {
        "seconds": time.perf_counter() - began,
        "processor_s": time.process_time() - used,
        "peak_mib": peak_mib(),
        "rules": len(report.outcomes),
        "found": [outcome.rule.name for outcome in report.found],
        "scores": {dimension.value: score for dimension, score in report.scores.items()},
    }


def read_all(folder: Path) -> float:
    """Seconds to count every column of every table, with the gate's threads."""
    began = time.perf_counter()
    with duckdb.connect(config={"threads": THREADS}) as engine:
        for table in sorted(path for path in folder.iterdir() if path.is_dir()):
            engine.execute(f"SELECT count(COLUMNS(*)) FROM read_parquet('{table}/**/*.parquet')")  # noqa: S608
            engine.fetchall()
    return time.perf_counter() - began


def main(words: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=100_000, help="insured persons of the province")
    parser.add_argument("--years", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    options = parser.parse_args(words)
    if options.one is not None:
        print(json.dumps(check_one(options.one)))
        return
    from fedmed.cli.claims_folder import write_claims
    from fedmed.data.claims.generate import ClaimsSettings

    with tempfile.TemporaryDirectory() as place:
        claims = Path(place) / "claims"
        settings = ClaimsSettings(
            people=options.people, seed=options.seed, provinces=("jiangsu",), years=options.years
        )
        write_claims(claims, settings)
        files = list(claims.rglob("*.parquet"))
        folder = claims / "jiangsu"
        once = run_apart(__file__, "--one", str(folder))
        document = {
            **facts(("fedmed", "duckdb", "pyarrow"), seed=options.seed, repeats=1),
            "people": options.people,
            "years": options.years,
            "rows": sum(pq.read_metadata(path).num_rows for path in files),
            "mib": sum(path.stat().st_size for path in files) / 2**20,
            **once,
            "times_a_read": once["seconds"] / read_all(folder),
        }
    if options.json:
        print(json.dumps(document, indent=1))
        return
    for name in ("people", "rows", "mib", "seconds", "processor_s", "peak_mib", "times_a_read", "rules"):
        print(f"{name:16s}{document[name]:14,.1f}")
    print(f"{'found':16s}{', '.join(document['found']) or 'nothing':>14s}")


if __name__ == "__main__":
    main()
