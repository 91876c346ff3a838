"""How many persons got which score, by label: what an evaluation releases with noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fedmed.data.examples import Examples
from fedmed.models.layout import ModelLayout, check_parameters
from fedmed.models.passes import BLOCK_ROWS, BlockedPasses, computing, padded
from fedmed.models.score_bins import bin_of
from fedmed.privacy.clipping import ClippedSum
from fedmed.types import FloatArray, require

_LABELS = 2
_CHUNK_ROWS = 8 * BLOCK_ROWS


def score_counts(
    parameters: FloatArray, examples: Examples, *, layout: ModelLayout, bins: int, threads: int = 1
) -> ClippedSum:
    """Count persons by label and mean score.

    Args:
        parameters: Shape (p,), float64.
        examples: Rows grouped by person.
        layout: The model.
        bins: Public cells of the score, >= 2: those of `fedmed.models.score_bins`.
        threads: Threads for this call.

    Returns:
        Shape (2 * bins,), float64: counts of label 0 by rising score, then of label 1. A person counts
        once: the mean of the scores of its rows, and label 1 if at least half of its rows have it.

    Guarantees:
        One person more or less changes one cell by one, so the bound is 1: scores come from the passes in
        fixed blocks, where rows do not touch each other. A person without a finite mean score, or with a
        row without a label, counts nowhere; no value of a row decides whether the call succeeds.

    Raises:
        ParametersUnfit: before a row is read (`check_parameters`).
        ConfigError: bins < 2, or the examples have another width than the model.
    """
    check_parameters(parameters, layout)
    require(bins >= 2, f"bins must be >= 2, got {bins}")
    layout.require_inputs(examples.inputs)
    scores = _person_means(_row_scores(parameters, examples, layout, threads), examples)
    labels = _person_means(examples.labels.astype(np.float64), examples)
    known = np.isfinite(scores) & np.isfinite(labels)
    cells = bin_of(scores[known], bins)
    cells += bins * (labels[known] >= 0.5)
    counts = np.bincount(cells, minlength=_LABELS * bins).astype(np.float64)
    return ClippedSum(values=counts, clip_norm=1.0)


def _row_scores(parameters: FloatArray, examples: Examples, layout: ModelLayout, threads: int) -> FloatArray:
    """Score of each row, shape (rows,): with labels of 0 the passes' last error is the score itself."""
    unlabelled = replace(examples, labels=np.zeros_like(examples.labels))
    scores = np.empty(examples.rows)
    with computing(threads):
        most = min(_CHUNK_ROWS, padded(max(examples.rows, 1), BLOCK_ROWS))
        passes = BlockedPasses(parameters, layout, rows=most)
        for start in range(0, examples.rows, most):
            stop = min(start + most, examples.rows)
            passes.run(unlabelled, start, stop)
            scores[start:stop] = passes.backward[-1][: stop - start, 0].numpy()
    return scores


def _person_means(values: FloatArray, examples: Examples) -> FloatArray:
    """Mean over each person's rows, shape (persons,), each added up in the order of its own rows."""
    lengths = np.diff(examples.person_starts)
    person = np.repeat(np.arange(examples.persons), lengths)
    return np.bincount(person, weights=values, minlength=examples.persons) / lengths
