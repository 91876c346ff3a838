"""Four hospitals of the UCI heart-disease collection: how near to central, and the published DP figures.

    python benchmarks/tradeoff/hearts.py --data ../shared/data/heart_disease_4sites/heart.csv --json

``distance``: mode aggregate with the default allowance against central DP and no privacy, mean AUC over the
hospitals' held-out 30 %, 40 splits. ``published``: the 740-row variant of Fed-Heart-Disease (columns slope,
ca, thal left out, rows with a missing cell dropped, a third held out), accuracy, 5 splits.

Source of the published figures: FLamby (Ogier du Terrail et al. 2022, arXiv:2210.04620): FedAvg .748,
FedAdam .779, local .784 / .727 / .483 / .611 on the pooled test rows; with DP at delta 1e-4, mean accuracy of
the four hospitals, epsilon .1 / 1 / 5: .606 / .685 / .704, without .712. Differences: our own splits, not
theirs; public bounds instead of a standardisation by training statistics; full batches and shared noise
instead of opacus at each hospital. A person is a row, as there.

The federated arm adds the noise of four nodes at the scale that the study's schedule gives, without ring and
processes: the secure sum is exact (tests compare it with the plain one bit by bit), so figures are the same.
Clip and rate were chosen on splits 101-110, which no figure uses.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from fedmed.cli.demo_study import study_document
from fedmed.comparison import Bench, central_noise, judge, make_bench, plain_arm
from fedmed.models.layout import PersonClip
from fedmed.models.score import probabilities, sigmoid
from fedmed.plans.training import model_of
from fedmed.privacy.noise import DiscreteGaussian, fresh_source
from fedmed.protocol.schedule import schedule_for
from fedmed.study import TrainingStudy
from fedmed.training.baselines import PrivateTraining, train_private
from fedmed.types import DatasetSpec, Feature, FeatureKind, FloatArray, Label

# Not as benchmarks.facts: opacus installs a package named benchmarks.
sys.path.append(str(Path(__file__).resolve().parents[1]))
from facts import facts

SITES = ("cleveland", "hungarian", "switzerland", "va")
TUNING, REPORTED, PUBLISHED_SPLITS = range(101, 111), range(1, 41), range(1, 6)
PUBLISHED = {0.1: 0.606, 1.0: 0.685, 5.0: 0.704}
PUBLISHED_PLAIN = {"fedavg": 0.748, "fedadam": 0.779, "local": (0.784, 0.727, 0.483, 0.611)}


def number(name: str, low: float, high: float) -> Feature:
    """A column with public bounds."""
    return Feature(name=name, kind=FeatureKind.NUMBER, low=low, high=high)


def category(name: str, *levels: int) -> Feature:
    """A column with a public code list."""
    return Feature(name=name, kind=FeatureKind.CATEGORY, categories=tuple(str(level) for level in levels))


COMMON = (
    number("age", 20, 80),
    category("sex", 0, 1),
    category("cp", 1, 2, 3, 4),
    number("trestbps", 80, 200),
    number("chol", 100, 400),
    category("fbs", 0, 1),
    category("restecg", 0, 1, 2),
    number("thalach", 60, 210),
    category("exang", 0, 1),
    number("oldpeak", -2, 6),
)
EXTRA = (category("slope", 1, 2, 3), number("ca", 0, 3), category("thal", 3, 6, 7))


def tables_of(frame: pd.DataFrame, *, seed: int) -> dict[str, pa.Table]:
    """Rows of each hospital; the seed is in the pseudonyms, whose hash decides who is held out."""
    out = {}
    for site in SITES:
        part = frame[frame.site == site].reset_index(drop=True)
        columns = {"psn_no": pa.array([f"{seed}-{site}-{row}" for row in part.index])}
        columns["num"] = pa.array((part.num > 0).astype(int))
        for feature in (f for f in (*COMMON, *EXTRA) if f.name in part):
            values = part[feature.name]
            if feature.kind is FeatureKind.CATEGORY:
                columns[feature.name] = pa.array([None if np.isnan(v) else str(int(v)) for v in values])
            else:
                columns[feature.name] = pa.array(values.where(values.notna(), None), from_pandas=True)
        out[site] = pa.table(columns)
    return out


def study(
    frame: pd.DataFrame, features: tuple[Feature, ...], *, epsilon: float, clip: float, rate: float
) -> TrainingStudy:
    """Mode aggregate with the default allowance; ``min_cohort`` is lowered for hospitals of this size."""
    counts = {site: int((frame.site == site).sum()) for site in SITES}
    data = DatasetSpec(
        name="heart", person="psn_no", label=Label(column="num"), features=features, held_out=0.3
    )
    return study_document(
        data,
        counts,
        study={
            "id": "hearts",
            "title": "Heart disease at four hospitals",
            "purpose": "academic_research",
            "owner": "benchmark",
            "expires": datetime.date(2030, 1, 1),
        },
        epsilon=epsilon,
        training={
            "learning_rate": rate,
            "momentum": 0.9,
            "aggregations": 40,
            "clip_norm": clip,
            "scheme": "threshold",
        },
    )


def shared_noise(spec: TrainingStudy) -> Callable[[int], FloatArray]:
    """What four nodes add together, each its share."""
    layout = schedule_for(spec).layout
    law = DiscreteGaussian(layout.noise_scale)

    def draw(count: int) -> FloatArray:
        return sum(law.sample(count, fresh_source()).astype(np.float64) for _ in SITES) * layout.grid

    return draw


def trained(bench: Bench, noise: Callable[[int], FloatArray]) -> FloatArray:
    """Parameters after the study's aggregations."""
    spec = bench.spec
    training = PrivateTraining(
        layout=bench.model,
        start=bench.start,
        clip=PersonClip(norm=spec.privacy.clip_norm, rows=spec.training.rows_of_a_person),
        persons=spec.total_training_persons,
        aggregations=spec.training.aggregations,
        learning_rate=spec.training.learning_rate,
        momentum=spec.training.momentum,
    )
    return train_private(list(bench.train.values()), training, noise=noise)


