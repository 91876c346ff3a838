"""Cox's proportional hazards from sums at public times, ties after Efron.

Risk sets reach over provinces, so a node cannot work out its own likelihood. What it can add up are the
relative risks of its persons by the time at which they leave: the coordinator cumulates the federation's
sums from the last time backwards and has every risk set.

Source:
    Efron 1977, JASA 72(359), 557-565; Therneau and Grambsch 2000, Modeling Survival Data, section 3.3.
"""

from __future__ import annotations

import numpy as np

from fedmed.analytics.newton import Objective
from fedmed.types import FloatArray, IntArray, require

_WIDEST_ETA = 50.0


def packed_size(times: int, coefficients: int) -> int:
    """Values of a node's vector: for each time two sets of moments and a count; the covariates of events."""
    return times * (2 * _moments(coefficients) + 1) + coefficients


def _moments(coefficients: int) -> int:
    """Sum of relative risks, of risk times x, and the upper triangle of risk times x x'."""
    return 1 + coefficients + coefficients * (coefficients + 1) // 2


def node_sums(
    coefficients: FloatArray, *, design: FloatArray, time: IntArray, event: FloatArray, times: int
) -> FloatArray:
    """Add up one node's persons by the time at which they leave.

    Args:
        coefficients: Shape (p,).
        design: Shape (persons, p), no intercept.
        time: Shape (persons,), int64: place of each person's time on the public grid, 0 <= place < times.
        event: Shape (persons,), 1 for an event, 0 for censoring.
        times: Points of the public grid.

    Returns:
        Shape (`packed_size`,): moments of all who leave at each time, of those with an event, number of
        events at each time, then the summed covariates of all events.

    Raises:
        ConfigError: a time lies outside the grid.
    """
    require(len(time) == 0 or 0 <= time.min() <= time.max() < times, f"times must lie in 0..{times - 1}")
    p = design.shape[1]
    risk = np.exp(np.clip(design @ coefficients, -_WIDEST_ETA, _WIDEST_ETA))
    left, right = np.triu_indices(p)
    leaving, failing = np.zeros((times, _moments(p))), np.zeros((times, _moments(p)))
    # Column by column: all products at once would take rows times p squared of memory.
    for column in range(_moments(p)):
        each = risk
        if 1 <= column <= p:
            each = risk * design[:, column - 1]
        elif column > p:
            each = risk * design[:, left[column - p - 1]] * design[:, right[column - p - 1]]
        leaving[:, column] = np.bincount(time, weights=each, minlength=times)
        failing[:, column] = np.bincount(time, weights=each * event, minlength=times)
    count = np.bincount(time, weights=event, minlength=times).astype(np.float64)
    return np.concatenate([leaving.ravel(), failing.ravel(), count, design.T @ event])


def objective(total: FloatArray, coefficients: FloatArray, *, times: int) -> Objective:
    """Partial log-likelihood with its derivatives, from the sum of all nodes' vectors.

    Args:
        total: Shape (`packed_size`,), at these coefficients.
        coefficients: Shape (p,).
        times: Points of the public grid.

    Returns:
        Efron's partial log-likelihood, score and observed information.

    Raises:
        ConfigError: the vector has another size.
    """
    p = len(coefficients)
    require(total.shape == (packed_size(times, p),), "the vector does not belong to these times and terms")
    m = _moments(p)
    leaving = total[: times * m].reshape(times, m)
    failing = total[times * m : 2 * times * m].reshape(times, m)
    count = np.rint(total[2 * times * m : 2 * times * m + times]).astype(np.int64)
    covariates = total[2 * times * m + times :]
    at_risk = np.cumsum(leaving[::-1], axis=0)[::-1]
    value, score = float(covariates @ coefficients), covariates.copy()
    information = np.zeros((p, p))
    upper = np.triu_indices(p)
    for k in np.flatnonzero(count > 0):
        # Efron: of the d tied events, the j-th leaves a risk set with j / d of the tied risks gone.
        shares = np.arange(count[k]) / count[k]
        sums = at_risk[k] - shares[:, None] * failing[k]
        risk, first = sums[:, 0], sums[:, 1 : 1 + p] / sums[:, :1]
        second = np.zeros((p, p))
        second[upper] = (sums[:, 1 + p :] / sums[:, :1]).sum(axis=0)
        second += np.triu(second, 1).T
        value -= float(np.log(risk).sum())
        score -= first.sum(axis=0)
        information += second - first.T @ first
    return Objective(value=value, score=score, information=information)
