"""What a reader is told to run, and why."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fedmed.frontier.advice import advise
from fedmed.frontier.rows import Row
from fedmed.frontier.summary import levels_of, points_of
from fedmed.report.frontier_result import Advice
from fedmed.report.units import epsilon
from tests.frontier_rows import baseline, federated


def advice(rows: Sequence[Row], *, budget: float = 2.0) -> Advice:
    points = points_of(rows, budget=budget)
    return advise(points, levels_of(rows), setting=points[0].setting, budget=budget)


@pytest.mark.slow
def test_the_least_epsilon_that_is_good_enough_is_advised() -> None:
    found = advice((federated(0.25, 0.75), federated(0.5, 0.816), federated(1.0, 0.82), federated(4.0, 0.9)))
    assert found.point is not None
    assert found.point.epsilon == 0.5
    assert "epsilon 0.5: mean AUC 0.816" in found.headline
    assert "such studies fit the year" in found.headline
    assert "More epsilon buys little: the best within the budget is 0.820" in found.reasons[0]
    assert "epsilon 0.25 loses 0.066" in found.reasons[0]
    assert "Advised is the least epsilon that stays within 0.005 of the best." in found.reasons[0]
    composed = (
        f"{found.point.a_year} studies at epsilon 0.5 come to {epsilon(found.point.year_epsilon)} together"
    )
    assert composed in found.reasons[1]
    assert 1.5 < found.point.year_epsilon <= 2 < 0.5 * found.point.a_year


def test_what_the_budget_cannot_pay_is_not_advised() -> None:
    found = advice((federated(4.0, 0.9),), budget=1.0)
    assert found.point is None
    assert "Nothing that was tried fits" in found.headline
    assert "least epsilon tried is 4" in found.reasons[0]


def test_modes_are_compared_at_the_same_epsilon_seed_by_seed() -> None:
    rows = [federated(1.0, auc, seed=seed) for seed, auc in ((1, 0.80), (2, 0.90))]
    rows += [federated(1.0, auc, seed=seed, mode="local") for seed, auc in ((1, 0.78), (2, 0.89))]
    assert (
        "Mode local gives 0.835 at the same epsilon (−0.015, standard error 0.005)." in advice(rows).reasons
    )


def test_a_federation_that_gains_a_province_nothing_is_said_so() -> None:
    rows = (federated(1.0, 0.80), baseline("alone", 0.81), baseline("alone_private", 0.7, epsilon=1.0))
    text = " ".join(advice(rows).reasons)
    assert "A province alone at the same epsilon reaches 0.700: together gains +0.100." in text
    assert "it gains nothing here" in text
    better = " ".join(advice((federated(1.0, 0.82), baseline("alone", 0.81))).reasons)
    assert "gains nothing" not in better


def test_a_choice_whose_probabilities_are_off_is_advised_with_a_warning() -> None:
    off = federated(1.0, 0.82, mode="statistics", expected_over_observed=0.4)
    text = advice((off, federated(1.0, 0.80))).reasons[-2]
    assert text.startswith("Careful: it ranks persons")
    assert "run mode aggregate at epsilon 1: AUC 0.800, expected over observed 1.10." in text
    assert "Careful" not in " ".join(advice((federated(1.0, 0.80),)).reasons)


def test_a_choice_that_trusts_more_than_threshold_does_is_advised_with_a_warning() -> None:
    for scheme, whom in (("ckks", "every province holds the key"), ("plain", "the coordinator reads")):
        text = " ".join(advice((federated(1.0, 0.82, scheme=scheme),)).reasons)
        assert f"Careful: under scheme {scheme} {whom}" in text
        assert "Scheme threshold opens the same sums" in text
    assert "scheme" not in " ".join(advice((federated(1.0, 0.82),)).reasons)
