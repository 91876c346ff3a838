from __future__ import annotations

import numpy as np
import pytest

from fedmed.analytics.statistics.early_warning import Rule, cusum, watch
from fedmed.errors import ConfigError

# Montgomery 2009, tables 9.1 and 9.2: mean 10 and standard deviation 1, from the 21st on mean 11.
MONTGOMERY = np.array(
    [
        *(9.45, 7.99, 9.29, 11.66, 12.16, 10.18, 8.04, 11.46, 9.20, 10.34, 9.03, 11.47, 10.51, 9.40, 10.08),
        *(
            9.37,
            10.62,
            10.31,
            8.52,
            10.84,
            10.90,
            9.33,
            12.29,
            11.50,
            10.60,
            11.08,
            10.38,
            11.62,
            11.31,
            10.52,
        ),
    ]
)


def test_the_cusum_is_the_textbooks() -> None:
    found = cusum(MONTGOMERY - 10, allowance=0.5, limit=5.0)
    assert found[[3, 4, 27, 28]] == pytest.approx([1.16, 2.82, 4.47, 5.28], abs=1e-9)
    assert int(np.argmax(found > 5)) == 28


def test_a_change_raises_an_alarm_in_its_direction_and_the_baseline_none() -> None:
    months = 100 + 2.0 * np.arange(30) + np.tile([1.0, -1.0], 15)
    for change in (8.0, -8.0):
        changed = months + np.where(np.arange(30) >= 20, change, 0.0)
        found = watch(changed, Rule(trend=True))
        assert not found.alarm[:20].any()
        assert set(found.alarm[20:]) == {0.0, np.sign(change)}
    assert not watch(months, Rule(trend=True)).alarm.any()


def test_a_change_that_is_over_raises_no_alarm_after_its_own() -> None:
    months = 100 + np.tile([1.0, -1.0], 12)
    months[12] += 40
    found = watch(months, Rule(allowance=0.5, limit=5.0))
    assert np.flatnonzero(found.alarm).tolist() == [12]
    assert found.above[12] > 5
    assert found.above[13:].max() < 1


def test_months_without_a_change_rarely_raise_an_alarm() -> None:
    draw = np.random.default_rng(7)
    alarms = [bool(watch(draw.normal(size=24), Rule()).alarm.any()) for _ in range(250)]
    # 1 of 100 years; 250 vary by 0.006, and the seed is fixed.
    assert sum(alarms) / 250 <= 0.03


def test_a_level_is_the_mean_of_the_first_months() -> None:
    found = watch(np.array([9.0, 11, 10, 10, 30]), Rule(baseline_months=4, trend=False))
    assert found.expected.tolist() == [10.0] * 5
    assert found.low[4] < 10 < found.high[4] < 30


@pytest.mark.slow
def test_the_band_holds_the_next_month_with_95_percent() -> None:
    draw, inside = np.random.default_rng(5), 0
    for _ in range(1500):
        months = 50 + 0.7 * np.arange(16) + draw.normal(size=16)
        found = watch(months, Rule(trend=True))
        inside += bool(found.low[13] <= months[13] <= found.high[13])
    # 1,500 runs vary by 0.0056; five standard deviations leave a chance of 6e-7, and the seed is fixed.
    assert inside / 1500 == pytest.approx(0.95, abs=0.028)


def test_noise_never_looks_like_a_change() -> None:
    months = np.array([10.0, 10, 10, 10, 16, 16, 16])
    rule = Rule(baseline_months=4, trend=False)
    assert watch(months, rule).alarm.any(), "the baseline lies on its line"
    assert not watch(months, rule, noise=10.0).alarm.any()


def test_rules_are_checked() -> None:
    with pytest.raises(ConfigError, match="baseline_months"):
        Rule(baseline_months=2)
    with pytest.raises(ConfigError, match="more than the 12 months"):
        watch(np.zeros(12), Rule())
