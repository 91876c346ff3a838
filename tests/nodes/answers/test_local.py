"""A node's answer in mode `local`: bounded, weighted, fresh, and decided by no row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedmed.plans.stage import Stage
from fedmed.privacy.noise import insecure_source
from fedmed.protocol.schedule import schedule_for
from fedmed.study import TrainingStudy
from fedmed_nodes.answers.by_kind import half_for
from fedmed_nodes.answers.local import LocalAnswerer, LocalHalf
from tests.federation import names, small_source, small_study

SPEC = small_study(
    privacy__mode="local",
    local__steps=3,
    local__sample_rate=0.5,
    local__update_clip=0.5,
    training__learning_rate=50.0,
)


def answerer(spec: TrainingStudy = SPEC, *, seed: int | None = None) -> LocalAnswerer:
    half = half_for(spec)
    assert isinstance(half, LocalHalf)
    if seed is not None:
        half = replace(half, noise=lambda: insecure_source(seed))
    return half.read(small_source(2))


def stage_of(spec: TrainingStudy = SPEC) -> Stage:
    return schedule_for(spec).stages[0]


def test_an_update_beyond_the_clip_is_brought_inside_it() -> None:
    answer = answerer().answer(stage_of(), np.zeros(3))
    assert np.linalg.norm(answer.values) == pytest.approx(0.5, rel=1e-4)
    assert answer.clip_norm == stage_of().clip_norm == 0.5


def test_a_smaller_province_weighs_less() -> None:
    sizes = dict(zip(names(4), (40, 10, 10, 10), strict=True))
    spec = SPEC.model_copy(update={"data": SPEC.data.model_copy(update={"declared_persons": sizes})})
    answer = answerer(spec).answer(stage_of(), np.zeros(3))
    assert np.linalg.norm(answer.values) == pytest.approx(0.5 / 4, rel=1e-4)


def test_every_answer_draws_fresh_batches_and_noise() -> None:
    one, same = answerer(), answerer(seed=1)
    assert not np.array_equal(
        one.answer(stage_of(), np.zeros(3)).values, one.answer(stage_of(), np.zeros(3)).values
    )
    first, second = (same.answer(stage_of(), np.zeros(3)).values for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_noise_is_not_shown() -> None:
    assert "noise" not in repr(answerer())
