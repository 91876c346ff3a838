"""Regression over rounds: from the federation's sums to coefficients, errors and tests in the field's form.

Source:
    McCullagh and Nelder 1989, Generalized Linear Models, sections 2.5 (Fisher scoring) and 4.5 (Wald tests).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from fedmed.analytics import newton
from fedmed.analytics.design import INTERCEPT
from fedmed.analytics.families import Evaluation, Family, pack, unpack
from fedmed.analytics.model import Model
from fedmed.analytics.newton import Ending, NewtonState, Objective
from fedmed.analytics.support import Support, check_support, read_support
from fedmed.errors import DataContractError
from fedmed.types import FloatArray

Arrays = Mapping[str, npt.NDArray[Any]]
"""Named arrays of float64 or int64 (Any: a mapping holds both)."""

_ENDINGS = tuple(Ending)
_FALL_OUT: Mapping[Family | None, str] = {
    Family.LOGISTIC: "rows whose outcome is neither 0 nor 1 (or, with at_least, is missing)",
    Family.POISSON: "rows whose outcome is no whole number from 0 on",
    Family.NEGATIVE_BINOMIAL: "rows whose outcome is no whole number from 0 on",
    Family.GAMMA: "rows whose outcome is not above 0",
    None: "rows with a time before time.start or an event other than 1 and 0 (censored)",
}
LOG_ALPHA = "log_alpha"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A regression between rounds.

    Attributes:
        state: The Newton iteration.
        found: Sums at ``state.best``; None before the first round.
        support: What the fit rests on; None before the first round.
        rounds: Evaluations so far.
    """

    state: NewtonState
    found: Evaluation | None = None
    support: Support | None = None
    rounds: int = 0

    @property
    def is_over(self) -> bool:
        """Whether no round is needed any more."""
        return self.state.ending is not Ending.RUNNING


def begin(model: Model) -> Fit:
    """A fit at the model's start, which needs no knowledge of the data."""
    return Fit(state=newton.begin(model.start()))


def advance(fit: Fit, total: FloatArray, *, model: Model, precision: float = 0.0) -> Fit:
    """Take one round's opened sum into account.

    Args:
        fit: A fit that is not over.
        total: Shape (model.size,): sum over nodes of `Model.sums` at ``fit.state.trial``; not finite where
            a node's sums did not fit, which counts as a step too long.
        model: What is fitted.
        precision: How far the log-likelihood may be off by the rounding of the sums.

    Returns:
        The fit with its next point, or ended.
    """
    if not np.all(np.isfinite(total)):
        size = len(fit.state.trial)
        lost = Objective(value=np.nan, score=np.zeros(size), information=np.zeros((size, size)))
        return replace(fit, state=newton.advance(fit.state, lost), rounds=fit.rounds + 1)
    support, found = model.read(total, fit.state.trial)
    state = newton.advance(
        fit.state,
        Objective(
            value=found.log_likelihood,
            score=found.score,
            information=found.information,
            precision=precision,
        ),
    )
    moved = fit.found is None or not np.array_equal(state.best, fit.state.best)
    after = Fit(state=state, found=found if moved else fit.found, support=support, rounds=fit.rounds + 1)
    if fit.rounds == 0 and state.ending is Ending.RUNNING:
        return _start_at_mean(after, found, model)
    return after


def _start_at_mean(fit: Fit, found: Evaluation, model: Model) -> Fit:
    """With a log link the first Newton step from afar overshoots; the mean of all rows is a better start."""
    has_log_link = model.family is not None and model.family.has_log_link
    if not (has_log_link and model.design.intercept and found.rows > 0 and found.outcome > 0):
        return fit
    direction = np.zeros_like(fit.state.best)
    direction[0] = np.log(found.outcome / found.rows) - model.typical_offset - fit.state.best[0]
    return replace(fit, state=replace(fit.state, direction=direction, trial=fit.state.best + direction))


def fit_arrays(fit: Fit) -> Arrays:
    """A fit as named arrays, so that a store can keep it between rounds."""
    state = fit.state
    arrays: dict[str, npt.NDArray[Any]] = {
        "trial": state.trial,
        "best": state.best,
        "value": np.array([state.value]),
        "direction": state.direction,
        "covariance": state.covariance,
        "counters": np.array(
            [fit.rounds, state.halvings, state.culprit, _ENDINGS.index(state.ending)], dtype=np.int64
        ),
    }
    if fit.found is not None and fit.support is not None:
        rest = fit.support
        arrays["found"] = pack(fit.found)
        arrays["support"] = np.concatenate([[rest.rows, rest.events], rest.term_rows, rest.term_events])
    return arrays


