"""Local training at one node with the whole noise: what mode ``local`` sends instead of a gradient sum.

Each step draws a batch of persons, sums their clipped gradients by the kernel of all other modes, rounds the
sum to a grid and adds discrete Gaussian noise of full scale. Floats would not do: a float Gaussian shows in
its low bits which sum it was added to (Mironov 2012). Opacus is not used: its kernel is slower and covers no
model that ours does not, and its noise is a float Gaussian from a 64-bit seed. Tests compare with it.

Threat model: everybody else, the coordinator and all other nodes, may work together and may choose the
parameters to start from. The steps alone protect a person; clipping the update afterwards protects nobody.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from fedmed.data.examples import Examples, chosen_persons
from fedmed.models.gradients import clipped_gradient_sum
from fedmed.models.layout import PARAMETER_LIMIT, ModelLayout, PersonClip
from fedmed.privacy.clipping import check_clip_norm
from fedmed.privacy.noise import ByteSource, DiscreteGaussian
from fedmed.types import FloatArray, IntArray, require

_WORD_BITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSteps:
    """What a round of local training needs; all of it public, all of it in the study.

    Attributes:
        layout: The model.
        clip: Bound of one person's gradient, and the rule for several rows.
        steps: Steps of a round (>= 1).
        sample_rate: Chance, in (0, 1], that one person is in a step's batch.
        persons: Declared number of persons that train at this node; ``sample_rate`` times it divides sums.
        learning_rate: > 0, as `fedmed.training.optimiser.step`.
        momentum: In [0, 1), likewise; the velocity is zero at the start of a round.
        grid: Step of the integer grid, in the units of the gradient.
        noise_scale: Of each step's noise, in grid steps.
    """

    layout: ModelLayout
    clip: PersonClip
    steps: int
    sample_rate: float
    persons: int
    learning_rate: float
    momentum: float
    grid: float
    noise_scale: float

    def __post_init__(self) -> None:
        require(self.steps >= 1, f"steps must be >= 1, got {self.steps}")
        require(0 < self.sample_rate <= 1, f"sample_rate must be in (0, 1], got {self.sample_rate}")
        require(self.persons >= 1, f"persons must be >= 1, got {self.persons}")
        require(0 <= self.momentum < 1, f"momentum must be in [0, 1), got {self.momentum}")
        usable = math.isfinite(self.learning_rate) and self.learning_rate > 0
        require(usable, f"learning_rate must be finite and > 0, got {self.learning_rate}")
        check_clip_norm(self.grid)


def drawn_persons(persons: int, sample_rate: float, source: ByteSource) -> IntArray:
    """Draw a Poisson sample: every person by a chance of its own.

    Args:
        persons: Number of persons, >= 0.
        sample_rate: Chance of each, in (0, 1].
        source: Random bytes; `fedmed.privacy.noise.fresh_source` for a release.

    Returns:
        Positions of the drawn persons, int64, rising; may be none.

    Guarantees:
        Draws are independent, each with chance floor(2**64 sample_rate) / 2**64: never above the rate that
        is accounted for.
    """
    require(0 < sample_rate <= 1, f"sample_rate must be in (0, 1], got {sample_rate}")
    if sample_rate == 1:
        return np.arange(persons, dtype=np.int64)
    words = np.frombuffer(source(8 * persons), dtype="<u8")
    require(words.shape == (persons,), f"source must return {8 * persons} bytes: use fresh_source()")
    below = np.uint64(math.floor(Fraction(sample_rate) * 2**_WORD_BITS))
    return np.flatnonzero(words < below).astype(np.int64)


def local_update(
    parameters: FloatArray, examples: Examples, *, local: LocalSteps, source: ByteSource
) -> FloatArray:
    """Train from public parameters and return what changed.

    Args:
        parameters: Shape (p,), checked by `fedmed.models.layout.check_parameters`.
        examples: The node's training rows.
        local: Settings.
        source: Fresh random bytes for batches and noise of this round.

    Returns:
        New minus old parameters, shape (p,), float64, finite.

    Guarantees:
        The result follows from ``local.steps`` sums with noise and from nothing else of the rows. An empty
        batch gets its noise too. No value of a row decides whether the call succeeds: parameters that grow
        beyond what the kernel takes are held at its limit.

    Source:
        Abadi et al. 2016, arXiv:1607.00133, algorithm 1, with discrete noise on a grid (Kairouz, Liu,
        Steinke 2021, arXiv:2102.06387).
    """
    now, velocity = parameters.astype(np.float64), np.zeros_like(parameters, dtype=np.float64)
    divisor = local.sample_rate * local.persons
    for _ in range(local.steps):
        batch = drawn_persons(examples.persons, local.sample_rate, source)
        total = noisy_gradient_sum(now, chosen_persons(examples, batch), local=local, source=source)
        with np.errstate(over="ignore", invalid="ignore"):
            velocity = _held(local.momentum * velocity + total / divisor)
            now = _held(now - local.learning_rate * velocity)
    return now - parameters


def noisy_gradient_sum(
    parameters: FloatArray, batch: Examples, *, local: LocalSteps, source: ByteSource
) -> FloatArray:
    """One step's sum: clipped, rounded to the grid, with all of the noise.

    Args:
        parameters: Shape (p,), within the kernel's limit.
        batch: Rows of the drawn persons; may be none.
        local: Settings.
        source: Fresh random bytes.

    Returns:
        Shape (p,), float64, whole multiples of the grid.
    """
    noise = DiscreteGaussian(local.noise_scale).sample(local.layout.size, source)
    if batch.persons == 0:
        return noise.astype(np.float64) * local.grid
    clipped = clipped_gradient_sum(parameters, batch, layout=local.layout, clip=local.clip)
    # Both are integers far below 2**53, so their float sum is exact.
    steps: FloatArray = np.rint(clipped.values.astype(np.float64) / local.grid) + noise.astype(np.float64)
    return steps * local.grid


def _held(values: FloatArray) -> FloatArray:
    """Values inside the kernel's limit; what is not a number counts as 0."""
    held: FloatArray = np.where(np.isnan(values), 0.0, values).clip(-PARAMETER_LIMIT, PARAMETER_LIMIT)
    return held
