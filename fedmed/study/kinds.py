"""Which kinds of study there are, and the class of each. A new kind adds one line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fedmed.errors import ConfigError
from fedmed.study.regression import RegressionStudy
from fedmed.study.sections import StudySpec
from fedmed.study.statistics import StatisticsStudy
from fedmed.study.survival import SurvivalStudy
from fedmed.study.training import TrainingStudy
from fedmed.study_faults import nearest
from fedmed.types import StudyKind

STUDIES: Mapping[StudyKind, type[StudySpec]] = MappingProxyType(
    {
        StudyKind.TRAINING: TrainingStudy,
        StudyKind.STATISTICS: StatisticsStudy,
        StudyKind.REGRESSION: RegressionStudy,
        StudyKind.SURVIVAL: SurvivalStudy,
    }
)


def study_class(document: Mapping[str, object]) -> type[StudySpec]:
    """The class that reads an unchecked study: what ``study.kind`` names, training when it names none.

    Raises:
        ConfigError: there is no such kind; names the nearest one.
    """
    section = document.get("study")
    named = section.get("kind") if isinstance(section, Mapping) else None
    if named is None:
        return STUDIES[StudyKind.TRAINING]
    offered = {kind.value: made for kind, made in STUDIES.items()}
    if named in offered:
        return offered[named]
    best = nearest(str(named), list(offered))
    hint = f"did you mean {best}?" if best else f"it must be one of {', '.join(offered)}"
    raise ConfigError(f"the study file has 1 fault(s):\n  study.kind: no kind {named!r}; {hint}")
