"""Draws of the synthetic world: persons with what stays true of them, and their use of care in a year."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmed.data import synthetic_parameters as world
from fedmed.data.synthetic_parameters import CONDITIONS, Province
from fedmed.types import FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]

_AGE_EDGES = np.array([0, 15, 60, 65, world.OLDEST_AGE + 1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """Persons of one chunk with what stays true of them from year to year.

    Attributes:
        province: Where they are insured.
        age: Shape (n,), whole years in the first year.
        male: Shape (n,).
        employee: Shape (n,), insured in the employee scheme.
        frailty: Shape (n,), standard normal; raises conditions, use and cost.
        conditions: Shape (n, conditions), truly present.
        code_owner: Shape (codes in all,), the person of each true code, rising.
        code: Shape (codes in all,), its number.
        log_cost: Shape (n,), what the codes add to the log of every cost.
    """

    province: Province
    age: IntArray
    male: BoolArray
    employee: BoolArray
    frailty: FloatArray
    conditions: BoolArray
    code_owner: IntArray
    code: IntArray
    log_cost: FloatArray

    @property
    def persons(self) -> int:
        """Number of persons."""
        return int(self.age.shape[0])

    def by_scheme(self, values: dict[str, float]) -> FloatArray:
        """Each person's value of a figure that differs between the two schemes, shape (n,)."""
        return np.where(self.employee, values["employee"], values["resident"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Year:
    """Use of care in one year; arrays of shape (n,), money in yuan.

    Attributes:
        visits: Outpatient visits.
        visit_cost: Their cost.
        stays: Inpatient stays.
        stay_cost: Their cost.
        days: Days in hospital.
        level: Highest hospital level of a stay, 1 to 3; 0 without a stay.
        away: Stays in another province.
        fund: What the fund pays of all cost.
    """

    visits: IntArray
    visit_cost: FloatArray
    stays: IntArray
    stay_cost: FloatArray
    days: IntArray
    level: IntArray
    away: IntArray
    fund: FloatArray

    @property
    def cost(self) -> FloatArray:
        """Total cost of the year."""
        return self.visit_cost + self.stay_cost


def draw_cohort(rng: np.random.Generator, province: Province, persons: int) -> Cohort:
    """Draw persons, their conditions and their codes.

    Args:
        rng: Source of the draws; for synthetic data only.
        province: Where they are insured.
        persons: How many.

    Returns:
        The cohort; it depends on the arguments alone.
    """
    bands = np.array(province.age_bands)
    band = rng.choice(4, size=persons, p=bands / bands.sum())
    age = rng.integers(_AGE_EDGES[band], _AGE_EDGES[band + 1])
    male = rng.random(persons) < world.MALE_SHARE
    employee_share = np.array([0.0, province.employee_working, *[province.employee_retired] * 2])
    employee = (rng.random(persons) < employee_share[band]) & (age >= 18)
    frailty = rng.standard_normal(persons)
    owner, code = np.nonzero(rng.random((persons, world.CODES), dtype=np.float32) < world.code_popularity())
    effect = _by_person(owner, world.code_effects()[code], persons)
    return Cohort(
        province=province,
        age=age,
        male=male,
        employee=employee,
        frailty=frailty,
        conditions=_draw_conditions(rng, province, age=age, male=male, frailty=frailty),
        code_owner=owner,
        code=code,
        log_cost=effect + world.code_log_shift(),
    )


def _draw_conditions(
    rng: np.random.Generator, province: Province, *, age: IntArray, male: BoolArray, frailty: FloatArray
) -> BoolArray:
    """Draw the nine conditions in the order of the table: the first two raise those that follow them."""
    shifts = dict(province.condition_shifts)
    common = world.CONDITION_FRAILTY * frailty + world.CONDITION_MINOR * (age < 18)
    has = np.zeros((age.size, len(CONDITIONS)), dtype=np.bool_)
    for i, condition in enumerate(CONDITIONS):
        logit = condition.intercept + condition.decade * (age - 50) / 10 + condition.male * male
        logit = logit + common + shifts.get(condition.name, 0.0)
        if condition.follows:
            logit = logit + world.AFTER_HYPERTENSION * has[:, 0] + world.AFTER_DIABETES * has[:, 1]
        has[:, i] = rng.random(age.size) < 1 / (1 + np.exp(-logit))
    return has


def draw_year(rng: np.random.Generator, cohort: Cohort, *, older: int) -> Year:
    """Draw the visits and stays of one year.

    Args:
        rng: Source of the draws; for synthetic data only.
        cohort: The persons.
        older: Years after the first, >= 0.

    Returns:
        Counts and money; given the cohort, two years are independent.
    """
    log_visits, log_stays = mean_use(cohort, older=older)
    visits = draw_counts(rng, log_visits, shape=world.VISIT_SHAPE, most=world.MOST_VISITS)
    stays = draw_counts(rng, log_stays, shape=world.STAY_SHAPE, most=world.MOST_STAYS)
    visit_cost = _draw_visit_costs(rng, cohort, visits)
    return _draw_stays(rng, cohort, stays=stays, visits=visits, visit_cost=visit_cost)


def mean_use(cohort: Cohort, *, older: int) -> tuple[FloatArray, FloatArray]:
    """Logs of the mean numbers of outpatient visits and of stays in a year, before a person's own luck.

    Args:
        cohort: The persons.
        older: Years after the first, >= 0.

    Returns:
        Two arrays of shape (n,); natural logs of counts a year.
    """
    age = cohort.age + older
    province = cohort.province
    log_visits = (
        cohort.by_scheme(world.VISIT_BASE)
        + world.VISIT_AGE * (age - 45)
        + cohort.conditions @ np.array([c.visits for c in CONDITIONS])
        + world.VISIT_FRAILTY * cohort.frailty
        + province.visit_shift
    )
    log_stays = (
        cohort.by_scheme(world.STAY_BASE)
        + world.STAY_AGE * (age - 45)
        + cohort.conditions @ np.array([c.stays for c in CONDITIONS])
        + world.STAY_FRAILTY * cohort.frailty
        + world.STAY_UNDER_SIX * (age < 6)
        + province.stay_shift
    )
    return log_visits, log_stays


def draw_counts(rng: np.random.Generator, log_mean: FloatArray, *, shape: float, most: int) -> IntArray:
    """Draw Poisson counts with gamma-distributed means (a negative binomial).

    Args:
        rng: Source of the draws; for synthetic data only.
        log_mean: Shape (n,), natural logs of the mean counts.
        shape: Of the gamma distribution with mean 1, > 0; small values spread the counts.
        most: Largest count.

    Returns:
        Counts in 0..``most``, shape (n,).
    """
    mean = np.exp(log_mean) * rng.gamma(shape, 1 / shape, log_mean.size)
    return np.minimum(rng.poisson(np.minimum(mean, most)), most)


def _draw_visit_costs(rng: np.random.Generator, cohort: Cohort, visits: IntArray) -> FloatArray:
    """Draw each visit's cost and add them up by person, shape (n,), yuan."""
    owner = np.repeat(np.arange(cohort.persons), visits)
    spread = world.residual_sd(world.VISIT_COST_SD) * rng.standard_normal(owner.size)
    cost = np.exp((cohort.by_scheme(world.VISIT_COST) + cohort.log_cost)[owner] + spread)
    return _by_person(owner, cost, cohort.persons)


def _by_person(owner: IntArray, values: npt.NDArray[np.generic], persons: int) -> FloatArray:
    """Add values up by the person that owns them, shape (persons,)."""
    return np.bincount(owner, weights=values, minlength=persons).astype(np.float64)


def log_stay_cost(cohort: Cohort) -> FloatArray:
    """Log of a person's usual cost of a stay in yuan, before hospital level and chance, shape (n,)."""
    person_log: FloatArray = (
        world.STAY_COST_BASE
        + cohort.by_scheme(world.STAY_COST_SCHEME)
        + cohort.conditions @ np.array([c.stay_cost for c in CONDITIONS])
        + world.STAY_COST_FRAILTY * cohort.frailty
        + np.log(cohort.province.price_level)
        + cohort.log_cost
    )
    return person_log


def _draw_stays(
    rng: np.random.Generator, cohort: Cohort, *, stays: IntArray, visits: IntArray, visit_cost: FloatArray
) -> Year:
    """Draw each stay's hospital, days, cost and fund payment, and close the year."""
    n = cohort.persons
    owner = np.repeat(np.arange(n), stays)
    level = rng.choice(3, size=owner.size, p=np.array(cohort.province.level_shares))
    away = rng.random(owner.size) < cohort.province.away
    spread = world.residual_sd(world.STAY_COST_SD) * rng.standard_normal(owner.size)
    cost = np.exp(log_stay_cost(cohort)[owner] + np.array(world.STAY_COST)[level] + spread)
    mean_days = np.array(world.STAY_DAYS)[level] / world.STAY_DAYS_SHAPE
    days = np.maximum(1.0, np.round(rng.gamma(world.STAY_DAYS_SHAPE, mean_days)))
    fund = _fund_for_stays(cohort.employee[owner], level=level, away=away, cost=cost)
    top = np.zeros(n, dtype=np.int64)
    np.maximum.at(top, owner, level + 1)
    return Year(
        visits=visits,
        visit_cost=visit_cost,
        stays=stays,
        stay_cost=_by_person(owner, cost, n),
        days=_by_person(owner, days, n).astype(np.int64),
        level=top,
        away=_by_person(owner, away, n).astype(np.int64),
        fund=_by_person(owner, fund, n) + cohort.by_scheme(world.FUND_VISIT) * visit_cost,
    )


def _fund_for_stays(employee: BoolArray, *, level: IntArray, away: BoolArray, cost: FloatArray) -> FloatArray:
    """What the fund pays for each stay, shape (stays,), yuan."""
    ratios = np.array([world.FUND_RATIO["resident"], world.FUND_RATIO["employee"]])
    ratio = ratios[employee.astype(np.int64), level] + world.FUND_AWAY * away
    paid: FloatArray = ratio * np.maximum(0.0, world.IN_SCOPE * cost - np.array(world.DEDUCTIBLE)[level])
    return paid
