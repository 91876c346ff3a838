"""Which program runs which kind of study. A new kind adds one case here."""

from __future__ import annotations

from fedmed.errors import ConfigError
from fedmed.programs.contract import Program
from fedmed.programs.local import LocalProgram
from fedmed.programs.readout import ReadoutProgram
from fedmed.programs.regression import ExactRegressionProgram, NoisyRegressionProgram
from fedmed.programs.statistics import StatisticsProgram
from fedmed.programs.survival import SurvivalProgram
from fedmed.programs.training import TrainingProgram
from fedmed.study import (
    RegressionStudy,
    StatisticsStudy,
    StudySpec,
    SurvivalStudy,
    TrainingStudy,
    canonical_bytes,
    study_digest,
)
from fedmed.types import Mode


def program_for(spec: StudySpec) -> Program:
    """The coordinator's half of a study.

    Raises:
        ConfigError: no program knows this kind of study.
    """
    match spec:
        case TrainingStudy():
            return _training(TrainingProgram(spec=spec, study_digest=study_digest(canonical_bytes(spec))))
        case StatisticsStudy():
            return StatisticsProgram(spec=spec)
        case RegressionStudy():
            exact = spec.privacy.is_exact
            return ExactRegressionProgram(spec=spec) if exact else NoisyRegressionProgram(spec=spec)
        case SurvivalStudy():
            return SurvivalProgram(spec=spec)
    raise ConfigError(f"study.kind: no program runs {spec.kind.value}; update FedMed at the coordinator")


def _training(program: TrainingProgram) -> Program:
    """The program of a training study's mode."""
    match program.spec.privacy.mode:
        case Mode.LOCAL:
            return LocalProgram(training=program)
        case Mode.STATISTICS:
            return ReadoutProgram(training=program)
        case Mode.AGGREGATE:
            return program
