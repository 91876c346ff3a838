"""Visits and stays of one chunk of persons: when, where, of which kind, at what intended cost.

Every choice that decides *that* a claim exists is made here; `lines` and `money` then say what it costs.
Fraud that adds or splits claims is committed here too.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from fedmed.data import synthetic_parameters as world
from fedmed.data.claims import fraud as frauds
from fedmed.data.claims.calendar import SECONDS_A_DAY, day_in_year, days_of, month_of
from fedmed.data.claims.fraud import Fraud
from fedmed.data.claims.institutions import CITIES, FIRST_CITY, choose, institutions
from fedmed.data.claims.persons import AWAY_TO, NEVER, Insured
from fedmed.data.synthetic_draws import draw_counts, log_stay_cost, mean_use
from fedmed.types import FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]

MED_TYPES = ("11", "14", "13", "41", "21", "24", "23", "52")
"""``med_type`` of each kind of visit, by number; the last four are stays."""
ORDINARY, CHRONIC, EMERGENCY, PHARMACY, STAY, EMERGENCY_STAY, REFERRED_STAY, MATERNITY_STAY = range(8)

GROWTH_OF_USE, GROWTH_OF_PRICES = 0.02, 0.025
"""A year, on the log scale."""

_CITIES_A_PROVINCE = len(CITIES) // len(FIRST_CITY)
_OUTPATIENT_TILT = np.array([2.0, 1.2, 0.8])
_AWAY_OUTPATIENT, _AWAY_TERTIARY = 0.25, 0.8
_OTHER_CITY = {False: 0.06, True: 0.12}
_FAVOURITE = 0.7
_PHARMACY, _CHRONIC, _EMERGENCY = 0.2, 0.3, 0.06
_MATERNITY, _EMERGENCY_STAY, _REFERRED = 0.35, 0.10, 0.4
_KIND_COST = np.array([1.0, 1.1, 1.5, 0.75])
_NIGHTS_SD, _NIGHTS_WITH_COST, _MOST_NIGHTS = 0.6, 0.6, 150
_SPLIT_COST = 0.65
# The codes' effects would otherwise make single claims of millions.
_MOST_AT_VISIT, _MOST_AT_STAY = 8_000.0, 250_000.0
_DELAY_HOME, _DELAY_AWAY, _MOST_DELAY = 0.6, 4.0, 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Visits:
    """Visits and stays; arrays of shape (n,), days are counted from the window's first.

    Attributes:
        owner: Person, index into the chunk.
        begin: First day.
        nights: Days from the first to the last; 0 outside stays.
        settled: Day of the settlement.
        second: Second of that day.
        kind: `ORDINARY` to `MATERNITY_STAY`.
        institution: Index into the directory.
        insured_city: Number of the city that pays.
        cost: What the visit is meant to cost, yuan; its lines come near.
        fraud: `Fraud` by value; 0 for honest claims.
    """

    owner: IntArray
    begin: IntArray
    nights: IntArray
    settled: IntArray
    second: IntArray
    kind: IntArray
    institution: IntArray
    insured_city: IntArray
    cost: FloatArray
    fraud: IntArray

    @property
    def count(self) -> int:
        """Number of visits."""
        return int(self.owner.size)

    @property
    def is_stay(self) -> BoolArray:
        """Which ones are stays, shape (n,)."""
        found: BoolArray = self.kind >= STAY
        return found

    @property
    def insured_province(self) -> IntArray:
        """Index of the province that pays, shape (n,)."""
        return self.insured_city // _CITIES_A_PROVINCE

    @property
    def province(self) -> IntArray:
        """Index of the province of care, shape (n,)."""
        return institutions().province[self.institution]

    def take(self, rows: IntArray | BoolArray) -> Visits:
        """Some of the visits, by index or mask."""
        return Visits(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def draw_visits(rng: np.random.Generator, insured: Insured, *, months: int, fraud: bool = True) -> Visits:
    """Draw all visits of a chunk of persons.

    Args:
        rng: Source of the draws; for synthetic data only.
        insured: The persons.
        months: Length of the window, a multiple of 12.
        fraud: Whether any is committed; the persons' own is decided with them.

    Returns:
        The visits; those that the first province pays come first, each part in the order of settlement.

    Guarantees:
        Stays of one person never overlap; nobody but fraud is seen outside months of insurance.
    """
    drafts = [_Draft(rng, insured, year=year) for year in range(months // 12)]
    luck = rng.random(insured.cohort.persons)
    stays = _joined([draft.stays(luck) for draft in drafts])
    stays = _one_after_another(_with_split_stays(rng, stays) if fraud else stays)
    seen = _joined([*(draft.outpatient(luck) for draft in drafts), stays])
    seen = _while_insured(insured, seen, months=months)
    seen = _settled(rng, _with_others_on_the_card(rng, seen) if fraud else seen)
    seen = _with_fraud_at_hospitals(rng, seen) if fraud else seen
    seen = seen.take(seen.settled < days_of(months))
    elsewhere = seen.insured_province != insured.home
    return seen.take(np.lexsort((seen.second, seen.settled, elsewhere)))


class _Draft:
    """One year's visits, before anything is known of the other years."""

    def __init__(self, rng: np.random.Generator, insured: Insured, *, year: int) -> None:
        self._rng, self._insured, self._year = rng, insured, year
        log_visits, log_stays = mean_use(insured.cohort, older=year)
        growth = GROWTH_OF_USE * year
        shape, most = world.VISIT_SHAPE, world.MOST_VISITS
        self._visits = draw_counts(rng, log_visits + growth, shape=shape, most=most)
        self._visits += frauds.RESALE_VISITS * insured.sells_drugs
        shape, most = world.STAY_SHAPE, world.MOST_STAYS
        self._stays = draw_counts(rng, log_stays + growth, shape=shape, most=most)

    def outpatient(self, luck: FloatArray) -> Visits:
        """Visits that are no stays; ``luck`` picks each person's usual institutions, shape (persons,)."""
        rng, cohort = self._rng, self._insured.cohort
        owner = np.repeat(np.arange(cohort.persons), self._visits)
        kind = self._outpatient_kinds(owner)
        resale = self._insured.sells_drugs[owner] & (kind != EMERGENCY)
        shares = np.array(cohort.province.level_shares) * _OUTPATIENT_TILT
        level = np.where(kind == PHARMACY, 0, 1 + rng.choice(3, size=owner.size, p=shares / shares.sum()))
        spread = world.residual_sd(world.VISIT_COST_SD) * rng.standard_normal(owner.size)
        log_cost = (cohort.by_scheme(world.VISIT_COST) + cohort.log_cost)[owner] + spread
        none = np.zeros(owner.size, dtype=np.int64)
        drafts = self._placed(owner, kind=kind, level=level, luck=luck)
        return Visits(
            **drafts,
            nights=none,
            cost=self._in_prices(log_cost, _MOST_AT_VISIT) * _KIND_COST[kind],
            fraud=np.where(resale, Fraud.DRUG_RESALE.value, 0),
        )

    def stays(self, luck: FloatArray) -> Visits:
        """Stays, not yet one after another; ``luck`` as for `outpatient`."""
        rng, cohort = self._rng, self._insured.cohort
        owner = np.repeat(np.arange(cohort.persons), self._stays)
        level = 1 + rng.choice(3, size=owner.size, p=np.array(cohort.province.level_shares))
        drafts = self._placed(owner, kind=self._stay_kinds(owner), level=level, luck=luck)
        level = institutions().level[drafts["institution"]]
        z, own = rng.standard_normal((2, owner.size))
        log_cost = log_stay_cost(cohort)[owner] + np.array(world.STAY_COST)[level - 1]
        log_cost += world.residual_sd(world.STAY_COST_SD) * z
        bend = _NIGHTS_WITH_COST * z + np.sqrt(1 - _NIGHTS_WITH_COST**2) * own
        nights = np.array(world.STAY_DAYS)[level - 1] * np.exp(_NIGHTS_SD * bend - _NIGHTS_SD**2 / 2)
        return Visits(
            **drafts,
            nights=np.clip(np.rint(nights), 0, _MOST_NIGHTS).astype(np.int64),
            cost=self._in_prices(log_cost, _MOST_AT_STAY),
            fraud=np.zeros(owner.size, dtype=np.int64),
        )

    def _in_prices(self, log_cost: FloatArray, most: float) -> FloatArray:
        """Yuan of this year, at most ``most``."""
        cost: FloatArray = np.exp(log_cost + GROWTH_OF_PRICES * self._year)
        return np.minimum(cost, most)

    def _outpatient_kinds(self, owner: IntArray) -> IntArray:
        """Pharmacy, chronic-disease clinic, emergency or ordinary visit."""
        draw = self._rng.random(owner.size)
        cohort = self._insured.cohort
        pharmacy = (draw < _PHARMACY) & cohort.employee[owner]
        draw = self._rng.random(owner.size)
        chronic = (draw < _CHRONIC) & (cohort.conditions.sum(axis=1) > 0)[owner]
        emergency = draw > 1 - _EMERGENCY
        rest = np.where(chronic, CHRONIC, np.where(emergency, EMERGENCY, ORDINARY))
        return np.where(pharmacy, PHARMACY, rest)

    def _stay_kinds(self, owner: IntArray) -> IntArray:
        """Maternity, emergency or ordinary stay; referral is known once the place is."""
        cohort = self._insured.cohort
        age = cohort.age[owner] + self._year
        draw = self._rng.random(owner.size)
        mother = ~cohort.male[owner] & (age >= 20) & (age <= 40) & (draw < _MATERNITY)
        return np.where(mother, MATERNITY_STAY, np.where(draw > 1 - _EMERGENCY_STAY, EMERGENCY_STAY, STAY))

    def _placed(
        self, owner: IntArray, *, kind: IntArray, level: IntArray, luck: FloatArray
    ) -> dict[str, IntArray]:
        """Day, payer, place and kind of visits that are known by owner, kind and level."""
        rng, insured = self._rng, self._insured
        begin = day_in_year(self._year, rng.random(owner.size))
        moved = month_of(begin) > insured.moves[owner]
        payer = np.where(moved, insured.new_city[owner], insured.city[owner])
        stay = int(kind.max(initial=0)) >= STAY
        away_share = insured.cohort.province.away * (1 if stay else _AWAY_OUTPATIENT)
        away = (rng.random(owner.size) < away_share) & (insured.moves[owner] == NEVER)
        city = _city_of_care(rng, insured, payer, away=away, stay=stay)
        tertiary = rng.random(owner.size) < _AWAY_TERTIARY
        level = np.where(away & (level > 0) & tertiary, 3, level)
        usual = rng.random(owner.size) < _FAVOURITE
        usual &= ~insured.sells_drugs[owner]
        here = choose(city, level, np.where(usual, luck[owner], rng.random(owner.size)))
        referred = away & (kind == STAY) & (rng.random(owner.size) < _REFERRED)
        later = np.zeros((2, owner.size), dtype=np.int64)
        return {
            "owner": owner,
            "begin": begin,
            "settled": later[0],
            "second": later[1],
            "kind": np.where(referred, REFERRED_STAY, kind),
            "institution": here,
            "insured_city": payer,
        }


