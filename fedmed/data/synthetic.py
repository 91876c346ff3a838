"""Seeded synthetic provinces: one ``person_year`` table for each, and the study that fits them.

Nobody's data: every figure comes from `fedmed.data.synthetic_parameters`. A province's table is made in
chunks whose random streams are keyed by (seed, province, chunk), so chunks are independent, can be made in
any order and never need more memory than one of them. The caller writes; nothing here touches a disk.

Diagnoses and codes are those on file at the insurer (chronic-disease register, history), so a person
without a contact in the year keeps them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedmed.data import synthetic_parameters as world
from fedmed.data.synthetic_parameters import CONDITIONS, PROVINCES, Province
from fedmed.types import DatasetSpec, Feature, FeatureKind, FloatArray, IntArray, Label, require

LEAST_PEOPLE, MOST_PEOPLE = 500, 5_000_000
CHUNK_PERSONS = 8_192
_CALIBRATION_SEED = 2**32 - 1
BoolArray = npt.NDArray[np.bool_]

_AGE_EDGES = np.array([0, 15, 60, 65, world.OLDEST_AGE + 1])
_OPTIONAL = ("psn_type", "opt_visits", "act_ipt_days", "hosp_lv")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cohort:
    """Persons of one chunk with what stays true of them from year to year; arrays of shape (n, ...)."""

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
class _Year:
    """Use of care in one year; arrays of shape (n,), money in yuan."""

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


def declared_persons(people: int) -> dict[str, int]:
    """Public number of insured persons at each node, in roster order.

    Args:
        people: Persons in all, 500 to 5,000,000.

    Returns:
        Node key -> persons; the four add up to ``people`` and keep the demonstration's proportions.

    Raises:
        ConfigError: ``people`` lies outside its bounds.
    """
    require(
        LEAST_PEOPLE <= people <= MOST_PEOPLE,
        f"people must be in {LEAST_PEOPLE}..{MOST_PEOPLE}, got {people}; choose a number in that range",
    )
    whole = sum(province.demo_persons for province in PROVINCES)
    ends = [0]
    for province in PROVINCES:
        ends.append(ends[-1] + province.demo_persons)
    cuts = [people * end // whole for end in ends]
    return {p.key: cuts[i + 1] - cuts[i] for i, p in enumerate(PROVINCES)}


def generate(
    *, people: int, seed: int, provinces: Sequence[Province] = PROVINCES
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Yield the provinces' tables in chunks of at most `CHUNK_PERSONS` persons.

    Args:
        people: Persons in all four provinces together, 500 to 5,000,000.
        seed: Names the run, >= 0; the world (effects, prices, habits) is the same for every seed.
        provinces: The provinces to yield; leaving some out does not change the others.

    Yields:
        Pairs of node key and record batch, one row a person, province by province.

    Guarantees:
        The same arguments give the same tables. Memory is that of one chunk. Pseudonyms differ between
        persons, provinces and seeds.

    Raises:
        ConfigError: ``people`` or ``seed`` lies outside its bounds.
    """
    declared = declared_persons(people)
    require(0 <= seed < _CALIBRATION_SEED, f"seed must be in 0..2^32 - 2, got {seed}")
    return _chunks(declared, seed, tuple(provinces))


