"""Lines and settlements: every identity holds to the fen."""

import numpy as np

from fedmed.data.claims.catalogue import CLASS_A, CLASS_C, items
from fedmed.data.claims.fraud import Fraud


def test_a_line_is_units_times_price_and_its_split_adds_up(chunk):
    lines = chunk.lines
    assert (lines.amount == lines.units * lines.price).all()
    assert (lines.amount == lines.own + lines.over + lines.first + lines.scope).all()
    for part in (lines.own, lines.over, lines.first, lines.scope, lines.amount - 1):
        assert part.min() >= 0


def test_every_visit_has_lines_and_they_sum_to_its_total(chunk):
    sums = np.bincount(chunk.lines.visit, weights=chunk.lines.amount, minlength=chunk.visits.count)
    assert (sums == chunk.money.total).all()
    assert np.median(np.abs(sums / 100 / chunk.visits.cost - 1)) < 0.001


def test_funds_person_and_hospital_pay_the_total(chunk):
    money = chunk.money
    assert (money.total == money.own + money.over + money.first + money.scope).all()
    assert (money.total == money.funds + money.person + money.hospital).all()
    assert (money.person == money.account + money.cash).all()
    assert (money.pooled <= np.maximum(0, money.scope - money.deductible)).all()
    for name in money.__slots__:
        assert getattr(money, name).min() >= 0, name


def test_swapped_items_bill_own_cost_as_class_a(chunk):
    lines = chunk.lines
    swapped = chunk.visits.fraud[lines.visit] == Fraud.SWAPPED_ITEMS.value
    own = items().grade[lines.item] == CLASS_C
    assert (lines.grade[swapped & own] == CLASS_A).all()
    assert (lines.grade[~swapped] == items().grade[lines.item[~swapped]]).all()
