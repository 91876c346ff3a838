"""The membership attack: a coin where losses are alike, certain where they part."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fedmed.errors import ConfigError
from fedmed.training.membership import largest_advantage, membership_risk, person_losses

RNG = np.random.default_rng(5)


def test_equal_losses_are_a_coin() -> None:
    risk = membership_risk(RNG.normal(0, 1, 2000), RNG.normal(0, 1, 1500))
    assert (risk.members, risk.others) == (2000, 1500)
    assert risk.low < 0.5 < risk.high
    assert risk.advantage < 0.08
    assert risk.found_at_one_percent < 0.04


def test_losses_that_part_tell_everybody() -> None:
    risk = membership_risk(np.zeros(50), np.ones(60))
    assert (risk.auc, risk.advantage, risk.found_at_one_percent) == (1.0, 1.0, 1.0)


def test_the_area_and_its_error_are_those_of_all_pairs() -> None:
    """Against the definition; the error of a normal shift against its known size."""
    members, others = RNG.normal(0, 1, 300), RNG.normal(0.5, 1, 200).round(1)
    risk = membership_risk(members, others)
    pairs = (members[:, None] < others[None, :]) + 0.5 * (members[:, None] == others[None, :])
    assert risk.auc == pytest.approx(pairs.mean(), abs=1e-12)
    v, w = pairs.mean(axis=1), pairs.mean(axis=0)
    error = math.sqrt(v.var(ddof=1) / 300 + w.var(ddof=1) / 200)
    assert risk.high - risk.low == pytest.approx(2 * 1.959963984540054 * error, rel=1e-9)


def test_a_person_has_the_mean_loss_of_the_rows() -> None:
    losses = person_losses(
        np.array([0.5, 0.9, 0.2, 0.0]), np.array([1.0, 1.0, 0.0, 1.0]), np.array([0, 1, 3, 4])
    )
    expected = [math.log(2), -(math.log(0.9) + math.log(0.8)) / 2, -math.log(1e-12)]
    np.testing.assert_allclose(losses, expected)


def test_epsilon_bounds_the_advantage() -> None:
    assert largest_advantage(0.0, 0.0) == 0.0
    for epsilon, delta in ((0.5, 1e-5), (1.0, 0.0), (4.0, 1e-3)):
        expected = (math.exp(epsilon) - 1 + 2 * delta) / (math.exp(epsilon) + 1)
        assert largest_advantage(epsilon, delta) == pytest.approx(expected, rel=1e-12)
    assert largest_advantage(5000.0, 1e-5) == 1.0


@pytest.mark.parametrize(("members", "others"), [([1.0], [1.0, 2.0]), ([1.0, math.nan], [1.0, 2.0])])
def test_losses_that_cannot_be_compared_are_refused(members: list[float], others: list[float]) -> None:
    with pytest.raises(ConfigError):
        membership_risk(np.array(members), np.array(others))
