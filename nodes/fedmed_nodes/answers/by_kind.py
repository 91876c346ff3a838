"""Which module answers which kind of study. A new kind adds one case here."""

from __future__ import annotations

from fedmed.errors import StudyRefused
from fedmed.study import RegressionStudy, StatisticsStudy, StudySpec, SurvivalStudy, TrainingStudy
from fedmed.types import Mode
from fedmed_nodes.answers.contract import NodeHalf
from fedmed_nodes.answers.local import LocalHalf
from fedmed_nodes.answers.readout import ReadoutHalf
from fedmed_nodes.answers.regression import RegressionHalf
from fedmed_nodes.answers.statistics import StatisticsHalf
from fedmed_nodes.answers.survival import SurvivalHalf
from fedmed_nodes.answers.training import TrainingHalf


def half_for(spec: StudySpec) -> NodeHalf:
    """A node's half of a study.

    Raises:
        StudyRefused: this node's program does not know the kind.
    """
    match spec:
        case TrainingStudy():
            return _training(spec)
        case StatisticsStudy():
            return StatisticsHalf(spec=spec)
        case RegressionStudy():
            return RegressionHalf(spec=spec)
        case SurvivalStudy():
            return SurvivalHalf(spec=spec)
    raise StudyRefused(f"study.kind: this node cannot answer {spec.kind.value}; update FedMed here")


def _training(spec: TrainingStudy) -> NodeHalf:
    """The half of a training study's mode."""
    match spec.privacy.mode:
        case Mode.LOCAL:
            return LocalHalf(spec=spec)
        case Mode.STATISTICS:
            return ReadoutHalf(spec=spec)
        case Mode.AGGREGATE:
            return TrainingHalf(spec=spec)
