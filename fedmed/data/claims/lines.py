"""Fee lines of visits: what was charged, how often, at which price, and how each amount splits.

Amounts are built from below, in whole fen: quantity times price gives a line, the lines of a visit give its
total. Nothing is rounded afterwards, so every identity between lines and settlements holds exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from fedmed.data.claims import catalogue
from fedmed.data.claims.catalogue import CLASS_A, CLASS_C, GROUPS, MATERIAL, WESTERN, items
from fedmed.data.claims.fraud import Fraud
from fedmed.data.claims.institutions import institutions
from fedmed.data.claims.visits import PHARMACY, Visits
from fedmed.data.synthetic_draws import Cohort
from fedmed.data.synthetic_parameters import PROVINCES
from fedmed.types import FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]

SHARE_UNIT = 10_000
"""Shares are whole ten-thousandths, as in the tables."""

# How often each charge category (01 to 14) appears among the lines of a visit, by kind of visit.
_MIX = {
    "visit": (0, 8, 10, 14, 7, 0.3, 0, 4, 40, 4, 10, 2, 3, 1),
    "pharmacy": (0, 0, 0, 0, 0, 0, 0, 5, 62, 8, 25, 0, 0, 0),
    "stay": (5, 4, 8, 17, 12, 1.5, 6, 12, 29, 1, 4, 0, 0, 0.5),
    "operation": (5, 4, 7, 14, 10, 9, 6, 18, 24, 0.5, 2.5, 0, 0, 0.5),
    "hung_bed": (40, 10, 0, 0, 0, 0, 40, 0, 0, 0, 0, 0, 0, 10),
    "tests": (2, 3, 40, 42, 3, 0, 1, 2, 6, 0, 1, 0, 0, 0),
    "resale": (0, 0, 0, 0, 0, 0, 0, 0, 96, 0, 4, 0, 0, 0),
}
_VISIT_MIX, _PHARMACY_MIX, _STAY_MIX, _OPERATION_MIX, _HUNG_MIX, _TESTS_MIX, _RESALE_MIX = range(7)
_TABLE_SIZE = 4_096

_LINES_A_VISIT, _MOST_AT_VISIT = 1.3, 8
_LINES_A_STAY, _LINES_A_NIGHT, _MOST_AT_STAY = 7.0, 0.9, 60
_OWN_DRUGS = 0.5
_LEAST_PRICE, _MOST_UNITS = 10, 400
_OVER_LIMIT, _OVER_SHARE = 0.2, 1_000
_TWICE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Fee lines; arrays of shape (lines,), money in fen.

    Attributes:
        visit: Index of the visit, rising.
        item: Index into the list of items.
        grade: `CLASS_A`, `CLASS_B` or `CLASS_C` as billed.
        units: How many.
        price: Of one.
        amount: ``units`` x ``price``.
        first_share: Part that the person pays first, in units of 1 / `SHARE_UNIT`.
        own: Wholly own cost.
        over: Above the price limit.
        first: First self-payment.
        scope: Inside the policy's scope; the last four add up to ``amount``.
    """

    visit: IntArray
    item: IntArray
    grade: IntArray
    units: IntArray
    price: IntArray
    amount: IntArray
    first_share: IntArray
    own: IntArray
    over: IntArray
    first: IntArray
    scope: IntArray

    def by_visit(self, values: IntArray, visits: int) -> IntArray:
        """Add whole fen up by visit, exactly; shape (visits,)."""
        sums = np.concatenate([[0], np.cumsum(values)])
        ends = np.searchsorted(self.visit, np.arange(visits + 1))
        return np.diff(sums[ends])


def draw_lines(rng: np.random.Generator, cohort: Cohort, visits: Visits, *, operated: BoolArray) -> Lines:
    """Draw the fee lines of all visits.

    Args:
        rng: Source of the draws; for synthetic data only.
        cohort: The persons; their own drugs are charged to them.
        visits: Theirs.
        operated: Shape (visits,), stays with an operation.

    Returns:
        At least one line a visit. A visit's total comes near its intended cost, by the rounding of
        prices to fen.

    Guarantees:
        amount = units x price = own + over + first + scope for every line, exactly; all are >= 0.
    """
    visit = np.repeat(np.arange(visits.count), _line_counts(rng, visits))
    item = _items(rng, cohort, visits, visit=visit, mix=_mixes(visits, operated))
    price, units = _prices(rng, visits, visit=visit, item=item)
    twice = visits.fraud[visit] == Fraud.DUPLICATE_LINES.value
    again = 1 + (twice & (rng.random(visit.size) < _TWICE))
    visit, item, price, units = (np.repeat(column, again) for column in (visit, item, price, units))
    grade = items().grade[item]
    swapped = (visits.fraud[visit] == Fraud.SWAPPED_ITEMS.value) & (grade == CLASS_C)
    grade = np.where(swapped, CLASS_A, grade)
    share = np.where(swapped, 0, items().first_share[item])
    return _split(rng, visit=visit, item=item, grade=grade, units=units, price=price, share=share)


