"""The grid and the studies that it stands for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedmed.errors import ConfigError
from fedmed.frontier.grid import Grid, variant
from fedmed.types import Mode, Scheme
from tests.small_province import names, small_study

GRID = Grid(
    modes=(Mode.AGGREGATE,),
    schemes=(Scheme.THRESHOLD,),
    epsilons=(0.5, 1.0),
    nodes=(4, 5),
    people=(40,),
    clips=(1.0, 2.0),
    aggregations=(None, 3),
    seeds=(1, 2, 3),
)


def test_every_combination_is_one_choice() -> None:
    assert len(GRID.choices) == len(set(GRID.choices)) == 2 * 2 * 2 * 2


def test_mode_statistics_has_one_round_whatever_is_asked() -> None:
    grid = replace(GRID, modes=(Mode.STATISTICS,), aggregations=(5, 10))
    assert {choice.aggregations for choice in grid.choices} == {None}
    assert len(grid.choices) == 2 * 2 * 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nodes": (2,)}, "alone is a baseline"),
        ({"clips": ()}, "clips must hold values"),
        ({"epsilons": (1.0, 1.0)}, "each once"),
        ({"seeds": tuple(range(20_000))}, "at most 100,000"),
    ],
)
def test_a_grid_that_nobody_means_is_refused(changes: dict[str, tuple[int, ...]], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        replace(GRID, **changes)


def test_a_variant_of_the_same_roster_changes_nothing_but_the_choice() -> None:
    spec = small_study(4, report__baselines=False)
    (choice, *_) = GRID.choices
    found = variant(spec, choice, spec.data.declared_persons)
    assert found.privacy == spec.privacy.model_copy(update={"epsilon": 0.5})
    assert (found.data, found.training, found.model) == (spec.data, spec.training, spec.model)
    assert found.aggregation == spec.aggregation


def test_a_variant_of_another_roster_takes_the_defaults_of_its_numbers() -> None:
    spec = small_study(4)
    choice = replace(GRID.choices[0], nodes=31, aggregations=7)
    found = variant(spec, choice, dict.fromkeys(names(31), 2000))
    assert len(found.nodes) == 31
    assert found.training.aggregations == 7
    assert found.spare_attempts == 4
    assert found.aggregation.clamp_persons == 2000
    assert found.privacy.delta == 1 / (10 * 31 * 2000)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan"), 101.0])
def test_a_choice_that_makes_no_study_is_named(epsilon: float) -> None:
    spec, choice = small_study(4), replace(GRID.choices[0], epsilon=epsilon)
    words = rf"with mode aggregate, epsilon {epsilon:g}, clip 1, 4 provinces: .*\n  privacy\.epsilon: must be"
    with pytest.raises(ConfigError, match=words):
        variant(spec, choice, spec.data.declared_persons)
