"""Mean logistic loss of all rows and its gradient, float64, codes kept sparse; for non-private arms only.

Nothing is clipped here, so nothing of it may leave a province.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from fedmed.data.examples import Examples
from fedmed.models.layout import ModelLayout
from fedmed.models.logit import sigmoid
from fedmed.types import FloatArray, require


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainObjective:
    """Rows in the form that full-batch training reads often.

    Attributes:
        layout: The model.
        dense: Shape (rows, dense inputs), float64.
        codes: Shape (rows, code inputs), compressed rows of ones; scipy gives no types, hence ``Any``.
        labels: Shape (rows,), float64.
    """

    layout: ModelLayout
    dense: FloatArray
    codes: Any
    labels: FloatArray

    @classmethod
    def of(cls, examples: Examples, layout: ModelLayout) -> PlainObjective:
        """Prepare examples.

        Args:
            examples: Rows of ``layout.inputs`` inputs; every row weighs the same.
            layout: The model.

        Returns:
            The objective over all rows.

        Raises:
            ConfigError: the widths differ.
        """
        require(
            examples.inputs == layout.inputs, f"examples: {examples.inputs} inputs, model: {layout.inputs}"
        )
        ones = np.ones(examples.codes.shape[0])
        shape = (examples.rows, examples.code_inputs)
        return cls(
            layout=layout,
            dense=examples.dense.astype(np.float64),
            codes=csr_array((ones, examples.codes.copy(), examples.code_starts.copy()), shape=shape),
            labels=examples.labels.astype(np.float64),
        )

    def restricted(self, rows: npt.NDArray[np.bool_]) -> PlainObjective:
        """The same model on some rows.

        Args:
            rows: Shape (rows,), which ones to keep.

        Returns:
            A new objective.
        """
        return PlainObjective(
            layout=self.layout, dense=self.dense[rows], codes=self.codes[rows], labels=self.labels[rows]
        )

    def loss_and_gradient(self, parameters: FloatArray, ridge: float) -> tuple[float, FloatArray]:
        """Mean over rows of the logistic loss, plus ridge / 2 times the squared norm of the weights.

        Args:
            parameters: Shape (p,), float64.
            ridge: Strength; biases are free of it.

        Returns:
            The loss and its gradient, shape (p,).
        """
        arrays = list(self.layout.split(parameters).values())
        weights, biases = arrays[::2], arrays[1::2]
        hidden, logits = self._forward(weights, biases)
        loss = float(np.mean(np.logaddexp(0.0, logits) - self.labels * logits))
        loss += ridge / 2 * sum(float(np.sum(weight * weight)) for weight in weights)
        error = ((sigmoid(logits) - self.labels) / self.labels.shape[0])[:, None]
        parts: list[FloatArray] = []
        for layer in range(len(weights) - 1, -1, -1):
            slope = error.T @ hidden[layer - 1] if layer else self._input_slope(error)
            parts += [error.sum(axis=0), (slope + ridge * weights[layer]).ravel()]
            if layer:
                error = (error @ weights[layer]) * (hidden[layer - 1] > 0)
        return loss, np.concatenate(parts[::-1])

    def _forward(
        self, weights: list[FloatArray], biases: list[FloatArray]
    ) -> tuple[list[FloatArray], FloatArray]:
        """Output of each hidden layer, and the logits."""
        width = self.dense.shape[1]
        signal = self.dense @ weights[0][:, :width].T + biases[0] + self.codes @ weights[0][:, width:].T
        hidden: list[FloatArray] = []
        for weight, bias in zip(weights[1:], biases[1:], strict=True):
            hidden.append(np.maximum(signal, 0.0))
            signal = hidden[-1] @ weight.T + bias
        return hidden, signal[:, 0]

    def _input_slope(self, error: FloatArray) -> FloatArray:
        """Gradient of the first layer's weights."""
        return np.concatenate([error.T @ self.dense, (self.codes.T @ error).T], axis=1)
