"""A finished frontier as a result file: every choice and baseline over its seeds, and where it was measured.

.venv/bin/fedmed study new demo.toml
.venv/bin/fedmed frontier demo.toml --out runs/frontier-demo
python benchmarks/tradeoff/frontier.py runs/frontier-demo > benchmarks/results/frontier_synthetic.json

Seconds are those of the run that was really encrypted for each layout, with other runs beside it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from fedmed.cli.frontier_rows import MERGED_NAME
from fedmed.frontier.rows import Row, rows_from
from fedmed.frontier.summary import FEDERATED

# Not as benchmarks.facts: opacus installs a package named benchmarks.
sys.path.append(str(Path(__file__).resolve().parents[1]))
from facts import facts

PACKAGES = ("fedmed", "flwr", "torch", "tenseal", "dp-accounting", "joblib")
SAME = (
    "arm", "mode", "scheme", "epsilon", "delta", "nodes", "people", "clip_norm", "aggregations",
    "fallback_epsilon", "size_bytes", "seconds",
)  # fmt: skip


def summaries(rows: tuple[Row, ...]) -> list[dict[str, Any]]:
    """One entry for each choice or baseline: minimum, mean, median and maximum of its AUC over seeds."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(getattr(row, name) for name in SAME), []).append(row)
    entries = []
    for key, members in groups.items():
        aucs = [row.auc for row in members]
        entries.append(
            dict(zip(SAME, key, strict=True))
            | {
                "auc": {
                    "minimum": min(aucs),
                    "mean": statistics.fmean(aucs),
                    "median": statistics.median(aucs),
                    "maximum": max(aucs),
                },
                "worst_auc": statistics.fmean(row.worst_auc for row in members),
            }
        )
    return entries


def main() -> None:
    """Print the document."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder of a finished frontier")
    options = parser.parse_args()
    rows = rows_from(pq.read_table(options.folder / MERGED_NAME))
    seeds = sorted({row.seed for row in rows})
    studies = [row for row in rows if row.arm == FEDERATED]
    document = {
        **facts(PACKAGES, seed=seeds, repeats=1),
        "runs": {"federated": len(studies), "encrypted": sum(row.is_encrypted for row in studies)},
        "unit": "one insured person; add or remove one",
        "rows": summaries(rows),
    }
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
