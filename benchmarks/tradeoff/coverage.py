"""How often intervals of private fits hold the estimate that the same rows give without noise.

Each run is a whole study on sums: the node's bounded vector, noise with the standard deviation that the
study's plan gives a federation of four, the coordinator's rounds and its table. Encryption is left out, since
it changes no number, and noise comes from a seeded generator, since a benchmark is repeated: nothing here is
ever released.

    python benchmarks/tradeoff/coverage.py [--json] [--runs 400] [--persons 8000] [--only NAME ...] [--jobs 2]

Runs are those of the slowest variant; `RUNS` says how many times as many the others take. Shares of 400 runs
have a standard error of .011, and of some fifty terms one is off by three of them by chance: with 400 runs a
term, and the same noise for logistic and Poisson, their `age` once stood at .918. So every variant has noise
of its own, and says by how many standard errors its farthest term is off, and how its errors spread beside
what its tables state, which shows a wrong interval sooner than shares do.

What decides is epsilon times persons: 8,000 at epsilon 4 stand for about 28,000 at epsilon 1, which would
take three times as long. Each variant has an epsilon at which noise is of the size of the sampling error.

Two more tables: the largest error of a private Kaplan-Meier curve, and the AUC that a private logistic fit
with 40 rounds loses at epsilon 0.5, with the default allowance for dropouts and colluders and without.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedmed.analytics import noisy_newton
from fedmed.analytics.bounded_scores import BoundedModel
from fedmed.analytics.model import ModelRows
from fedmed.analytics.noisy_newton import NoisyFit
from fedmed.analytics.survival import kaplan_meier, node_counts
from fedmed.errors import DataContractError
from fedmed.plans.regression import bounded_model
from fedmed.plans.stage import Stage
from fedmed.protocol.schedule import schedule_for
from fedmed.study import RegressionStudy, StudySpec, study_from_document
from fedmed.types import FloatArray
from fedmed_nodes.answers.by_kind import half_for
from fedmed_nodes.answers.regression import RegressionAnswerer
from fedmed_nodes.sources import TableSource

# Not as benchmarks.facts: opacus installs a package named benchmarks.
sys.path.append(str(Path(__file__).resolve().parents[1]))
from facts import facts

SEED = 20_261_122
NODES = 4
PACKAGES = ("numpy", "scipy", "fedmed")
TERMS = [
    {"column": "age", "low": 0, "high": 100},
    {"column": "sex", "levels": ["f", "m"]},
    {"column": "level", "levels": ["1", "2", "3"]},
]
REGRESSIONS: Mapping[str, Mapping[str, Any]] = {
    "logistic": {"outcome": {"column": "stay"}},
    "poisson": {"outcome": {"column": "visits", "high": 20, "mean_low": 0.5, "mean_high": 10}},
    "negative_binomial": {"outcome": {"column": "visits_nb", "high": 20, "mean_low": 0.5, "mean_high": 10}},
    "gamma": {
        "outcome": {"column": "cost", "low": 500, "high": 20_000, "mean_low": 2000, "mean_high": 10_000}
    },
    "cox": {"time": {"column": "month", "event": "event", "interval": 2, "intervals": 6}},
}
EPSILONS = {
    "logistic": 1.0,
    "poisson": 4.0,
    "negative_binomial": 8.0,
    "gamma": 4.0,
    "cox": 8.0,
    "kaplan_meier": 1.0,
}
RUNS = {"cox": 1, "kaplan_meier": 25}
"""Runs of a variant for each that is asked for; of the others `OTHER_RUNS`."""
OTHER_RUNS = 4
LEVEL = 0.95
CURVES = {"kaplan_meier": {"column": "month", "event": "event", "intervals": 12}}
VARIANTS = (*REGRESSIONS, *CURVES)


def made_up_rows(persons: int, seed: int = SEED) -> pa.Table:
    """One row a person, with an outcome for every family."""
    draws = np.random.default_rng(seed)
    age, sex = draws.uniform(20, 90, persons), draws.integers(0, 2, persons)
    level = draws.choice(3, persons, p=[0.3, 0.4, 0.3])
    eta = 0.015 * (age - 55) + 0.3 * sex + 0.2 * level
    mean = np.exp(0.6 + eta)
    months = draws.exponential(20 / np.exp(eta), persons)
    end = draws.uniform(4, 14, persons)
    return pa.table(
        {
            "psn_no": [f"p{i}" for i in range(persons)],
            "age": age,
            "sex": np.array(["f", "m"])[sex],
            "level": np.array(["1", "2", "3"])[level],
            "stay": (draws.random(persons) < 1 / (1 + np.exp(0.8 - eta))).astype(float),
            "visits": draws.poisson(mean).astype(float),
            "visits_nb": draws.negative_binomial(2.0, 2.0 / (2.0 + mean)).astype(float),
            "cost": draws.gamma(2.0, 3500 * np.exp(eta - 0.3) / 2),
            "month": np.minimum(months, end),
            "event": (months <= end).astype(float),
        }
    )


def study(
    kind: str, section: Mapping[str, Any], *, persons: int, epsilon: float, **aggregation: int
) -> StudySpec:
    """A study over four nodes that declare a quarter of the persons each."""
    return study_from_document(
        {
            "study": {
                "id": "coverage",
                "title": "Coverage",
                "kind": kind,
                "purpose": "academic_research",
                "owner": "benchmarks",
                "expires": "2099-12-31",
            },
            "data": {
                "dataset": "claims",
                "min_cohort": 1,
                "declared_persons": {f"node{i}": persons // NODES for i in range(NODES)},
            },
            "privacy": {"epsilon": epsilon},
            "aggregation": aggregation,
            kind: dict(section),
        }
    )


def noise_of(stage: Stage) -> float:
    """Standard deviation of the noise in a sum of all nodes, in the units of the values."""
    return stage.layout.noise_scale * stage.layout.grid * math.sqrt(NODES)


def coded(spec: StudySpec, table: pa.Table) -> ModelRows:
    """All rows as a node codes them."""
    source = TableSource(table, declared_persons=table.num_rows, data_year=2026)
    answerer = half_for(spec).read(source)
    assert isinstance(answerer, RegressionAnswerer)
    return answerer.rows


def fit(
    model: BoundedModel, rows: ModelRows, *, noise: float, rounds: int, draws: np.random.Generator
) -> NoisyFit:
    """All rounds of a study, on sums."""
    state = noisy_newton.begin(model)
    for _ in range(rounds):
        inputs = state.trial
        if model.input_values > model.parameters:
            inputs = np.append(inputs, state.alpha)
        values = model.node_sum(inputs, rows).values + noise * draws.standard_normal(model.size)
        state = noisy_newton.advance(state, model.read(values), noise=noise, model=model, rounds=rounds)
    return state


def regression_coverage(family: str, table: pa.Table, *, runs: int, epsilon: float) -> dict[str, Any]:
    """How often the noise interval of each coefficient holds the estimate without noise."""
    section = {"family": family, "terms": TERMS, **REGRESSIONS[family]}
    spec = study("regression", section, persons=table.num_rows, epsilon=epsilon)
    assert isinstance(spec, RegressionStudy)
    model, stage, rows = bounded_model(spec), schedule_for(spec).stages[0], coded(spec, table)
    draws = draws_of(family)
    truth = noisy_newton.finish(fit(model, rows, noise=0.0, rounds=40, draws=draws), model).coefficients
    due = np.array([line.estimate for line in truth])
    held, off, stated, hidden = [], [], [], 0
    for _ in range(runs):
        state = fit(model, rows, noise=noise_of(stage), rounds=stage.rounds, draws=draws)
        try:
            found = noisy_newton.finish(state, model, level=LEVEL).coefficients
        except DataContractError:
            hidden += 1
            continue
        held.append([a.noise_low <= b <= a.noise_high for a, b in zip(found, due, strict=True)])
        off.append([line.estimate for line in found] - due)
        stated.append([line.noise_error for line in found])
    rms = np.sqrt(np.mean(np.square(stated), axis=0))
    return {
        "variant": family,
        "epsilon": epsilon,
        **shares(np.array(held)),
        "terms": [line.term for line in truth],
        "spread_over_stated": (np.std(off, axis=0) / rms).round(4).tolist(),
        "noise_over_sampling_error": float(np.median(np.array(stated) / [line.std_error for line in truth])),
        "not_stated": hidden,
        "rounds": stage.rounds,
        "runs": runs,
    }


def shares(held: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """How often intervals held, by term and all together, beside the binomial error of a term's share.

    Args:
        held: Shape (runs with intervals, terms).
    """
    by_term = held.mean(axis=0)
    error = math.sqrt(LEVEL * (1 - LEVEL) / len(held))
    return {
        "coverage": float(held.mean()),
        "coverage_by_term": by_term.round(4).tolist(),
        "standard_error": error,
        "farthest_in_standard_errors": float(np.max(np.abs(by_term - LEVEL)) / error),
    }


def draws_of(variant: str, *more: int) -> np.random.Generator:
    """Noise of a variant's own, so that chance does not put two variants off together."""
    return np.random.default_rng([SEED, VARIANTS.index(variant), *more])


