"""The stages of a regression: Newton sums with noise, or a count of persons and then exact Newton sums."""

from __future__ import annotations

import math

import numpy as np

from fedmed.aggregation.encoding import Carrier, SumBounds, exact_layout, widest_limit
from fedmed.analytics.bounded_scores import BoundedModel
from fedmed.analytics.design import Design, Term
from fedmed.analytics.families import Family
from fedmed.analytics.fixed_point import FixedPoint, fixed_point
from fedmed.analytics.model import Model
from fedmed.analytics.persons import persons_size
from fedmed.plans.stage import Ground, Stage, noisy_stage, require_one_home
from fedmed.privacy.accounting import noise_multiplier_for
from fedmed.study.regression import RegressionStudy
from fedmed.study.terms import TermTable
from fedmed.types import RoundKind

_COX = "cox"


def exact_model(spec: RegressionStudy) -> Model:
    """What an exact fit adds up."""
    fit = spec.regression
    low, high = _outcome_bounds(spec)
    return Model(
        design=design_of(spec),
        family=None if fit.family == _COX else Family(fit.family),
        low=low,
        high=high,
        times=0 if fit.time is None else fit.time.intervals,
        exposure=_exposure_bounds(spec),
    )


def bounded_model(spec: RegressionStudy) -> BoundedModel:
    """What a fit with noise adds up."""
    fit = spec.regression
    low, high = _outcome_bounds(spec)
    mean_low = None if fit.outcome is None else fit.outcome.mean_low
    mean_high = None if fit.outcome is None else fit.outcome.mean_high
    return BoundedModel(
        design=design_of(spec),
        family=None if fit.family == _COX else Family(fit.family),
        low=low,
        high=high,
        mean_low=1.0 if mean_low is None else mean_low,
        mean_high=1.0 if mean_high is None else mean_high,
        rows_per_person=fit.max_rows_per_person,
        times=0 if fit.time is None else fit.time.intervals,
        exposure=_exposure_bounds(spec),
    )


def design_of(spec: RegressionStudy) -> Design:
    """The terms with their public codings; Cox's model has no constant."""
    fit = spec.regression
    return Design(terms=tuple(_term(entry) for entry in fit.terms), intercept=fit.family != _COX)


def scales(spec: RegressionStudy, stage: Stage) -> FixedPoint:
    """What one unit of each value of an exact stage is worth."""
    if stage.kind is RoundKind.SUPPORT:
        persons = max(spec.data.declared_persons.values())
        return fixed_point(np.ones(persons_size(design_of(spec))), rows=persons, limit=stage.layout.limit)
    return fixed_point(exact_model(spec).row_bounds(), rows=_most_rows(spec), limit=stage.layout.limit)


def stages(spec: RegressionStudy, ground: Ground) -> tuple[Stage, ...]:
    """Work out a regression.

    Args:
        spec: A checked study.
        ground: What the plan stands on.

    Returns:
        A stage of at most ``regression.rounds`` rounds, each on the parameters that the round before led to.
        With noise, each release is planned for its share of epsilon; none is skipped. Before an exact one,
        a stage of one round that counts persons: the fit begins only if every group is large enough.

    Raises:
        ConfigError: noise does not fit, or a person may appear at several nodes.
    """
    fit = spec.regression
    require_one_home(
        spec.privacy.max_nodes_per_person,
        because="standard errors rest on independent persons, and one at several nodes counts as many",
    )
    if spec.privacy.is_exact:
        return _exact_stages(spec, ground.carrier)
    bounded = bounded_model(spec)
    most_persons = max(spec.data.declared_persons.values())
    return (
        noisy_stage(
            RoundKind.REGRESSION,
            SumBounds(
                values=bounded.size,
                clip_norm=bounded.clip_norm,
                clamp_persons=most_persons,
                max_persons=most_persons,
            ),
            ground,
            noise_multiplier=noise_multiplier_for(
                spec.privacy.epsilon, ground.delta, fit.rounds + spec.spare_attempts
            ),
            rounds=fit.rounds,
            input_values=bounded.input_values,
        ),
    )


def _exact_stages(spec: RegressionStudy, carrier: Carrier) -> tuple[Stage, Stage]:
    """A count of persons, and Newton sums."""
    model, limit = exact_model(spec), widest_limit(carrier)

    def stage(kind: RoundKind, values: int, *, rounds: int, input_values: int) -> Stage:
        layout = exact_layout(values + 1, limit=limit, carrier=carrier)
        return Stage(
            kind=kind,
            rounds=rounds,
            layout=layout,
            # No bound of a person that says more than the clamp of every coordinate.
            clip_norm=2.0 * limit * math.sqrt(layout.values),
            event=None,
            input_values=input_values,
        )

    return (
        stage(RoundKind.SUPPORT, persons_size(model.design), rounds=1, input_values=0),
        stage(
            RoundKind.REGRESSION,
            model.size,
            rounds=spec.regression.rounds,
            input_values=len(model.labels),
        ),
    )


def _term(entry: TermTable) -> Term:
    """A term of the study file as a coding."""
    if entry.levels:
        return Term(name=entry.column, levels=entry.levels)
    return Term(
        name=entry.column,
        low=0.0 if entry.low is None else entry.low,
        high=1.0 if entry.high is None else entry.high,
    )


def _outcome_bounds(spec: RegressionStudy) -> tuple[float, float]:
    """Public bounds of the outcome; 0 and 1 where it is an event."""
    outcome = spec.regression.outcome
    low = 0.0 if outcome is None or outcome.low is None else outcome.low
    return low, 1.0 if outcome is None or outcome.high is None else outcome.high


def _exposure_bounds(spec: RegressionStudy) -> tuple[float, float]:
    """Public bounds of the exposure; ones where there is none."""
    exposure = spec.regression.exposure
    return (1.0, 1.0) if exposure is None else (exposure.low, exposure.high)


def _most_rows(spec: RegressionStudy) -> int:
    """Most rows of a node that count."""
    return max(spec.data.declared_persons.values()) * spec.regression.max_rows_per_person
