"""Time a statistics study over four nodes in simulation against a pooled group-by of the same rows.

Rows, persons and money by 100 x 100 cells, exact and with noise, through the whole encrypted path; DuckDB
groups the same rows on one machine in the same run, so the ratio is the price of not pooling them.
``study_s`` is all but the ceremony, which a federation does once an epoch.

    python benchmarks/micro/secure_statistics.py [--json] [--rows 25000] [--levels 99] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from fedmed.simulation import run_question
from fedmed.study import StudySpec, study_from_document

# Not as benchmarks.facts: opacus installs a package named benchmarks.
sys.path.append(str(Path(__file__).resolve().parents[1]))
from facts import facts

SEED = 20_240_601
NODES = ("shanghai", "jiangsu", "zhejiang", "anhui")
ROWS_OF_A_PERSON = 5
PACKAGES = ("duckdb", "flwr", "numpy", "pyarrow", "tenseal")
POOLED = "SELECT a, b, count(*), count(DISTINCT psn_no), sum(cost) FROM pooled GROUP BY a, b"


def made_up_rows(rows: int, levels: int) -> dict[str, pa.Table]:
    """Rows of every node, several of each person."""
    found = {}
    for place, node in enumerate(NODES):
        draw = np.random.default_rng([SEED, place])
        found[node] = pa.table(
            {
                "psn_no": [f"{node}{r // ROWS_OF_A_PERSON}" for r in range(rows)],
                "a": [str(v) for v in draw.integers(0, levels, rows)],
                "b": [str(v) for v in draw.integers(0, levels, rows)],
                "cost": np.round(draw.gamma(2.0, 500.0, rows), 2),
            }
        )
    return found


def study(rows: int, levels: int, *, noise: bool) -> StudySpec:
    """Rows, persons and money by two columns."""
    by = [{"column": name, "levels": [str(v) for v in range(levels)]} for name in "ab"]
    value = {"column": "cost", "low": 0, "high": 100_000, "decimals": 2}
    protection: dict[str, object] = {"epsilon": 1.0} if noise else {"protection": "exact"}
    return study_from_document(
        {
            "study": {
                "id": "cells",
                "title": "Cells",
                "kind": "statistics",
                "purpose": "supervision",
                "owner": "benchmark",
                "expires": "2099-12-31",
            },
            "data": {
                "dataset": "setl",
                "max_rows_per_person": ROWS_OF_A_PERSON,
                "declared_persons": dict.fromkeys(NODES, max(100, rows // ROWS_OF_A_PERSON)),
            },
            "privacy": protection,
            "statistics": [
                {"name": "stays", "kind": "cross_table", "unit": "rows", "by": by},
                {"name": "money", "kind": "sum", "value": value, "by": by},
            ],
        }
    )


def pooled_seconds(tables: Mapping[str, pa.Table]) -> float:
    """What a group-by of all rows takes on one machine."""
    pooled = pa.concat_tables(list(tables.values()))
    with duckdb.connect() as engine:
        engine.execute("SET threads = 1")
        engine.register("pooled", pooled)
        began = time.perf_counter()
        engine.sql(POOLED).fetchall()
        return time.perf_counter() - began


def once(spec: StudySpec, tables: Mapping[str, pa.Table]) -> dict[str, float]:
    """One study and one group-by."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        document = run_question(spec, tables, folder=Path(folder))
        whole = time.perf_counter() - began
    if document["aggregation"]["attempts"] != 1:
        raise RuntimeError("the study needed a second attempt; run again on a calmer machine")
    seconds = document["seconds"]
    pooled = pooled_seconds(tables)
    return {
        "study_s": whole - seconds["ceremony"],
        "ceremony_s": seconds["ceremony"],
        "contribute_s": seconds["contribute"],
        "open_s": seconds["open"],
        "pooled_s": pooled,
        "ratio": (whole - seconds["ceremony"]) / pooled,
    }


def measure(*, rows: int, levels: int, noise: bool, repeats: int) -> dict[str, Any]:
    """Medians, least and greatest of several runs."""
    spec, tables = study(rows, levels, noise=noise), made_up_rows(rows, levels)
    found = [once(spec, tables) for _ in range(repeats)]
    row: dict[str, Any] = {
        "protection": "noise" if noise else "exact",
        "cells": (levels + 1) ** 2,
        "rows": 4 * rows,
    }
    for name in found[0]:
        values = [one[name] for one in found]
        row[name] = round(statistics.median(values), 3)
        row[f"{name}_min"], row[f"{name}_max"] = round(min(values), 3), round(max(values), 3)
    return row


def table(document: Mapping[str, Any]) -> str:
    """The document for people."""
    lines = [
        f"{'':<8}{'cells':>8}{'rows':>9}{'study s':>9}{'contribute':>12}{'open':>7}{'pooled':>8}{'ratio':>7}"
    ]
    for row in document["rows"]:
        lines.append(
            f"{row['protection']:<8}{row['cells']:>8}{row['rows']:>9}{row['study_s']:>9.2f}"
            f"{row['contribute_s']:>12.2f}{row['open_s']:>7.2f}{row['pooled_s']:>8.3f}{row['ratio']:>7.1f}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time a statistics study against a pooled group-by.")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--rows", type=int, default=25_000, help="rows of each of four nodes")
    parser.add_argument("--levels", type=int, default=99, help="levels of either axis, besides all others")
    parser.add_argument("--repeats", type=int, default=3)
    settings = parser.parse_args(arguments)
    sizes = {"rows": settings.rows, "levels": settings.levels, "repeats": settings.repeats}
    rows = [measure(noise=noise, **sizes) for noise in (False, True)]
    document = {
        "benchmark": "secure_statistics",
        **facts(PACKAGES, seed=SEED, repeats=settings.repeats),
        "rows": rows,
    }
    print(json.dumps(document, indent=1) if settings.json else table(document))


if __name__ == "__main__":
    main()
