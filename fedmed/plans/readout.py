"""The training stage of mode ``statistics``: two moments, summed once."""

from __future__ import annotations

from fedmed.aggregation.encoding import SumBounds
from fedmed.analytics.moments import moment_bound, moment_values
from fedmed.models.layout import ModelLayout
from fedmed.plans.stage import Ground, Stage, noisy_stage
from fedmed.privacy.accounting import noise_multiplier_for
from fedmed.study.training import TrainingStudy
from fedmed.types import PrivacyEvent, RoundKind


def readout_stage(
    spec: TrainingStudy, ground: Ground, *, model: ModelLayout, beside: tuple[PrivacyEvent, ...]
) -> Stage:
    """Work out the one round of moments.

    Args:
        spec: A checked study in mode ``statistics``; its ``clip_norm`` bounds a row of inputs with the 1 of
            the bias.
        ground: What the plan stands on.
        model: The study's model, without hidden layers.
        beside: What the study spends besides, on the same persons.

    Raises:
        ConfigError: the numbers do not fit.
    """
    releases = spec.training.aggregations + spec.spare_attempts
    return noisy_stage(
        RoundKind.TRAINING,
        SumBounds(
            values=moment_values(model.inputs),
            clip_norm=moment_bound(spec.privacy.clip_norm),
            clamp_persons=spec.aggregation.clamp_persons,
            max_persons=max(spec.data.declared_persons.values()),
        ),
        ground,
        noise_multiplier=noise_multiplier_for(spec.privacy.epsilon, ground.delta, releases, beside=beside),
        rounds=spec.training.aggregations,
    )
