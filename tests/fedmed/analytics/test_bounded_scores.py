"""Bounded scores against derivatives, and a person's part that no other person touches in any bit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fedmed.analytics.bounded_scores import BoundedModel, interval_of, linear_predictor
from fedmed.analytics.design import Design, Term
from fedmed.analytics.families import Family, evaluate
from fedmed.analytics.model import ModelRows

DESIGN = Design(terms=(Term(name="age", low=0, high=100), Term(name="level", levels=("1", "2"))))


def rows(count: int = 60, *, outcome: str = "counts") -> ModelRows:
    rng = np.random.default_rng(2)
    columns = {"age": rng.uniform(0, 100, count), "level": rng.choice(["1", "2"], count).tolist()}
    values = rng.poisson(6, count).astype(float) if outcome == "counts" else rng.integers(0, 2, count) * 1.0
    return ModelRows(
        matrix=DESIGN.matrix(columns),
        outcome=np.maximum(values, 1.0) if outcome == "counts" else values,
        places=np.zeros(count, dtype=np.int64),
        offset=np.zeros(count),
        starts=np.arange(count + 1),
    )


@pytest.mark.parametrize("exposed", [False, True])
@pytest.mark.parametrize("family", list(Family))
def test_sums_are_the_likelihoods_derivatives_while_nobody_is_at_a_bound(
    family: Family, exposed: bool
) -> None:
    model = BoundedModel(design=DESIGN, family=family, low=1, high=50, mean_low=1, mean_high=100)
    data = rows(outcome="events" if family is Family.LOGISTIC else "counts")
    if exposed:
        months = np.random.default_rng(3).uniform(1, 12, len(data.outcome))
        data = dataclasses.replace(data, offset=np.log(months))
    point, alpha = np.array([1.7, 0.2, -0.1]), 0.6
    inputs = np.append(point, alpha) if family is Family.NEGATIVE_BINOMIAL else point
    found = model.read(model.node_sum(inputs, data).values)
    parameters = np.append(point, np.log(alpha)) if family is Family.NEGATIVE_BINOMIAL else point
    due = evaluate(family, parameters, design=data.matrix, outcome=data.outcome, offset=data.offset)
    np.testing.assert_allclose(found.score, due.score[:3], rtol=1e-5, atol=1e-4)
    if family is not Family.NEGATIVE_BINOMIAL:  # there the sum is expected, not observed
        np.testing.assert_allclose(found.information, due.information, rtol=1e-5, atol=1e-4)
    if family is Family.GAMMA:
        assert found.moments[0] == pytest.approx(due.pearson, rel=1e-5)


def test_discrete_time_sums_are_those_of_a_loop_over_intervals() -> None:
    model = BoundedModel(design=dataclasses.replace(DESIGN, intercept=False), family=None, times=5)
    data = rows(20, outcome="events")
    places = np.arange(20) % 5
    data = dataclasses.replace(data, matrix=data.matrix[:, 1:].copy(), places=places)
    point = np.array([-2.0, -1.5, -1.0, -0.5, 0.3, -0.2])
    score, information = np.zeros(6), np.zeros((6, 6))
    for x, event, last in zip(data.matrix, data.outcome, places, strict=True):
        for k in range(last + 1):
            z = np.concatenate([np.eye(4)[k * 4 // 5], x])
            mean = 1 / (1 + np.exp(-z @ point))
            score += z * ((event if k == last else 0.0) - mean)
            information += np.outer(z, z) * mean * (1 - mean)
    found = model.read(model.node_sum(point, data).values)
    np.testing.assert_allclose(found.score, score, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.information, information, rtol=1e-5, atol=1e-5)


def test_a_rows_predictor_is_the_same_in_every_bit_whoever_else_is_there() -> None:
    rng = np.random.default_rng(4)
    matrix, parameters = rng.normal(size=(97, 13)), rng.normal(size=13)
    whole = linear_predictor(parameters, matrix)
    for first in range(0, 97, 7):
        part = matrix[first : first + 5].copy()
        assert np.array_equal(linear_predictor(parameters, part), whole[first : first + 5])


def test_times_lie_in_the_interval_that_ends_with_them() -> None:
    times = np.array([0.0, 0.5, 1.0, 1.0000000001, 1.1, 3.0, 99.0])
    found = interval_of(times, start=0.0, interval=1.0, intervals=3)
    assert found.tolist() == [0, 0, 0, 0, 1, 2, 3]
    assert interval_of(np.array([0.3]), start=0.0, interval=0.1, intervals=9).tolist() == [2]


@pytest.mark.parametrize("exposure", [(1e-200, 1e-180), (1e180, 1e200)])
def test_the_start_is_finite_however_small_or_large_the_unit_of_the_exposure(
    exposure: tuple[float, float],
) -> None:
    model = BoundedModel(design=DESIGN, family=Family.POISSON, mean_low=0.5, mean_high=2, exposure=exposure)
    low, high = np.log(exposure)
    np.testing.assert_allclose(model.start(), [-(low + high) / 2, 0, 0], atol=1e-9)