def curve_coverage(table: pa.Table, *, runs: int, epsilon: float, **aggregation: int) -> dict[str, Any]:
    """The same for the points of a Kaplan-Meier curve, and the largest error of a run.

    Without allowance there is no spare attempt either.
    """
    section = {"time": CURVES["kaplan_meier"], "spare_attempts": 0 if aggregation else 1}
    spec = study("survival", section, persons=table.num_rows, epsilon=epsilon, **aggregation)
    noise = noise_of(schedule_for(spec).stages[0])
    place = np.clip(np.ceil(table["month"].to_numpy()) - 1, 0, 11).astype(np.int64)
    event = np.where(table["month"].to_numpy() <= 12, table["event"].to_numpy(), 0.0)
    counts = node_counts(time=place, event=event, group=0 * place, times=12, groups=1)[0].astype(np.float64)
    truth = kaplan_meier(counts).survival
    draws = draws_of("kaplan_meier", len(aggregation))
    held, errors = [], []
    for _ in range(runs):
        found = counts + noise * draws.standard_normal(counts.shape)
        curve = kaplan_meier(found, level=LEVEL, noise_variance=noise**2)
        held.append((curve.noise_low <= truth) & (truth <= curve.noise_high))
        errors.append(float(np.max(np.abs(curve.survival - truth))))
    return {
        "variant": "kaplan_meier",
        "epsilon": epsilon,
        **shares(np.array(held)),
        "terms": [f"month {k + 1}" for k in range(12)],
        "allowance": "none" if aggregation else "default",
        "largest_error": statistics.median(errors),
        "not_stated": 0,
        "rounds": 1,
        "runs": runs,
    }


