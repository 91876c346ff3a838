"""The one-run bound on exact Gaussian mechanisms: valid for honest ones, telling for broken ones."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import ConfigError
from fedmed.privacy.accounting import epsilon
from fedmed.privacy.audit import gaussian_epsilon, gaussian_estimate, one_run_lower_bound
from fedmed.types import PrivacyEvent

DELTA = 1e-5


def scores(separation, canaries, seed):
    rng = np.random.default_rng(seed)
    present = rng.integers(0, 2, canaries).astype(bool)
    return rng.normal(size=canaries) + separation * present, present


@pytest.mark.parametrize("separation", [0.1, 0.5, 1.0, 3.0])
def test_the_epsilon_of_a_separation_is_that_of_the_accountant(separation):
    wanted = epsilon([PrivacyEvent(noise_multiplier=1 / separation)], DELTA)
    assert gaussian_epsilon(separation, DELTA) == pytest.approx(wanted, abs=2e-3)


@pytest.mark.slow
def test_an_honest_mechanism_is_not_refuted():
    # 40 runs at confidence 0.999: a false alarm in any of them has a chance below 0.04; seeds are fixed.
    separation = 1.0
    claim = gaussian_epsilon(separation, DELTA)
    for seed in range(40):
        assert one_run_lower_bound(*scores(separation, 300, seed), delta=DELTA, confidence=0.999) <= claim


def test_a_mechanism_without_noise_is_refuted():
    found, present = scores(50.0, 1000, 1)
    assert one_run_lower_bound(found, present, delta=DELTA) > 4
    assert gaussian_estimate(found, present, delta=DELTA) == math.inf


def test_the_estimate_is_close_for_a_gaussian_mechanism():
    found = [gaussian_estimate(*scores(0.9, 4000, s), delta=DELTA) for s in range(5)]
    assert np.mean(found) == pytest.approx(gaussian_epsilon(0.9, DELTA), rel=0.05)


def test_more_confidence_never_proves_more():
    found, present = scores(2.0, 400, 3)
    bounds = [one_run_lower_bound(found, present, delta=DELTA, confidence=c) for c in (0.8, 0.95, 0.999)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] > 0


@given(delta=st.floats(1e-9, 0.1))
def test_canaries_that_nobody_can_tell_apart_prove_nothing(delta):
    present = np.tile([True, False], 20)
    assert one_run_lower_bound(np.zeros(40), present, delta=delta) == 0


def test_scores_the_wrong_way_round_prove_nothing():
    found, present = scores(5.0, 200, 4)
    assert one_run_lower_bound(-found, present, delta=DELTA) == 0
    assert gaussian_estimate(-found, present, delta=DELTA) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(7), np.zeros(7, dtype=bool)), "at least 8 canaries"),
        ((np.zeros(9), np.zeros(8, dtype=bool)), "one score and one coin"),
        ((np.full(9, np.nan), np.zeros(9, dtype=bool)), "finite"),
    ],
)
def test_unfit_canaries_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        one_run_lower_bound(*arguments, delta=DELTA)
