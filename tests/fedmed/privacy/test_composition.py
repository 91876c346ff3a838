"""Persons at several nodes, and adaptive plans under a filter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import ConfigError
from fedmed.privacy.accounting import epsilon
from fedmed.privacy.composition import filter_admits, filter_order, home_epsilon
from fedmed.types import PrivacyEvent

DELTA = 1e-6
SAMPLED = [PrivacyEvent(noise_multiplier=1.0, sample_rate=0.00512, count=976)]
FULL = [PrivacyEvent(noise_multiplier=8.38, count=60)]

# Source: PRIVACY.md section 3, computed with dp_accounting 0.6; local noise, then shared noise with each node
# clipping to C and to C / k; sampled plan and full batch each.
HOMES = [
    (1, (1.04, 4.47), (1.04, 4.47), (1.04, 4.47)),
    (2, (1.43, 6.65), (2.20, 10.0), (0.73, 4.47)),
    (4, (2.00, 10.0), (4.70, 23.8), (0.68, 4.47)),
]


def repeated(plan, homes):
    return [
        PrivacyEvent(noise_multiplier=e.noise_multiplier, sample_rate=e.sample_rate, count=e.count * homes)
        for e in plan
    ]


def three_ways(plan, homes):
    return (
        epsilon(repeated(plan, homes), DELTA),
        home_epsilon(plan, DELTA, homes=homes, clip_is_divided=False),
        home_epsilon(plan, DELTA, homes=homes, clip_is_divided=True),
    )


@pytest.mark.slow
@pytest.mark.parametrize(("homes", "local", "full_clip", "divided"), HOMES)
def test_the_published_table_of_homes_is_met_by_full_batches(homes, local, full_clip, divided):
    assert three_ways(FULL, homes) == pytest.approx((local[1], full_clip[1], divided[1]), rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("homes", "local", "full_clip", "divided"), HOMES[1:])
def test_the_published_table_of_homes_is_met_by_sampled_plans(homes, local, full_clip, divided):
    assert three_ways(SAMPLED, homes) == pytest.approx((local[0], full_clip[0], divided[0]), rel=0.01)


def test_one_home_is_the_plain_composition():
    assert home_epsilon(FULL, DELTA, homes=1, clip_is_divided=False) == pytest.approx(
        epsilon(FULL, DELTA), abs=1e-9
    )


def test_divided_clips_make_homes_free_for_full_batches():
    found = {home_epsilon(FULL, DELTA, homes=k, clip_is_divided=True) for k in (1, 2, 5)}
    assert len({round(value, 9) for value in found}) == 1


def test_no_homes_are_refused():
    with pytest.raises(ConfigError, match="homes must be >= 1"):
        home_epsilon(FULL, DELTA, homes=0, clip_is_divided=True)


@pytest.mark.slow
@given(st.lists(st.floats(2.0, 200.0), min_size=1, max_size=60), st.sampled_from([0.5, 1.0, 4.0]))
def test_what_a_filter_admits_one_after_the_other_stays_within_the_budget(multipliers, target):
    spent: list[PrivacyEvent] = []
    order = filter_order(target, 1e-5)
    for value in multipliers:
        event = PrivacyEvent(noise_multiplier=value)
        if filter_admits(spent, event, epsilon_target=target, delta=1e-5, order=order):
            spent.append(event)
    assert epsilon(spent, 1e-5) <= target


def test_a_filter_lets_a_good_part_of_the_budget_be_used():
    event, spent, order = PrivacyEvent(noise_multiplier=20.0), [], filter_order(1.0, 1e-5)
    while filter_admits(spent, event, epsilon_target=1.0, delta=1e-5, order=order):
        spent.append(event)
    assert 0.8 <= epsilon(spent, 1e-5) <= 1.0


def test_a_filter_counts_sampled_releases_too():
    event, spent = PrivacyEvent(noise_multiplier=1.0, sample_rate=0.01, count=100), []
    while filter_admits(spent, event, epsilon_target=3.0, delta=1e-5, order=6.0):
        spent.append(event)
    assert len(spent) >= 2
    assert epsilon(spent, 1e-5) <= 3.0


def test_a_larger_budget_is_watched_at_a_smaller_order():
    assert filter_order(0.1, 1e-5) > filter_order(1.0, 1e-5) > filter_order(8.0, 1e-5) > 1


def test_an_order_of_one_watches_nothing_and_is_refused():
    with pytest.raises(ConfigError, match="order must be > 1"):
        filter_admits([], FULL[0], epsilon_target=1.0, delta=1e-5, order=1.0)
