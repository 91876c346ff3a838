"""Training from two moments: how sums of x x' and x y travel, and a logistic model from their sum.

The answer of mode ``statistics`` to a training study, and the free baseline of every other one: one
aggregation, no iterations, good where the signal is linear and persons are many.
"""

from __future__ import annotations

import math

import numpy as np

from fedmed.types import FloatArray, require

_RIDGE = 1e-3  # least eigenvalue kept, per person: duplicated inputs must not blow up
_SMALLEST_CLASS = 1e-3  # share of a class below which noise decides; the intercept is kept finite
_MOST_EXPLAINED = 0.9  # of the label's variance: more is noise, and the logit scale would run away


def moment_values(inputs: int) -> int:
    """Coordinates that the moments of so many inputs take, the 1 of the bias added to them.

    Args:
        inputs: Inputs of the model, >= 1.

    Returns:
        The upper triangle of x x', and x y.
    """
    require(inputs >= 1, f"inputs must be >= 1, got {inputs}")
    width = inputs + 1
    return width * (width + 1) // 2 + width


def moment_bound(row_norm: float) -> float:
    """L2 norm of one person's moments at most: sqrt(R^4 + R^2).

    Args:
        row_norm: R > 0, bound of a row of inputs with the 1 of the bias.

    Source:
        Joint sensitivity of sufficient statistics, labels in {-1, 1} (Wang 2018, arXiv:1803.02596).
    """
    return math.sqrt(row_norm**4 + row_norm**2)


def triangle_scales(width: int) -> FloatArray:
    """Factors that make the norm of an upper triangle that of its symmetric matrix.

    Args:
        width: Rows of the matrix.

    Returns:
        1 on the diagonal, sqrt(2) off it, row by row.
    """
    across, down = np.triu_indices(width)
    return np.where(across == down, 1.0, math.sqrt(2.0))


def logistic_from_moments(values: FloatArray, *, inputs: int, noise_std: float) -> FloatArray:
    """A logistic model from noisy moments, by linear discriminant analysis.

    Args:
        values: Shape (`moment_values` (inputs),), float64: the opened sum of what
            `fedmed.analytics.moment_sums.clipped_moments` gives.
        inputs: Inputs of the model.
        noise_std: Standard deviation of the noise in each value.

    Returns:
        Shape (inputs + 1,), float64, finite: weights, then the bias, as `fedmed.models.layout` orders them.
        The direction is that of least squares; scale and intercept are those of the log odds if both classes
        are normal with one covariance, so scores are probabilities.

    Guarantees:
        Eigenvalues of the covariance are at least those that noise of this size makes by itself, 2 noise_std
        sqrt(width): directions that noise hides get small weights instead of wild ones.

    Source:
        Fisher 1936 (discriminant and least squares agree in direction);
        floor after Wang 2018, arXiv:1803.02596.
    """
    width = inputs + 1
    require(values.shape == (moment_values(inputs),), f"values must have {moment_values(inputs)} entries")
    matrix = np.zeros((width, width))
    matrix[np.triu_indices(width)] = values[:-width] / triangle_scales(width)
    matrix = matrix + np.triu(matrix, 1).T
    crossed = values[-width:]
    # Inputs lie in [-1, 1], so means and covariances have public bounds; fewer persons than noise are noise.
    persons = max(1.0, noise_std, float(matrix[-1, -1]))
    mean, excess = np.clip(matrix[:-1, -1] / persons, -1.0, 1.0), float(crossed[-1]) / persons
    positive = min(1 - _SMALLEST_CLASS, max(_SMALLEST_CLASS, (1 + excess) / 2))
    centred = matrix[:-1, :-1] - persons * np.outer(mean, mean)
    covariance = np.clip((crossed[:-1] / persons - excess * mean) / 2, -0.5, 0.5)
    floor = _RIDGE + 2 * noise_std * math.sqrt(width) / persons
    weights = _solved(centred / persons, covariance, floor=floor)
    return _as_log_odds(weights, mean, covariance, positive=positive)


def _solved(matrix: FloatArray, target: FloatArray, *, floor: float) -> FloatArray:
    """Solution of a symmetric system whose small or negative eigenvalues are lifted to a floor."""
    found, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors @ ((vectors.T @ target) / np.maximum(found, floor)), dtype=np.float64)


def _as_log_odds(
    weights: FloatArray, mean: FloatArray, covariance: FloatArray, *, positive: float
) -> FloatArray:
    """Scale least-squares weights for a 0/1 label to log odds, and add the intercept."""
    spread = positive * (1 - positive)
    explained = min(_MOST_EXPLAINED, max(0.0, float(weights @ covariance) / spread))
    slopes = weights / (spread * (1 - explained))
    between = mean + (0.5 - positive) * covariance / spread  # halfway between the means of the classes
    return np.append(slopes, math.log(positive / (1 - positive)) - float(between @ slopes))
