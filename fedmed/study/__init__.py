"""The study file: what a study computes, on whose rows, under which privacy; one frozen value.

A study is declarative: provinces approve the digest of its canonical bytes, contributions bind to that
digest and the release names it. Everything that the provinces should approve is therefore written into
the value, defaults that follow from the declared counts included. What follows from the number of nodes
by the protocol (the allowance) stays None here and is worked out by `fedmed.protocol.schedule`.

`StudySpec` is what all studies have; each kind adds its own tables in a module of its own, and a line in
`fedmed.study.kinds`.
"""

from fedmed.study.document import (
    FORMAT_VERSION,
    canonical_bytes,
    from_canonical_bytes,
    load_study,
    study_digest,
    study_from_document,
    to_toml,
)
from fedmed.study.regression import RegressionStudy
from fedmed.study.sections import LARGEST_DELTA, LEAST_NODES, MOST_NODES, PURPOSES, StudySpec
from fedmed.study.statistics import StatisticsStudy
from fedmed.study.survival import SurvivalStudy
from fedmed.study.training import METRICS, TrainingStudy, as_training, training_share

__all__ = [
    "FORMAT_VERSION",
    "LARGEST_DELTA",
    "LEAST_NODES",
    "METRICS",
    "MOST_NODES",
    "PURPOSES",
    "RegressionStudy",
    "StatisticsStudy",
    "StudySpec",
    "SurvivalStudy",
    "TrainingStudy",
    "as_training",
    "canonical_bytes",
    "from_canonical_bytes",
    "load_study",
    "study_digest",
    "study_from_document",
    "to_toml",
    "training_share",
]
