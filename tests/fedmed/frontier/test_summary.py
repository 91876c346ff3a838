"""Means over seeds, costs that stand for others, the Pareto front and the year's budget."""

from __future__ import annotations

import pytest

from fedmed.frontier.summary import (
    costed,
    epsilon_of_studies,
    levels_of,
    points_of,
    studies_a_year,
)
from fedmed.privacy.accounting import epsilon
from fedmed.privacy.composition import filter_share
from fedmed.types import PrivacyEvent
from tests.frontier_rows import baseline, federated


def test_bytes_and_seconds_of_the_encrypted_run_stand_for_its_layout_alone() -> None:
    unknown = {"is_encrypted": False, "size_bytes": None, "seconds": None}
    rows = (
        federated(0.5, 0.7, layout="a"),
        federated(1.0, 0.8, layout="a", **unknown),
        federated(4.0, 0.9, layout="b", **unknown),
    )
    one, same, other = costed(rows)
    assert (same.size_bytes, same.seconds) == (one.size_bytes, one.seconds) == (1_000_000, 5.0)
    assert (other.size_bytes, other.seconds) == (None, None)
    assert not same.is_encrypted


def test_a_point_is_a_choice_over_its_seeds() -> None:
    rows = (federated(1.0, 0.83, seed=2), federated(1.0, 0.80), federated(0.5, 0.7))
    least, point = points_of(rows, budget=2.0)
    assert (least.epsilon, point.epsilon) == (0.5, 1.0)
    assert point.auc.values == (0.80, 0.83)
    assert (point.auc.low, point.auc.mean, point.auc.high) == (0.80, pytest.approx(0.815), 0.83)
    assert point.a_year >= 2


def test_the_front_holds_what_nothing_else_beats() -> None:
    rows = (
        federated(0.5, 0.80),
        federated(1.0, 0.79),
        federated(4.0, 0.85),
        federated(4.0, 0.84, mode="local", size_bytes=10),
    )
    front = {(p.mode.value, p.epsilon) for p in points_of(rows, budget=2.0) if p.is_on_front}
    assert front == {("aggregate", 0.5), ("aggregate", 4.0), ("local", 4.0)}


def test_settings_have_a_front_each() -> None:
    points = points_of((federated(1.0, 0.9), federated(1.0, 0.7, nodes=31)), budget=2.0)
    assert [point.is_on_front for point in points] == [True, True]


def test_baselines_are_levels_in_one_order() -> None:
    rows = (baseline("alone", 0.7), baseline("pooled", 0.9), baseline("central", 0.8, epsilon=1.0))
    assert [level.arm for level in levels_of(rows)] == ["central", "pooled", "alone"]


def test_the_year_holds_as_many_studies_as_the_accounting_allows_and_no_more() -> None:
    events, delta = (PrivacyEvent(noise_multiplier=45.0, count=42),), 1e-5

    def spent(studies: int) -> float:
        return epsilon([PrivacyEvent(noise_multiplier=45.0, count=42 * studies)], delta)

    number = studies_a_year(events, delta, budget=2.0)
    assert spent(number) <= 2.0 < spent(number + 1)
    assert number > 2.0 / spent(1)
    assert studies_a_year(events, delta, budget=0.1) == 0
    assert epsilon_of_studies(events, delta, studies=number) == spent(number)
    assert epsilon_of_studies(events, delta, studies=0) == 0


def test_a_year_of_sampled_studies_holds_what_a_ledger_admits_one_after_the_other() -> None:
    event = PrivacyEvent(noise_multiplier=6.0, sample_rate=0.2, count=17)
    number = studies_a_year((event,), 1e-5, budget=2.0)
    assert filter_share([event] * number, 1e-5, budget=2.0) <= 1
    assert filter_share([event] * (number + 1), 1e-5, budget=2.0) > 1
    assert epsilon_of_studies([event], 1e-5, studies=number) < 2.0
