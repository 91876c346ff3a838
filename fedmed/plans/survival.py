"""The one stage of a study of survival: how many persons leave when, and why, in each group."""

from __future__ import annotations

from fedmed.aggregation.encoding import SumBounds, exact_layout
from fedmed.plans.stage import Ground, Stage, noisy_stage, require_one_home
from fedmed.privacy.accounting import noise_multiplier_for
from fedmed.study.survival import SurvivalStudy
from fedmed.types import RoundKind

WAYS_TO_LEAVE = 2
"""Censored, or with an event."""


def stages(spec: SurvivalStudy, ground: Ground) -> tuple[Stage, ...]:
    """Work out a study of survival.

    Args:
        spec: A checked study.
        ground: What the plan stands on.

    Returns:
        One stage of one round: a person is one count in one cell, so the L2 sensitivity is 1.

    Raises:
        ConfigError: noise does not fit, or a person may appear at several nodes.
    """
    require_one_home(
        spec.privacy.max_nodes_per_person,
        because="a curve has one time and one end for a person, who would be at risk twice",
    )
    values = spec.survival.groups * WAYS_TO_LEAVE * spec.survival.time.intervals
    most_persons = max(spec.data.declared_persons.values())
    if spec.privacy.is_exact:
        return (
            Stage(
                kind=RoundKind.SURVIVAL,
                rounds=1,
                layout=exact_layout(values, limit=most_persons, carrier=ground.carrier),
                clip_norm=1.0 + 2.0**-50,
                event=None,
                input_values=0,
            ),
        )
    multiplier = noise_multiplier_for(spec.privacy.epsilon, ground.delta, 1 + spec.spare_attempts)
    bounds = SumBounds(
        values=values,
        clip_norm=1.0 + 2.0**-50,
        clamp_persons=most_persons,
        max_persons=most_persons,
        changed=1,
    )
    return (noisy_stage(RoundKind.SURVIVAL, bounds, ground, noise_multiplier=multiplier),)