def fit_of(arrays: Arrays) -> Fit:
    """The fit that `fit_arrays` wrote.

    Guarantees:
        ``fit_arrays(fit_of(arrays))`` are the same arrays, so a study that is resumed goes on exactly.
    """
    rounds, halvings, culprit, ending = (int(x) for x in arrays["counters"])
    state = NewtonState(
        trial=arrays["trial"],
        best=arrays["best"],
        value=float(arrays["value"][0]),
        direction=arrays["direction"],
        halvings=halvings,
        covariance=arrays["covariance"],
        ending=_ENDINGS[ending],
        culprit=culprit,
    )
    if "found" not in arrays:
        return Fit(state=state, rounds=rounds)
    return Fit(
        state=state,
        found=unpack(arrays["found"], len(state.trial)),
        support=read_support(arrays["support"]),
        rounds=rounds,
    )


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
        rows: Rows in the fit; for Cox's model persons.
        events: Rows with an outcome above 0; for Cox's model events.
        log_likelihood: At the estimate, up to the last step's second order; for Cox's model partial. NaN for
            Gamma, where it would depend on how the dispersion is estimated.
        deviance: Residual deviance; NaN for Cox's model.
        dispersion: Pearson statistic over degrees of freedom; scales the errors of a Gamma model. NaN for
            Cox's model.
        aic: Akaike's criterion, -2 log-likelihood + 2 parameters; NaN where there is no log-likelihood.
        rounds: Rounds used.
    """

    coefficients: tuple[Coefficient, ...]
    rows: int
    events: int
    log_likelihood: float
    deviance: float
    dispersion: float
    aic: float
    rounds: int


def finish(fit: Fit, model: Model, *, level: float = 0.95, minimum: int = 10) -> RegressionTable:
    """The table of a converged fit.

    Args:
        fit: The fit.
        model: What was fitted.
        level: Level of the intervals.
        minimum: Least events a coefficient, and least rows and events a level (`check_support`).

    Raises:
        DataContractError: the fit ended with a diagnosis, or rests on too little; the message names the
            term and the remedy and never a count.
    """
    found, state, support = fit.found, fit.state, fit.support
    check_ending(state, model=model, rounds=fit.rounds)
    if found is None or support is None:
        raise DataContractError("the fit has not been evaluated: run the study's first round")
    check_support(support, model.design, minimum=minimum, both_outcomes=model.family is Family.LOGISTIC)
    dispersion = found.pearson / max(1.0, found.rows - model.coefficients)
    is_gamma = model.family is Family.GAMMA
    labels, estimates, spread = in_units(
        model, state.trial, state.covariance * (dispersion if is_gamma else 1.0)
    )
    likelihood = np.nan if is_gamma else found.log_likelihood + 0.5 * float(found.score @ state.direction)
    return RegressionTable(
        coefficients=coefficient_table(labels, estimates, spread, level=level),
        rows=round(found.rows),
        events=round(support.events),
        log_likelihood=likelihood,
        deviance=found.deviance,
        dispersion=dispersion,
        aic=2 * len(state.trial) - 2 * likelihood,
        rounds=fit.rounds,
    )


def in_units(
    model: Model, parameters: FloatArray, covariance: FloatArray
) -> tuple[tuple[str, ...], FloatArray, FloatArray]:
    """Names, estimates and covariance in units of the columns, with alpha instead of its logarithm."""
    size, labels = model.coefficients, model.labels
    turn = np.eye(len(parameters))
    turn[:size, :size] = model.design.to_units()
    estimates, spread = turn @ parameters, turn @ covariance @ turn.T
    if labels[-1] == LOG_ALPHA:
        # From log alpha to alpha by the delta method.
        estimates[-1] = np.exp(estimates[-1])
        spread[-1] *= estimates[-1]
        spread[:, -1] *= estimates[-1]
        labels = (*labels[:-1], "alpha")
    return labels, estimates, spread


def check_ending(state: NewtonState, *, model: Model, rounds: int) -> None:
    """Raise `DataContractError` with a diagnosis unless the fit converged.

    Args:
        state: The iteration.
        model: What was fitted.
        rounds: Rounds used.
    """
    if state.ending is Ending.CONVERGED:
        return
    term = model.labels[state.culprit] if state.culprit >= 0 else ""
    if term == LOG_ALPHA:
        raise DataContractError(
            "the outcome varies no more than a Poisson outcome does, so alpha has no estimate: use family "
            "poisson"
        )
    fallen = _FALL_OUT[model.family]
    if state.ending is Ending.SEPARATED and term == INTERCEPT:
        raise DataContractError(
            "the outcome is the same in all usable rows, or never above 0: check its column, its bounds and "
            f"at_least; {fallen} fall out"
        )
    if state.ending is Ending.COLLINEAR and term == INTERCEPT:
        raise DataContractError(
            "a term never varies, so that it repeats the constant: look for a number that is always at one "
            "of its bounds, and for a level that everybody or nobody has; leave it out or correct the bounds"
        )
    raise DataContractError(_diagnosis(term, rounds, fallen)[state.ending])


def _diagnosis(term: str, rounds: int, fallen: str) -> Mapping[Ending, str]:
    """Cause and remedy of every bad ending."""
    return {
        Ending.RUNNING: f"the fit did not converge in {rounds} rounds: raise regression.rounds",
        Ending.NO_ROWS: (
            "no usable row at any node, or no event: check the columns and the declared levels and bounds; "
            f"{fallen} fall out, and so do rows with a missing value or an undeclared level"
        ),
        Ending.COLLINEAR: (
            f"term {term} repeats other terms or never varies, or far too little within its bounds: leave it "
            "out, merge levels, or bring its low and high nearer to its values"
        ),
        Ending.SEPARATED: (
            f"term {term} separates the outcome (its estimate runs to infinity): merge its levels, leave it "
            "out, or choose another family"
        ),
        Ending.DIVERGED: "no step raises the likelihood: check the outcome's unit and the declared bounds",
        Ending.OUT_OF_RANGE: (
            "the sums of a node pass what the declared bounds allow for: check the outcome's unit, and raise "
            "its bound high"
        ),
    }
