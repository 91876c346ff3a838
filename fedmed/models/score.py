"""Predicted probabilities and how good they are; NumPy, so that no torch is needed to judge a model.

Scores of a province's own held-out rows are a release when they leave it; these functions only compute.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedmed.data.examples import Examples, Float32Array
from fedmed.errors import DataContractError
from fedmed.models.layout import ModelLayout, check_parameters
from fedmed.models.logit import sigmoid
from fedmed.types import FloatArray, require

_BLOCK_VALUES = 1 << 22
"""Inputs spread out at a time: 32 MiB of float64, so memory does not grow with the rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How well probabilities order and match the outcomes; rows count, not persons.

    Attributes:
        auc: Area under the ROC curve, 0.5 = chance.
        average_precision: Mean precision over the recalls; chance level is the share of positive rows.
        expected_over_observed: Sum of the probabilities over the number of positive rows; 1 = calibrated
            in the large.
    """

    auc: float
    average_precision: float
    expected_over_observed: float


def probabilities(parameters: FloatArray, layout: ModelLayout, examples: Examples) -> FloatArray:
    """Chance of the outcome for each row.

    Args:
        parameters: Shape (p,), float64.
        layout: The model.
        examples: Rows of ``layout.inputs`` inputs; labels are not read.

    Returns:
        Shape (rows,), float64, in [0, 1]; rows of a person stay separate.

    Raises:
        ParametersUnfit: the parameters are not usable (`check_parameters`).
        ConfigError: the examples have another width than the model.
    """
    check_parameters(parameters, layout)
    layout.require_inputs(examples.inputs)
    logits = np.empty(examples.rows)
    step = max(1, _BLOCK_VALUES // layout.inputs)
    for start in range(0, examples.rows, step):
        stop = min(start + step, examples.rows)
        block = examples.block(start, stop, rows=stop - start, width=layout.inputs)
        logits[start:stop] = _logits(parameters, layout, block.astype(np.float64))
    return sigmoid(logits)


def score(predicted: FloatArray, labels: FloatArray | Float32Array) -> Scores:
    """Judge probabilities against outcomes.

    Args:
        predicted: Shape (rows,), probabilities.
        labels: Shape (rows,), 0 or 1, as `Examples.labels`.

    Returns:
        The three scores.

    Raises:
        DataContractError: the labels hold one class only, so that no order can be judged.

    Source:
        scikit-learn's ``roc_auc_score`` and ``average_precision_score``, the field's reference code.
    """
    # Imported here: scikit-learn takes most of a second, and the command line must start without it.
    from sklearn.metrics import average_precision_score, roc_auc_score

    require(predicted.shape == labels.shape, "probabilities and labels must have the same shape")
    positives = float(np.sum(labels))
    if not 0 < positives < labels.shape[0]:
        raise DataContractError(
            "held-out labels hold one class only; choose another threshold, or a larger held_out share"
        )
    return Scores(
        auc=float(roc_auc_score(labels, predicted)),
        average_precision=float(average_precision_score(labels, predicted)),
        expected_over_observed=float(np.sum(predicted)) / positives,
    )


def _logits(parameters: FloatArray, layout: ModelLayout, rows: FloatArray) -> FloatArray:
    """Logit of each row of a spread-out block."""
    arrays = list(layout.split(parameters).values())
    signal = rows
    for position, (weight, bias) in enumerate(zip(arrays[::2], arrays[1::2], strict=True)):
        signal = (np.maximum(signal, 0.0) if position else signal) @ weight.T + bias
    return signal[:, 0]
