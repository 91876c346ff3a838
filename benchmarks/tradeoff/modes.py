"""The three modes of training on the same persons at the same epsilon, over several seeds.

    python benchmarks/tradeoff/modes.py --nodes 31 --people 46500 --epsilon 0.5 --seeds 1 2 3
    python benchmarks/tradeoff/modes.py --json > benchmarks/results/modes_31.json

Synthetic insured persons of the demonstration without their diagnosis codes (24 inputs), dealt by chance into
equal nodes. Every run is a study with real custodians; sums are added in the clear, which gives the very
numbers that the secure sum opens. Clip and rates were chosen on seed 101, which no report uses: clip 2 for
all; rate 1.25 for gradient sums; 10 rounds of 5 local steps at sample rate 0.2 and rate 0.5.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from fedmed.cli.demo_study import Source, demo_study, demo_tables
from fedmed.comparison import judge, make_bench, plain_arm, private_arm
from fedmed.frontier.population import deal, persons_of
from fedmed.plans.training import model_of
from fedmed.progress import ignore_progress
from fedmed.protocol.schedule import schedule_for
from fedmed.simulation import Faults, federate
from fedmed.study import TrainingStudy, as_training, canonical_bytes, study_digest, study_from_document
from fedmed.types import FeatureKind, Mode, Scheme

# Not as benchmarks.facts: opacus installs a package named benchmarks.
sys.path.append(str(Path(__file__).resolve().parents[1]))
from facts import document_or_means, facts

PACKAGES = ("fedmed", "flwr", "torch", "dp-accounting")
CLIP, RATE, LOCAL_RATE = 2.0, 1.25, 0.5
ARMS = (*(mode.value for mode in Mode), "central", "alone_private", "pooled")


def study_for(declared: Mapping[str, int], *, mode: Mode, epsilon: float) -> TrainingStudy:
    """The study in one mode; what follows from the mode takes its default."""
    today = datetime.datetime.now(tz=datetime.UTC).date()
    demo = demo_study(Source.SYNTHETIC, people=20_000, epsilon=epsilon, scheme=Scheme.PLAIN, today=today)
    document = demo.model_dump(mode="json", exclude_none=True)
    data = document["data"]
    data["features"] = [f for f in data["features"] if f["kind"] != FeatureKind.CODES.value]
    data["declared_persons"] = dict(declared)
    document["privacy"] = {"epsilon": epsilon, "clip_norm": CLIP, "mode": mode.value}
    document["aggregation"] = {"scheme": Scheme.PLAIN.value}
    document["training"] = {"learning_rate": LOCAL_RATE if mode is Mode.LOCAL else RATE}
    return as_training(study_from_document(document))


def run_seed(*, nodes: int, people: int, epsilon: float, seed: int) -> dict[str, float]:
    """AUC of every mode and arm on the persons of one seed, and what the modes took."""
    demo = demo_tables(Source.SYNTHETIC, people=people, seed=seed)
    tables = deal(demo, person="psn_no", people=people, nodes=nodes, seed=seed)
    declared = persons_of(tables, person="psn_no")
    row: dict[str, float] = {"seed": seed}
    for mode in Mode:
        spec = study_for(declared, mode=mode, epsilon=epsilon)
        row |= _federated(spec, tables)
    return row | _arms(study_for(declared, mode=Mode.AGGREGATE, epsilon=epsilon), tables)


def _federated(spec: TrainingStudy, tables: Mapping[str, pa.Table]) -> dict[str, float]:
    """One mode through custodians."""
    schedule, mode = schedule_for(spec), spec.privacy.mode.value
    found = federate(spec, tables, on_progress=ignore_progress, faults=Faults())
    start = model_of(spec).initial(study_digest(canonical_bytes(spec)))
    bench = make_bench(spec, schedule, tables, start=start)
    return {
        mode: judge(bench, found.parameters).auc,
        f"{mode}_fallback_epsilon": schedule.fallback_epsilon(),
        f"{mode}_noise_multiplier": schedule.noise_multiplier,
        f"{mode}_seconds": found.seconds,
    }


def _arms(spec: TrainingStudy, tables: Mapping[str, pa.Table]) -> dict[str, float]:
    """What the modes are set beside; ``alone_private`` is the mean of the first four nodes' own models."""
    start = model_of(spec).initial(study_digest(canonical_bytes(spec)))
    bench = make_bench(spec, schedule_for(spec), tables, start=start)
    nodes = tuple(bench.train)
    alone = [judge(bench, private_arm(bench, [node])).auc for node in nodes[:4]]
    return {
        "central": judge(bench, private_arm(bench, nodes)).auc,
        "alone_private": statistics.fmean(alone),
        "pooled": judge(bench, plain_arm(bench, nodes)).auc,
    }


def summary_of(rows: list[dict[str, float]]) -> dict[str, float]:
    """Means over seeds, and what `aggregate` gains over the other modes with its standard error."""
    out = {name: statistics.fmean(row[name] for row in rows) for name in ARMS}
    for other in (Mode.LOCAL.value, Mode.STATISTICS.value, "central"):
        gaps = [row[Mode.AGGREGATE.value] - row[other] for row in rows]
        out[f"aggregate_minus_{other}"] = statistics.fmean(gaps)
        if len(gaps) > 1:
            out[f"aggregate_minus_{other}_se"] = statistics.stdev(gaps) / len(gaps) ** 0.5
    return out


def main() -> None:
    """Run, print a line a seed on stderr, and the table or the document on stdout."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=31)
    parser.add_argument("--people", type=int, default=46_500)
    parser.add_argument("--epsilon", type=float, default=0.5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    options = parser.parse_args()
    rows = []
    for seed in options.seeds:
        rows.append(run_seed(nodes=options.nodes, people=options.people, epsilon=options.epsilon, seed=seed))
        print(f"seed {seed}  " + "  ".join(f"{n} {rows[-1][n]:.4f}" for n in ARMS), file=sys.stderr)
    document = {
        **facts(PACKAGES, seed=options.seeds, repeats=1),
        "settings": {"nodes": options.nodes, "people": options.people, "epsilon": options.epsilon},
        "rows": rows,
        "mean": summary_of(rows),
    }
    print(document_or_means(document, as_json=options.json))


if __name__ == "__main__":
    main()
