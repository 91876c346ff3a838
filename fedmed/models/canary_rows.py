"""The rows of canaries, so that the kernel that clips persons clips canaries too.

A canary is a person with several rows. Its model is a logistic one with an input for each canary, at zero
parameters: the gradient of a row is half the row, on the canary's own input, plus half on the bias, which is
dropped. Each row is at least 2**19 clip norms long, so clipping that is missing, or that bounds rows or
batches instead of persons, shows at once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fedmed.data.examples import Examples
from fedmed.models.layout import ModelLayout, PersonClip
from fedmed.privacy.canaries import BoolArray
from fedmed.privacy.clipping import ClippedSum
from fedmed.types import FloatArray

ROWS_OF_A_CANARY = 8
_LENGTH = 2.0**20  # the bias takes (1 / length)**2 of the norm: 2**-40 of the clip norm is lost

ClipSum = Callable[[FloatArray, Examples, ModelLayout, PersonClip], ClippedSum]
"""Sum of clipped gradients: parameters, rows, model and bound in, what persons add up to out."""


def canary_rows(present: BoolArray, *, clip_norm: float) -> Examples:
    """Rows of the canaries that take part.

    Args:
        present: Shape (canaries,), bool; at least one is true.
        clip_norm: C, to which every row is long.

    Returns:
        `ROWS_OF_A_CANARY` rows for each canary that takes part, on as many inputs as there are canaries.
    """
    chosen = np.repeat(np.flatnonzero(present), ROWS_OF_A_CANARY)
    dense = np.zeros((len(chosen), len(present)), dtype=np.float32)
    dense[np.arange(len(chosen)), chosen] = _LENGTH * max(1.0, clip_norm)
    return Examples(
        dense=dense,
        code_starts=np.zeros(len(chosen) + 1, dtype=np.int64),
        codes=np.zeros(0, dtype=np.int32),
        code_inputs=0,
        labels=np.zeros(len(chosen), dtype=np.float32),
        person_starts=np.arange(0, len(chosen) + 1, ROWS_OF_A_CANARY, dtype=np.int64),
    )


def canary_sum(present: BoolArray, *, clip: PersonClip, clip_sum: ClipSum) -> FloatArray:
    """What a node's canaries add to its own coordinates of the audit block, before noise.

    Args:
        present: Shape (own canaries,), bool.
        clip: The bound that persons have in this study.
        clip_sum: What sums the gradients of persons in this study.

    Returns:
        Shape (own canaries,): about C for each canary that takes part if the clipping is right, 0 for
        the others.
    """
    if not present.any():
        return np.zeros(len(present))
    model = ModelLayout(kind="logistic", inputs=len(present))
    rows = canary_rows(present, clip_norm=clip.norm)
    return np.asarray(clip_sum(np.zeros(model.size), rows, model, clip).values[:-1], dtype=np.float64)
