"""The arms that a simulation sets beside the federated study; none of them exists in a deployment.

``central`` (all persons in one place) and ``alone_private`` (one node) train with the study's own clip,
steps and rate, and noise that the caller provides: this room knows gradients, not encodings. ``pooled`` and
``alone`` train without privacy and are the anchor: arms that agree prove nothing if all of them are starved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fedmed.data.examples import Examples
from fedmed.models.gradients import clipped_gradient_sum
from fedmed.models.layout import ModelLayout, PersonClip, check_parameters
from fedmed.training.optimiser import begin, step
from fedmed.training.plain_objective import PlainObjective
from fedmed.types import FloatArray, require

Noise = Callable[[int], FloatArray]
"""Fresh noise for one sum of that many values, in the units of the gradient."""

Watch = Callable[[int, FloatArray], None]
"""Called after each step with its number, from 1, and the parameters so far."""

RIDGES = (1e-2, 1e-3, 1e-4)
"""Strengths of the ridge that a non-private arm may choose, strongest first."""

_FOLD = 4
"""Every fourth person judges the ridge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateTraining:
    """What a private arm shares with the federated study.

    Attributes:
        layout: The model.
        start: Shape (p,), public initial parameters.
        clip: Bound of one person, and the rule for several rows.
        persons: Public number of persons of the arm, by which sums are divided.
        aggregations: Number of steps.
        learning_rate: As `fedmed.training.optimiser.step`.
        momentum: As `fedmed.training.optimiser.step`.
    """

    layout: ModelLayout
    start: FloatArray
    clip: PersonClip
    persons: int
    aggregations: int
    learning_rate: float
    momentum: float

    def __post_init__(self) -> None:
        check_parameters(self.start, self.layout)
        require(self.aggregations >= 1, f"aggregations must be >= 1, got {self.aggregations}")


def ignore_steps(number: int, parameters: FloatArray) -> None:
    """Watch nothing."""


def train_private(
    parts: Sequence[Examples],
    training: PrivateTraining,
    *,
    noise: Noise,
    watch: Watch = ignore_steps,
    threads: int = 1,
) -> FloatArray:
    """Train on full batches of clipped gradients with noise on each sum, all in one place.

    Args:
        parts: The nodes' examples: all of them for the arm ``central``, one for ``alone_private``.
        training: Shared settings.
        noise: Called once a step; its standard deviation is the arm's, for instance noise_multiplier times
            clip norm of a discrete Gaussian. A caller who returns zeros measures the cost of clipping.
        watch: Called after each step.
        threads: Threads of the gradient passes.

    Returns:
        Parameters after the last step, shape (p,), float64.

    Guarantees:
        Equal noise gives equal bits. Parameters of the start are not changed.

    Raises:
        ConfigError: no parts, or noise of another shape.
    """
    require(len(parts) > 0, "a private arm needs the examples of at least one node")
    state = begin(training.start)
    for number in range(1, training.aggregations + 1):
        total = noise(training.layout.size)
        require(total.shape == training.start.shape, f"noise must have shape {training.start.shape}")
        for part in parts:
            found = clipped_gradient_sum(
                state.parameters, part, layout=training.layout, clip=training.clip, threads=threads
            )
            total = total + found.values
        state = step(
            state,
            total,
            persons=training.persons,
            learning_rate=training.learning_rate,
            momentum=training.momentum,
        )
        watch(number, state.parameters)
    return state.parameters


def train_plain(
    examples: Examples,
    layout: ModelLayout,
    *,
    start: FloatArray,
    watch: Watch = ignore_steps,
) -> FloatArray:
    """Fit without privacy until nothing more is gained: the anchor of the arms ``alone`` and ``pooled``.

    L-BFGS on the mean loss of all rows with a ridge. The ridge is chosen from `RIDGES` by the loss of every
    fourth person after a fit to the others, so that neither a starved nor an overfitted anchor flatters
    the private arms; then all persons are fitted.

    Args:
        examples: One node's, or all nodes' through `fedmed.data.examples.concatenate`.
        layout: The model.
        start: Shape (p,), public initial parameters.
        watch: Called after each step of the last fit.

    Returns:
        Parameters, shape (p,), float64.

    Guarantees:
        Equal data gives equal bits on one machine: nothing is drawn, and all batches are full.

    Raises:
        ParametersUnfit: the start does not fit the layout.
        ConfigError: the examples have another width than the model.
    """
    check_parameters(start, layout)
    objective = PlainObjective.of(examples, layout)
    return _fit(objective, start, ridge=_chosen_ridge(examples, objective, start), watch=watch)


def _chosen_ridge(examples: Examples, objective: PlainObjective, start: FloatArray) -> float:
    """The ridge with the least loss on every fourth person; the strongest one where there are too few."""
    if examples.persons < _FOLD:
        return RIDGES[0]
    person = np.repeat(np.arange(examples.persons), np.diff(examples.person_starts))
    judging = person % _FOLD == _FOLD - 1
    fitted, judged = objective.restricted(~judging), objective.restricted(judging)
    losses: list[float] = []
    for ridge in RIDGES:
        # Each fit begins where the stronger ridge ended: a short walk.
        start = _fit(fitted, start, ridge=ridge, watch=ignore_steps)
        losses.append(judged.loss_and_gradient(start, ridge=0.0)[0])
    return RIDGES[int(np.argmin(losses))]


def _fit(objective: PlainObjective, start: FloatArray, *, ridge: float, watch: Watch) -> FloatArray:
    """Minimise by L-BFGS."""
    # Imported here: scipy.optimize takes a third of a second, and private arms do not need it.
    from scipy.optimize import minimize

    steps = 0

    def report(parameters: FloatArray) -> None:
        nonlocal steps
        steps += 1
        watch(steps, parameters.copy())

    found = minimize(
        objective.loss_and_gradient,
        start,
        args=(ridge,),
        jac=True,
        method="L-BFGS-B",
        callback=report,
        options={"maxiter": 300, "maxcor": 20, "ftol": 1e-8, "gtol": 1e-5},
    )
    return np.asarray(found.x, dtype=np.float64)