def _chunks(
    declared: dict[str, int], seed: int, provinces: tuple[Province, ...]
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Make the chunks one by one; apart from `generate`, so that its checks run at once."""
    for province in provinces:
        number = PROVINCES.index(province)
        for chunk, start in enumerate(range(0, declared[province.key], CHUNK_PERSONS)):
            count = min(CHUNK_PERSONS, declared[province.key] - start)
            key = np.random.SeedSequence((world.WORLD_SEED, seed, number, chunk))
            rng = np.random.Generator(np.random.PCG64(key))
            cohort = _draw_cohort(rng, province, count)
            names = _pseudonyms(seed, number, start, count)
            yield province.key, _record_batch(rng, cohort, names)


def province_tables(people: int, seed: int) -> dict[str, pa.Table]:
    """All four tables in memory, by node key; arguments and guarantees as `generate`."""
    batches: dict[str, list[pa.RecordBatch]] = {province.key: [] for province in PROVINCES}
    for key, batch in generate(people=people, seed=seed):
        batches[key].append(batch)
    return {key: pa.Table.from_batches(parts) for key, parts in batches.items()}


def suggested_threshold(share: float = 0.10) -> float:
    """Next-year cost that about ``share`` of the insured reach, rounded to a whole thousand yuan.

    Args:
        share: Share of persons at or above the threshold, in (0, 1).

    Returns:
        Yuan. It comes from a draw of 40,000 persons under a seed that no run can have, so it is
        a public figure; `synthetic_parameters.LABEL_THRESHOLD` keeps the one for a tenth.
    """
    require(0 < share < 1, f"share must be in (0, 1), got {share}")
    drawn = _chunks(declared_persons(40_000), _CALIBRATION_SEED, PROVINCES)
    parts = [batch.column("next_year_cost").to_numpy() for _, batch in drawn]
    return max(1_000.0, round(float(np.quantile(np.concatenate(parts), 1 - share)), -3))


def dataset_spec() -> DatasetSpec:
    """The study of the demonstration: next year's high cost from this year's record.

    Returns:
        Features with public bounds in yuan, years and counts, the codes last; the outcome is
        ``next_year_cost`` at or above `synthetic_parameters.LABEL_THRESHOLD`. Columns that are nearly
        constant at one end of their range (days and cost of stays: five in six persons have none) are
        left out: they lengthen every person's gradient, which costs clipping or noise, and add no AUC.
    """
    return DatasetSpec(
        name="person_year",
        person="psn_no",
        label=Label(column="next_year_cost", at_least=world.LABEL_THRESHOLD),
        features=(
            _number("age", 0, 90),
            _category("gend", "1"),
            _category("insutype", "310"),
            _category("psn_type", "1101", "1201", "1402", "1403", "1501"),
            *(_category(f"cond_{condition.name}", "1") for condition in CONDITIONS),
            _number("opt_visits", 0, 100, log=True),
            _number("opt_medfee", 0, 50_000, log=True),
            _number("medfee_sumamt", 0, 200_000, log=True),
            _category("hosp_lv", "1", "2", "3"),
            _category("out_setl_flag", "1"),
            Feature(name="codes", kind=FeatureKind.CODES, vocabulary_size=world.CODES),
        ),
    )


def _number(name: str, low: float, high: float, *, log: bool = False) -> Feature:
    """A number with its public bounds."""
    return Feature(name=name, kind=FeatureKind.NUMBER, low=low, high=high, log=log)


def _category(name: str, *categories: str) -> Feature:
    """A category with its public list; a value left out of the list is the reference."""
    return Feature(name=name, kind=FeatureKind.CATEGORY, categories=categories)


def _draw_cohort(rng: np.random.Generator, province: Province, persons: int) -> _Cohort:
    """Draw persons, their conditions and their codes."""
    bands = np.array(province.age_bands)
    band = rng.choice(4, size=persons, p=bands / bands.sum())
    age = rng.integers(_AGE_EDGES[band], _AGE_EDGES[band + 1])
    male = rng.random(persons) < world.MALE_SHARE
    employee_share = np.array([0.0, province.employee_working, *[province.employee_retired] * 2])
    employee = (rng.random(persons) < employee_share[band]) & (age >= 18)
    frailty = rng.standard_normal(persons)
    owner, code = np.nonzero(rng.random((persons, world.CODES), dtype=np.float32) < world.code_popularity())
    effect = _by_person(owner, world.code_effects()[code], persons)
    return _Cohort(
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


def _draw_year(rng: np.random.Generator, cohort: _Cohort, *, older: int) -> _Year:
    """Draw the visits and stays of one year, ``older`` years after the first."""
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
    visits = _draw_counts(rng, log_visits, shape=world.VISIT_SHAPE, most=world.MOST_VISITS)
    stays = _draw_counts(rng, log_stays, shape=world.STAY_SHAPE, most=world.MOST_STAYS)
    visit_cost = _draw_visit_costs(rng, cohort, visits)
    return _draw_stays(rng, cohort, stays=stays, visits=visits, visit_cost=visit_cost)


def _draw_counts(rng: np.random.Generator, log_mean: FloatArray, *, shape: float, most: int) -> IntArray:
    """Draw Poisson counts with gamma-distributed means (a negative binomial)."""
    mean = np.exp(log_mean) * rng.gamma(shape, 1 / shape, log_mean.size)
    return np.minimum(rng.poisson(np.minimum(mean, most)), most)


def _draw_visit_costs(rng: np.random.Generator, cohort: _Cohort, visits: IntArray) -> FloatArray:
    """Draw each visit's cost and add them up by person, shape (n,), yuan."""
    owner = np.repeat(np.arange(cohort.persons), visits)
    spread = world.residual_sd(world.VISIT_COST_SD) * rng.standard_normal(owner.size)
    cost = np.exp((cohort.by_scheme(world.VISIT_COST) + cohort.log_cost)[owner] + spread)
    return _by_person(owner, cost, cohort.persons)


def _by_person(owner: IntArray, values: npt.NDArray[np.generic], persons: int) -> FloatArray:
    """Add values up by the person that owns them, shape (persons,)."""
    return np.bincount(owner, weights=values, minlength=persons).astype(np.float64)


def _draw_stays(
    rng: np.random.Generator, cohort: _Cohort, *, stays: IntArray, visits: IntArray, visit_cost: FloatArray
) -> _Year:
    """Draw each stay's hospital, days, cost and fund payment, and close the year."""
    n = cohort.persons
    owner = np.repeat(np.arange(n), stays)
    level = rng.choice(3, size=owner.size, p=np.array(cohort.province.level_shares))
    away = rng.random(owner.size) < cohort.province.away
    person_log = (
        world.STAY_COST_BASE
        + cohort.by_scheme(world.STAY_COST_SCHEME)
        + cohort.conditions @ np.array([c.stay_cost for c in CONDITIONS])
        + world.STAY_COST_FRAILTY * cohort.frailty
        + np.log(cohort.province.price_level)
        + cohort.log_cost
    )
    spread = world.residual_sd(world.STAY_COST_SD) * rng.standard_normal(owner.size)
    cost = np.exp(person_log[owner] + np.array(world.STAY_COST)[level] + spread)
    mean_days = np.array(world.STAY_DAYS)[level] / world.STAY_DAYS_SHAPE
    days = np.maximum(1.0, np.round(rng.gamma(world.STAY_DAYS_SHAPE, mean_days)))
    fund = _fund_for_stays(cohort.employee[owner], level=level, away=away, cost=cost)
    top = np.zeros(n, dtype=np.int64)
    np.maximum.at(top, owner, level + 1)
    return _Year(
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


def _record_batch(rng: np.random.Generator, cohort: _Cohort, names: pa.Array) -> pa.RecordBatch:
    """Draw both years of a chunk and lay them out as the insurer records them."""
    year = _draw_year(rng, cohort, older=0)
    following = _draw_year(rng, cohort, older=1)
    province, n = cohort.province, cohort.persons
    city = np.array(province.cities)[rng.integers(len(province.cities), size=n)]
    old_version = rng.random(n) < province.old_version
    coded = cohort.conditions & (rng.random(cohort.conditions.shape) < province.coded)
    columns: dict[str, pa.Array] = {
        "psn_no": names,
        "year": pa.array(np.full(n, world.YEAR, dtype=np.int16)),
        "insu_admdvs": pa.array(city),
        "gend": pa.array(np.where(cohort.male, "1", "2")),
        "age": pa.array(cohort.age.astype(np.int16)),
        "insutype": pa.array(np.where(cohort.employee, "310", "390")),
        "psn_type": pa.array(_person_types(cohort)),
        "code_ver": pa.array(np.where(old_version, "1.0", "2.0")),
    }
    for i, condition in enumerate(CONDITIONS):
        columns[f"cond_{condition.name}"] = pa.array(coded[:, i].astype(np.int8))
    columns |= _use_columns(year)
    columns |= {"codes": _codes(rng, cohort), "next_year_cost": _yuan(following.cost)}
    columns = _lose_values(rng, columns, province, city=city)
    metadata = {"vocabulary_sha256": world.vocabulary_digest(), "synthetic": "true"}
    return pa.RecordBatch.from_pydict(columns, metadata=metadata)


def _use_columns(year: _Year) -> dict[str, pa.Array]:
    """Use of care and money of one year; ``medfee_sumamt`` is what fund and person pay together."""
    total, fund = np.round(year.cost, 2), np.round(year.fund, 2)
    return {
        "opt_visits": pa.array(year.visits.astype(np.int32)),
        "opt_medfee": _yuan(year.visit_cost),
        "ipt_stays": pa.array(year.stays.astype(np.int16)),
        "act_ipt_days": pa.array(year.days.astype(np.int16)),
        "hosp_lv": pa.array(year.level.astype(np.str_)),
        "out_setl_stays": pa.array(year.away.astype(np.int16)),
        "out_setl_flag": pa.array((year.away > 0).astype(np.int8)),
        "ipt_medfee": _yuan(year.stay_cost),
        "inscp_scp_amt": _yuan(world.IN_SCOPE * total),
        "medfee_sumamt": _yuan(total),
        "fund_pay_sumamt": _yuan(fund),
        "psn_part_amt": _yuan(total - fund),
    }


def _yuan(values: FloatArray) -> pa.Array:
    """Money with two decimals."""
    return pa.array(np.round(values, 2))


def _person_types(cohort: _Cohort) -> npt.NDArray[np.str_]:
    """``psn_type`` after scheme and age: active, retired, preschool, pupil, adult resident."""
    age = cohort.age
    employee = np.where(age >= np.where(cohort.male, 60, 55), "1201", "1101")
    resident = np.where(age < 7, "1402", np.where(age < 18, "1403", "1501"))
    return np.where(cohort.employee, employee, resident)


def _codes(rng: np.random.Generator, cohort: _Cohort) -> pa.ListArray:
    """The codes as recorded: some left out, some only as their family's head; sorted, distinct."""
    recorded = rng.random(cohort.code.size) < cohort.province.coded
    head = rng.random(cohort.code.size) < cohort.province.unspecified
    code = np.where(head, cohort.code - cohort.code % world.CODE_FAMILY, cohort.code)
    keys = np.unique(cohort.code_owner[recorded] * world.CODES + code[recorded])
    ends = np.searchsorted(keys, np.arange(cohort.persons + 1) * world.CODES)
    values = pa.array((keys % world.CODES).astype(np.uint16))
    return pa.ListArray.from_arrays(pa.array(ends.astype(np.int32)), values)


def _lose_values(
    rng: np.random.Generator, columns: dict[str, pa.Array], province: Province, *, city: npt.NDArray[np.str_]
) -> dict[str, pa.Array]:
    """Leave out values at random where a province may, and the levels of the city that reports none."""
    kept = dict(columns)
    for name in _OPTIONAL:
        lost = rng.random(city.size) < province.missing
        if name == "hosp_lv" and province.city_without_level is not None:
            lost |= city == province.city_without_level
        column = kept[name]
        kept[name] = pa.array(column.to_numpy(zero_copy_only=False), mask=lost, type=column.type)
    return kept


def _pseudonyms(seed: int, province: int, start: int, count: int) -> pa.Array:
    """Sixteen hexadecimal digits a person; a bijection of (province, index) for every seed."""
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is meant
        z = np.arange(start, start + count, dtype=np.uint64) + np.uint64(province << 48)
        z = (z + np.uint64(seed << 24)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    digits = z.astype(">u8").tobytes().hex().encode()
    return pa.array(np.frombuffer(digits, dtype="S16").astype("U16"))
