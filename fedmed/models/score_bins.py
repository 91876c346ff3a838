"""Public bins of a model's scores: equal in logit, so that rare outcomes are told apart too."""

from __future__ import annotations

import numpy as np

from fedmed.models.logit import sigmoid
from fedmed.types import FloatArray, IntArray, require

LOWEST_LOGIT, HIGHEST_LOGIT = -6.0, 4.0
"""Inner edges lie between a risk of 0.25 % and one of 98 %: outcomes of insurance data are rare."""


def score_edges(bins: int) -> FloatArray:
    """Inner edges of the bins, shape (bins - 1,), rising, in (0, 1); `ConfigError` for bins < 2."""
    require(bins >= 2, f"bins must be >= 2, got {bins}")
    return sigmoid(np.linspace(LOWEST_LOGIT, HIGHEST_LOGIT, bins - 1))


def score_centres(bins: int) -> FloatArray:
    """Score that stands for each bin, shape (bins,): the middle in logit, half a step beyond the ends."""
    inner = np.linspace(LOWEST_LOGIT, HIGHEST_LOGIT, bins - 1)
    half = (HIGHEST_LOGIT - LOWEST_LOGIT) / max(bins - 2, 1) / 2
    return sigmoid(np.concatenate([inner - half, [HIGHEST_LOGIT + half]]))


def bin_of(scores: FloatArray, bins: int) -> IntArray:
    """Bin of each score, shape of ``scores``, int64 in [0, bins); an edge belongs to the bin above it."""
    return np.searchsorted(score_edges(bins), scores, side="right").astype(np.int64)
