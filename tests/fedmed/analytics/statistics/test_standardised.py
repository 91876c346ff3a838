from __future__ import annotations

import numpy as np
import pytest

from fedmed.analytics.statistics.standardised import noisy_standardised_rate, standardised_rate
from fedmed.errors import ConfigError


def test_one_stratum_gives_the_exact_interval_of_a_poisson_count() -> None:
    """Garwood's table: 10 events have the 95 % interval 4.80 to 18.39, none 0 to 3.69."""
    found = standardised_rate(np.array([[10.0], [0.0]]), np.full((2, 1), 1000.0), np.array([7.0]))
    assert found.value.tolist() == [0.01, 0.0]
    assert found.low == pytest.approx([0.0047954, 0.0], abs=1e-7)
    assert found.high == pytest.approx([0.0183904, 0.0036889], abs=1e-7)


def test_strata_are_weighted_by_the_standard_population() -> None:
    events, rows = np.array([[2.0, 30.0]]), np.array([[100.0, 300.0]])
    found = standardised_rate(events, rows, np.array([3.0, 1.0]))
    assert found.value[0] == pytest.approx(0.75 * 0.02 + 0.25 * 0.1)
    assert found.std_error[0] == pytest.approx(np.hypot(0.75 * 2**0.5 / 100, 0.25 * 30**0.5 / 300))


def test_a_group_without_persons_where_the_standard_has_some_has_no_rate() -> None:
    rows = np.array([[10.0, 0.0]])
    assert np.isnan(standardised_rate(np.ones((1, 2)), rows, np.array([1.0, 1.0])).value[0])
    assert standardised_rate(np.ones((1, 2)), rows, np.array([1.0, 0.0])).value[0] == 0.1
    with pytest.raises(ConfigError, match="standard"):
        standardised_rate(np.ones((1, 2)), rows, np.zeros(2))


def test_noisy_intervals_cover_the_rate_behind_events_and_noise() -> None:
    draw, runs = np.random.default_rng(4), 4000
    rows, rates, standard = np.array([4000.0, 2500.0]), np.array([0.05, 0.2]), np.array([2.0, 1.0])
    events = draw.poisson(rows * rates, (runs, 2)) + 12 * draw.normal(size=(runs, 2))
    seen = rows + 30 * draw.normal(size=(runs, 2))
    found = noisy_standardised_rate(events, seen, standard, noise=(12.0, 30.0))
    share = np.mean((found.low <= 0.1) & (found.high >= 0.1))
    assert share == pytest.approx(0.95, abs=0.018)
    drowned = noisy_standardised_rate(events[:1], np.array([[50.0, 9.0]]), standard, noise=(12.0, 30.0))
    assert np.isnan(drowned.value[0])
