"""The one stage of a statistics study: exact integers, or sums with noise scaled to each measure's bound."""

from __future__ import annotations

import math

from fedmed.aggregation.encoding import SumBounds, exact_layout
from fedmed.plans.stage import Ground, Stage, noisy_stage
from fedmed.privacy.accounting import noise_multiplier_for
from fedmed.study.statistics import StatisticsStudy
from fedmed.types import RoundKind, require


def measure_bounds(spec: StatisticsStudy) -> tuple[int, ...]:
    """How far one person can move each measure, in L2 norm over its cells and units of the last decimal.

    All rows of a person that count may lie in one cell: max_rows_per_person times the largest value.
    """
    rows = spec.statistics.max_rows_per_person
    return tuple(rows * measure.most_units for measure in spec.statistics.measures)


def stages(spec: StatisticsStudy, ground: Ground) -> tuple[Stage, ...]:
    """Work out a statistics study.

    Args:
        spec: A checked study.
        ground: What the plan stands on.

    Returns:
        One stage of one round over all measures and cells. Exact: integers in units of the last decimal.
        With noise: each measure is divided by its bound (`measure_bounds`), so that one person moves the
        whole vector by at most the root of the number of measures, and each measure gets noise in
        proportion to its bound.

    Raises:
        ConfigError: the totals of a node could exceed what a field holds, or noise does not fit.
    """
    values = spec.statistics.cells * len(spec.statistics.measures)
    most_persons = max(spec.data.declared_persons.values())
    bounds = measure_bounds(spec)
    require(
        most_persons * max(bounds) < 1 << 62,
        "a node's total could exceed 2^62 units: lower max_rows_per_person, decimals or the bounds of a sum",
    )
    if spec.privacy.is_exact:
        return (
            Stage(
                kind=RoundKind.STATISTICS,
                rounds=1,
                layout=exact_layout(values, limit=most_persons * max(bounds), carrier=ground.carrier),
                clip_norm=math.hypot(*bounds) * (1 + 2.0**-50),
                event=None,
                input_values=0,
            ),
        )
    return (
        noisy_stage(
            RoundKind.STATISTICS,
            SumBounds(
                values=values,
                clip_norm=math.sqrt(len(bounds)) * (1 + 2.0**-50),
                clamp_persons=most_persons,
                max_persons=most_persons,
                changed=min(values, spec.statistics.max_rows_per_person * len(bounds)),
            ),
            ground,
            noise_multiplier=noise_multiplier_for(
                spec.privacy.epsilon, ground.delta, 1 + spec.spare_attempts
            ),
        ),
    )
