"""Generalised linear models as sums over rows: what a node adds up at given coefficients.

Every family gives the same packed vector, so that one Newton driver (`fedmed.analytics.newton`) fits them
all. A node's vector is exact up to float64 summation; it is not yet bounded, noisy or encrypted.

Source:
    McCullagh and Nelder 1989, Generalized Linear Models, 2nd ed., chapters 2, 4, 6 and 8; Cameron and
    Trivedi 2013, Regression Analysis of Count Data, 2nd ed., section 3.3 (negative binomial, NB2).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
from scipy.special import digamma, expit, gammaln, polygamma

from fedmed.types import FloatArray, require

_WIDEST_ETA = 50.0  # exp(50) people or yuan a row: beyond any data, far from the end of the float range


class Family(Enum):
    """Distribution of the outcome with its link."""

    LOGISTIC = "logistic"
    POISSON = "poisson"
    NEGATIVE_BINOMIAL = "negative_binomial"
    GAMMA = "gamma"

    @property
    def has_log_link(self) -> bool:
        """Whether coefficients are logs of ratios of means."""
        return self is not Family.LOGISTIC

    @property
    def extra(self) -> tuple[str, ...]:
        """Parameters beyond the coefficients, estimated with them."""
        return ("log_alpha",) if self is Family.NEGATIVE_BINOMIAL else ()

    def admits(self, outcome: FloatArray) -> npt.NDArray[np.bool_]:
        """Which outcomes the family can have: 0 and 1, whole numbers >= 0, or numbers > 0."""
        admitted: npt.NDArray[np.bool_] = np.isfinite(outcome)
        if self is Family.LOGISTIC:
            admitted &= (outcome == 0) | (outcome == 1)
        elif self is Family.GAMMA:
            admitted &= outcome > 0
        else:
            admitted &= (outcome >= 0) & (outcome == np.rint(outcome))
        return admitted


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A model's sums at one set of parameters.

    Attributes:
        rows: Rows in the sums.
        outcome: Sum of the outcomes.
        log_likelihood: As the field defines it, constants included; Gamma at dispersion 1.
        deviance: Twice the distance to the saturated model; Gamma and Poisson, logistic; NaN otherwise.
        pearson: Sum of squared Pearson residuals.
        score: Gradient of the log-likelihood, shape (parameters,).
        information: Its negative Hessian, shape (parameters, parameters): expected for logistic, Poisson and
            Gamma, observed for the negative binomial.
    """

    rows: float
    outcome: float
    log_likelihood: float
    deviance: float
    pearson: float
    score: FloatArray
    information: FloatArray


_SCALARS = 5


def packed_size(parameters: int) -> int:
    """Values of a packed evaluation: five scalars, the score, the upper triangle of the information."""
    return _SCALARS + parameters + parameters * (parameters + 1) // 2


def pack(evaluation: Evaluation) -> FloatArray:
    """One vector of an evaluation, shape (`packed_size`,); sums of packed vectors are packed sums."""
    e = evaluation
    upper = np.triu_indices(len(e.score))
    scalars = [e.rows, e.outcome, e.log_likelihood, e.deviance, e.pearson]
    return np.concatenate([scalars, e.score, e.information[upper]])


