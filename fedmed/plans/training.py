"""Stages of a study that trains a model: the training rounds, then the evaluation if there is one."""

from __future__ import annotations

from fedmed.aggregation.encoding import SumBounds
from fedmed.models.layout import ModelLayout, PersonClip
from fedmed.plans.local import local_stage
from fedmed.plans.readout import readout_stage
from fedmed.plans.stage import Ground, Stage, noisy_stage
from fedmed.privacy.accounting import noise_multiplier_for
from fedmed.study import TrainingStudy
from fedmed.types import Mode, PrivacyEvent, RoundKind

LABELS = 2
"""Rows of a score histogram: one for each value of the label."""


def model_of(spec: TrainingStudy) -> ModelLayout:
    """Names and shapes of a study's model."""
    return ModelLayout(kind=spec.model.kind, inputs=spec.dataset_spec.inputs, hidden=spec.model.hidden)


def person_clip(spec: TrainingStudy) -> PersonClip:
    """Bound of one person's gradient at one node: persons at K nodes have C / K at each, C in all."""
    norm = spec.privacy.clip_norm / spec.privacy.max_nodes_per_person
    return PersonClip(norm=norm, rows=spec.training.rows_of_a_person)


def stages(spec: TrainingStudy, ground: Ground) -> tuple[Stage, ...]:
    """Work out a training study.

    Args:
        spec: A checked study.
        ground: What the plan stands on.

    Returns:
        The training stage, and the evaluation stage where the study has an ``evaluation_epsilon``. The
        evaluation's noise is calibrated to that epsilon alone, the training's so that both together spend
        the study's epsilon.

    Raises:
        ConfigError: the numbers do not fit.
    """
    model = model_of(spec)
    evaluation = _evaluation(spec, ground, inputs=model.size)
    beside = () if evaluation is None else evaluation.events(evaluation.rounds + spec.spare_attempts)
    training = _training(spec, ground, model=model, beside=beside)
    return (training,) if evaluation is None else (training, evaluation)


def _training(
    spec: TrainingStudy, ground: Ground, *, model: ModelLayout, beside: tuple[PrivacyEvent, ...]
) -> Stage:
    """The training rounds, by the study's mode."""
    if spec.privacy.mode is Mode.LOCAL:
        return local_stage(spec, ground, model=model, beside=beside)
    if spec.privacy.mode is Mode.STATISTICS:
        return readout_stage(spec, ground, model=model, beside=beside)
    return noisy_stage(
        RoundKind.TRAINING,
        SumBounds(
            values=model.size,
            clip_norm=person_clip(spec).norm,
            clamp_persons=spec.aggregation.clamp_persons,
            max_persons=max(spec.data.declared_persons.values()),
        ),
        ground,
        noise_multiplier=_noise_multiplier(spec, ground, beside),
        rounds=spec.training.aggregations,
        input_values=model.size,
        canaries=0 if spec.audit is None else spec.audit.canaries,
    )


def _noise_multiplier(spec: TrainingStudy, ground: Ground, beside: tuple[PrivacyEvent, ...]) -> float:
    """Noise of all training attempts that fits beside the evaluation's."""
    releases = spec.training.aggregations + spec.spare_attempts
    return noise_multiplier_for(spec.privacy.epsilon, ground.delta, releases, beside=beside)


def _evaluation(spec: TrainingStudy, ground: Ground, *, inputs: int) -> Stage | None:
    """One histogram of scores for each label: a held-out person is one count in one cell."""
    epsilon = spec.report.evaluation_epsilon
    if epsilon is None:
        return None
    most = max(spec.data.declared_persons.values())
    return noisy_stage(
        RoundKind.EVALUATION,
        SumBounds(
            values=LABELS * spec.report.bins, clip_norm=1.0, clamp_persons=most, max_persons=most, changed=1
        ),
        ground,
        noise_multiplier=noise_multiplier_for(epsilon, ground.delta, 1 + spec.spare_attempts),
        input_values=inputs,
    )
