"""How well a regression with noise will be seen, from public things alone: before anything runs.

Whether noise hides a fit is known only from its information, and reading that spends the budget. The least
eigenvalue of the information can be guessed without it, though: it grows with the declared persons, and what
one person adds follows from the coding of the terms and the bounds of the outcome. The guess needs rows that
nobody has looked at, so a middle person is assumed (`middle_information`), and whoever reads the forecast is
told which.

Source:
    Weyl's inequality, as in `fedmed.analytics.noisy_newton`, whose refusal is forecast here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from fedmed.analytics.bounded_scores import BoundedModel
from fedmed.analytics.design import Design, Term
from fedmed.analytics.families import Family
from fedmed.analytics.noisy_newton import (
    HIDDEN,
    SAFE,
    first_averaged,
    information_noise,
    weakest_term,
)
from fedmed.analytics.survival import kaplan_meier
from fedmed.types import FloatArray, require

EVENT_SHARE = 0.25
"""Assumed share of rows with the event of a logistic model, and with a flag: a number between 0 and 1."""
MIDDLE_ALPHA = 0.5
"""Assumed alpha of a negative binomial outcome."""
# Of a number spread evenly over the middle half of its bounds, which are coded as -1 and 1; of a flag.
_NUMBER_VARIANCE = 0.5**2 / 3
_FLAG_MEAN, _FLAG_VARIANCE = 2 * EVENT_SHARE - 1, 4 * EVENT_SHARE * (1 - EVENT_SHARE)


class Prospect(Enum):
    """What a forecast comes to."""

    HIDDEN = "hidden"
    DOUBTFUL = "doubtful"
    VISIBLE = "visible"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseForecast:
    """What noise will leave of a fit, if its rows are like the assumed ones.

    Attributes:
        strength: Least eigenvalue of the information over how far noise moves it; a fit below
            `fedmed.analytics.noisy_newton.HIDDEN` is refused.
        weakest: The term that noise hides first.
        errors: Standard deviation of the noise in each coefficient of the design, shape (coefficients,), in
            units of the column.
    """

    strength: float
    weakest: str
    errors: FloatArray

    @property
    def prospect(self) -> Prospect:
        """Hidden below what a fit needs, visible from `SAFE` on."""
        if self.strength < HIDDEN:
            return Prospect.HIDDEN
        return Prospect.DOUBTFUL if self.strength < SAFE else Prospect.VISIBLE


def forecast(model: BoundedModel, *, persons: int, noise: float, rounds: int) -> NoiseForecast:
    """Foretell what noise leaves of a fit.

    Args:
        model: What will be fitted.
        persons: Declared persons of all nodes (>= 1).
        noise: Standard deviation of the noise in a sum as it travels (`BoundedModel.node_sum`), > 0.
        rounds: Rounds of the whole study.

    Guarantees:
        Strength is proportional to persons and to 1 / noise. Nothing but the arguments enters.
    """
    require(persons >= 1, f"persons must be >= 1, got {persons}")
    require(noise > 0, f"noise must be > 0, got {noise}")
    mean_noise = noise / math.sqrt(rounds - first_averaged(rounds, model))
    values, vectors = np.linalg.eigh(persons * middle_information(model))
    inverse = (vectors / values) @ vectors.T
    turn = model.design.to_units() @ inverse[model.segments :]
    return NoiseForecast(
        strength=float(values[0]) / information_noise(mean_noise, model),
        weakest=weakest_term(vectors[:, 0], model),
        errors=np.sqrt((turn**2).sum(axis=1)) * mean_noise * model.score_bound,
    )


def leaving_out(
    model: BoundedModel, *, persons: int, noise: float, rounds: int
) -> tuple[str, NoiseForecast] | None:
    """The term without which a fit would be seen best, and how well; arguments as for `forecast`.

    Returns:
        None for a model of one term.
    """
    terms = model.design.terms
    if len(terms) < 2:
        return None
    found = [
        forecast(
            replace(model, design=replace(model.design, terms=(*terms[:k], *terms[k + 1 :]))),
            persons=persons,
            noise=noise,
            rounds=rounds,
        )
        for k in range(len(terms))
    ]
    best = max(range(len(terms)), key=lambda k: found[k].strength)
    return terms[best].name, found[best]


def middle_information(model: BoundedModel) -> FloatArray:
    """Information that a middle person is assumed to add, shape (parameters, parameters).

    Assumed are: a number of rows in the middle of 1 and the bound; levels of equal size; numbers
    spread evenly over the middle half of their bounds, but those between 0 and 1 flags that `EVENT_SHARE` of
    rows carry; terms that have nothing to do with each other. Of the outcome: an event in `EVENT_SHARE` of
    rows (logistic); the geometric middle of ``mean_low`` and
    ``mean_high`` (log link), with `MIDDLE_ALPHA` (negative binomial); an event for half of all persons,
    evenly over the times, and nobody leaving otherwise (Cox).
    """
    mean, second = _middle_moments(model.design)
    weights = _middle_weights(model)
    if model.segments == 0:
        return float(weights[0]) * second
    crossed = np.outer(weights, mean)
    return np.block([[np.diag(weights), crossed], [crossed.T, weights.sum() * second]])


def _middle_moments(design: Design) -> tuple[FloatArray, FloatArray]:
    """Mean of an assumed row, and of its products."""
    size = len(design.labels)
    mean, covariance = np.zeros(size), np.zeros((size, size))
    mean[: design.intercept] = 1.0
    at = int(design.intercept)
    for term in design.terms:
        own = slice(at, at + len(term.labels))
        mean[own], covariance[own, own] = _middle_term(term)
        at = own.stop
    return mean, covariance + np.outer(mean, mean)


def _middle_term(term: Term) -> tuple[float, FloatArray]:
    """Mean of the columns of an assumed term, and their covariance."""
    if term.levels:
        share = 1.0 / len(term.levels)
        return share, np.diag(np.full(len(term.labels), share)) - share**2
    if (term.low, term.high) == (0.0, 1.0):
        return _FLAG_MEAN, np.array([[_FLAG_VARIANCE]])
    return 0.0, np.array([[_NUMBER_VARIANCE]])


def _middle_weights(model: BoundedModel) -> FloatArray:
    """Weight of an assumed person's rows: one value, or one for each segment of Cox's baseline."""
    if model.family is None:
        due = 0.5 / model.times
        at_risk = 1.0 - due * np.arange(model.times)
        segment = np.arange(model.times) * model.segments // model.times
        return np.bincount(segment, due * (1.0 - due / at_risk)).astype(np.float64)
    return np.array([(1 + model.rows_per_person) / 2 * _middle_weight(model, model.family)])


def _middle_weight(model: BoundedModel, family: Family) -> float:
    """Weight of an assumed row."""
    if family is Family.LOGISTIC:
        return EVENT_SHARE * (1 - EVENT_SHARE)
    if family is Family.GAMMA:
        return 1.0
    mean = math.sqrt(model.mean_low * model.mean_high)
    return mean / (1 + MIDDLE_ALPHA * mean) if family is Family.NEGATIVE_BINOMIAL else mean


def curve_noise(*, persons: int, times: int, noise: float, level: float) -> float:
    """How far noise alone will move a survival curve: half the widest interval of its points.

    Args:
        persons: Persons of the group (>= 1). Half of them are assumed to have an event and half to be
            censored, both evenly over the times.
        times: Points of the grid.
        noise: Standard deviation of the noise in each count, > 0.
        level: Level of the interval.
    """
    require(persons >= 1, f"persons must be >= 1, got {persons}")
    require(noise > 0, f"noise must be > 0, got {noise}")
    counts = np.full((2, times), persons / (2 * times))
    curve = kaplan_meier(counts, level=level, noise_variance=noise**2)
    return float(np.max(curve.noise_high - curve.noise_low)) / 2
