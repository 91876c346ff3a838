"""Choose clip and learning rate once, for the arm ``central`` at epsilon 1, on seeds that no report uses.

    python benchmarks/tradeoff/choose.py --data rand-hie --clips 0.5 1 2 --rates 0.3 1 3

Reports use seeds 1 to 5; this uses 101 and up. It also prints ``central`` at epsilon 8 beside ``pooled``: an
arm that stays far below it is starved, and its agreement with others would prove nothing.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import statistics
from collections.abc import Mapping

import pyarrow as pa

from fedmed.cli.demo_study import Source, demo_study, demo_tables
from fedmed.comparison import Bench, judge, make_bench, plain_arm, private_arm
from fedmed.plans.training import model_of
from fedmed.protocol.schedule import schedule_for
from fedmed.study import TrainingStudy, canonical_bytes, study_digest
from fedmed.types import Scheme

SEEDS = (101, 102, 103)


def bench_for(spec: TrainingStudy, tables: Mapping[str, pa.Table]) -> Bench:
    """What one setting is trained and judged on."""
    schedule = schedule_for(spec)
    start = model_of(spec).initial(study_digest(canonical_bytes(spec)))
    return make_bench(spec, schedule, tables, start=start)


def with_settings(spec: TrainingStudy, *, clip: float, rate: float) -> TrainingStudy:
    """The study with another clip and rate."""
    privacy = spec.privacy.model_copy(update={"clip_norm": clip})
    training = spec.training.model_copy(update={"learning_rate": rate})
    return spec.model_copy(update={"privacy": privacy, "training": training})


def central_auc(bench: Bench) -> float:
    """Mean AUC of the arm ``central`` over the nodes."""
    return judge(bench, private_arm(bench, tuple(bench.train))).auc


def main() -> None:
    """Print a line for each setting, best first, and the check that no arm is starved."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", choices=[s.value for s in Source], default="synthetic")
    parser.add_argument("--people", type=int, default=80_000)
    parser.add_argument("--clips", type=float, nargs="+", default=[2.0, 4.0])
    parser.add_argument("--rates", type=float, nargs="+", default=[0.3, 1.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    options = parser.parse_args()
    today = datetime.datetime.now(tz=datetime.UTC).date()
    source = Source(options.data)

    def study(epsilon: float) -> TrainingStudy:
        return demo_study(
            source, people=options.people, epsilon=epsilon, scheme=Scheme.THRESHOLD, today=today
        )

    tables = {seed: demo_tables(source, people=options.people, seed=seed) for seed in options.seeds}
    found = []
    for clip, rate in itertools.product(options.clips, options.rates):
        spec = with_settings(study(1.0), clip=clip, rate=rate)
        values = [central_auc(bench_for(spec, tables[seed])) for seed in options.seeds]
        found.append((statistics.fmean(values), clip, rate))
        print(f"clip {clip:<6g} rate {rate:<6g} central {found[-1][0]:.4f}", flush=True)
    _, clip, rate = max(found)
    loose = [bench_for(with_settings(study(8.0), clip=clip, rate=rate), tables[s]) for s in options.seeds]
    central8 = statistics.fmean(central_auc(bench) for bench in loose)
    pooled = statistics.fmean(judge(bench, plain_arm(bench, tuple(bench.train))).auc for bench in loose)
    print(f"chosen: clip {clip:g}, rate {rate:g}; central at epsilon 8 {central8:.4f}, pooled {pooled:.4f}")


if __name__ == "__main__":
    main()
