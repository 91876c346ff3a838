"""The main job over several seeds: federated against central, alone and without privacy.

    python benchmarks/tradeoff/main_job.py --data synthetic --seeds 1 2 3 4 5
    python benchmarks/tradeoff/main_job.py --data rand-hie --epsilons .25 .5 1 2 4 8 --json > rand_hie.json

Every run is the demonstration's own study, with its real secure sums. A seed decides the synthetic rows, or
how RAND's persons fall into nodes; noise has no seed, so a repeated run differs within its standard error.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import sys
import tempfile
from pathlib import Path

from fedmed.cli.demo_study import Source, demo_study, demo_tables
from fedmed.report.result import Result
from fedmed.simulation import run_study
from fedmed.types import Scheme

# Not as benchmarks.facts: opacus installs a package named benchmarks.
sys.path.append(str(Path(__file__).resolve().parents[1]))
from facts import document_or_means, facts

ARMS = ("federated", "central", "alone_private", "pooled", "alone")
PACKAGES = ("fedmed", "flwr", "torch", "tenseal", "dp-accounting")


def run_seed(source: Source, *, people: int, epsilon: float, seed: int) -> Result:
    """One run of the demonstration's study."""
    today = datetime.datetime.now(tz=datetime.UTC).date()
    spec = demo_study(source, people=people, epsilon=epsilon, scheme=Scheme.THRESHOLD, today=today)
    tables = demo_tables(source, people=people, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        return run_study(spec, tables, folder=Path(folder), seed=seed)


def row_of(result: Result, *, seed: int) -> dict[str, float]:
    """AUC of each arm, and what the secure sums took."""
    aucs = {name: arm.auc for name, arm in result.arms if arm is not None}
    return {
        "seed": seed,
        **aucs,
        "epsilon_planned": result.privacy.epsilon,
        "epsilon_spent": result.privacy.epsilon_spent,
        "fallback_epsilon": result.privacy.fallback_epsilon,
        "seconds": result.seconds["total"],
    }


def summary_of(rows: list[dict[str, float]]) -> dict[str, float]:
    """Means over the seeds of one epsilon, and the two differences with their standard errors."""
    out = {"epsilon": rows[0]["epsilon_planned"], "seeds": len(rows)}
    out |= {name: statistics.fmean(row[name] for row in rows) for name in ARMS}
    for name, other in (("federated_minus_central", "central"), ("federated_minus_alone", "alone_private")):
        gaps = [row["federated"] - row[other] for row in rows]
        out[name] = statistics.fmean(gaps)
        out[name + "_se"] = statistics.stdev(gaps) / len(gaps) ** 0.5 if len(gaps) > 1 else 0.0
    return out


def main() -> None:
    """Run, print a line a run on stderr, and the means or the document on stdout."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", choices=[s.value for s in Source], default="synthetic")
    parser.add_argument("--people", type=int, default=80_000)
    parser.add_argument("--epsilons", type=float, nargs="+", default=[1.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    options = parser.parse_args()
    runs = [[row_at(options, epsilon, seed) for seed in options.seeds] for epsilon in options.epsilons]
    document = {
        **facts(PACKAGES, seed=options.seeds, repeats=1),
        "settings": {"data": options.data, "people": options.people, "epsilons": options.epsilons},
        "rows": [row for rows in runs for row in rows],
        "means": [summary_of(rows) for rows in runs],
    }
    if options.json:
        print(json.dumps(document, indent=1))
    else:
        for mean in document["means"]:
            print(document_or_means({"mean": mean}, as_json=False))


def row_at(options: argparse.Namespace, epsilon: float, seed: int) -> dict[str, float]:
    """One run, said on stderr."""
    source = Source(options.data)
    row = row_of(run_seed(source, people=options.people, epsilon=epsilon, seed=seed), seed=seed)
    line = "  ".join(f"{name} {row[name]:.4f}" for name in ARMS)
    print(f"epsilon {epsilon:g}  seed {seed}  {line}  {row['seconds']:.0f} s", file=sys.stderr)
    return row


if __name__ == "__main__":
    main()
