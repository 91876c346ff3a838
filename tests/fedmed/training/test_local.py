"""Local steps: who is drawn, what is added, and what hostile parameters cannot do."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.data.examples import Examples, chosen_persons
from fedmed.errors import ConfigError
from fedmed.models.gradients import clipped_gradient_sum
from fedmed.models.layout import PARAMETER_LIMIT, ModelLayout, PersonClip
from fedmed.privacy.noise import insecure_source
from fedmed.training.local import LocalSteps, drawn_persons, local_update, noisy_gradient_sum
from fedmed.training.optimiser import begin, step

MODEL = ModelLayout(kind="mlp", inputs=3, hidden=(4,))
LOCAL = LocalSteps(
    layout=MODEL,
    clip=PersonClip(norm=1.0),
    steps=3,
    sample_rate=0.5,
    persons=30,
    learning_rate=0.5,
    momentum=0.9,
    grid=2.0**-12,
    noise_scale=4096.0,
)
START = MODEL.initial(bytes(32))


def people(persons: int = 30, *, seed: int = 1) -> Examples:
    draws = np.random.default_rng(seed)
    return Examples(
        dense=draws.uniform(-1, 1, (2 * persons, 3)).astype(np.float32),
        code_starts=np.zeros(2 * persons + 1, dtype=np.int64),
        codes=np.zeros(0, dtype=np.int32),
        code_inputs=0,
        labels=draws.integers(0, 2, 2 * persons).astype(np.float32),
        person_starts=np.arange(0, 2 * persons + 1, 2, dtype=np.int64),
    )


def test_a_person_is_drawn_by_an_exact_threshold_that_never_exceeds_the_rate() -> None:
    words = np.array([0, 2**62 - 1, 2**62, 2**64 - 1], dtype="<u8")
    assert drawn_persons(4, 0.25, lambda size: words.tobytes()).tolist() == [0, 1]
    assert drawn_persons(4, 1.0, bytes).tolist() == [0, 1, 2, 3]
    assert drawn_persons(0, 0.25, os.urandom).tolist() == []


def test_samples_are_independent_and_as_large_as_the_rate_says() -> None:
    """False alarm below 1e-6: five standard deviations of a binomial."""
    source, persons, rate = insecure_source(5), 40_000, 0.1
    first, second = (drawn_persons(persons, rate, source) for _ in range(2))
    for found, chance in (
        (first.size, rate),
        (second.size, rate),
        (np.intersect1d(first, second).size, rate**2),
    ):
        assert abs(found - persons * chance) < 5 * (persons * chance * (1 - chance)) ** 0.5


def test_short_randomness_draws_nobody() -> None:
    with pytest.raises(ConfigError, match="bytes"):
        drawn_persons(4, 0.5, lambda size: bytes(size - 8))


def test_without_noise_local_steps_are_plain_steps_on_clipped_gradients() -> None:
    """Zero bytes draw everybody and noise 0, so all that is left of the steps is rounding to the grid."""
    found = local_update(START, people(), local=LOCAL, source=bytes)
    state = begin(START)
    for _ in range(LOCAL.steps):
        total = clipped_gradient_sum(state.parameters, people(), layout=MODEL, clip=LOCAL.clip).values
        state = step(state, total / 0.5, persons=30, learning_rate=0.5, momentum=0.9)
    np.testing.assert_allclose(found, state.parameters - START, atol=LOCAL.grid)


def test_an_empty_batch_gets_its_noise_too() -> None:
    nobody = chosen_persons(people(), np.zeros(0, dtype=np.int64))
    total = noisy_gradient_sum(START, nobody, local=LOCAL, source=insecure_source(3))
    assert np.count_nonzero(total) == MODEL.size
    assert 0.3 < np.std(total) / (LOCAL.noise_scale * LOCAL.grid) < 2
    everyone_away = lambda size: b"\xff" * size if size == 8 * 30 else insecure_source(3)(size)  # noqa: E731
    assert np.count_nonzero(local_update(START, people(), local=LOCAL, source=everyone_away)) > 0


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6), gone=st.integers(0, 29))
def test_taking_a_person_away_moves_a_step_by_the_clip_and_the_rounding(seed: int, gone: int) -> None:
    rows, rest = people(seed=seed), np.delete(np.arange(30), gone)
    same = [
        noisy_gradient_sum(START, part, local=LOCAL, source=insecure_source(seed))
        for part in (rows, chosen_persons(rows, rest))
    ]
    bound = LOCAL.clip.norm + MODEL.size**0.5 * LOCAL.grid
    assert np.linalg.norm(same[0] - same[1]) <= bound
    steps = same[0] / LOCAL.grid
    np.testing.assert_array_equal(steps, np.rint(steps))


@pytest.mark.parametrize("scale", [PARAMETER_LIMIT, 1e6])
def test_hostile_parameters_and_rows_neither_raise_nor_break_an_update(scale: float) -> None:
    rows = people()
    dense = rows.dense.copy()
    dense[4:6] = np.nan
    hostile = dataclasses.replace(rows, dense=dense)
    fast = dataclasses.replace(LOCAL, learning_rate=1e300)
    for local in (LOCAL, fast):
        update = local_update(np.full(MODEL.size, scale), hostile, local=local, source=insecure_source(2))
        assert np.isfinite(update).all()
