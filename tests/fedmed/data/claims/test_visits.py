"""Visits: where and when, in the order that the tables need."""

import numpy as np

from fedmed.data.claims.calendar import day_in_year, days_of, month_of
from fedmed.data.claims.fraud import Fraud
from fedmed.data.claims.institutions import institutions
from fedmed.data.claims.persons import NEVER
from fedmed.data.claims.visits import PHARMACY


def test_stays_of_one_person_never_overlap(chunk):
    stays = chunk.visits.take(chunk.visits.is_stay)
    order = np.lexsort((stays.begin, stays.owner))
    owner, begin, end = stays.owner[order], stays.begin[order], (stays.begin + stays.nights)[order]
    same = owner[1:] == owner[:-1]
    assert same.sum() > 20
    assert (begin[1:][same] > end[:-1][same]).all()


def test_nobody_but_fraud_is_seen_outside_months_of_insurance(chunk):
    visits, insured = chunk.visits, chunk.insured
    honest = visits.fraud != Fraud.AFTER_DEATH.value
    owner = visits.owner[honest]
    first = month_of(visits.begin[honest])
    last = month_of((visits.begin + visits.nights)[honest])
    ends = np.where(insured.moves < NEVER, NEVER, insured.ends)[owner]
    assert (first >= insured.begins[owner]).all()
    assert (last <= ends).all()


def test_movers_are_paid_by_the_new_province_after_their_move(chunk):
    visits, insured = chunk.visits, chunk.insured
    moved = month_of(visits.begin) > insured.moves[visits.owner]
    assert moved.any()
    assert (visits.insured_province[moved] != insured.home).all()
    assert (visits.insured_province[~moved] == insured.home).all()


def test_visits_come_in_the_order_of_settlement_those_paid_elsewhere_last(chunk):
    visits = chunk.visits
    elsewhere = visits.insured_province != chunk.insured.home
    assert (np.diff(elsewhere.astype(int)) >= 0).all()
    assert (np.diff(visits.settled[~elsewhere]) >= 0).all()
    assert (visits.settled >= visits.begin + visits.nights).all()
    assert visits.settled.max() < days_of(24)


def test_pharmacies_have_no_stays_and_hospitals_no_pharmacy_visits(chunk):
    level = institutions().level[chunk.visits.institution]
    assert ((level == 0) == (chunk.visits.kind == PHARMACY)).all()


def test_days_fill_the_year_and_the_holiday_month_is_quiet():
    day = day_in_year(1, np.linspace(0, 1, 20_000, endpoint=False))
    assert (day.min(), day.max()) == (365, 730)  # 2024 has 366 days
    by_month = np.bincount(month_of(day) - 12, minlength=12)
    assert by_month.argmin() == 1
