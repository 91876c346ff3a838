"""Whether noise will hide a question's answer, in words: part of ``fedmed study check``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from fedmed.analytics.bounded_scores import BoundedModel
from fedmed.analytics.families import Family
from fedmed.analytics.noise_forecast import (
    NoiseForecast,
    Prospect,
    curve_noise,
    forecast,
    leaving_out,
)
from fedmed.analytics.noisy_newton import HIDDEN, SAFE
from fedmed.plans.regression import bounded_model
from fedmed.privacy.accounting import delta_for, noise_multiplier_for
from fedmed.privacy.accounting import epsilon as spent
from fedmed.protocol.schedule import Schedule, accounted
from fedmed.report.units import count, epsilon
from fedmed.study import StudySpec
from fedmed.study.regression import RegressionStudy
from fedmed.study.survival import SurvivalStudy

VERDICTS: Mapping[str, str] = {
    "hidden": "noise will likely HIDE the answer, and the budget would be spent all the same",
    "doubtful": "noise may hide the answer: rows less even than the assumed ones would not be seen",
    "visible": "the answer should be seen through the noise",
}
WIDE_CURVE, WIDER_CURVE = 0.05, 0.1
"""Shares by which noise alone may move a survival curve before an answer is doubtful, and hidden."""
_ASSUMED = (
    "levels of equal size, numbers over the middle half of their bounds (from 0 to 1: flags of a quarter of "
    "the rows), "
)
_ASSUMED_OUTCOME = {
    "logistic": "an event in a quarter of the rows",
    "gamma": "outcomes inside mean_low and mean_high",
    "cox": "an event for half of the persons, at any time",
}
_MIDDLE_OUTCOME = "outcomes in the middle of mean_low and mean_high"


def forecast_of(spec: StudySpec, schedule: Schedule) -> dict[str, object]:
    """Foretell whether noise hides the answer of a regression or of survival curves.

    Args:
        spec: The study.
        schedule: The study worked out. Both are public: nothing is read.

    Returns:
        Sections of the check: ``forecast`` with a ``prospect`` (hidden, doubtful, visible), a verdict in
        words, what it rests on and, unless the answer is visible, what would do; of a regression also
        ``noise_errors``, the standard deviation of the noise in each coefficient in the column's unit.
        Nothing for exact studies and other kinds.
    """
    if spec.privacy.is_exact:
        return {}
    match spec:
        case RegressionStudy():
            return _regression(spec, schedule)
        case SurvivalStudy():
            return {"forecast": _survival(spec, schedule)}
        case _:
            return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What a regression's forecast rests on."""

    spec: RegressionStudy
    schedule: Schedule
    model: BoundedModel
    noise: float
    found: NoiseForecast


def _regression(spec: RegressionStudy, schedule: Schedule) -> dict[str, object]:
    """The forecast of a fit."""
    model, noise = bounded_model(spec), _noise(spec, schedule)
    found = forecast(model, persons=_persons(spec), noise=noise, rounds=schedule.rounds)
    asked = _Asked(spec=spec, schedule=schedule, model=model, noise=noise, found=found)
    is_seen = found.prospect is Prospect.VISIBLE
    family = spec.regression.family
    return {
        "forecast": {
            "prospect": found.prospect.value,
            "verdict": VERDICTS[found.prospect.value],
            "rows_over_noise": _rounded(found.strength),
            "needed": f"{HIDDEN:g} for an answer, {SAFE:g} to be sure of one",
            "hidden_first": found.weakest,
            **({} if is_seen else {"would_do": _enough(asked), "would_help": list(_helpful(asked))}),
            "assumed": _ASSUMED + _ASSUMED_OUTCOME.get(family, _MIDDLE_OUTCOME),
        },
        "noise_errors": dict(zip(model.design.labels, map(_rounded, found.errors), strict=True)),
    }


def _enough(asked: _Asked) -> list[str]:
    """What would make the answer visible, each by itself."""
    return _less_noise(asked.spec, asked.schedule, factor=SAFE / asked.found.strength)


def _helpful(asked: _Asked) -> Iterator[str]:
    """What would make the answer clearer, with how much the rows would be over the noise then."""
    persons, rounds = _persons(asked.spec), asked.schedule.rounds
    if asked.model.mean_low < asked.model.mean_high and asked.model.family is not Family.GAMMA:
        high = math.sqrt(asked.model.mean_low * asked.model.mean_high)
        narrow = replace(asked.model, mean_high=high)
        found = forecast(narrow, persons=persons, noise=asked.noise, rounds=rounds)
        yield f"mean_high = {high:.2g} (rows over noise {found.strength:.2g})"
    without = leaving_out(asked.model, persons=persons, noise=asked.noise, rounds=rounds)
    if without is not None:
        yield f"leaving out {without[0]} ({without[1].strength:.2g})"
    if any(not term.levels and (term.low, term.high) != (0.0, 1.0) for term in asked.model.design.terms):
        yield "bounds of numbers no wider than their values"


def _less_noise(spec: StudySpec, schedule: Schedule, *, factor: float) -> list[str]:
    """Epsilon, or persons (two digits, rounded up), with which the noise weighs so many times less."""
    events = [
        replace(event, noise_multiplier=event.noise_multiplier / factor) for event in schedule.planned_events
    ]
    needed = spent(events, schedule.accounted_delta)
    persons = _persons(spec) * factor
    # Among more persons delta must be less, and so the noise is more; a step further is more by a tenth.
    delta = min(schedule.delta, delta_for(math.ceil(persons)))
    noise = noise_multiplier_for(spec.privacy.epsilon, accounted(delta), schedule.releases)
    persons *= max(1.0, noise / schedule.noise_multiplier) ** 1.1
    step: int = 10 ** max(0, math.floor(math.log10(persons)) - 1)
    more = f"{count(math.ceil(persons / step) * step)} declared persons"
    return [*([f"epsilon {epsilon(needed)}"] if math.isfinite(needed) else []), more]


def _survival(spec: SurvivalStudy, schedule: Schedule) -> dict[str, object]:
    """The forecast of curves."""
    table, persons = spec.survival, _persons(spec)
    moved = curve_noise(
        persons=max(1, persons // table.groups),
        times=table.time.intervals,
        noise=_noise(spec, schedule),
        level=table.confidence,
    )
    prospect = "hidden" if moved > WIDER_CURVE else "doubtful" if moved > WIDE_CURVE else "visible"
    is_seen = prospect == "visible"
    return {
        "prospect": prospect,
        "verdict": VERDICTS[prospect],
        "noise_moves_a_curve_by": _rounded(moved),
        "needed": f"less than {WIDER_CURVE:g} for an answer, {WIDE_CURVE:g} to be sure of one",
        **({} if is_seen else {"would_do": _less_noise(spec, schedule, factor=moved / WIDE_CURVE)}),
        "assumed": "groups of equal size, an event for half of the persons, leaving at any time",
    }


def _persons(spec: StudySpec) -> int:
    """Declared persons of all nodes."""
    return sum(spec.data.declared_persons.values())


def _noise(spec: StudySpec, schedule: Schedule) -> float:
    """Standard deviation of the noise in a sum of all nodes, in units of the vector as it travels."""
    layout = schedule.layout
    return layout.noise_scale * layout.grid * math.sqrt(len(spec.nodes))


def _rounded(value: float) -> float:
    """Three digits: more would claim what a forecast cannot know."""
    return float(f"{value:.3g}")
