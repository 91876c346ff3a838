"""A regression from noisy sums: where to evaluate next, and an estimate whose intervals know the noise.

Every round gives a noisy score s(b) + noise and a noisy information H(b) + noise at a point b. Near the
maximum b* the score is linear, s(b) = -H (b - b*), so that b + H^-1 (s(b) + noise) = b* + H^-1 noise whatever
b was: every round is an estimate of its own with the same noise, and their mean has the noise of one release
that spends the whole budget. So the number of rounds costs nothing but those on the way, and the next point
is the mean of what the later rounds found, which lies ever nearer to the maximum.

Newton sums are chosen over plain gradient sums at every size: gradients alone reach the same AUC (PRIVACY.md
section 8), but an interval needs the information, and a step needs a scale that nobody has to guess. The
price is the root of 2 in the noise of the score. Where the noise in the information hides its smallest
eigenvalue, too little data meets too many terms: that fit has no interval that could be trusted, and it ends
with a diagnosis.

Source:
    Polyak and Juditsky 1992, SIAM Journal on Control and Optimization 30(4), on averaging; Avella-Medina,
    Bradshaw and Loh 2023, Annals of Statistics 51(5), on noisy Newton steps and their intervals;
    Weyl's inequality for eigenvalues under noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from fedmed.analytics.bounded_scores import MOMENT_SHARE, BoundedModel, NoisySums
from fedmed.analytics.families import Family
from fedmed.analytics.regression import Coefficient, coefficient_table
from fedmed.errors import DataContractError
from fedmed.types import FloatArray

LONGEST_STEP = 3.0
"""Most that a coefficient moves in one round, in units of half the term's range."""
BASELINE = "the baseline"
"""What a diagnosis calls the intervals of Cox's model."""
HIDDEN = 2.0
"""Least smallest eigenvalue of the information in units of its noise, for a result."""
SAFE = 2 * HIDDEN
"""The same from which intervals hold what they state; between the two a page warns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisyFit:
    """A regression between rounds with noise.

    Attributes:
        trial: Point to evaluate next, shape (p,); the estimate at the end.
        alpha: Of the negative binomial, in the next round; 0 otherwise.
        points: Points evaluated so far, shape (rounds, p).
        scores: What came back there, shape (rounds, p).
        informations: Likewise, shape (rounds, p, p).
        moments: Likewise, shape (rounds, moments).
        noise: Standard deviation of the noise of each round, shape (rounds,), in units of the vector as it
            travels (`BoundedModel.node_sum`).
    """

    trial: FloatArray
    alpha: float
    points: FloatArray
    scores: FloatArray
    informations: FloatArray
    moments: FloatArray
    noise: FloatArray

    @property
    def rounds(self) -> int:
        """Rounds so far."""
        return len(self.points)


def begin(model: BoundedModel) -> NoisyFit:
    """A fit at the model's start."""
    p = model.parameters
    return NoisyFit(
        trial=model.start(),
        alpha=0.0,
        points=np.zeros((0, p)),
        scores=np.zeros((0, p)),
        informations=np.zeros((0, p, p)),
        moments=np.zeros((0, model.moments)),
        noise=np.zeros(0),
    )


def advance(fit: NoisyFit, found: NoisySums, *, noise: float, model: BoundedModel, rounds: int) -> NoisyFit:
    """Take one round's sums into account.

    Args:
        fit: The fit before the round.
        found: What the sums mean, at ``fit.trial``.
        noise: Standard deviation of the noise in the sum as it travels.
        model: What is fitted.
        rounds: Rounds of the whole study.

    Returns:
        The fit with its next point, or with the estimate after the last round.
    """
    after = replace(
        fit,
        points=np.append(fit.points, fit.trial[None], axis=0),
        scores=np.append(fit.scores, found.score[None], axis=0),
        informations=np.append(fit.informations, found.information[None], axis=0),
        moments=np.append(fit.moments, found.moments[None], axis=0),
        noise=np.append(fit.noise, noise),
    )
    last = after.rounds >= rounds
    first = first_averaged(rounds, model) if last else after.rounds // 2
    step = _mean_estimate(after, first, model) - fit.trial
    longest = float(np.max(np.abs(step)))
    if not last and longest > LONGEST_STEP:  # far off, a step along a wrong curvature may go anywhere
        step = step * (LONGEST_STEP / longest)
    return replace(after, trial=fit.trial + step, alpha=_next_alpha(after, model, rounds))


