"""Scores against a gate, and frequencies against the federation's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.data.nhsa.results import QualityReport, TableFacts, judge
from fedmed.data.nhsa.rules import Dimension, rules
from fedmed.data.nhsa.settings import QualitySettings
from fedmed.data.nhsa.standing import comparability, published_scores, quality_refusal
from fedmed.errors import ConfigError
from tests.examples import at_most

HISTOGRAM = (
    st.lists(st.integers(0, 1000), min_size=4, max_size=4).filter(any).map(lambda x: np.array(x, float))
)


def test_scores_that_reach_the_gate_are_not_refused_and_no_scores_are() -> None:
    assert quality_refusal({"validity": 0.95, "timeliness": 1.0}, 0.95) == ""
    assert quality_refusal({}, None) == quality_refusal({"validity": 0.0}, None) == ""
    assert quality_refusal({}, 0.0).startswith("quality_gate: no scores are registered")
    refusal = quality_refusal({"validity": 0.949, "timeliness": float("nan")}, 0.95)
    assert "timeliness nan, validity 0.949 below the gate 0.95" in refusal


@given(own=HISTOGRAM, federation=HISTOGRAM)
@settings(max_examples=at_most(15))
def test_comparability_is_symmetric_bounded_and_one_for_equal_frequencies(
    own: np.ndarray, federation: np.ndarray
) -> None:
    value = comparability(own, federation)
    assert 0.0 <= value <= 1.0
    assert value == pytest.approx(comparability(federation, own), abs=1e-12)
    assert comparability(own, 3 * own) == pytest.approx(1.0)


def test_comparability_has_the_values_worked_out_by_hand() -> None:
    assert comparability(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 0.0
    # (1, 0) against (1/2, 1/2), whose middle is (3/4, 1/4).
    divergence = 0.5 * (np.log(4 / 3) + 0.5 * np.log(2 / 3) + 0.5 * np.log(2)) / np.log(2)
    assert comparability(np.array([1.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx(1 - divergence)
    assert comparability(np.array([1.0, -5.0]), np.array([1.0, 0.0])) == 1.0
    with pytest.raises(ConfigError, match="positive count"):
        comparability(np.array([0.0]), np.array([1.0]))
    with pytest.raises(ConfigError, match="agree"):
        comparability(np.array([1.0]), np.array([1.0, 2.0]))


def test_published_scores_have_three_digits_and_are_never_rounded_up() -> None:
    rule = next(rule for rule in rules() if rule.id == "long_stay:setl")
    outcome = judge(rule, checked=10_000, failing=501, settings=QualitySettings())
    table = TableFacts(name="setl", rows="10000", files=1, aliases={}, unknown=())
    report = QualityReport(settings=QualitySettings(), tables=(table,), outcomes=(outcome,), delay_days=None)
    assert report.scores[Dimension.CONSISTENCY] == 0.9499
    assert published_scores(report) == {"consistency": 0.949}
