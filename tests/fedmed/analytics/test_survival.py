"""Kaplan-Meier and log-rank against lifelines; the noisy curve's error."""

import warnings

import numpy as np
import pytest

from fedmed.analytics.survival import (
    kaplan_meier,
    log_rank,
    merged,
    node_counts,
    rounded,
    seen_times,
    shown_grid,
    shown_points,
)
from fedmed.errors import ConfigError


def lung():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lifelines is not yet quiet under this pandas
        from lifelines.datasets import load_lung

        frame = load_lung()
    time = frame.time.to_numpy().astype(np.int64)
    event = frame.status.to_numpy().astype(float)
    return time, event - event.min(), (frame.sex.to_numpy() == 2).astype(np.int64)


def test_counts_of_nodes_add_up_to_the_curve_that_lifelines_gives():
    from lifelines import KaplanMeierFitter

    time, event, _ = lung()
    one = np.zeros_like(time)
    counts = sum(
        node_counts(time=time[i::4], event=event[i::4], group=one[i::4], times=1100, groups=1)
        for i in range(4)
    )
    curve = kaplan_meier(counts[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = KaplanMeierFitter().fit(time, event)
        wanted = expected.survival_function_at_times(np.arange(1100)).to_numpy()
        bounds = expected.confidence_interval_survival_function_
    np.testing.assert_allclose(curve.survival, wanted, rtol=1e-9)
    at = bounds.index.to_numpy().astype(int)[1:-1]
    np.testing.assert_allclose(curve.low[at], bounds.to_numpy()[1:-1, 0], rtol=1e-6)
    np.testing.assert_allclose(curve.high[at], bounds.to_numpy()[1:-1, 1], rtol=1e-6)


def test_the_log_rank_test_equals_that_of_lifelines():
    from lifelines.statistics import logrank_test

    time, event, group = lung()
    counts = node_counts(time=time, event=event, group=group, times=1100, groups=2)
    found = log_rank(counts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = logrank_test(time[group == 0], time[group == 1], event[group == 0], event[group == 1])
    assert found.statistic == pytest.approx(expected.test_statistic, rel=1e-9)
    assert found.p_value == pytest.approx(expected.p_value, rel=1e-9)
    assert found.degrees == 1


def test_removing_a_person_moves_one_cell_by_one():
    time, event, group = lung()
    whole = node_counts(time=time, event=event, group=group, times=1100, groups=2)
    less = node_counts(time=time[1:], event=event[1:], group=group[1:], times=1100, groups=2)
    assert np.abs(whole - less).sum() == 1


def test_noise_widens_the_interval():
    time, event, _ = lung()
    counts = node_counts(time=time // 30, event=event, group=0 * time, times=40, groups=1)[0]
    exact, noisy = kaplan_meier(counts), kaplan_meier(counts, noise_variance=9.0)
    inner = slice(2, 20)
    assert np.all(noisy.high[inner] - noisy.low[inner] > exact.high[inner] - exact.low[inner])


def test_negative_noisy_cells_are_not_cut_off_before_cumulating():
    counts = np.array([[5.0, -2.0, 3.0], [1.0, -1.0, 2.0]])
    curve = kaplan_meier(counts)
    np.testing.assert_allclose(curve.at_risk, [8.0, 2.0, 5.0])
    assert np.all(np.diff(curve.survival) <= 0)
    assert np.all((curve.survival >= 0) & (curve.survival <= 1))


def test_a_noisy_curve_ends_where_noise_hides_who_is_at_risk():
    """With a variance of 2 the noise of numbers at risk has deviations 4, 3.5, 2.8 and 2."""
    assert seen_times(np.array([16.0, 14.0, 11.4, 8.0]), noise_variance=2.0) == 4
    assert seen_times(np.array([16.0, 13.0, 11.4, 8.0]), noise_variance=2.0) == 1
    draws = np.random.default_rng(5).normal(size=(500, 2, 12))
    of_nobody = [kaplan_meier(counts, noise_variance=1.0).at_risk for counts in draws]
    assert not any(seen_times(at_risk, noise_variance=1.0) for at_risk in of_nobody)


def test_a_single_group_has_no_log_rank_test():
    with pytest.raises(ConfigError, match="two or more groups"):
        log_rank(np.zeros((1, 2, 4)))


def test_a_time_outside_the_grid_is_refused():
    with pytest.raises(ConfigError, match=r"times must lie in 0..2"):
        node_counts(time=np.array([3]), event=np.ones(1), group=np.zeros(1, dtype=int), times=3, groups=1)


def noisy(counts, *, noise, seed):
    """Counts with noise from a seeded generator, for tests alone."""
    insecure_draws = np.random.default_rng(seed)
    return counts + noise * insecure_draws.standard_normal(counts.shape)


@pytest.mark.slow
def test_the_stated_noise_of_log_survival_is_that_of_repeated_draws():
    counts = np.array([[40.0, 50.0, 60.0, 300.0], [80.0, 60.0, 70.0, 40.0]])
    logs = np.log([kaplan_meier(noisy(counts, noise=3.0, seed=s)).survival for s in range(300)])
    curve = kaplan_meier(counts, noise_variance=9.0)
    # The interval is one of log(-log S), whose error is that of log S over -log S.
    width = np.log(-np.log(curve.noise_low)) - np.log(-np.log(curve.noise_high))
    stated = width / (2 * 1.959964) * -np.log(curve.survival)
    # A standard deviation of 300 draws errs by 4 %: 5 of its standard errors.
    np.testing.assert_allclose(np.std(logs, axis=0), stated, rtol=0.21)


@pytest.mark.slow
def test_noise_intervals_of_each_point_hold_the_curve_without_noise_in_95_percent_of_runs():
    counts = np.array([[40.0, 50.0, 60.0, 300.0], [80.0, 60.0, 70.0, 40.0]])
    due, held = kaplan_meier(counts).survival, []
    for seed in range(1000):
        curve = kaplan_meier(noisy(counts, noise=4.0, seed=seed), noise_variance=16.0)
        held.append((curve.noise_low <= due) & (due <= curve.noise_high))
    # Four points, beyond 5.5 standard errors: less than one false alarm in a million choices of the seeds.
    assert np.all(np.abs(np.mean(held, axis=0) - 0.95) < 5.5 * np.sqrt(0.95 * 0.05 / 1000))


@pytest.mark.slow
def test_noise_alone_seldom_looks_like_a_difference():
    half = np.array([[40.0, 50.0, 60.0, 300.0], [30.0, 30.0, 30.0, 30.0]])
    counts = np.stack([half, half])
    found = [log_rank(noisy(counts, noise=8.0, seed=s), noise_variance=64.0).p_value for s in range(200)]
    ignored = [log_rank(noisy(counts, noise=8.0, seed=s)).p_value for s in range(200)]
    assert np.mean(np.array(found) < 0.05) < np.mean(np.array(ignored) < 0.05)
    assert np.mean(np.array(found) < 0.05) < 0.1


EVENTS = np.array([3, 9, 2, 20, 0, 4])
CENSORED = np.array([12, 0, 30, 0, 0, 3])


def test_a_shown_interval_rests_on_enough_events_and_leaves_no_small_remainder():
    lasts = shown_grid(np.stack([CENSORED, EVENTS]), min_cell=11)
    assert lasts == (1, 5)
    whole = merged(np.stack([CENSORED, EVENTS]), lasts)
    assert whole.tolist() == [[12, 33], [12, 26]]
    points = shown_points(kaplan_meier(whole), (2.0, 6.0))
    assert [(p.time, p.at_risk, p.events) for p in points] == [(2.0, 83.0, 12.0), (6.0, 59.0, 26.0)]
    assert points[0].survival == pytest.approx(1 - 12 / 83)


def test_a_remainder_is_one_interval_that_has_no_point():
    counts = np.stack([np.append(CENSORED, 40), np.append(EVENTS, 1)])
    lasts = shown_grid(counts, min_cell=11)
    assert lasts == (1, 3)
    whole = merged(counts, lasts)
    assert whole.tolist() == [[12, 30, 43], [12, 22, 5]]
    assert len(shown_points(kaplan_meier(whole), (2.0, 4.0))) == 2
    assert shown_grid(np.array([[50, 3], [4, 5]]), min_cell=11) == ()


def test_what_is_shown_does_not_depend_on_when_within_an_interval_anybody_left():
    other = np.stack([np.array([0, 12, 15, 15, 3, 0]), np.array([11, 1, 9, 11, 5, 1])])
    lasts = shown_grid(np.stack([CENSORED, EVENTS]), min_cell=11)
    curves = [kaplan_meier(merged(c, lasts)) for c in (np.stack([CENSORED, EVENTS]), other)]
    assert shown_points(curves[0], (2.0, 6.0)) == shown_points(curves[1], (2.0, 6.0))
    test = rounded(log_rank(np.stack([other, other[:, ::-1]])))
    assert f"{test.statistic:.2e}" == f"{test.statistic:e}".replace("0000e", "e")
