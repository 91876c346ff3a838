"""The training stage of mode ``local``: noise inside every node's answer, none on the sum."""

from __future__ import annotations

from fedmed.aggregation.encoding import grid_for, node_noise_scale, rounded_layout, sensitivity
from fedmed.errors import ConfigError
from fedmed.models.layout import ModelLayout
from fedmed.plans.stage import Ground, LocalNoise, Stage
from fedmed.privacy.accounting import sampled_noise_multiplier_for
from fedmed.study.modes import LocalTable
from fedmed.study.training import TrainingStudy
from fedmed.types import PrivacyEvent, RoundKind


def local_table(spec: TrainingStudy) -> LocalTable:
    """``[local]`` of a study in mode ``local``; raises `ConfigError` for any other."""
    if spec.local is None:
        raise ConfigError('local: the study has no section [local]; it belongs to privacy.mode = "local"')
    return spec.local


def node_weight(spec: TrainingStudy, training_persons: int) -> float:
    """Public weight of a node's update, in (0, 1]: its training persons over those of the largest node."""
    return training_persons / max(spec.training_persons(node) for node in spec.nodes)


def local_stage(
    spec: TrainingStudy, ground: Ground, *, model: ModelLayout, beside: tuple[PrivacyEvent, ...]
) -> Stage:
    """Work out the rounds of local training.

    Args:
        spec: A checked study in mode ``local``.
        ground: What the plan stands on.
        model: The study's model.
        beside: What the study spends besides, on the same persons.

    Returns:
        A stage whose event counts every local step at every home: a person at K nodes is in K times as many
        sums, each with noise of its own, so neither clip nor noise depend on K. The secure sum adds nothing
        to the accounting; it hides which node sent what.

    Raises:
        ConfigError: the numbers do not fit.
    """
    table = local_table(spec)
    attempts = spec.training.aggregations + spec.spare_attempts
    steps = table.steps * ground.homes
    multiplier = sampled_noise_multiplier_for(
        spec.privacy.epsilon,
        ground.delta,
        attempts * steps,
        sample_rate=table.sample_rate,
        beside=beside,
    )
    return Stage(
        kind=RoundKind.TRAINING,
        rounds=spec.training.aggregations,
        layout=rounded_layout(model.size, bound=table.update_clip, carrier=ground.carrier),
        clip_norm=table.update_clip,
        event=PrivacyEvent(noise_multiplier=multiplier, sample_rate=table.sample_rate, count=steps),
        input_values=model.size,
        local=_noise(spec, table.steps, values=model.size, multiplier=multiplier),
    )


def _noise(spec: TrainingStudy, steps: int, *, values: int, multiplier: float) -> LocalNoise:
    """Grid and full noise of one step."""
    clip_norm = spec.privacy.clip_norm
    grid = grid_for(clip_norm, values)
    most_persons = max(spec.data.declared_persons.values())
    moved = sensitivity(clip_norm, grid, values=values, max_persons=most_persons)
    scale = node_noise_scale(multiplier, moved, 1)
    return LocalNoise(steps=steps, clip_norm=clip_norm, grid=grid, scale=scale)
