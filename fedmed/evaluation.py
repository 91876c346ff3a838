"""From the counts that an evaluation opened to the metrics of its result."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fedmed.analytics import noisy_metrics
from fedmed.analytics.noisy_metrics import Estimate, ScoreCounts
from fedmed.errors import DataContractError
from fedmed.models.score_bins import score_centres
from fedmed.plans.stage import Stage
from fedmed.programs.contract import Arrays
from fedmed.programs.training import SCORE_COUNTS
from fedmed.protocol.schedule import Schedule
from fedmed.report.result import EstimatePart, EvaluationPart, RatePart
from fedmed.study import TrainingStudy
from fedmed.types import RoundKind

# A bin with fewer persons than this many deviations of its noise says nothing.
_DEVIATIONS_SHOWN = 4.0
_PERSONS_SHOWN = 20.0


def evaluation_part(
    spec: TrainingStudy, schedule: Schedule, state: Arrays, *, contributors: int
) -> EvaluationPart | None:
    """Read the metrics off the opened counts.

    Args:
        spec: The study.
        schedule: The study worked out.
        state: The program's final state.
        contributors: Nodes in the evaluation's sum; each added its share of the noise.

    Returns:
        The metrics; None where the study evaluated nothing, or its counts hold fewer than one person of a
        label and say nothing.
    """
    stages = [stage for stage in schedule.stages if stage.kind is RoundKind.EVALUATION]
    epsilon = spec.report.evaluation_epsilon
    if SCORE_COUNTS not in state or not stages or epsilon is None:
        return None
    noise = noise_std(stages[0], contributors=contributors)
    found = ScoreCounts(
        counts=state[SCORE_COUNTS].astype(np.float64),
        centres=score_centres(spec.report.bins),
        noise_variance=noise**2,
    )
    try:
        auc, precision, ratio = (_part(metric(found)) for metric in _METRICS)
    except DataContractError:
        return None
    least = max(_PERSONS_SHOWN, _DEVIATIONS_SHOWN * noise)
    return EvaluationPart(
        epsilon=epsilon,
        noise_std=noise,
        bins=spec.report.bins,
        auc=auc,
        average_precision=precision,
        expected_over_observed=ratio,
        calibration=tuple(
            RatePart(score=p.centre, rate=p.rate, low=p.low, high=p.high)
            for p in noisy_metrics.calibration(found, least_persons=least)
        ),
    )


_METRICS: tuple[Callable[[ScoreCounts], Estimate], ...] = (
    noisy_metrics.auc,
    noisy_metrics.average_precision,
    noisy_metrics.expected_over_observed,
)


def noise_std(stage: Stage, *, contributors: int) -> float:
    """Standard deviation of the noise in each opened value, in its units: shares of all contributors."""
    return stage.layout.noise_scale * stage.layout.grid * float(np.sqrt(contributors))


def _part(found: Estimate) -> EstimatePart:
    """The part of the result that holds an estimate."""
    return EstimatePart(value=found.value, low=found.low, high=found.high)
