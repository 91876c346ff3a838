"""What a message brings besides its plan: bound to it, and fit to use, before anything changes."""

from __future__ import annotations

import numpy as np

from fedmed.errors import EpochMismatch, InputsMismatch, MessageMalformed, ParametersUnfit
from fedmed.plans.stage import Stage
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


def read_inputs(stage: Stage, inputs: bytes) -> FloatArray:
    """What a round computes on, from its bytes.

    Args:
        stage: The round's stage.
        inputs: Little-endian float64 values.

    Returns:
        Shape (stage.input_values,), float64, finite.

    Raises:
        MessageMalformed: the bytes are no whole number of values.
        ParametersUnfit: values are not finite, or too few or too many.
    """
    if len(inputs) % _WORD_BYTES:
        raise MessageMalformed("inputs are little-endian float64 values")
    values = np.frombuffer(inputs, dtype="<f8").astype(np.float64)
    check_shape(values, stage)
    check_finite(values)
    return values


def check_shape(values: FloatArray, stage: Stage) -> None:
    """There are as many values as the round computes on; raises `ParametersUnfit`."""
    if values.shape != (stage.input_values,):
        raise ParametersUnfit(f"a round needs {stage.input_values} input values, got {values.size}")


def check_finite(values: FloatArray) -> None:
    """No value is NaN or infinite, whatever the kind of study; raises `ParametersUnfit`."""
    if not bool(np.all(np.isfinite(values))):
        raise ParametersUnfit("inputs must be finite")
