"""A regression at the coordinator: Newton rounds over opened sums, then a table or a diagnosis."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from fedmed.analytics import noisy_newton, regression
from fedmed.analytics.families import Family
from fedmed.analytics.noisy_newton import NoisyTable, noisy_fit_arrays, noisy_fit_of
from fedmed.analytics.persons import Persons, read_persons, too_few
from fedmed.analytics.regression import RegressionTable, fit_arrays, fit_of
from fedmed.analytics.support import support_size
from fedmed.errors import DataContractError
from fedmed.plans.regression import bounded_model, design_of, exact_model, scales
from fedmed.plans.stage import Stage
from fedmed.programs.contract import Arrays, OpenedSum, same_bytes
from fedmed.study.regression import RegressionStudy
from fedmed.types import FloatArray, RoundKind

TRIAL = "trial"
"""Name of the point that the next round computes on, shape (parameters,)."""
PERSONS = "persons"
"""Name of the counts of persons, shape (`persons_size`,); absent before they are known."""
PRECISION = "persons_precision"
"""Name of what rounding may have moved such a count by, shape (1,)."""
ALPHA = "alpha"
"""Name of the spread of a negative binomial with noise, shape (1,)."""
INPUTS = "inputs"
"""Name in a round's trace of what the round after it computes on, shape (stage.input_values,)."""
_LIKELIHOOD = 2  # place of the log-likelihood among the scalars of a generalised linear model


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactRegressionProgram:
    """A `fedmed.programs.contract.Program` whose sums are exact to a public resolution.

    Guarantees:
        Where a group is too small (`fedmed.analytics.persons.too_few`) the study is over once persons are
        counted: no sum of an outcome is asked for, and the document is a diagnosis.
    """

    spec: RegressionStudy

    def begin(self) -> Arrays:
        """See `Program.begin`: the model's public start."""
        return fit_arrays(regression.begin(exact_model(self.spec)))

    def inputs(self, state: Arrays, stage: Stage) -> bytes:
        """See `Program.inputs`: the trial point; persons are counted without one."""
        return same_bytes(state[TRIAL]) if stage.input_values else b""

    def absorb(self, state: Arrays, opened: OpenedSum) -> Arrays:
        """See `Program.absorb`: one step of Newton's method, or a shorter one where a sum did not fit."""
        model, scale = exact_model(self.spec), scales(self.spec, opened.stage)
        total = scale.to_values(opened.values.astype(np.int64))
        if opened.stage.kind is RoundKind.SUPPORT:
            rounding = float(scale.unit[-1]) * len(opened.contributors)
            return {**state, PERSONS: total, PRECISION: np.array([rounding])}
        # Half a unit a node; Cox's likelihood adds up risk sets over the times.
        unit = float(scale.unit[support_size(model.coefficients) + _LIKELIHOOD])
        precision = unit * len(opened.contributors) * max(1, model.times)
        moved = fit_arrays(regression.advance(fit_of(state), total, model=model, precision=precision))
        return {**state, **moved}

    def is_finished(self, state: Arrays) -> bool:
        """See `Program.is_finished`: a group is too small, or the fit has converged or cannot."""
        return bool(self._too_few(state)) or fit_of(state).is_over

    def trace(self, state: Arrays) -> Arrays:
        """See `Program.trace`: what the next round computes on, which nodes are sent; no sum is shown."""
        return {INPUTS: state[TRIAL] if PERSONS in state else np.zeros(0)}

    def document(self, state: Arrays) -> Mapping[str, object]:
        """See `Program.document`: coefficients and the line about the model.

        Raises:
            DataContractError: a group is too small, or the fit ended with a diagnosis, or rests on too few
                rows or events.
        """
        fit, refusal = self.spec.regression, self._too_few(state)
        if refusal:
            raise DataContractError(refusal)
        table = regression.finish(
            fit_of(state), exact_model(self.spec), level=fit.confidence, minimum=fit.min_events_per_term
        )
        return {
            **_head(self.spec),
            "coefficients": [asdict(line) for line in table.coefficients],
            "model": _exact_line(table, shows_events=not 0 < self._persons(state).without < fit.min_cell),
        }

    def _persons(self, state: Arrays) -> Persons:
        """Whom the fit rests on."""
        return read_persons(state[PERSONS], design_of(self.spec))

    def _too_few(self, state: Arrays) -> str:
        """Why there is no fit; empty where nothing speaks against it, or nobody was counted yet."""
        if PERSONS not in state:
            return ""
        return too_few(
            self._persons(state),
            exact_model(self.spec),
            minimum=self.spec.regression.min_cell,
            precision=float(state[PRECISION][0]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisyRegressionProgram:
    """A `fedmed.programs.contract.Program` whose sums carry noise."""

    spec: RegressionStudy

    def begin(self) -> Arrays:
        """See `Program.begin`: the model's public start."""
        return noisy_fit_arrays(noisy_newton.begin(bounded_model(self.spec)))

    def inputs(self, state: Arrays, stage: Stage) -> bytes:
        """See `Program.inputs`: the trial point, and alpha of the negative binomial."""
        del stage
        return same_bytes(self._next(state))

    def absorb(self, state: Arrays, opened: OpenedSum) -> Arrays:
        """See `Program.absorb`: the point that the rounds so far point to."""
        model, layout = bounded_model(self.spec), opened.stage.layout
        values: FloatArray = opened.values.astype(np.float64)
        after = noisy_newton.advance(
            noisy_fit_of(state),
            model.read(values),
            noise=layout.noise_scale * layout.grid * math.sqrt(len(opened.contributors)),
            model=model,
            rounds=opened.stage.rounds,
        )
        return noisy_fit_arrays(after)

    def is_finished(self, state: Arrays) -> bool:
        """See `Program.is_finished`: every planned round makes the estimate better."""
        del state
        return False

    def trace(self, state: Arrays) -> Arrays:
        """See `Program.trace`: what the next round computes on."""
        return {INPUTS: self._next(state)}

    def _next(self, state: Arrays) -> FloatArray:
        """What the next round computes on."""
        if bounded_model(self.spec).family is Family.NEGATIVE_BINOMIAL:
            return np.concatenate([state[TRIAL], state[ALPHA]])
        return state[TRIAL]

    def document(self, state: Arrays) -> Mapping[str, object]:
        """See `Program.document`: coefficients with two intervals, and the line about the model.

        Raises:
            DataContractError: noise hides what the rows say.
        """
        table = noisy_newton.finish(
            noisy_fit_of(state), bounded_model(self.spec), level=self.spec.regression.confidence
        )
        return {
            **_head(self.spec),
            "coefficients": [asdict(line) for line in table.coefficients],
            "model": _noisy_line(table),
        }


def at_inputs(state: Arrays, inputs: FloatArray) -> Arrays:
    """The state as if its next round computed on exactly these inputs.

    Newton's step is linear algebra, whose last digits differ from machine to machine: who follows a fit that
    was made elsewhere goes on from the very point that was sent.

    Args:
        state: Of one of the programs here.
        inputs: Shape (stage.input_values,): the trial point, then alpha if the model has one; or nothing.
    """
    if not len(inputs):
        return state
    size = len(state[TRIAL])
    after = {**state, TRIAL: inputs[:size]}
    return after if len(inputs) == size else {**after, ALPHA: inputs[size:]}


def _head(spec: RegressionStudy) -> Mapping[str, object]:
    """What a table is about."""
    fit = spec.regression
    is_cox = fit.family == "cox"
    return {
        "exact": spec.privacy.is_exact,
        "family": fit.family,
        "outcome": fit.time.event if fit.time is not None else fit.outcome.column if fit.outcome else "",
        "exposure": None if fit.exposure is None else fit.exposure.column,
        "references": {term.column: term.levels[0] for term in fit.terms if term.levels},
        "scale": _scale(fit.family, is_exact=spec.privacy.is_exact),
        "confidence": fit.confidence,
        "ties": "efron" if is_cox and spec.privacy.is_exact else None,
    }


def _scale(family: str, *, is_exact: bool) -> str:
    """What the exponential of a coefficient is."""
    if family == "cox":
        return "hazard ratio" if is_exact else "odds ratio of an event within an interval"
    return "odds ratio" if family == "logistic" else "ratio of means"


def _exact_line(table: RegressionTable, *, shows_events: bool) -> Mapping[str, object]:
    """The line about an exact model; what a family does not have is absent.

    So are events where rows less events would count too few persons.
    """
    line: dict[str, float] = {
        "rows": table.rows,
        "events": table.events if shows_events else math.nan,
        "log_likelihood": table.log_likelihood,
        "deviance": table.deviance,
        "dispersion": table.dispersion,
        "aic": table.aic,
        "rounds": table.rounds,
    }
    return {name: value for name, value in line.items() if math.isfinite(value)}


def _noisy_line(table: NoisyTable) -> Mapping[str, object]:
    """The line about a model with noise; rows and likelihood are not released."""
    line = {
        "dispersion": table.dispersion,
        "alpha": table.alpha,
        "alpha_noise": table.alpha_noise,
        "strength": table.strength if math.isfinite(table.strength) else None,
        "rounds": table.rounds,
        "averaged_rounds": table.averaged,
    }
    return {name: value for name, value in line.items() if value is not None}