def bench_of(spec: TrainingStudy, frame: pd.DataFrame, *, seed: int) -> Bench:
    """Training and held-out rows of one split."""
    start = np.zeros(model_of(spec).size)
    return make_bench(spec, schedule_for(spec), tables_of(frame, seed=seed), start=start)


def aucs(frame: pd.DataFrame, *, epsilon: float, clip: float, rate: float, seed: int) -> dict[str, float]:
    """Mean AUC of three arms on one split."""
    spec = study(frame, (*COMMON, *EXTRA), epsilon=epsilon, clip=clip, rate=rate)
    bench = bench_of(spec, frame, seed=seed)
    most = max(spec.data.declared_persons.values())
    central = central_noise(spec, bench.schedule, persons=most)
    arms = {"federated": trained(bench, shared_noise(spec)), "central": trained(bench, central)}
    arms["pooled"] = plain_arm(bench, list(SITES))
    return {name: judge(bench, parameters).auc for name, parameters in arms.items()}


def chosen(frame: pd.DataFrame) -> tuple[float, float]:
    """Clip and rate with the best central AUC at epsilon 8 on the tuning splits."""

    def central(clip: float, rate: float) -> float:
        found = (aucs(frame, epsilon=8, clip=clip, rate=rate, seed=s)["central"] for s in TUNING)
        return statistics.fmean(found)

    return max(((c, r) for c in (0.5, 1.0, 2.0) for r in (0.5, 1.0, 2.0)), key=lambda pair: central(*pair))


def distance(frame: pd.DataFrame, *, clip: float, rate: float) -> dict[str, dict[str, float]]:
    """Federated against central by epsilon."""
    out = {}
    for epsilon in (0.5, 1.0, 8.0):
        rows = [aucs(frame, epsilon=epsilon, clip=clip, rate=rate, seed=s) for s in REPORTED]
        gaps = [row["federated"] - row["central"] for row in rows]
        out[str(epsilon)] = {
            **{name: statistics.fmean(row[name] for row in rows) for name in rows[0]},
            "federated_minus_central": statistics.fmean(gaps),
            "federated_minus_central_se": statistics.stdev(gaps) / len(gaps) ** 0.5,
        }
    return out


# --- The published variant -----------------------------------------------------------------------------


def variant(frame: pd.DataFrame) -> pd.DataFrame:
    """The 740 rows: no slope, ca, thal; no row with a missing cell."""
    kept = frame.drop(columns=["slope", "ca", "thal"]).dropna()
    return kept.reset_index(drop=True)


def inputs_of(frame: pd.DataFrame) -> FloatArray:
    """Public coding: numbers to [-1, 1] by bounds, codes to 0/1, a constant last."""
    parts = []
    for feature in COMMON:
        values = frame[feature.name].to_numpy(dtype=np.float64)
        if feature.kind is FeatureKind.NUMBER:
            middle, half = (feature.high + feature.low) / 2, (feature.high - feature.low) / 2
            parts.append(np.clip((values - middle) / half, -1, 1))
        else:
            parts += [(values == float(level)).astype(float) for level in feature.categories]
    return np.column_stack([*parts, np.ones(len(frame))])


def splits(
    frame: pd.DataFrame, seed: int
) -> dict[str, tuple[FloatArray, FloatArray, FloatArray, FloatArray]]:
    """Training and test rows of each hospital, two thirds and one third."""
    rng, out = np.random.default_rng(seed), {}
    for site in SITES:
        part = frame[frame.site == site]
        order = rng.permutation(len(part))
        cut = round(len(part) * 2 / 3)
        x, y = inputs_of(part)[order], (part.num.to_numpy() > 0)[order].astype(float)
        out[site] = (x[:cut], y[:cut], x[cut:], y[cut:])
    return out


