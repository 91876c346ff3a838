"""Time statistics studies in simulation against a pooled group-by of the same rows.

Rows, persons and money by 100 x 100 cells through the whole encrypted path; DuckDB groups the same rows on
one machine in the same run, so the ratio is the price of not pooling them. Exact studies go through
disclosure control: ``flat`` asks for the cells alone, nearly all of them small; ``few`` and ``third`` ask for
the sums of rows, columns and all as well, with one person a row, and with a twenty-fifth or a third of the
cells small, so that what is hidden must not be worked out from what is shown. ``study_s`` is all but the
ceremony, which a federation does once an epoch; ``processor_s`` is all with the ceremony, and hardly grows
when others use the machine; ``peak_mib`` is the most memory of the process until then.

    python benchmarks/micro/secure_statistics.py [--json] [--nodes 4] [--rows 100000] [--levels 99]
        [--cases flat few third noise] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
PACKAGES = ("duckdb", "flwr", "numpy", "pyarrow", "scipy", "tenseal")
POOLED = "SELECT a, b, count(*), count(DISTINCT psn_no), sum(cost) FROM pooled GROUP BY a, b"
SMALL = 0.1
"""How often a small cell is met, against any other one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One kind of study.

    Attributes:
        name: What the results call it.
        rows_of_a_person: How many rows each person has.
        small_share: Share of the cells that few rows fall into.
        has_sums: Whether sums of rows, columns and all cells are asked for.
        noise: With noise instead of exact.
        weight: Rows, in multiples of those asked for.
    """

    name: str
    rows_of_a_person: int = 5
    small_share: float = 0.0
    has_sums: bool = False
    noise: bool = False
    weight: int = 1


CASES = (
    Case(name="flat"),
    Case(name="few", rows_of_a_person=1, small_share=0.04, has_sums=True, weight=3),
    Case(name="third", rows_of_a_person=1, small_share=1 / 3, has_sums=True, weight=3),
    Case(name="noise", noise=True),
)


def node_names(nodes: int) -> tuple[str, ...]:
    """Keys of so many nodes."""
    return tuple(f"province{place:02}" for place in range(1, nodes + 1))


def made_up_rows(case: Case, nodes: int, rows: int, levels: int) -> dict[str, pa.Table]:
    """Rows of every node; all of them together are ``rows`` times the case's weight."""
    chances = np.where(np.random.default_rng(SEED).random(levels**2) < case.small_share, SMALL, 1.0)
    found = {}
    for place, node in enumerate(node_names(nodes)):
        draw = np.random.default_rng([SEED, place])
        count = case.weight * rows // nodes
        cells = draw.choice(levels**2, count, p=chances / chances.sum())
        found[node] = pa.table(
            {
                "psn_no": [f"{node}{r // case.rows_of_a_person}" for r in range(count)],
                "a": [str(v) for v in cells // levels],
                "b": [str(v) for v in cells % levels],
                "cost": np.round(draw.gamma(2.0, 500.0, count), 2),
            }
        )
    return found


def study(case: Case, nodes: int, rows: int, levels: int) -> StudySpec:
    """Rows, persons and money by two columns, and by each of them where the case says so."""
    by = [{"column": name, "levels": [str(v) for v in range(levels)]} for name in "ab"]
    value = {"column": "cost", "low": 0, "high": 100_000, "decimals": 2}
    protection: dict[str, object] = {"epsilon": 1.0} if case.noise else {"protection": "exact"}
    asked: dict[str, list[dict[str, object]]] = {"": by}
    if case.has_sums:
        asked |= {"_by_a": by[:1], "_by_b": by[1:], "_all": []}
    persons = case.weight * rows // nodes // case.rows_of_a_person
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
                "max_rows_per_person": case.rows_of_a_person,
                "declared_persons": dict.fromkeys(node_names(nodes), max(100, persons)),
            },
            "privacy": protection,
            "statistics": [
                entry
                for end, axes in asked.items()
                for entry in (
                    {
                        "name": f"stays{end}",
                        "kind": "cross_table" if len(axes) == 2 else "count",
                        "unit": "rows",
                        "by": axes,
                    },
                    {"name": f"money{end}", "kind": "sum", "value": value, "by": axes},
                )
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
        began, busy = time.perf_counter(), time.process_time()
        document = run_question(spec, tables, folder=Path(folder))
        whole, busy = time.perf_counter() - began, time.process_time() - busy
    if document["aggregation"]["attempts"] != 1:
        raise RuntimeError("the study needed a second attempt; run again on a calmer machine")
    seconds = document["seconds"]
    pooled = pooled_seconds(tables)
    return {
        "study_s": whole - seconds["ceremony"],
        "processor_s": busy,
        "ceremony_s": seconds["ceremony"],
        "contribute_s": seconds["contribute"],
        "open_s": seconds["open"],
        "pooled_s": pooled,
        "ratio": (whole - seconds["ceremony"]) / pooled,
    }


def measure(case: Case, *, nodes: int, rows: int, levels: int, repeats: int) -> dict[str, Any]:
    """Medians, least and greatest of several runs."""
    spec, tables = study(case, nodes, rows, levels), made_up_rows(case, nodes, rows, levels)
    found = [once(spec, tables) for _ in range(repeats)]
    row: dict[str, Any] = {
        "case": case.name,
        "nodes": nodes,
        "cells": (levels + 1) ** 2,
        "rows": sum(table.num_rows for table in tables.values()),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    for name in found[0]:
        values = [one[name] for one in found]
        row[name] = round(statistics.median(values), 3)
        row[f"{name}_min"], row[f"{name}_max"] = round(min(values), 3), round(max(values), 3)
    return row


def table(document: Mapping[str, Any]) -> str:
    """The document for people."""
    lines = [
        f"{'':<7}{'nodes':>6}{'cells':>7}{'rows':>8}{'study s':>9}{'processor s':>13}{'contribute':>12}"
        f"{'open':>7}{'pooled':>8}{'ratio':>7}{'MiB':>6}"
    ]
    for row in document["rows"]:
        lines.append(
            f"{row['case']:<7}{row['nodes']:>6}{row['cells']:>7}{row['rows']:>8}{row['study_s']:>9.2f}"
            f"{row['processor_s']:>13.2f}{row['contribute_s']:>12.2f}{row['open_s']:>7.2f}"
            f"{row['pooled_s']:>8.3f}{row['ratio']:>7.1f}{row['peak_mib']:>6}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time statistics studies against a pooled group-by.")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--nodes", type=int, nargs="+", default=[4], help="one or several numbers of nodes")
    parser.add_argument("--rows", type=int, default=100_000, help="rows of all nodes together")
    parser.add_argument("--levels", type=int, default=99, help="levels of either axis, besides all others")
    every = [case.name for case in CASES]
    parser.add_argument("--cases", nargs="+", choices=every, default=every, help="which of them")
    parser.add_argument("--repeats", type=int, default=3)
    settings = parser.parse_args(arguments)
    sizes = {"rows": settings.rows, "levels": settings.levels, "repeats": settings.repeats}
    document = {
        "benchmark": "secure_statistics",
        **facts(PACKAGES, seed=SEED, repeats=settings.repeats),
        "rows": [
            measure(case, nodes=nodes, **sizes)
            for nodes in settings.nodes
            for case in CASES
            if case.name in settings.cases
        ],
    }
    print(json.dumps(document, indent=1) if settings.json else table(document))


if __name__ == "__main__":
    main()
