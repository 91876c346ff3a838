"""The coordinator's step from an opened gradient sum to new parameters; NumPy, pure, public inputs only."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fedmed.types import FloatArray, require


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserState:
    """Parameters and the running sum of gradients that moves them.

    Attributes:
        parameters: Shape (p,), float64, read-only.
        velocity: Shape (p,), float64, read-only; zero before the first step.
    """

    parameters: FloatArray
    velocity: FloatArray

    def __post_init__(self) -> None:
        require(self.parameters.ndim == 1, f"parameters must have one axis, got {self.parameters.ndim}")
        require(self.velocity.shape == self.parameters.shape, "velocity must have the parameters' shape")
        for array in (self.parameters, self.velocity):
            require(array.dtype == np.float64, f"parameters and velocity must be float64, got {array.dtype}")
            array.setflags(write=False)


def begin(parameters: FloatArray) -> OptimiserState:
    """Start at given parameters with no velocity.

    Args:
        parameters: Shape (p,), float64; copied.

    Returns:
        A state whose first step is plain gradient descent.
    """
    return OptimiserState(parameters=parameters.copy(), velocity=np.zeros_like(parameters))


def step(
    state: OptimiserState,
    gradient_sum: FloatArray,
    *,
    persons: int,
    learning_rate: float,
    momentum: float,
) -> OptimiserState:
    """Take one heavy-ball step: v = momentum v + sum / persons; parameters less learning_rate v.

    The velocity is *not* scaled by (1 - momentum): with momentum 0.9 a rate of 1 moves, once up to speed,
    like a rate of 10 without momentum. The scaled form at rate 1 starves a plan of 40 steps.

    Args:
        state: Before the step; unchanged.
        gradient_sum: Shape (p,), float64: the opened noisy sum of clipped per-person gradients.
        persons: Public, declared number of persons; never a realised count, which is data.
        learning_rate: > 0.
        momentum: In [0, 1).

    Returns:
        The state after the step.

    Raises:
        ConfigError: a setting outside its bounds, or a sum of another shape.

    Source:
        Polyak 1964, Some methods of speeding up the convergence of iteration methods (heavy ball).
    """
    require(persons >= 1, f"persons must be >= 1, got {persons}")
    require(
        math.isfinite(learning_rate) and learning_rate > 0,
        f"learning_rate must be finite and > 0, got {learning_rate}",
    )
    require(0 <= momentum < 1, f"momentum must be in [0, 1), got {momentum}")
    shape = state.parameters.shape
    require(gradient_sum.shape == shape, f"gradient_sum must have shape {shape}, got {gradient_sum.shape}")
    velocity = momentum * state.velocity + gradient_sum / persons
    return OptimiserState(parameters=state.parameters - learning_rate * velocity, velocity=velocity)


FIRST_DECAY, SECOND_DECAY, ADAPTIVITY = 0.9, 0.99, 1e-3
"""Settings of FedAdam that its authors found to suit all their tasks; ADAPTIVITY is their tau."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdamState:
    """Parameters and the two running means of FedAdam.

    Attributes:
        parameters: Shape (p,), float64.
        first: Shape (p,), running mean of updates; zero before the first step.
        second: Shape (p,), running mean of their squares, likewise.
    """

    parameters: FloatArray
    first: FloatArray
    second: FloatArray


def adam_step(state: AdamState, update: FloatArray, *, learning_rate: float) -> AdamState:
    """Take one step of FedAdam on the mean update of the nodes.

    Args:
        state: Before the step; unchanged.
        update: Shape (p,), float64: new minus old parameters, the mean over nodes.
        learning_rate: > 0; about what a coordinate moves in a step.

    Returns:
        The state after the step.

    Raises:
        ConfigError: a rate outside its bounds, or an update of another shape.

    Source:
        Reddi et al. 2021, arXiv:2003.00295, algorithm 2 (without bias correction, as there).
    """
    usable = math.isfinite(learning_rate) and learning_rate > 0
    require(usable, f"learning_rate must be finite and > 0, got {learning_rate}")
    shape = state.parameters.shape
    require(update.shape == shape, f"update must have shape {shape}, got {update.shape}")
    first = FIRST_DECAY * state.first + (1 - FIRST_DECAY) * update
    second = SECOND_DECAY * state.second + (1 - SECOND_DECAY) * update**2
    moved = learning_rate * first / (np.sqrt(second) + ADAPTIVITY)
    return AdamState(parameters=state.parameters + moved, first=first, second=second)
