"""Regression over rounds: from the federation's sums to coefficients, errors and tests in the field's form.

Source:
    McCullagh and Nelder 1989, Generalized Linear Models, sections 2.5 (Fisher scoring) and 4.5 (Wald tests).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm

from fedmed.analytics import newton
from fedmed.analytics.design import Design
from fedmed.analytics.families import Evaluation, Family, unpack
from fedmed.analytics.newton import Ending, NewtonState, Objective
from fedmed.errors import DataContractError
from fedmed.types import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A generalised linear model between rounds.

    Attributes:
        family: Distribution of the outcome.
        state: The Newton iteration.
        found: Sums at ``state.best``; None before the first round.
        rounds: Evaluations so far.
    """

    family: Family
    state: NewtonState
    found: Evaluation | None = None
    rounds: int = 0

    @property
    def is_over(self) -> bool:
        """Whether no round is needed any more."""
        return self.state.ending is not Ending.RUNNING


def begin(family: Family, design: Design) -> Fit:
    """A fit at zero coefficients (and alpha 1), which needs no knowledge of the data."""
    return Fit(family=family, state=newton.begin(np.zeros(len(design.labels) + len(family.extra))))


def advance(fit: Fit, total: FloatArray, *, design: Design) -> Fit:
    """Take one round's opened sum into account.

    Args:
        fit: A fit that is not over.
        total: Sum over nodes of `fedmed.analytics.families.pack` at ``fit.state.trial``.
        design: The study's design.

    Returns:
        The fit with its next point, or ended.
    """
    found = unpack(total, len(fit.state.trial))
    state = newton.advance(
        fit.state, Objective(value=found.log_likelihood, score=found.score, information=found.information)
    )
    moved = not np.array_equal(state.best, fit.state.best) or fit.found is None
    after = replace(fit, state=state, found=found if moved else fit.found, rounds=fit.rounds + 1)
    if fit.rounds == 0 and state.ending is Ending.RUNNING:
        return _start_at_mean(after, found, design)
    return after


def _start_at_mean(fit: Fit, found: Evaluation, design: Design) -> Fit:
    """With a log link the first Newton step from zero overshoots; the mean of all rows is a better start."""
    if not (fit.family.has_log_link and design.intercept and found.rows > 0 and found.outcome > 0):
        return fit
    direction = np.zeros_like(fit.state.best)
    direction[0] = np.log(found.outcome / found.rows)
    return replace(fit, state=replace(fit.state, direction=direction, trial=direction))


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficient:
    """One line of a regression table, in units of the column.

    Attributes:
        term: Name of the coefficient.
        estimate: On the scale of the linear predictor.
        std_error: Its standard error.
        statistic: Estimate over standard error.
        p_value: Two-sided, normal.
        conf_low: Lower end of the interval.
        conf_high: Upper end.
    """

    term: str
    estimate: float
    std_error: float
    statistic: float
    p_value: float
    conf_low: float
    conf_high: float


def coefficient_table(
    labels: tuple[str, ...], estimates: FloatArray, covariance: FloatArray, *, level: float = 0.95
) -> tuple[Coefficient, ...]:
    """Wald table of estimates with a covariance.

    Args:
        labels: Names, one an estimate.
        estimates: Shape (p,).
        covariance: Shape (p, p).
        level: Level of the intervals.
    """
    errors = np.sqrt(np.diag(covariance))
    z = norm.ppf(0.5 + level / 2)
    return tuple(
        Coefficient(
            term=label,
            estimate=float(b),
            std_error=float(s),
            statistic=float(b / s),
            p_value=float(2 * norm.sf(abs(b / s))),
            conf_low=float(b - z * s),
            conf_high=float(b + z * s),
        )
        for label, b, s in zip(labels, estimates, errors, strict=True)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionTable:
    """A finished fit.

    Attributes:
        coefficients: One line a coefficient; for the negative binomial ``alpha`` last.
        rows: Rows in the fit.
        log_likelihood: At the estimate, up to the last step's second order.
        deviance: Residual deviance.
        dispersion: Pearson statistic over degrees of freedom; scales the errors of a Gamma model.
        rounds: Rounds used.
    """

    coefficients: tuple[Coefficient, ...]
    rows: int
    log_likelihood: float
    deviance: float
    dispersion: float
    rounds: int


def finish(fit: Fit, design: Design, *, level: float = 0.95) -> RegressionTable:
    """The table of a converged fit.

    Raises:
        DataContractError: the fit ended with a diagnosis; the message names the term and the remedy.
    """
    found, state = fit.found, fit.state
    check_ending(state, labels=(*design.labels, *fit.family.extra), rounds=fit.rounds)
    if found is None:
        raise DataContractError("the fit has not been evaluated: run the study's first round")
    size = len(design.labels)
    degrees = max(1.0, found.rows - size)
    dispersion = found.pearson / degrees
    covariance = state.covariance * (dispersion if fit.family is Family.GAMMA else 1.0)
    turn = np.eye(len(state.trial))
    turn[:size, :size] = design.to_units()
    estimates, spread = turn @ state.trial, turn @ covariance @ turn.T
    labels = design.labels
    if fit.family is Family.NEGATIVE_BINOMIAL:
        # From log alpha to alpha by the delta method.
        estimates[-1] = np.exp(estimates[-1])
        spread[-1] *= estimates[-1]
        spread[:, -1] *= estimates[-1]
        labels = (*labels, "alpha")
    return RegressionTable(
        coefficients=coefficient_table(labels, estimates, spread, level=level),
        rows=round(found.rows),
        log_likelihood=found.log_likelihood + 0.5 * float(found.score @ state.direction),
        deviance=found.deviance,
        dispersion=dispersion,
        rounds=fit.rounds,
    )


def check_ending(state: NewtonState, *, labels: tuple[str, ...], rounds: int) -> None:
    """Raise `DataContractError` with a diagnosis unless the fit converged.

    Args:
        state: The iteration.
        labels: Names of all parameters.
        rounds: Rounds used.
    """
    term = labels[state.culprit] if state.culprit >= 0 else ""
    messages = {
        Ending.RUNNING: f"the fit did not converge in {rounds} rounds: raise regression.rounds",
        Ending.NO_ROWS: "no usable row at any node: check the columns and the declared levels and bounds",
        Ending.COLLINEAR: f"term {term} repeats other terms or never varies: leave it out or merge levels",
        Ending.SEPARATED: (
            f"term {term} separates the outcome (its estimate runs to infinity): merge its levels, leave it "
            "out, or choose another family"
        ),
        Ending.DIVERGED: "no step raises the likelihood: check the outcome's unit and the declared bounds",
    }
    if state.ending is not Ending.CONVERGED:
        raise DataContractError(messages[state.ending])
