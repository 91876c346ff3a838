"""What a message brings besides its plan: bound to it, and fit to use, before anything changes."""

from __future__ import annotations

import numpy as np

from fedmed.errors import EpochMismatch, InputsMismatch, MessageMalformed
from fedmed.models.layout import ModelLayout, check_parameters
from fedmed.protocol.binding import inputs_digest
from fedmed.protocol.node_round import SignedPlan
from fedmed.protocol.schedule import Terms
from fedmed.types import FloatArray

_WORD_BYTES = 8


def check_inputs(signed: SignedPlan, inputs: bytes) -> None:
    """The bytes to compute on are those that every contributor's plan names; raises `InputsMismatch`."""
    if inputs_digest(inputs) != signed.plan.inputs_digest:
        raise InputsMismatch("the inputs are not those that the plan's digest names")


def check_end(epoch_id: bytes, terms: Terms) -> None:
    """The end of a study names its present epoch: a replayed one must not destroy the keys of a later one.

    Raises:
        EpochMismatch: it names another epoch.
    """
    if epoch_id != terms.epoch_id:
        raise EpochMismatch("the end of the study names another key epoch")


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
