import json
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import ConfigError, UnknownPrivacyEvent
from fedmed.privacy.accounting import (
    delta_for,
    epsilon,
    epsilon_rdp,
    fallback_epsilon,
    fallback_noise_multiplier,
    noise_multiplier_for,
    sampled_noise_multiplier_for,
    sampling_delta,
)
from fedmed.types import PrivacyEvent

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "accounting.json").read_text())
MULTIPLIERS, FALLBACK = VECTORS["multipliers"], VECTORS["fallback"]


def gaussian_delta(eps, mu):
    """Delta of one Gaussian with sensitivity / sd = mu: exact, by mpmath (Balle and Wang 2018)."""
    eps, mu = mpmath.mpf(eps), mpmath.mpf(mu)
    return mpmath.ncdf(mu / 2 - eps / mu) - mpmath.exp(eps) * mpmath.ncdf(-mu / 2 - eps / mu)


def bisect(falls_short, low, high):
    """The point where a monotone condition turns, to 30 bits."""
    low, high = mpmath.mpf(low), mpmath.mpf(high)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falls_short(middle) else (low, middle)
    return high


def exact_mu(eps, delta):
    """Sensitivity / sd of the single Gaussian that spends exactly this."""
    with mpmath.workdps(40):
        return float(bisect(lambda m: gaussian_delta(eps, m) < delta, 1e-4, 50))


def exact_epsilon(noise_multiplier, delta, count):
    with mpmath.workdps(40):
        mu = mpmath.sqrt(count) / mpmath.mpf(noise_multiplier)
        return float(bisect(lambda e: gaussian_delta(e, mu) > delta, 0, 200))


def event(noise_multiplier, count=1, sample_rate=1.0):
    return PrivacyEvent(noise_multiplier=noise_multiplier, count=count, sample_rate=sample_rate)


@pytest.mark.parametrize(
    "eps", [0.5, *(pytest.param(eps, marks=pytest.mark.slow) for eps in (1.0, 2.0, 4.0))]
)
def test_calibrated_multipliers_match_the_table_and_the_exact_formula(eps):
    mu = exact_mu(eps, MULTIPLIERS["delta"])
    for count, published in zip(MULTIPLIERS["counts"], MULTIPLIERS["published"][str(eps)], strict=True):
        exact = math.sqrt(count) / mu
        calibrated = noise_multiplier_for(eps, MULTIPLIERS["delta"], count)
        assert abs(published - exact) < 0.006
        assert exact <= calibrated <= 1.0005 * exact


@pytest.mark.parametrize("eps", [0.5, *(pytest.param(eps, marks=pytest.mark.slow) for eps in (1.0, 4.0))])
def test_the_fallback_matches_the_table_and_the_exact_formula(eps):
    delta, count = FALLBACK["delta"], FALLBACK["count"]
    multiplier = noise_multiplier_for(eps, delta, count)
    for honest, published in zip(
        FALLBACK["honest_contributors"], FALLBACK["published"][str(eps)], strict=True
    ):
        spent = fallback_epsilon([event(multiplier, count)], delta, honest_contributors=honest)
        assert abs(spent - published) < (0.01 if published < 10 else 0.1)
        exact = exact_epsilon(multiplier / math.sqrt(honest), delta, count)
        assert exact <= spent <= 1.003 * exact


@pytest.mark.parametrize("row", VECTORS["sampled"]["rows"])
def test_sampled_releases_match_another_accountant(row):
    spent = epsilon([event(row["noise_multiplier"], row["count"], row["sample_rate"])], 1e-6)
    assert 0.98 * row["epsilon"] <= spent <= row["epsilon"]


@pytest.mark.parametrize("row", VECTORS["renyi"]["rows"])
def test_renyi_figures_match_and_lie_above(row):
    events = [event(row["noise_multiplier"], row["count"], row["sample_rate"])]
    assert epsilon_rdp(events, 1e-6) == pytest.approx(row["epsilon"], rel=0.01)
    assert epsilon_rdp(events, 1e-6) > epsilon(events, 1e-6)


@pytest.mark.slow
@settings(deadline=None, max_examples=15)
@given(
    noise_multiplier=st.floats(0.5, 60),
    count=st.integers(1, 80),
    delta=st.sampled_from([1e-9, 1e-6, 1e-5, 1e-3]),
)
def test_epsilon_never_falls_below_the_exact_one_and_stays_close(noise_multiplier, count, delta):
    spent = epsilon([event(noise_multiplier, count)], delta)
    exact = exact_epsilon(noise_multiplier, delta, count)
    assert exact - 1e-9 <= spent <= exact * 1.005 + 2e-3


@pytest.mark.slow
@settings(deadline=None, max_examples=4)
@given(eps=st.floats(0.05, 5), count=st.integers(1, 60), delta=st.sampled_from([1e-7, 1e-5]))
def test_calibration_errs_towards_more_noise_and_wastes_little(eps, count, delta):
    multiplier = noise_multiplier_for(eps, delta, count)
    assert epsilon([event(multiplier, count)], delta) <= eps
    assert epsilon([event(multiplier * (1 - 2e-4), count)], delta) > eps
    assert multiplier == float(f"{multiplier:.5g}")


@pytest.mark.slow
@settings(deadline=None, max_examples=8)
@given(
    noise_multiplier=st.floats(0.7, 30),
    count=st.integers(1, 40),
    more=st.integers(1, 20),
    quieter=st.floats(0.5, 0.999),
)
def test_more_releases_or_less_noise_never_cost_less(noise_multiplier, count, more, quieter):
    spent = epsilon([event(noise_multiplier, count)], 1e-5)
    assert epsilon([event(noise_multiplier, count + more)], 1e-5) >= spent
    assert epsilon([event(noise_multiplier, count), event(40.0, more)], 1e-5) >= spent
    assert epsilon([event(noise_multiplier * quieter, count)], 1e-5) >= spent
    assert fallback_epsilon([event(noise_multiplier, count)], 1e-5, honest_contributors=2) >= spent


