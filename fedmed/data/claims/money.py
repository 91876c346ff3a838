"""Who pays what of each settlement, in whole fen.

Every amount is what is left after the one before it, so the identities of a settlement hold exactly:
total = own + over + first + scope, total = funds + person + hospital, person = account + cash.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedmed.data import synthetic_parameters as world
from fedmed.data.claims.institutions import institutions
from fedmed.data.claims.lines import SHARE_UNIT, Lines
from fedmed.data.claims.persons import ACTIVE, CIVIL, RETIRED, Insured
from fedmed.data.claims.visits import CHRONIC, PHARMACY, Visits
from fedmed.types import IntArray

# Shares of in-scope cost that the fund pays of a visit, in ten-thousandths: residents, employees.
_VISIT_SHARE = np.array([4_800, 7_200])
_CHRONIC_MORE = np.array([1_700, 1_000])
# The published shares hold after the deductible, the ratios apply before it.
_STAY_MORE = 250
_AWAY_LESS = 1_000
_CIVIL_SHARE, _ENTERPRISE_SHARE, _POOR_SHARE = 5_000, 3_000, 6_500
_ENTERPRISES = 0.05
_SERIOUS_FROM, _SERIOUS_SHARE = 1_400_000, 6_000
_LARGE_FROM, _LARGE_SHARE = 800_000, 8_000
_HOSPITAL_PAYS, _HOSPITAL_SHARE = 0.004, 500
_ACCOUNT_WHOLE, _ACCOUNT_AT_STAY, _FAMILY_ACCOUNT = 0.7, 0.35, 0.04


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """Amounts of settlements; arrays of shape (visits,), in fen.

    Attributes:
        total: Cost of the visit.
        own: Wholly own cost.
        over: Above price limits.
        first: First self-payment.
        scope: Inside the policy's scope.
        deductible: Of the scope, paid before the fund begins.
        ratio: Pooled fund's share of the rest, in ten-thousandths.
        pooled: Paid by the pooled fund.
        civil: Paid by the civil servants' subsidy.
        enterprise: Paid by the enterprise supplement.
        serious: Paid by the residents' serious-illness insurance.
        large: Paid by the employees' large-amount subsidy.
        assistance: Paid by medical assistance.
        person: Borne by the person.
        account: Of that, from a personal account.
        hospital: Borne by the hospital.
    """

    total: IntArray
    own: IntArray
    over: IntArray
    first: IntArray
    scope: IntArray
    deductible: IntArray
    ratio: IntArray
    pooled: IntArray
    civil: IntArray
    enterprise: IntArray
    serious: IntArray
    large: IntArray
    assistance: IntArray
    person: IntArray
    account: IntArray
    hospital: IntArray

    @property
    def funds(self) -> IntArray:
        """Paid by all funds together, shape (visits,)."""
        return self.pooled + self.civil + self.enterprise + self.serious + self.large + self.assistance

    @property
    def cash(self) -> IntArray:
        """Paid by the person in cash, shape (visits,)."""
        return self.person - self.account


def settle(rng: np.random.Generator, insured: Insured, visits: Visits, lines: Lines) -> Money:
    """Settle the visits.

    Args:
        rng: Source of the draws; for synthetic data only.
        insured: The persons.
        visits: Theirs.
        lines: Of the visits.

    Guarantees:
        The identities above, exactly; every amount is >= 0; the pooled fund pays at most what lies
        inside the scope above the deductible.
    """
    own, over, first, scope = (
        lines.by_visit(values, visits.count) for values in (lines.own, lines.over, lines.first, lines.scope)
    )
    total = own + over + first + scope
    deductible, ratio = _terms(insured, visits, scope)
    pooled = (scope - deductible) * ratio // SHARE_UNIT
    extra = _supplements(insured, visits, left=scope - pooled)
    funds = pooled + sum(extra.values())
    hospital_pays = rng.random(visits.count) < _HOSPITAL_PAYS
    hospital = np.where(hospital_pays, (total - funds) * _HOSPITAL_SHARE // SHARE_UNIT, 0)
    person = total - funds - hospital
    return Money(
        total=total,
        own=own,
        over=over,
        first=first,
        scope=scope,
        deductible=deductible,
        ratio=ratio,
        pooled=pooled,
        **extra,
        person=person,
        account=_from_account(rng, insured, visits, person),
        hospital=hospital,
    )


def _terms(insured: Insured, visits: Visits, scope: IntArray) -> tuple[IntArray, IntArray]:
    """Deductible in fen and the pooled fund's share in ten-thousandths."""
    employee = insured.cohort.employee[visits.owner].astype(np.int64)
    level = institutions().level[visits.institution]
    by_level = np.array([world.FUND_RATIO["resident"], world.FUND_RATIO["employee"]])
    at_stay = np.rint(SHARE_UNIT * by_level[employee, np.maximum(level, 1) - 1]).astype(np.int64)
    at_stay += _STAY_MORE
    at_visit = _VISIT_SHARE[employee] + _CHRONIC_MORE[employee] * (visits.kind == CHRONIC)
    at_visit = np.where(visits.kind == PHARMACY, 0, at_visit)
    ratio = np.where(visits.is_stay, at_stay, at_visit)
    ratio = np.maximum(0, ratio - _AWAY_LESS * (visits.province != visits.insured_province))
    fixed = np.rint(100 * np.array(world.DEDUCTIBLE)).astype(np.int64)[np.maximum(level, 1) - 1]
    return np.where(visits.is_stay, np.minimum(fixed, scope), 0), ratio


def _supplements(insured: Insured, visits: Visits, *, left: IntArray) -> dict[str, IntArray]:
    """What other funds pay of in-scope cost that the pooled fund leaves, one after another."""
    kind, employee = insured.person_type[visits.owner], insured.cohort.employee[visits.owner]
    enterprise = (kind == ACTIVE) & (insured.cohort.frailty[visits.owner] % 1 < _ENTERPRISES)
    shares = {
        "civil": np.where((kind == CIVIL) | (kind == CIVIL + RETIRED), _CIVIL_SHARE, 0),
        "enterprise": np.where(enterprise & visits.is_stay, _ENTERPRISE_SHARE, 0),
        "serious": np.where(~employee, _SERIOUS_SHARE, 0),
        "large": np.where(employee & visits.is_stay, _LARGE_SHARE, 0),
        "assistance": np.where(insured.poor[visits.owner], _POOR_SHARE, 0),
    }
    floors = {"serious": _SERIOUS_FROM, "large": _LARGE_FROM}
    paid = {}
    for name, share in shares.items():
        paid[name] = np.maximum(0, left - floors.get(name, 0)) * share // SHARE_UNIT
        left = left - paid[name]
    return paid


def _from_account(rng: np.random.Generator, insured: Insured, visits: Visits, person: IntArray) -> IntArray:
    """Employees pay from their accounts, sometimes all of it; a few residents from a relative's."""
    part = (person * rng.random(visits.count)).astype(np.int64)
    whole = rng.random(visits.count) < np.where(visits.is_stay, _ACCOUNT_AT_STAY, _ACCOUNT_WHOLE)
    shared = rng.random(visits.count) < _FAMILY_ACCOUNT
    mine = np.where(whole, person, part)
    return np.where(insured.cohort.employee[visits.owner] | shared, mine, 0)
