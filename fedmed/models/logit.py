"""From logits to probabilities, apart from scores: the coordinator needs no module that reads rows."""

from __future__ import annotations

import numpy as np

from fedmed.types import FloatArray


def sigmoid(logits: FloatArray) -> FloatArray:
    """1 / (1 + exp(-z)) without overflow: only exp of negative numbers is taken."""
    shrunk = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1.0, shrunk) / (1.0 + shrunk)
