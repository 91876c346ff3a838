"""What may be shown of two counts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.data.nhsa.results import QualityReport, State, TableFacts, judge, quality_document, shown_count
from fedmed.data.nhsa.rules import Dimension, Rule, rules
from fedmed.data.nhsa.settings import QualitySettings
from fedmed.errors import ConfigError
from tests.examples import at_most

RULE = next(rule for rule in rules() if rule.id == "long_stay:setl")
TABLE = TableFacts(name="setl", rows="5000", files=1, aliases={}, unknown=())


def report_of(rule: Rule, *, checked: int, failing: int) -> QualityReport:
    plain = QualitySettings()
    outcome = judge(rule, checked=checked, failing=failing, settings=plain)
    return QualityReport(settings=plain, tables=(TABLE,), outcomes=(outcome,), delay_days=None)


@given(one=st.integers(1, 10), other=st.integers(1, 10), checked=st.integers(100, 5000))
@settings(max_examples=at_most(12))
def test_counts_from_1_to_10_cannot_be_told_apart_not_even_by_a_score(
    one: int, other: int, checked: int
) -> None:
    first, second = (quality_document(report_of(RULE, checked=checked, failing=n)) for n in (one, other))
    assert first == second
    assert [entry["failing"] for entry in first["found"]] == ["<11"]
    few, fewer = (
        quality_document(report_of(RULE, checked=checked, failing=checked - n)) for n in (one, other)
    )
    assert few == fewer
    assert few["found"][0]["failing"] == "all but <11"


@given(one=st.integers(1, 10), other=st.integers(1, 10), failing=st.integers(0, 4_000))
@settings(max_examples=at_most(12))
def test_how_many_rows_a_rule_does_not_apply_to_cannot_be_told(one: int, other: int, failing: int) -> None:
    first, second = (
        judge(RULE, checked=5_000 - n, failing=failing, settings=QualitySettings(), rows=5_000)
        for n in (one, other)
    )
    assert first == second
    assert first.checked == "all but <11"
    whole = judge(RULE, checked=5_000, failing=failing, settings=QualitySettings(), rows=5_000)
    assert (whole.checked, whole.rate) == ("5000", first.rate)


def test_zero_all_and_larger_counts_are_shown() -> None:
    assert [shown_count(n, of=50) for n in (0, 1, 10, 11, 39, 40, 49, 50)] == [
        *("0", "<11", "<11", "11", "39", "all but <11", "all but <11", "50"),
    ]


def test_an_allowed_rate_is_no_finding_and_costs_nothing() -> None:
    lenient = QualitySettings(allowed={"long_stay": 0.1, RULE.id: 0.2})
    for failing, state in ((200, State.HOLDS), (201, State.FOUND)):
        assert judge(RULE, checked=1000, failing=failing, settings=lenient).state is state
    assert judge(RULE, checked=1000, failing=200, settings=lenient).loss == 0
    assert judge(RULE, checked=1000, failing=201, settings=lenient).loss == pytest.approx(0.201)


def test_a_score_is_one_minus_the_rates_and_the_gate_is_inclusive() -> None:
    report = report_of(RULE, checked=1000, failing=50)
    assert report.scores[Dimension.CONSISTENCY] == 0.95
    assert report.is_fit
    assert not report_of(RULE, checked=1000, failing=51).is_fit
    assert report.scores[Dimension.TIMELINESS] is None


def test_tables_of_which_nothing_was_checked_are_not_fit() -> None:
    assert not QualityReport(settings=QualitySettings(), tables=(TABLE,), outcomes=(), delay_days=None).is_fit


@pytest.mark.parametrize(
    "wrong",
    [
        {"gate": 1.5},
        {"money": -1.0},
        {"line": float("nan")},
        {"late_days": 0},
        {"allowed": {"long_stay": 2.0}},
        {"off": frozenset({"no_such_rule"})},
        {"codes": {"no_such_list": ("1",)}},
    ],
)
def test_settings_out_of_bounds_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        QualitySettings(**wrong)  # type: ignore[arg-type]
