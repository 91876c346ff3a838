"""Persons at several nodes, and adaptive plans under a filter."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import ConfigError
from fedmed.privacy.accounting import epsilon
from fedmed.privacy.composition import filter_order, filter_share, home_epsilon, year_epsilon
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
    for value in multipliers:
        event = PrivacyEvent(noise_multiplier=value)
        if filter_share([*spent, event], 1e-5, budget=target) <= 1:
            spent.append(event)
    assert epsilon(spent, 1e-5) <= target


def admitted(event, *, cap):
    """How many studies of one event each fit one after the other."""
    events = [event]
    while year_epsilon(events, 1e-5, cap=cap, studies=len(events)) <= cap:
        events.append(event)
    return len(events) - 1


def test_a_filter_lets_a_good_part_of_the_budget_be_used():
    event = PrivacyEvent(noise_multiplier=200.0, count=100)
    count = next(n for n in range(1, 99) if filter_share([event] * n, 1e-5, budget=1.0) > 1) - 1
    assert 0.8 <= epsilon([event] * count, 1e-5) <= 1.0


def test_full_batches_chosen_one_after_the_other_fill_the_cap_as_one_gaussian_does():
    event = PrivacyEvent(noise_multiplier=45.0, count=42)
    fit = admitted(event, cap=2.0)
    assert epsilon([event] * fit, 1e-5) <= 2.0 < epsilon([event] * (fit + 1), 1e-5)
    whole = PrivacyEvent(noise_multiplier=45.0, count=42 * fit)
    assert epsilon([event] * fit, 1e-5) == epsilon([whole], 1e-5)


@pytest.mark.slow
def test_sampled_studies_chosen_one_after_the_other_pass_the_filter_as_well():
    event = PrivacyEvent(noise_multiplier=6.0, sample_rate=0.2, count=17)
    fit = admitted(event, cap=2.0)
    assert fit >= 2
    assert filter_share([event] * fit, 1e-5, budget=2.0) <= 1
    assert epsilon([event] * (fit + 1), 1e-5) <= 2.0, "a plan fixed in advance could have had one more"


def test_one_sampled_study_has_a_fixed_plan_and_needs_no_filter():
    plan = PrivacyEvent(noise_multiplier=6.0, sample_rate=0.2, count=17)
    alone = epsilon([plan], 1e-5)
    assert filter_share([plan], 1e-5, budget=alone) > 1
    assert year_epsilon([plan], 1e-5, cap=alone, studies=1) == alone
    assert year_epsilon([], 1e-5, cap=1.0, studies=0) == 0


def test_a_larger_budget_is_watched_at_a_smaller_order():
    assert filter_order(0.1) > filter_order(1.0) > filter_order(8.0) >= 2


def test_a_budget_too_small_for_its_order_holds_nothing_sampled():
    plan = PrivacyEvent(noise_multiplier=1e6, sample_rate=0.5)
    assert filter_share([plan], 1e-12, budget=1e-3) == math.inf


def test_no_budget_is_refused():
    with pytest.raises(ConfigError, match="epsilon must be > 0"):
        filter_share(FULL, 1e-5, budget=0.0)
