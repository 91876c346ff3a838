"""Names, shapes and public initial values of a model, and the check of parameters that came from outside.

NumPy only: the coordinator, which never loads torch, splits and initialises models with this module.
A model is a chain of linear layers with ReLU between them and one logit at the end; ``logistic`` is the
chain of one layer. Its parameters travel as one float64 vector: for each layer the weights, shape
(outputs, inputs) in row-major order, then the biases.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fedmed.errors import ParametersUnfit
from fedmed.types import DIGEST_BYTES, FloatArray, require

PARAMETER_LIMIT = 2.0**40
"""Largest absolute parameter that a custodian computes with (PROTOCOL.md section 5)."""

_INITIAL_LABEL = b"fedmed/initial-parameters"
_WIDEST = 1 << 17
"""Widest layer: the largest vocabulary (2**16 codes) and as many other inputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonClip:
    """How the rows of a person become one vector, and its bound: settings that touch privacy.

    Attributes:
        norm: Bound C > 0 of one person's L2 norm, in the units of the gradient.
        rows: What a person with several rows contributes before clipping: the ``mean`` or the ``sum`` of
            the gradients of the rows.
    """

    norm: float
    rows: Literal["mean", "sum"] = "mean"

    def __post_init__(self) -> None:
        require(
            math.isfinite(self.norm) and self.norm > 0, f"clip norm must be finite and > 0, got {self.norm}"
        )
        require(self.rows in ("mean", "sum"), f"rows of a person must be 'mean' or 'sum', got {self.rows!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLayout:
    """Kind and widths of a model; everything about its parameters except their values.

    Attributes:
        kind: ``logistic`` (no hidden layer) or ``mlp`` (at least one).
        inputs: Width of the input, at least 1.
        hidden: Widths of the hidden layers, from the input on.
    """

    kind: Literal["logistic", "mlp"]
    inputs: int
    hidden: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        require(self.kind in ("logistic", "mlp"), f"kind must be 'logistic' or 'mlp', got {self.kind!r}")
        require((self.kind == "mlp") == bool(self.hidden), "an mlp needs hidden widths, logistic none")
        for width in (self.inputs, *self.hidden):
            require(1 <= width <= _WIDEST, f"every width must be in 1..{_WIDEST}, got {width}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Input, hidden and output widths; the output is one logit."""
        return (self.inputs, *self.hidden, 1)

    @property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """(outputs, inputs) of each linear layer, from the input on."""
        return tuple(zip(self.widths[1:], self.widths[:-1], strict=True))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each array by name, in the order of the vector: ``layer0.weight``, ``layer0.bias``, ..."""
        shapes: dict[str, tuple[int, ...]] = {}
        for position, (outputs, inputs) in enumerate(self.layers):
            shapes[f"layer{position}.weight"] = (outputs, inputs)
            shapes[f"layer{position}.bias"] = (outputs,)
        return shapes

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arrays in the order of the vector."""
        return tuple(self.shapes)

    @property
    def size(self) -> int:
        """Number p of parameters."""
        return sum(outputs * (inputs + 1) for outputs, inputs in self.layers)

    def require_inputs(self, found: int) -> None:
        """Refuse examples of another width; raises `ConfigError`."""
        require(found == self.inputs, f"examples have {found} inputs, the model takes {self.inputs}")

    def initial(self, seed_digest: bytes) -> FloatArray:
        """Public values to start from, the same on every machine.

        Args:
            seed_digest: 32 public bytes, for instance the study's digest.

        Returns:
            Shape (p,), float64. Zeros for ``logistic``. For ``mlp`` biases are zero and weights uniform in
            +-sqrt(6 / inputs of the layer): variance 2 / inputs, halved deviation for the last layer.

        Guarantees:
            Equal bits everywhere: SHAKE-256 gives 53-bit integers, and division by a power of two, square
            root and product are correctly rounded by IEEE 754. No library's generator is involved.

        Source:
            He, Zhang, Ren, Sun 2015, arXiv:1502.01852, section 2.2 (variance 2 / fan-in under ReLU).
        """
        require(len(seed_digest) == DIGEST_BYTES, f"seed_digest must have {DIGEST_BYTES} bytes")
        if self.kind == "logistic":
            return np.zeros(self.size)
        parts: list[FloatArray] = []
        for position, (outputs, inputs) in enumerate(self.layers):
            last = position == len(self.layers) - 1
            scale = math.sqrt(6.0 / inputs) * (0.5 if last else 1.0)
            parts += [scale * _public_uniform(seed_digest, position, outputs * inputs), np.zeros(outputs)]
        return np.concatenate(parts)

    def split(self, vector: FloatArray) -> dict[str, FloatArray]:
        """Cut a vector into its named arrays.

        Args:
            vector: Shape (p,), float64; parameters or a gradient.

        Returns:
            Read-only views of ``vector``, by name, in order.

        Raises:
            ParametersUnfit: the vector has another shape.
        """
        _check_shape(vector, self)
        arrays: dict[str, FloatArray] = {}
        start = 0
        for name, shape in self.shapes.items():
            stop = start + math.prod(shape)
            arrays[name] = vector[start:stop].reshape(shape)
            arrays[name].setflags(write=False)
            start = stop
        return arrays

    def flatten(self, arrays: Mapping[str, FloatArray]) -> FloatArray:
        """Join named arrays into one vector; the inverse of `split`.

        Args:
            arrays: One float64 array for each name, of the shape that `shapes` gives.

        Returns:
            Shape (p,), float64.

        Raises:
            ParametersUnfit: a name is missing, unknown, or has another shape.
        """
        if {name: np.shape(array) for name, array in arrays.items()} != self.shapes:
            raise ParametersUnfit(f"arrays must have these names and shapes: {self.shapes}")
        return np.concatenate([np.asarray(arrays[name], dtype=np.float64).ravel() for name in self.names])


def check_parameters(vector: FloatArray, layout: ModelLayout) -> None:
    """Refuse parameters that a custodian must not compute with, before any row is read.

    Args:
        vector: Shape (p,), float64.
        layout: The model.

    Raises:
        ParametersUnfit: wrong shape or type, NaN, infinity, or an absolute value above 2**40: larger ones
            overflow the float32 passes for every person, so the sum would say nothing.
    """
    _check_shape(vector, layout)
    if vector.dtype != np.float64:
        raise ParametersUnfit(f"parameters must be float64, got {vector.dtype}")
    # One comparison refuses NaN too, which is not <= anything.
    if not bool(np.all(np.abs(vector) <= PARAMETER_LIMIT)):
        raise ParametersUnfit("parameters must be finite and at most 2**40 in absolute value")


def _check_shape(vector: FloatArray, layout: ModelLayout) -> None:
    """Raise `ParametersUnfit` unless the vector has shape (p,)."""
    if vector.shape != (layout.size,):
        raise ParametersUnfit(f"parameters must have shape ({layout.size},), got {vector.shape}")


def _public_uniform(seed_digest: bytes, layer: int, count: int) -> FloatArray:
    """Numbers in [-1, 1) on a grid of 2**-52, expanded from a digest."""
    expanded = hashlib.shake_256(_INITIAL_LABEL + seed_digest + layer.to_bytes(4, "little"))
    words = np.frombuffer(expanded.digest(8 * count), dtype="<u8") >> np.uint64(11)
    return words.astype(np.float64) / 2.0**52 - 1.0