def _line_counts(rng: np.random.Generator, visits: Visits) -> IntArray:
    """Lines before any are billed twice, shape (visits,)."""
    short = np.minimum(1 + rng.poisson(_LINES_A_VISIT, visits.count), _MOST_AT_VISIT)
    mean = _LINES_A_STAY + _LINES_A_NIGHT * visits.nights
    long = np.minimum(2 + rng.poisson(mean), _MOST_AT_STAY)
    return np.where(visits.is_stay, long, short)


@cache
def _groups_by_luck() -> npt.NDArray[np.int64]:
    """Charge category for every mix and every whole part of luck, shape (mixes, table size)."""
    luck = (np.arange(_TABLE_SIZE) + 0.5) / _TABLE_SIZE
    chances = [np.cumsum(mix) / np.sum(mix) for mix in _MIX.values()]
    return np.stack([np.searchsorted(chance, luck, side="right") for chance in chances])


def _mixes(visits: Visits, operated: BoolArray) -> IntArray:
    """Which mix of charge categories each visit has, shape (visits,)."""
    mix = np.where(visits.is_stay, _STAY_MIX, np.where(visits.kind == PHARMACY, _PHARMACY_MIX, _VISIT_MIX))
    mix = np.where(visits.is_stay & operated, _OPERATION_MIX, mix)
    special = {
        Fraud.HUNG_BEDS: _HUNG_MIX,
        Fraud.UNNECESSARY_TESTS: _TESTS_MIX,
        Fraud.DRUG_RESALE: _RESALE_MIX,
    }
    for kind, other in special.items():
        mix = np.where(visits.fraud == kind.value, other, mix)
    return mix


def _items(
    rng: np.random.Generator, cohort: Cohort, visits: Visits, *, visit: IntArray, mix: IntArray
) -> IntArray:
    """Choose an item for every line: common ones mostly, and of drugs often the person's own."""
    luck = rng.integers(_TABLE_SIZE, size=visit.size)
    group = _groups_by_luck()[mix[visit], luck]
    sizes = np.array([g.items for g in GROUPS])
    common = items().first[group] + (sizes[group] * rng.random(visit.size) ** 2).astype(np.int64)
    return _with_own_drugs(rng, cohort, owner=visits.owner[visit], group=group, item=common)


def _with_own_drugs(
    rng: np.random.Generator, cohort: Cohort, *, owner: IntArray, group: IntArray, item: IntArray
) -> IntArray:
    """Exchange half of the western drugs for one that the person takes all the time, if there is any."""
    drug = cohort.code >= catalogue.DIAGNOSIS_CODES
    codes, owners = cohort.code[drug] - catalogue.DIAGNOSIS_CODES, cohort.code_owner[drug]
    ends = np.searchsorted(owners, np.arange(cohort.persons + 1))
    lines = np.flatnonzero((group == WESTERN) & (rng.random(owner.size) < _OWN_DRUGS))
    start, count = ends[owner[lines]], np.diff(ends)[owner[lines]]
    lines, start, count = lines[count > 0], start[count > 0], count[count > 0]
    exchanged = item.copy()
    picked = start + (count * rng.random(lines.size)).astype(np.int64)
    exchanged[lines] = items().first[WESTERN] + codes[picked]
    return exchanged


def _prices(
    rng: np.random.Generator, visits: Visits, *, visit: IntArray, item: IntArray
) -> tuple[IntArray, IntArray]:
    """Price in fen and number of units, so that the visit's lines add up to about its cost."""
    usual = items().price[item]
    weight = rng.standard_exponential(visit.size) * np.sqrt(usual)
    whole = np.add.reduceat(weight, np.flatnonzero(np.diff(visit, prepend=-1))) if visit.size else weight
    wanted = 100 * (visits.cost / whole)[visit] * weight
    level = np.array([p.price_level for p in PROVINCES])[visits.province] * _charges(visits)
    units = np.clip(np.rint(wanted / (100 * usual * level[visit])), 1, _MOST_UNITS)
    price = np.maximum(_LEAST_PRICE, np.rint(wanted / units))
    return price.astype(np.int64), units.astype(np.int64)


def _charges(visits: Visits) -> FloatArray:
    """What the institution charges relative to its province, shape (visits,)."""
    return institutions().price[visits.institution]


def _split(
    rng: np.random.Generator,
    *,
    visit: IntArray,
    item: IntArray,
    grade: IntArray,
    units: IntArray,
    price: IntArray,
    share: IntArray,
) -> Lines:
    """Split each amount: class C is own cost; materials may pass a price limit; class B is paid first."""
    amount = units * price
    limited = (items().group[item] == MATERIAL) & (rng.random(visit.size) < _OVER_LIMIT)
    own = np.where(grade == CLASS_C, amount, 0)
    over = np.where(limited & (grade != CLASS_C), amount * _OVER_SHARE // SHARE_UNIT, 0)
    first = (amount - own - over) * share // SHARE_UNIT
    return Lines(
        visit=visit,
        item=item,
        grade=grade,
        units=units,
        price=price,
        amount=amount,
        first_share=share,
        own=own,
        over=over,
        first=first,
        scope=amount - own - over - first,
    )