def first_averaged(rounds: int, model: BoundedModel) -> int:
    """How many rounds only lead to the maximum; the others are averaged.

    They end, for a family whose alpha is estimated on the way, once alpha stands still.
    """
    return rounds // 2 if model.family is Family.NEGATIVE_BINOMIAL else rounds // 3


def _next_alpha(fit: NoisyFit, model: BoundedModel, rounds: int) -> float:
    """Alpha from the moments so far, until the rounds begin that are averaged: from then on it is fixed."""
    if model.family is not Family.NEGATIVE_BINOMIAL:
        return 0.0
    first = first_averaged(rounds, model)
    if fit.rounds > first:
        return fit.alpha
    excess, squares = fit.moments[fit.rounds // 2 :].mean(axis=0)
    return float(max(0.0, excess / squares)) if squares > 0 else 0.0


def _mean_estimate(fit: NoisyFit, first: int, model: BoundedModel) -> FloatArray:
    """Mean over rounds from ``first`` on of where each of them sees the maximum."""
    values, vectors = np.linalg.eigh(fit.informations[first:].mean(axis=0))
    floor = _information_noise(fit, first, model)
    inverse = (vectors / np.maximum(values, floor)) @ vectors.T
    found: FloatArray = fit.points[first:].mean(axis=0) + inverse @ fit.scores[first:].mean(axis=0)
    return found


def _information_noise(fit: NoisyFit, first: int, model: BoundedModel) -> float:
    """How far noise moves eigenvalues of the mean information of the rounds from ``first`` on."""
    return information_noise(_mean_noise(fit, slice(first, None)), model)


def _mean_noise(fit: NoisyFit, rounds: slice) -> float:
    """Standard deviation of the noise in the mean of some rounds, in units of the vector as it travels."""
    used = fit.noise[rounds]
    return math.sqrt(float(np.sum(used**2))) / len(used)


def information_noise(noise: float, model: BoundedModel) -> float:
    """How far noise moves eigenvalues of an information: the norm of a symmetric Gaussian matrix.

    Entries off the diagonal carry 1 / root 2 of the noise of those on it, so that the norm is about
    root (2 p) times the latter (Wigner's law).

    Args:
        noise: Standard deviation in units of the vector as it travels.
        model: What is fitted.
    """
    return noise * model.information_bound * math.sqrt(2 * model.parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisyCoefficient(Coefficient):
    """One line of a table with noise: errors, tests and ``conf`` count sampling and noise.

    Attributes:
        noise_error: Standard deviation of the noise in the estimate.
        noise_low: Lower end of an interval for the estimate that the same rows give without noise.
        noise_high: Upper end.
    """

    noise_error: float
    noise_low: float
    noise_high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisyTable:
    """A finished fit with noise. Rows, likelihood and deviance are no part of it: each would cost budget.

    Attributes:
        coefficients: One line a coefficient; of Cox's model the terms alone.
        dispersion: Of Gamma, as intervals take it: at least `HIDDEN` standard deviations of its own noise, so
            that noise never makes them too narrow; 1 for the other families.
        alpha: Of the negative binomial; None for the other families.
        alpha_noise: Standard deviation of the noise in alpha; None likewise.
        strength: Least eigenvalue of the information over its noise, at least `HIDDEN`. Below `SAFE` the
            intervals are a little optimistic: of weak fits those are refused that noise made look weaker.
        rounds: Rounds used.
        averaged: Rounds in the mean.
    """

    coefficients: tuple[NoisyCoefficient, ...]
    dispersion: float
    alpha: float | None
    alpha_noise: float | None
    strength: float
    rounds: int
    averaged: int


def finish(fit: NoisyFit, model: BoundedModel, *, level: float = 0.95) -> NoisyTable:
    """The table after the last round.

    Args:
        fit: The fit.
        model: What was fitted.
        level: Level of the intervals.

    Raises:
        DataContractError: noise hides the information, or it carries none on a term; names the term and
            the remedy.
    """
    first = first_averaged(fit.rounds, model)
    averaged = fit.rounds - first
    covariance, strength = _inverse(fit, first, model)
    spread = _mean_noise(fit, slice(first, None)) * model.score_bound
    dispersion = _dispersion(fit, first, model)
    turn = np.eye(model.parameters)
    turn[model.segments :, model.segments :] = model.design.to_units()
    estimates = (turn @ fit.trial)[model.segments :]
    noise = (turn @ covariance @ covariance @ turn.T)[model.segments :, model.segments :] * spread**2
    sampling = (turn @ covariance @ turn.T)[model.segments :, model.segments :] * dispersion
    lines = coefficient_table(model.design.labels, estimates, sampling + noise, level=level)
    alpha, alpha_noise = _alpha(fit, first, model)
    return NoisyTable(
        coefficients=tuple(
            _with_noise(line, float(error), level)
            for line, error in zip(lines, np.sqrt(np.diag(noise)), strict=True)
        ),
        dispersion=dispersion,
        alpha=alpha,
        alpha_noise=alpha_noise,
        strength=strength,
        rounds=fit.rounds,
        averaged=averaged,
    )


def _inverse(fit: NoisyFit, first: int, model: BoundedModel) -> tuple[FloatArray, float]:
    """Inverse of the mean information with its strength, or the diagnosis that there is none."""
    values, vectors = np.linalg.eigh(fit.informations[first:].mean(axis=0))
    noise = _information_noise(fit, first, model)
    if values[0] < HIDDEN * noise:
        weakest = weakest_term(vectors[:, 0], model)
        remedy = "widen time.interval" if weakest == BASELINE else "leave it out or merge levels"
        raise DataContractError(
            f"the noise hides what the rows say about {weakest}: {remedy}, narrow the public bounds, raise "
            "epsilon, or widen the cohort; rows that the model cannot use look the same from here"
        )
    inverse: FloatArray = (vectors / values) @ vectors.T
    return inverse, float(values[0]) / noise if noise else math.inf


def weakest_term(direction: FloatArray, model: BoundedModel) -> str:
    """The term that weighs most in a direction, shape (parameters,), of little information."""
    names = (*(BASELINE,) * model.segments, *model.design.labels)
    weights = np.abs(direction)
    if model.design.intercept and len(weights) > 1:
        weights[model.segments] = 0.0  # nobody can leave the constant out
    return names[int(np.argmax(weights))]


def _dispersion(fit: NoisyFit, first: int, model: BoundedModel) -> float:
    """Mean squared relative residual of Gamma over rows, which the information's constant counts.

    Noise may carry it to zero and below, where intervals would forget the sampling.
    """
    if model.family is not Family.GAMMA:
        return 1.0
    rows = fit.informations[first:, 0, 0].mean()  # weights are 1, and so is the constant's column
    noise = _mean_noise(fit, slice(first, None)) * model.moment_bound / MOMENT_SHARE
    return float(max(HIDDEN * noise, fit.moments[first:].mean(axis=0)[0]) / max(1.0, rows))


def _alpha(fit: NoisyFit, first: int, model: BoundedModel) -> tuple[float | None, float | None]:
    """Alpha of the averaged rounds with its noise, by the delta method."""
    if model.family is not Family.NEGATIVE_BINOMIAL:
        return None, None
    used = slice(first // 2, first)
    squares = float(fit.moments[used, 1].mean())
    noise = _mean_noise(fit, used) * model.moment_bound / MOMENT_SHARE
    return fit.alpha, noise * math.hypot(1.0, fit.alpha) / max(squares, 1e-300)


def _with_noise(line: Coefficient, error: float, level: float) -> NoisyCoefficient:
    """A line with its interval for the noise alone."""
    half = float(norm.ppf(0.5 + level / 2)) * error
    return NoisyCoefficient(
        term=line.term,
        estimate=line.estimate,
        std_error=line.std_error,
        statistic=line.statistic,
        p_value=line.p_value,
        conf_low=line.conf_low,
        conf_high=line.conf_high,
        noise_error=error,
        noise_low=line.estimate - half,
        noise_high=line.estimate + half,
    )


def noisy_fit_arrays(fit: NoisyFit) -> Mapping[str, npt.NDArray[np.float64]]:
    """A fit as named arrays, so that a store can keep it between rounds."""
    return {
        "trial": fit.trial,
        "alpha": np.array([fit.alpha]),
        "points": fit.points,
        "scores": fit.scores,
        "informations": fit.informations,
        "moments": fit.moments,
        "noise": fit.noise,
    }


def noisy_fit_of(arrays: Mapping[str, npt.NDArray[np.float64]]) -> NoisyFit:
    """The fit that `noisy_fit_arrays` wrote."""
    return NoisyFit(
        trial=arrays["trial"],
        alpha=float(arrays["alpha"][0]),
        points=arrays["points"],
        scores=arrays["scores"],
        informations=arrays["informations"],
        moments=arrays["moments"],
        noise=arrays["noise"],
    )