@pytest.mark.slow
def test_sampling_and_more_rounds_order_as_they_should():
    few, many = event(1.0, 50, 0.01), event(1.0, 100, 0.01)
    denser, full = event(1.0, 50, 0.05), event(1.0, 50)
    assert epsilon([few], 1e-5) < epsilon([many], 1e-5)
    assert epsilon([few], 1e-5) < epsilon([denser], 1e-5) < epsilon([full], 1e-5)
    assert epsilon([few, few], 1e-5) == epsilon([many], 1e-5)
    assert epsilon([few, event(5.0)], 1e-5) > epsilon([few], 1e-5)


def test_differing_full_batch_releases_compose_to_one_gaussian():
    mixed = [event(10.0, 3), event(20.0, 8), event(5.0)]
    mu_squared = 3 / 100 + 8 / 400 + 1 / 25
    exact = exact_epsilon(1 / math.sqrt(mu_squared), 1e-5, 1)
    assert exact <= epsilon(mixed, 1e-5) <= 1.003 * exact


def test_nothing_released_costs_nothing():
    assert epsilon([], 1e-5) == 0.0
    assert epsilon_rdp([], 1e-5) == 0.0


@pytest.mark.slow
def test_wide_loss_cells_still_err_upwards_and_absurd_plans_are_infinite():
    for size in (30.0, 400.0, 3000.0):
        multiplier = size**-0.5
        mu = mpmath.sqrt(size)
        spent = epsilon([event(multiplier)], 1e-5)
        with mpmath.workdps(60):
            assert gaussian_delta(spent, mu) <= 1e-5
            assert gaussian_delta(spent * 0.99, mu) > 1e-5
    assert epsilon([event(1e-3)], 1e-5) == math.inf


def test_an_unknown_event_is_refused():
    @dataclass(frozen=True, slots=True, kw_only=True)
    class OtherEvent(PrivacyEvent):
        pass

    for unknown in (OtherEvent(noise_multiplier=1.0), 1.0, None, "gaussian"):
        for account in (epsilon, epsilon_rdp):
            with pytest.raises(UnknownPrivacyEvent):
                account([event(1.0), unknown], 1e-5)
        with pytest.raises(UnknownPrivacyEvent):
            fallback_epsilon([unknown], 1e-5, honest_contributors=2)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan])
def test_a_delta_outside_its_bounds_is_refused(delta):
    for call in (
        lambda: epsilon([event(1.0)], delta),
        lambda: epsilon_rdp([event(1.0)], delta),
        lambda: noise_multiplier_for(1.0, delta, 1),
        lambda: sampling_delta(1.0, delta, variation_per_draw=0.0, draws=1),
    ):
        with pytest.raises(ConfigError, match="delta"):
            call()


@pytest.mark.parametrize(("eps", "count"), [(0.0, 1), (-1.0, 1), (101.0, 1), (math.nan, 1), (1.0, 0)])
def test_a_target_outside_its_bounds_is_refused(eps, count):
    with pytest.raises(ConfigError):
        noise_multiplier_for(eps, 1e-5, count)


def test_the_default_delta_is_a_tenth_of_a_person_and_at_most_1e_5():
    assert [delta_for(n) for n in (1, 1000, 10_000, 80_000)] == [1e-5, 1e-5, 1e-5, 1 / 800_000]
    with pytest.raises(ConfigError, match="persons"):
        delta_for(0)


def test_fallback_noise_is_the_share_of_one():
    assert fallback_noise_multiplier(30.0, 9) == 10.0
    with pytest.raises(ConfigError, match="honest_contributors"):
        fallback_noise_multiplier(30.0, 0)


def test_the_samplers_delta_is_charged_and_bounded():
    extra = sampling_delta(1.0, 1e-5, variation_per_draw=2.0**-102, draws=31 * 40 * 34_049)
    assert extra == pytest.approx((1 + math.e) * 2.0**-102 * 31 * 40 * 34_049)
    # What 64-bit table inversion would cost at s = 2**14: PROTOCOL.md section 5 forbids it for this reason.
    with pytest.raises(ConfigError, match="1 % of delta"):
        sampling_delta(1.0, 1e-5, variation_per_draw=24 * 2.0**14 * 2.0**-65, draws=31 * 40 * 34_049)
    with pytest.raises(ConfigError, match="1 % of delta"):
        sampling_delta(math.inf, 1e-5, variation_per_draw=2.0**-102, draws=1)


def test_importing_the_accounting_does_not_load_dp_accounting():
    check = "import sys, fedmed.privacy.accounting; sys.exit('dp_accounting' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "count"), [(0.02, 200), (0.1, 60), (0.5, 12)])
def test_a_sampled_plan_is_calibrated_to_its_epsilon(rate: float, count: int) -> None:
    for target in (0.5, 4.0):
        noise = sampled_noise_multiplier_for(target, 1e-5, count, sample_rate=rate)
        event = PrivacyEvent(noise_multiplier=noise, sample_rate=rate, count=count)
        assert 0.98 * target < epsilon([event], 1e-5) <= target
        assert float(f"{noise:.4g}") == noise


def test_a_sample_of_everybody_is_a_full_batch() -> None:
    assert sampled_noise_multiplier_for(1.0, 1e-5, 4, sample_rate=1.0) == noise_multiplier_for(1.0, 1e-5, 4)
