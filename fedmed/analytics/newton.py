"""Newton's method across rounds: the coordinator asks for sums at a trial point and moves it.

A pure fold over evaluations. It ends with an estimate or with a diagnosis, never with a number that only
looks like one: collinear terms, separation and divergence are named.

Source:
    Nocedal and Wright 2006, Numerical Optimization, 2nd ed., section 3.5 (step halving, decrement); Albert
    and Anderson 1984, Biometrika 71(1), on separation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from fedmed.types import FloatArray, require

MOST_HALVINGS = 20
# The squared decrement is the squared distance to the optimum in standard errors. The last step, which
# follows it, leaves an error of the order of its square.
CONVERGED = 1e-12
# Least eigenvalue of the information scaled to a unit diagonal: correlation 1 - 1e-10 between terms.
COLLINEAR = 1e-10
# Terms lie in [-1, 1]: a coefficient of 10 is an odds or mean ratio of e^20 between their ends.
FAR_COEFFICIENT, WIDE_ERROR = 10.0, 3.0


class Ending(Enum):
    """How a fit stands."""

    RUNNING = "running"
    CONVERGED = "converged"
    NO_ROWS = "no_rows"
    COLLINEAR = "collinear"
    SEPARATED = "separated"
    DIVERGED = "diverged"
    OUT_OF_RANGE = "out_of_range"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A log-likelihood with two derivatives at one point.

    Attributes:
        value: The log-likelihood.
        score: Its gradient, shape (p,).
        information: Its negative Hessian or the expectation of that, shape (p, p).
        precision: How far the value may be off by rounding, beyond float64's own.
    """

    value: float
    score: FloatArray
    information: FloatArray
    precision: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NewtonState:
    """Where a fit stands between rounds.

    Attributes:
        trial: Point to evaluate next, shape (p,); the estimate once converged.
        best: Best point so far.
        value: Log-likelihood at ``best``; minus infinity before the first evaluation.
        direction: Newton step from ``best``.
        halvings: How often the step was halved since ``best`` was found.
        covariance: Inverse information at ``best``; zeros before the first evaluation.
        ending: How the fit stands.
        culprit: Index of the parameter that a diagnosis names; -1 for none.
    """

    trial: FloatArray
    best: FloatArray
    value: float
    direction: FloatArray
    halvings: int
    covariance: FloatArray
    ending: Ending
    culprit: int = -1


def begin(start: FloatArray) -> NewtonState:
    """A fit that has not been evaluated yet; ``start`` has shape (p,)."""
    size = len(start)
    return NewtonState(
        trial=start,
        best=start,
        value=-np.inf,
        direction=np.zeros(size),
        halvings=0,
        covariance=np.zeros((size, size)),
        ending=Ending.RUNNING,
    )


def advance(state: NewtonState, found: Objective) -> NewtonState:
    """Take the evaluation at ``state.trial`` into account.

    Args:
        state: A running fit.
        found: The objective at ``state.trial``, summed over all nodes.

    Returns:
        The next point to try, a converged fit, or one that ended with a diagnosis.

    Guarantees:
        The log-likelihood of ``best`` never falls beyond rounding. A converged fit lies within
        ``sqrt(CONVERGED)`` standard errors of a stationary point before its last step.

    Raises:
        ConfigError: the fit is over.
    """
    require(state.ending is Ending.RUNNING, "the fit is over; begin a new one")
    finite = np.isfinite(found.value) and np.all(np.isfinite(found.score))
    if not finite or not np.all(np.isfinite(found.information)):
        return _halve(state, hopeless=Ending.OUT_OF_RANGE)
    rounding = 1e-12 * (1.0 + abs(found.value)) + found.precision
    if found.value < state.value - rounding:
        return _halve(state, hopeless=Ending.DIVERGED)
    return _accept(state, found)


def _halve(state: NewtonState, *, hopeless: Ending) -> NewtonState:
    """The step was too long: try half of it; end so if that has been done too often."""
    if state.halvings >= MOST_HALVINGS or not np.any(state.direction):
        return replace(state, ending=hopeless, trial=state.best)
    halvings = state.halvings + 1
    return replace(state, halvings=halvings, trial=state.best + state.direction * 0.5**halvings)


def _accept(state: NewtonState, found: Objective) -> NewtonState:
    """Move to the trial point and choose the next, or end."""
    here = replace(state, best=state.trial, value=found.value, halvings=0)
    spread = np.diag(found.information)
    if not np.any(spread):
        return replace(here, ending=Ending.NO_ROWS)
    if np.any(spread == 0):
        return replace(here, ending=Ending.COLLINEAR, culprit=int(np.flatnonzero(spread == 0)[0]))
    scale = np.sqrt(np.abs(spread))
    values, vectors = np.linalg.eigh(found.information / np.outer(scale, scale))
    if abs(values[0]) < COLLINEAR * values[-1]:
        return _diagnose_flat(here, np.abs(vectors[:, 0]))
    if values[0] < 0:  # far from the optimum an observed information may have a wrong curvature
        values = np.maximum(np.abs(values), 1e-3 * values[-1])
    inverse = (vectors / values) @ vectors.T / np.outer(scale, scale)
    direction = inverse @ found.score
    here = replace(here, direction=direction, covariance=inverse, trial=here.best + direction)
    errors = np.sqrt(np.diag(inverse))
    runaway = (np.abs(here.best) > FAR_COEFFICIENT) & (errors > WIDE_ERROR)
    if np.any(runaway):
        return replace(here, ending=Ending.SEPARATED, culprit=int(np.argmax(runaway * errors)))
    if float(found.score @ direction) < CONVERGED:
        return replace(here, ending=Ending.CONVERGED)
    return here


def _diagnose_flat(state: NewtonState, weights: FloatArray) -> NewtonState:
    """No curvature along one direction: terms repeat one another, or one of them ran away."""
    culprit = int(np.argmax(weights))
    far = np.abs(state.best) > FAR_COEFFICIENT
    if np.any(far):
        return replace(state, ending=Ending.SEPARATED, culprit=int(np.argmax(np.abs(state.best))))
    return replace(state, ending=Ending.COLLINEAR, culprit=culprit)
