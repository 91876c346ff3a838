"""A logistic model from two moments, against scikit-learn's discriminant analysis."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from fedmed.analytics.moments import logistic_from_moments, moment_values, triangle_scales
from fedmed.errors import ConfigError
from fedmed.types import FloatArray


def moments_of(x: FloatArray, y: FloatArray) -> FloatArray:
    rows = np.column_stack([x, np.ones(len(x))])
    width = rows.shape[1]
    triangle = (rows.T @ rows)[np.triu_indices(width)] * triangle_scales(width)
    return np.concatenate([triangle, rows.T @ (2 * y - 1)])


def made_up(rows: int = 4000) -> tuple[FloatArray, FloatArray]:
    draws = np.random.default_rng(2)
    y = (draws.uniform(size=rows) < 0.3).astype(np.float64)
    return draws.normal(size=(rows, 3)) + y[:, None] * np.array([1.0, -0.5, 0.0]), y


def test_without_noise_it_is_linear_discriminant_analysis() -> None:
    x, y = made_up()
    expected = LinearDiscriminantAnalysis(solver="lsqr").fit(x, y)
    found = logistic_from_moments(moments_of(x, y), inputs=3, noise_std=0.0)
    np.testing.assert_allclose(found[:-1], expected.coef_[0], rtol=5e-3, atol=5e-3)
    assert found[-1] == pytest.approx(expected.intercept_[0], abs=5e-3)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_but_noise_gives_a_small_finite_model(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 1e4, moment_values(3))
    found = logistic_from_moments(noise, inputs=3, noise_std=1e4)
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 1e3


def test_directions_hidden_by_noise_are_shrunk() -> None:
    x, y = made_up()
    x[:, 2] = 1e-3 * y  # tells all, far below the noise
    loud = logistic_from_moments(moments_of(x, y), inputs=3, noise_std=50.0)
    quiet = logistic_from_moments(moments_of(x, y), inputs=3, noise_std=0.0)
    assert abs(loud[2]) < abs(quiet[2])


def test_moments_of_another_width_are_refused() -> None:
    with pytest.raises(ConfigError, match="values"):
        logistic_from_moments(np.zeros(5), inputs=3, noise_std=0.0)
