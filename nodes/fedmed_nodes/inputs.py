"""A round's inputs at a custodian: bound to the plan, and fit to compute with, before anything is debited."""

from __future__ import annotations

import numpy as np

from fedmed.errors import InputsMismatch, MessageMalformed
from fedmed.models.layout import ModelLayout, check_parameters
from fedmed.protocol.binding import inputs_digest
from fedmed.protocol.node_round import SignedPlan
from fedmed.types import FloatArray

_WORD_BYTES = 8


def check_inputs(signed: SignedPlan, inputs: bytes) -> None:
    """The bytes to compute on are those that every contributor's plan names; raises `InputsMismatch`."""
    if inputs_digest(inputs) != signed.plan.inputs_digest:
        raise InputsMismatch("the inputs are not those that the plan's digest names")


def read_parameters(model: ModelLayout, inputs: bytes) -> FloatArray:
    """Model parameters from a round's inputs.

    Args:
        model: The study's model.
        inputs: Little-endian float64 values.

    Returns:
        Shape (model.size,), float64.

    Raises:
        MessageMalformed: the bytes are no whole number of values.
        ParametersUnfit: values are not finite, above 2^40, or too few or too many.
    """
    if len(inputs) % _WORD_BYTES:
        raise MessageMalformed("parameters are little-endian float64 values")
    parameters = np.frombuffer(inputs, dtype="<f8").astype(np.float64)
    check_parameters(parameters, model)
    return parameters
