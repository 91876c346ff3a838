"""Rounds with noise: what they find without it, what their intervals hold with it, and when they give up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedmed.analytics import noisy_newton
from fedmed.analytics.bounded_scores import BoundedModel
from fedmed.analytics.families import Family
from fedmed.analytics.model import Model, ModelRows
from fedmed.analytics.noisy_newton import NoisyFit, NoisyTable, noisy_fit_arrays, noisy_fit_of
from fedmed.analytics.regression import advance, begin, finish
from fedmed.errors import DataContractError
from tests.fedmed.analytics.test_bounded_scores import DESIGN

MODEL = BoundedModel(design=DESIGN, family=Family.LOGISTIC)
RATES = BoundedModel(
    design=DESIGN, family=Family.POISSON, mean_low=0.2, mean_high=20.0, high=60, exposure=(1.0, 12.0)
)


def stays(count: int) -> ModelRows:
    rng = np.random.default_rng(8)
    columns = {"age": rng.uniform(0, 100, count), "level": rng.choice(["1", "2"], count).tolist()}
    matrix = DESIGN.matrix(columns)
    chance = 1 / (1 + np.exp(-matrix @ np.array([-0.5, 0.8, 0.4])))
    return ModelRows(
        matrix=matrix,
        outcome=(rng.random(count) < chance).astype(float),
        places=np.zeros(count, dtype=np.int64),
        offset=np.zeros(count),
        starts=np.arange(count + 1),
    )


def visits(count: int) -> ModelRows:
    """Visits of persons who were insured for 1 to 12 months."""
    rng, rows = np.random.default_rng(3), stays(count)
    months = rng.integers(1, 13, count).astype(float)
    mean = months * np.exp(rows.matrix @ np.array([-1.0, 0.6, 0.3]))
    return replace(rows, outcome=rng.poisson(mean).astype(float), offset=np.log(months))


def fitted(
    rows: ModelRows, *, noise: float, rounds: int = 12, seed: int = 0, model: BoundedModel = MODEL
) -> NoisyFit:
    """All rounds; noise from a seeded generator, for tests alone."""
    insecure_draws = np.random.default_rng(seed)
    fit = noisy_newton.begin(model)
    for _ in range(rounds):
        values = model.node_sum(fit.trial, rows).values
        values = values + noise * insecure_draws.standard_normal(model.size)
        fit = noisy_newton.advance(fit, model.read(values), noise=noise, model=model, rounds=rounds)
    return fit


def table(rows: ModelRows, *, noise: float, seed: int = 0, model: BoundedModel = MODEL) -> NoisyTable:
    return noisy_newton.finish(fitted(rows, noise=noise, seed=seed, model=model), model)


def test_without_noise_the_rounds_find_the_exact_fit() -> None:
    rows = stays(300)
    exact = Model(design=DESIGN, family=Family.LOGISTIC)
    fit = begin(exact)
    while not fit.is_over:
        fit = advance(fit, exact.sums(fit.state.trial, rows), model=exact)
    due = finish(fit, exact).coefficients
    # Bounds sit 2**-20 outside of what persons may reach, so nobody is clipped but who is at one.
    for ours, other in zip(table(rows, noise=0.0).coefficients, due, strict=True):
        assert ours.estimate == pytest.approx(other.estimate, rel=1e-4)
        assert ours.std_error == pytest.approx(other.std_error, rel=1e-4)
        assert ours.noise_low == ours.noise_high == ours.estimate


def test_intervals_count_the_noise_and_the_averaged_rounds() -> None:
    rows = stays(2000)
    for line in table(rows, noise=4.0).coefficients:
        assert line.conf_low < line.noise_low < line.estimate < line.noise_high < line.conf_high
        assert line.std_error > line.noise_error > 0
    quiet, loud = table(rows, noise=2.0), table(rows, noise=4.0)
    ratio = loud.coefficients[1].noise_error / quiet.coefficients[1].noise_error
    assert ratio == pytest.approx(2, rel=0.2)
    assert (quiet.rounds, quiet.averaged) == (12, 8)
    assert quiet.strength / loud.strength == pytest.approx(2, rel=0.2)
    assert loud.strength > noisy_newton.HIDDEN


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "model", "noise"), [(stays(1000), MODEL, 3.0), (visits(1000), RATES, 1.0)], ids=["odds", "rates"]
)
def test_noise_intervals_of_each_term_hold_the_estimate_without_noise_in_95_percent_of_runs(
    rows: ModelRows, model: BoundedModel, noise: float
) -> None:
    runs = 200
    without = fitted(rows, noise=0.0, rounds=40, model=model)
    due = np.array([line.estimate for line in noisy_newton.finish(without, model).coefficients])
    found = [table(rows, noise=noise, seed=seed, model=model).coefficients for seed in range(runs)]
    held = [[a.noise_low <= b <= a.noise_high for a, b in zip(lines, due, strict=True)] for lines in found]
    off = np.array([[line.estimate for line in lines] for lines in found]) - due
    stated = np.array([[line.noise_error for line in lines] for lines in found])
    # Three terms, beyond 5.5 standard errors: less than one false alarm in a million choices of the seeds.
    assert np.all(np.abs(np.mean(held, axis=0) - 0.95) < 5.5 * np.sqrt(0.95 * 0.05 / runs))
    ratio = np.std(off, axis=0) / np.sqrt(np.mean(stated**2, axis=0))
    assert np.all(np.abs(ratio - 1) < 5.5 / np.sqrt(2 * runs))


def test_noise_never_makes_gamma_intervals_forget_the_sampling() -> None:
    """Bounds of residuals are wide, so noise carries the dispersion below zero in half of these runs."""
    model = BoundedModel(design=DESIGN, family=Family.GAMMA, mean_low=1.0, mean_high=50.0, high=400)
    rows = stays(1000)
    mean = 10 * np.exp(rows.matrix @ np.array([0.0, 0.5, 0.3]))
    rows = replace(rows, outcome=np.random.default_rng(5).gamma(2.0, mean / 2))
    due = noisy_newton.finish(fitted(rows, noise=0.0, model=model), model).dispersion
    assert due == pytest.approx(0.5, rel=0.2)
    for seed in range(4):
        found = table(rows, noise=0.05, seed=seed, model=model)
        assert found.dispersion > due
        assert all(line.conf_low < line.noise_low for line in found.coefficients)


def test_noise_that_hides_the_information_ends_with_a_diagnosis() -> None:
    with pytest.raises(DataContractError, match="noise hides what the rows say") as caught:
        table(stays(100), noise=20.0)
    assert caught.value.exit_code == 7


def test_a_fit_survives_being_stored() -> None:
    fit = fitted(stays(50), noise=1.0, rounds=3)
    again = noisy_fit_arrays(noisy_fit_of(noisy_fit_arrays(fit)))
    for name, array in noisy_fit_arrays(fit).items():
        assert np.array_equal(array, again[name])
