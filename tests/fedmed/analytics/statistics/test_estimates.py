from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.analytics.statistics.estimates import Estimates, noisy, quantiles, ratio, variance
from tests.examples import at_most

RUNS = 4000
# Shares of 4,000 runs vary by 0.0034; five standard deviations leave a chance of 6e-7, and seeds are fixed.
COVERED = pytest.approx(0.95, abs=0.018)


def share(low: np.ndarray, truth: float, high: np.ndarray) -> float:
    return float(np.mean((low <= truth) & (truth <= high)))


def test_intervals_of_sums_and_ratios_cover_what_the_rows_say() -> None:
    draw = np.random.default_rng(1)
    top, bottom = 300 + 20 * draw.normal(size=RUNS), 100 + 15 * draw.normal(size=RUNS)
    found = noisy(top, 20.0)
    assert share(found.low, 300, found.high) == COVERED
    found = ratio(top, bottom, numerator_noise=20, denominator_noise=15)
    assert share(found.low, 3.0, found.high) == COVERED


def test_a_drowned_denominator_gives_no_ratio() -> None:
    found = ratio(np.full(3, 5.0), np.array([1.0, -50.0, 50.0]), numerator_noise=1, denominator_noise=1)
    assert np.isnan(found.value).tolist() == [True, True, False]
    assert np.isnan(found.low).tolist() == [True, True, False]


def test_a_number_known_to_lie_between_bounds_is_cut_at_them_or_hidden() -> None:
    """Cut below, cut above, inside; more than half of the range, nothing of it."""
    low, high = np.array([-20.0, 80, 20, 30, 110]), np.array([20.0, 120, 40, 81, 120])
    value = np.array([-5.0, 105, 30, 50, 115])
    found = Estimates(value=value, std_error=np.ones(5), low=low, high=high).inside(0, 100)
    assert found.value[:3].tolist() == [0, 100, 30]
    assert found.low[:3].tolist() == [0, 80, 20]
    assert found.high[:3].tolist() == [20, 100, 40]
    for each in (found.value, found.std_error, found.low, found.high):
        assert np.isnan(each).tolist() == [False, False, False, True, True]


def test_a_variance_is_that_of_the_rows_and_its_interval_covers_it() -> None:
    draw = np.random.default_rng(2)
    rows = draw.normal(3, 10, 5000)
    sums = (5000.0, rows.sum(), (rows**2).sum())
    exact = variance(*(np.array([each]) for each in sums), noise=(0.0, 0.0, 0.0))
    assert exact.value[0] == pytest.approx(np.var(rows, ddof=1), rel=1e-12)
    noise = (40.0, 400.0, 8000.0)
    noisy_sums = (s + n * draw.normal(size=RUNS) for s, n in zip(sums, noise, strict=True))
    found = variance(*noisy_sums, noise=noise)
    assert share(found.low, float(exact.value[0]), found.high) == COVERED


@settings(max_examples=at_most(15), deadline=None)
@given(values=st.lists(st.integers(0, 99), min_size=1, max_size=60), p=st.floats(0.01, 0.99))
def test_an_exact_quantile_lies_in_its_interval_of_the_grid(values: list[int], p: float) -> None:
    edges = np.linspace(0, 100, 21)
    counts = np.histogram(values, edges)[0][None, :]
    found = quantiles(counts, edges, p)
    due = float(np.quantile(values, p, method="inverted_cdf"))
    assert found.low[0] <= due <= found.high[0]
    assert found.low[0] <= found.value[0] <= found.high[0]
    assert found.high[0] - found.low[0] == 5


@pytest.mark.slow
def test_intervals_of_noisy_quantiles_cover_the_quantile_also_on_a_fine_grid() -> None:
    draw = np.random.default_rng(3)
    rows = np.floor(draw.gamma(2.0, 20.0, 3000))
    edges = np.linspace(0, 400, 401)
    counts = np.histogram(rows, edges)[0] + 5.0 * draw.normal(size=(RUNS, 400))
    for p in (0.1, 0.5, 0.9):
        found = quantiles(counts, edges, p, noise=5.0)
        due = float(np.quantile(rows, p, method="inverted_cdf"))
        assert share(found.low, due, found.high) > 0.94
        assert np.all((found.low <= found.value) & (found.value <= found.high))
    assert np.isnan(quantiles(np.full((1, 400), 0.1), edges, 0.5, noise=5.0).value[0])