def _city_of_care(
    rng: np.random.Generator, insured: Insured, payer: IntArray, *, away: BoolArray, stay: bool
) -> IntArray:
    """Mostly the payer's city, sometimes another of the province, sometimes another province."""
    n = payer.size
    any_city = rng.integers(_CITIES_A_PROVINCE, size=n)
    home = payer // _CITIES_A_PROVINCE * _CITIES_A_PROVINCE
    other = rng.random(n) < _OTHER_CITY[stay]
    abroad = np.array(FIRST_CITY)[rng.choice(len(FIRST_CITY), size=n, p=AWAY_TO[insured.home])]
    return np.where(away, abroad + any_city // 2, np.where(other, home + any_city, payer))


def _joined(parts: list[Visits]) -> Visits:
    """Several sets of visits as one."""
    return Visits(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Visits)})


def _with_split_stays(rng: np.random.Generator, stays: Visits) -> Visits:
    """Split stays at the hospitals that do so: discharged, and admitted again within three days."""
    at = institutions().fraud[stays.institution] == Fraud.SPLIT_STAYS.value
    split = at & (stays.nights >= 4) & (rng.random(stays.count) < frauds.STAYS_AT_FRAUDULENT)
    half = np.where(split, stays.nights // 2, stays.nights)
    cost = np.where(split, _SPLIT_COST * stays.cost, stays.cost)
    label = np.where(split, Fraud.SPLIT_STAYS.value, stays.fraud)
    again = stays.begin + half + rng.integers(1, 4, stays.count)
    first = replace(stays, nights=half, cost=cost, fraud=label)
    second = replace(first, begin=again, nights=stays.nights - half)
    return _joined([first, second.take(split)])


def _one_after_another(stays: Visits) -> Visits:
    """Move stays to later days until those of one person do not overlap.

    With b the wanted days and s the days that the earlier stays of the person take, the answer is
    s + running maximum of (b - s), person by person.
    """
    stays = stays.take(np.lexsort((stays.begin, stays.owner)))
    taken = stays.nights + 1
    before = np.cumsum(taken) - taken
    is_first = np.diff(stays.owner, prepend=-1) > 0
    before -= np.maximum.accumulate(np.where(is_first, before, 0))
    apart = stays.owner * 100_000  # keeps the running maximum inside one person
    begin = before + np.maximum.accumulate(stays.begin - before + apart) - apart
    return replace(stays, begin=begin)


def _while_insured(insured: Insured, visits: Visits, *, months: int) -> Visits:
    """Keep what lies in months of insurance, and what is claimed for the dead."""
    first, last = month_of(visits.begin), month_of(visits.begin + visits.nights)
    ends = np.where(insured.moves < NEVER, NEVER, insured.ends)[visits.owner]
    inside = (first >= insured.begins[visits.owner]) & (last <= ends) & (last < months)
    dead = (first > insured.dies[visits.owner]) & insured.used_when_dead[visits.owner] & ~visits.is_stay
    label = np.where(dead, Fraud.AFTER_DEATH.value, visits.fraud)
    return replace(visits, fraud=label).take(inside | dead)


def _with_others_on_the_card(rng: np.random.Generator, visits: Visits) -> Visits:
    """Add visits of somebody else on a person's card: the same day, in another city of the province."""
    chosen = ~visits.is_stay & (visits.fraud == 0) & (rng.random(visits.count) < frauds.CARD_VISITS)
    copied = visits.take(chosen)
    where = institutions()
    city = where.city[copied.institution]
    first = city // _CITIES_A_PROVINCE * _CITIES_A_PROVINCE
    other = first + (city - first + rng.integers(1, _CITIES_A_PROVINCE, copied.count)) % _CITIES_A_PROVINCE
    there = choose(other, where.level[copied.institution], rng.random(copied.count))
    label = np.full(copied.count, Fraud.ANOTHERS_CARD.value)
    return _joined([visits, replace(copied, institution=there, fraud=label)])


def _settled(rng: np.random.Generator, visits: Visits) -> Visits:
    """Outpatient visits are settled at once, stays within days, those away from home last."""
    away = visits.province != visits.insured_province
    days = rng.poisson(np.where(away, _DELAY_AWAY, _DELAY_HOME))
    delay = np.where(visits.is_stay, np.minimum(days, _MOST_DELAY), 0)
    second = rng.integers(8 * 3_600, 18 * 3_600, visits.count) % SECONDS_A_DAY
    return replace(visits, settled=visits.begin + visits.nights + delay, second=second)


def _with_fraud_at_hospitals(rng: np.random.Generator, visits: Visits) -> Visits:
    """Label the claims in which a fraudulent hospital commits its kind of fraud."""
    kind = institutions().fraud[visits.institution]
    needs_stay = np.isin(kind, [f.value for f in frauds.OF_STAYS])
    fits = (visits.fraud == 0) & (kind > 0) & (kind != Fraud.SPLIT_STAYS.value)
    fits &= visits.is_stay | ~needs_stay
    share = np.where(needs_stay, frauds.STAYS_AT_FRAUDULENT, frauds.VISITS_AT_FRAUDULENT)
    fits &= rng.random(visits.count) < share
    return replace(visits, fraud=np.where(fits, kind, visits.fraud))