def local_steps(
    w: FloatArray, x: FloatArray, y: FloatArray, rng: np.random.Generator, *, steps: int
) -> FloatArray:
    """Plain SGD at one hospital: batches of 4, rate .05."""
    for _ in range(steps):
        rows = rng.integers(0, len(y), 4)
        w = w - 0.05 * x[rows].T @ (sigmoid(x[rows] @ w) - y[rows]) / 4
    return w


def plain_models(split: Mapping[str, tuple[FloatArray, ...]], seed: int) -> dict[str, FloatArray]:
    """FedAvg and FedAdam over 15 rounds of 100 steps, and each hospital by itself for as many."""
    rng = np.random.default_rng(seed)
    size = next(iter(split.values()))[0].shape[1]
    sizes = np.array([len(split[s][1]) for s in SITES], dtype=float)
    average, adam = np.zeros(size), np.zeros(size)
    first, second = np.zeros(size), np.zeros(size)
    for number_ in range(1, 16):
        average = sum(
            k * local_steps(average, *split[s][:2], rng, steps=100)
            for s, k in zip(SITES, sizes / sizes.sum(), strict=True)
        )
        move = sum(
            k * (local_steps(adam, *split[s][:2], rng, steps=100) - adam)
            for s, k in zip(SITES, sizes / sizes.sum(), strict=True)
        )
        first, second = 0.9 * first + 0.1 * move, 0.999 * second + 0.001 * move**2
        adam = adam + 0.1 * (first / (1 - 0.9**number_)) / (np.sqrt(second / (1 - 0.999**number_)) + 1e-8)
    models = {"fedavg": average, "fedadam": adam}
    for site in SITES:
        models[site] = local_steps(np.zeros(size), *split[site][:2], rng, steps=1500)
    return models


def accuracy(w: FloatArray, x: FloatArray, y: FloatArray) -> float:
    """Share of rows on the right side of one half."""
    return float(np.mean((x @ w > 0) == (y > 0.5)))


def published_plain(frame: pd.DataFrame) -> dict[str, object]:
    """Accuracies without privacy on the pooled test rows, means over splits, beside the published ones."""
    found: dict[str, list[float]] = {}
    for seed in PUBLISHED_SPLITS:
        split = splits(frame, seed)
        x, y = (np.concatenate([split[s][i] for s in SITES]) for i in (2, 3))
        for name, w in plain_models(split, seed).items():
            found.setdefault(name, []).append(accuracy(w, x, y))
    means = {name: statistics.fmean(values) for name, values in found.items()}
    return {"means": means, "published": PUBLISHED_PLAIN}


def published_private(frame: pd.DataFrame, *, clip: float, rate: float) -> dict[str, dict[str, float]]:
    """Mean accuracy over the hospitals' own test rows at delta 1e-4, beside the published ones."""
    out = {}
    for epsilon, theirs in PUBLISHED.items():
        spec = study(frame, COMMON, epsilon=epsilon, clip=clip, rate=rate)
        spec = spec.model_copy(update={"privacy": spec.privacy.model_copy(update={"delta": 1e-4})})
        rows = []
        for seed in PUBLISHED_SPLITS:
            bench = bench_of(spec, frame, seed=seed)
            w = trained(bench, shared_noise(spec))
            rows.append(
                statistics.fmean(
                    float(np.mean((probabilities(w, bench.model, e) > 0.5) == (e.labels > 0.5)))
                    for e in bench.test.values()
                )
            )
        out[str(epsilon)] = {
            "accuracy": statistics.fmean(rows),
            "se": statistics.stdev(rows) / len(rows) ** 0.5,
            "published": theirs,
        }
    return out


def main() -> None:
    """Run both parts and print a document or a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="heart.csv of the four hospitals")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    options = parser.parse_args()
    frame = pd.read_csv(options.data)
    frame.loc[frame.chol == 0, "chol"] = np.nan
    clip, rate = chosen(frame)
    whole = pd.read_csv(options.data)
    document = {
        **facts(("fedmed", "torch", "dp-accounting", "numpy"), seed=list(REPORTED), repeats=1),
        "settings": {
            "clip_norm": clip,
            "learning_rate": rate,
            "tuning": list(TUNING),
            "min_cohort": "lowered",
        },
        "distance": distance(frame, clip=clip, rate=rate),
        "published_plain": published_plain(variant(whole)),
        "published_private": published_private(variant(whole), clip=clip, rate=rate),
    }
    print(json.dumps(document if options.json else {k: document[k] for k in list(document)[-4:]}, indent=1))


if __name__ == "__main__":
    main()
