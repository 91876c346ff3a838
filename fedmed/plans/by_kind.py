"""Which module works out which kind of study. A new kind adds one case here."""

from __future__ import annotations

from fedmed.errors import ConfigError
from fedmed.plans import regression, statistics, survival, training
from fedmed.plans.stage import Ground, Stage
from fedmed.study import RegressionStudy, StatisticsStudy, StudySpec, SurvivalStudy, TrainingStudy


def stages_for(spec: StudySpec, ground: Ground) -> tuple[Stage, ...]:
    """Work out the stages of a study of any kind.

    Args:
        spec: A checked study.
        ground: What the plan stands on.

    Returns:
        At least one stage.

    Raises:
        ConfigError: the study cannot be run as written, or nobody knows how to account for its kind.
    """
    match spec:
        case TrainingStudy():
            return training.stages(spec, ground)
        case StatisticsStudy():
            return statistics.stages(spec, ground)
        case RegressionStudy():
            return regression.stages(spec, ground)
        case SurvivalStudy():
            return survival.stages(spec, ground)
    raise ConfigError(
        f"study.kind: {spec.kind.value} has no plan, so nobody can say what it would cost; update FedMed"
    )