def unpack(vector: FloatArray, parameters: int) -> Evaluation:
    """The evaluation that `pack` wrote, or the sum of several; raises `ConfigError` for a wrong length."""
    require(vector.shape == (packed_size(parameters),), "the vector is no packed evaluation of that size")
    information = np.zeros((parameters, parameters))
    information[np.triu_indices(parameters)] = vector[_SCALARS + parameters :]
    information += np.triu(information, 1).T
    rows, outcome, log_likelihood, deviance, pearson = (float(x) for x in vector[:_SCALARS])
    return Evaluation(
        rows=rows,
        outcome=outcome,
        log_likelihood=log_likelihood,
        deviance=deviance,
        pearson=pearson,
        score=vector[_SCALARS : _SCALARS + parameters].copy(),
        information=information,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Per-row quantities at one set of parameters, each of shape (rows,).

    Attributes:
        fit: Mean of the outcome.
        log_likelihood: Log-likelihood of the row.
        deviance: Its unit deviance.
        variance: Variance function at the mean.
        slope: Derivative of the log-likelihood by the linear predictor.
        weight: Negative second derivative (expected or observed, see `Evaluation`).
    """

    fit: FloatArray
    log_likelihood: FloatArray
    deviance: FloatArray
    variance: FloatArray
    slope: FloatArray
    weight: FloatArray


def evaluate(
    family: Family, parameters: FloatArray, *, design: FloatArray, outcome: FloatArray, offset: FloatArray
) -> Evaluation:
    """Sum a model over rows.

    Args:
        family: The distribution.
        parameters: Shape (p,), coefficients, then ``family.extra``.
        design: Shape (rows, coefficients).
        outcome: Shape (rows,), all admitted by the family.
        offset: Shape (rows,), added to the linear predictor (log of exposure); zeros for none.

    Returns:
        The sums; of no rows, zeros.
    """
    coefficients = design.shape[1]
    require(parameters.shape == (coefficients + len(family.extra),), "parameters do not fit the design")
    eta = np.clip(design @ parameters[:coefficients] + offset, -_WIDEST_ETA, _WIDEST_ETA)
    rows = _ROWS[family](eta, outcome, parameters[coefficients:])
    score = design.T @ rows.slope
    information = (design * rows.weight[:, None]).T @ design
    if family is Family.NEGATIVE_BINOMIAL:
        score, information = _with_dispersion(design, rows.fit, outcome, parameters[-1], (score, information))
    return Evaluation(
        rows=float(len(outcome)),
        outcome=float(outcome.sum()),
        log_likelihood=float(rows.log_likelihood.sum()),
        deviance=float(rows.deviance.sum()),
        pearson=float(np.sum((outcome - rows.fit) ** 2 / rows.variance)),
        score=score,
        information=information,
    )


def _logistic(eta: FloatArray, y: FloatArray, _: FloatArray) -> _Rows:
    """Bernoulli outcome, logit link."""
    mean = expit(eta)
    log_likelihood = y * eta - np.logaddexp(0.0, eta)
    variance = np.maximum(mean * (1 - mean), 1e-300)
    return _Rows(
        fit=mean,
        log_likelihood=log_likelihood,
        deviance=-2 * log_likelihood,
        variance=variance,
        slope=y - mean,
        weight=mean * (1 - mean),
    )


def _poisson(eta: FloatArray, y: FloatArray, _: FloatArray) -> _Rows:
    """Count outcome, log link."""
    mean = np.exp(eta)
    return _Rows(
        fit=mean,
        log_likelihood=y * eta - mean - gammaln(y + 1),
        deviance=2 * (_y_log_y(y) - y * eta - (y - mean)),
        variance=mean,
        slope=y - mean,
        weight=mean,
    )


def _gamma(eta: FloatArray, y: FloatArray, _: FloatArray) -> _Rows:
    """Positive outcome whose standard deviation is proportional to its mean, log link."""
    mean = np.exp(eta)
    ratio = y / mean
    return _Rows(
        fit=mean,
        log_likelihood=-ratio - eta,
        deviance=2 * (ratio - 1 - np.log(ratio)),
        variance=mean**2,
        slope=ratio - 1,
        weight=np.ones_like(y),
    )


def _negative_binomial(eta: FloatArray, y: FloatArray, extra: FloatArray) -> _Rows:
    """Count outcome with variance mean + alpha mean^2, log link."""
    mean, alpha = np.exp(eta), np.exp(extra[0])
    size = 1 / alpha
    saturated = np.where(y > 0, y * np.log(np.maximum(y, 1.0)), 0.0) - (y + size) * np.log(y + size)
    kernel = y * eta - (y + size) * np.log(mean + size)
    constant = gammaln(y + size) - gammaln(size) - gammaln(y + 1) + size * np.log(size)
    return _Rows(
        fit=mean,
        log_likelihood=kernel + constant,
        deviance=2 * (saturated - kernel),
        variance=mean * (1 + alpha * mean),
        slope=(y - mean) / (1 + alpha * mean),
        weight=mean * (1 + alpha * y) / (1 + alpha * mean) ** 2,
    )


_ROWS = {
    Family.LOGISTIC: _logistic,
    Family.POISSON: _poisson,
    Family.GAMMA: _gamma,
    Family.NEGATIVE_BINOMIAL: _negative_binomial,
}


def _y_log_y(y: FloatArray) -> FloatArray:
    """Y log y, 0 at 0."""
    return np.where(y > 0, y * np.log(np.maximum(y, 1.0)), 0.0)


def _with_dispersion(
    design: FloatArray,
    mean: FloatArray,
    y: FloatArray,
    log_alpha: float,
    coefficients: tuple[FloatArray, FloatArray],
) -> tuple[FloatArray, FloatArray]:
    """Score and information with log alpha as the last parameter; r = 1 / alpha."""
    score, information = coefficients
    r = np.exp(-log_alpha)
    by_r = digamma(y + r) - digamma(r) + np.log(r / (r + mean)) + (mean - y) / (r + mean)
    by_r_twice = polygamma(1, y + r) - polygamma(1, r) + 1 / r - 1 / (r + mean) + (y - mean) / (r + mean) ** 2
    last = r**2 * by_r_twice.sum() + r * by_r.sum()
    crossed = design.T @ (-r * (y - mean) * mean / (r + mean) ** 2)
    whole = np.block([[information, -crossed[:, None]], [-crossed[None, :], np.array([[-last]])]])
    return np.append(score, -r * by_r.sum()), whole
