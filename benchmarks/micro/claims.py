"""Writing a province's claims: rows a second and memory, against copying the finished files.

    python benchmarks/micro/claims.py --people 100000 --json > benchmarks/results/claims.json

Each run writes one province over three years in a process of its own, so that the peak is its own. The
yardstick is reading the same Parquet files and writing them again: what disk and format cost at least.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

# Not as benchmarks.facts: opacus installs a package named benchmarks.
sys.path.append(str(Path(__file__).resolve().parents[1]))
from facts import facts, peak_mib, run_apart


def write_one(folder: Path, people: int, seed: int) -> dict[str, float]:
    """Write one province; rows, seconds of the wall and of the processor, and the peak of memory in MiB."""
    from fedmed.cli.claims_folder import write_claims
    from fedmed.data.claims.generate import ClaimsSettings

    began, used = time.perf_counter(), time.process_time()
    settings = ClaimsSettings(people=people, seed=seed, provinces=("jiangsu",), years=3)
    write_claims(folder, settings)
    seconds, processor = time.perf_counter() - began, time.process_time() - used
    rows = sum(pq.read_metadata(path).num_rows for path in folder.rglob("*.parquet"))
    return {"rows": rows, "seconds": seconds, "processor_s": processor, "peak_mib": peak_mib()}


def copy_all(folder: Path, to: Path) -> float:
    """Seconds to read every file and write it again."""
    began = time.perf_counter()
    for number, path in enumerate(sorted(folder.rglob("*.parquet"))):
        pq.write_table(pq.read_table(path), to / f"{number}.parquet")
    return time.perf_counter() - began


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=100_000, help="insured persons of the province")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    options = parser.parse_args(arguments)
    if options.one is not None:
        print(json.dumps(write_one(options.one, options.people, options.seed)))
        return
    runs, copies = [], []
    for repeat in range(options.repeats):
        with tempfile.TemporaryDirectory() as place:
            claims, copied = Path(place) / "claims", Path(place) / "copied"
            copied.mkdir()
            words = ("--people", str(options.people), "--seed", str(options.seed + repeat))
            runs.append(run_apart(__file__, "--one", str(claims), *words))
            copies.append(copy_all(claims, copied))
    rates = [run["rows"] / run["seconds"] for run in runs]
    document = {
        **facts(("fedmed", "pyarrow", "numpy"), seed=options.seed, repeats=options.repeats),
        "people": options.people,
        "years": 3,
        "rows": runs[0]["rows"],
        "rows_per_second": {"min": min(rates), "median": statistics.median(rates), "max": max(rates)},
        "rows_per_processor_second": statistics.median(r["rows"] / r["processor_s"] for r in runs),
        "peak_mib": max(run["peak_mib"] for run in runs),
        "times_a_copy": statistics.median(r["seconds"] / c for r, c in zip(runs, copies, strict=True)),
    }
    if options.json:
        print(json.dumps(document, indent=1))
        return
    for name in ("people", "rows", "rows_per_processor_second", "peak_mib", "times_a_copy"):
        print(f"{name:28s}{document[name]:14,.1f}")
    print(f"{'rows_per_second':28s}{document['rows_per_second']['median']:14,.1f}")


if __name__ == "__main__":
    main()