def auc_lost(persons: int, *, runs: int) -> list[dict[str, Any]]:
    """AUC that noise costs a logistic fit of 40 rounds at epsilon 0.5, on fresh rows.

    Less the AUC of the fit without noise; beside the default allowance also with none.
    """
    table, fresh = made_up_rows(persons), made_up_rows(20_000, SEED + 1)
    found = []
    for allowance in ({}, {"dropouts": 0, "colluders": 0}):
        section = {"family": "logistic", "terms": TERMS, "rounds": 40, "spare_attempts": 0}
        section |= REGRESSIONS["logistic"]
        spec = study("regression", section, persons=persons, epsilon=0.5, **allowance)
        assert isinstance(spec, RegressionStudy)
        model, stage, draws = bounded_model(spec), schedule_for(spec).stages[0], np.random.default_rng(SEED)
        rows, test = coded(spec, table), coded(spec, fresh)
        plain = auc(test, fit(model, rows, noise=0.0, rounds=40, draws=draws).trial)
        lost = [
            plain - auc(test, fit(model, rows, noise=noise_of(stage), rounds=40, draws=draws).trial)
            for _ in range(runs)
        ]
        found.append(
            {
                "allowance": "none" if allowance else "default",
                "auc_without_noise": plain,
                "lost_median": statistics.median(lost),
                "lost_mean": statistics.fmean(lost),
                "lost_max": max(lost),
                "runs": runs,
            }
        )
    return found


