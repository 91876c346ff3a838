"""What the coordinator makes of a sum of updates."""

from __future__ import annotations

import numpy as np
import pytest

from fedmed.programs.by_kind import program_for
from fedmed.programs.contract import Arrays, OpenedSum
from fedmed.programs.training import PARAMETERS
from fedmed.protocol.schedule import schedule_for
from fedmed.study import TrainingStudy
from fedmed.types import FloatArray
from tests.federation import names, small_study

SIZES = dict(zip(names(4), (10, 20, 30, 40), strict=True))


def study(**changes: object) -> TrainingStudy:
    steps = {"local__steps": 3, "local__sample_rate": 0.5}
    return small_study(privacy__mode="local", data__declared_persons=SIZES, **steps, **changes)  # type: ignore[arg-type]


def after(spec: TrainingStudy, values: FloatArray, contributors: tuple[int, ...]) -> Arrays:
    program, stage = program_for(spec), schedule_for(spec).stages[0]
    opened = OpenedSum(stage=stage, round_number=1, values=values, contributors=contributors)
    return program.absorb(program.begin(), opened)


def test_the_mean_of_updates_weighs_nodes_by_public_persons_of_those_in_the_sum() -> None:
    updates = {2: np.array([1.0, 0.0, 0.0]), 4: np.array([0.0, 4.0, 0.0])}
    weighted = updates[2] * 20 / 40 + updates[4] * 40 / 40
    found = after(study(), weighted, (2, 4))
    expected = (20 * updates[2] + 40 * updates[4]) / 60
    np.testing.assert_allclose(found[PARAMETERS], expected)
    half = after(study(local__server_learning_rate=0.5), weighted, (2, 4))
    np.testing.assert_allclose(half[PARAMETERS], expected / 2)


def test_adam_takes_the_mean_for_a_gradient_and_keeps_its_moments() -> None:
    spec = study(local__server="adam", local__server_learning_rate=0.1)
    found = after(spec, np.array([2.5, -2.5, 0.0]), (1, 2, 3, 4))
    mean = 1.0
    expected = 0.1 * 0.1 * mean / (0.01**0.5 * mean + 1e-3)
    assert found[PARAMETERS].tolist() == pytest.approx([expected, -expected, 0.0])
    assert set(found) == {"parameters", "first_moment", "second_moment"}