def auc(rows: ModelRows, parameters: FloatArray) -> float:
    """Area under the ROC curve of a linear predictor, ties counted half."""
    from scipy.stats import rankdata

    score, is_event = rankdata(rows.matrix @ parameters), rows.outcome > 0
    events = int(is_event.sum())
    return float((score[is_event].sum() - events * (events + 1) / 2) / (events * (len(score) - events)))


def measure(variants: Sequence[str], *, runs: int, persons: int, jobs: int = 1) -> list[dict[str, Any]]:
    """One row a variant; curves also without spare attempts and without allowance."""
    tasks = [(name, with_allowance) for name in variants for with_allowance in allowances(name)]
    one = functools.partial(measure_one, runs=runs, persons=persons)
    if jobs == 1:
        return [one(task) for task in tasks]
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(one, tasks))


def allowances(variant: str) -> tuple[bool, ...]:
    """With the default allowance, and of curves without any besides."""
    return (True, False) if variant in CURVES else (True,)


def measure_one(task: tuple[str, bool], *, runs: int, persons: int) -> dict[str, Any]:
    """The row of one variant, with the default allowance or with none."""
    variant, with_allowance = task
    rows, times = made_up_rows(persons), runs * RUNS.get(variant, OTHER_RUNS)
    if variant not in CURVES:
        return regression_coverage(variant, rows, runs=times, epsilon=EPSILONS[variant])
    allowance = {} if with_allowance else {"dropouts": 0, "colluders": 0}
    return curve_coverage(rows, runs=times, epsilon=EPSILONS[variant], **allowance)


def table(document: Mapping[str, Any]) -> str:
    """The document for people."""
    lines = [f"{'variant':18} coverage  not stated   runs  farthest  by term"]
    for row in document["rows"]:
        terms = " ".join(f"{share:.3f}" for share in row["coverage_by_term"])
        share = row["not_stated"] / row["runs"]
        lines.append(
            f"{row['variant']:18} {row['coverage']:8.3f}  {share:10.3f}  {row['runs']:5} "
            f"{row['farthest_in_standard_errors']:9.1f}  {terms}"
        )
    for row in document["rows"]:
        if "largest_error" in row:
            lines.append(
                f"largest error of a curve, median of {row['runs']} runs, allowance {row['allowance']}: "
                f"{row['largest_error']:.4f}"
            )
    for row in document["auc"]:
        lines.append(
            f"AUC lost at epsilon 0.5, 40 rounds, allowance {row['allowance']}: "
            f"median {row['lost_median']:.4f}, mean {row['lost_mean']:.4f} of {row['auc_without_noise']:.4f}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--auc-runs", type=int, default=20)
    parser.add_argument("--persons", type=int, default=8000)
    parser.add_argument("--jobs", type=int, default=1, help="Variants measured at a time.")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    options = parser.parse_args(arguments)
    document = {
        **facts(PACKAGES, seed=SEED, repeats=options.runs),
        "persons": options.persons,
        "rows": measure(options.only, runs=options.runs, persons=options.persons, jobs=options.jobs),
        "auc": auc_lost(options.persons, runs=options.auc_runs) if options.auc_runs else [],
    }
    print(json.dumps(document, indent=2) if options.json else table(document))


if __name__ == "__main__":
    main()
