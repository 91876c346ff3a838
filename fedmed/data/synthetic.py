"""Seeded synthetic provinces: one ``person_year`` table for each, and the study that fits them.

Nobody's data: every figure comes from `fedmed.data.synthetic_parameters`. A province's table is made in
chunks whose random streams are keyed by (seed, province, chunk), so chunks are independent, can be made in
any order and never need more memory than one of them. The caller writes; nothing here touches a disk.

Diagnoses and codes are those on file at the insurer (chronic-disease register, history), so a person
without a contact in the year keeps them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedmed.data import synthetic_parameters as world
from fedmed.data.synthetic_draws import Cohort, Year, draw_cohort, draw_year
from fedmed.data.synthetic_parameters import CONDITIONS, PROVINCES, Province
from fedmed.types import DatasetSpec, Feature, FeatureKind, FloatArray, Label, require

LEAST_PEOPLE, MOST_PEOPLE = 500, 5_000_000
CHUNK_PERSONS = 8_192
_CALIBRATION_SEED = 2**32 - 1

_OPTIONAL = ("psn_type", "opt_visits", "act_ipt_days", "hosp_lv")


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
            cohort = draw_cohort(rng, province, count)
            names = pseudonyms(seed, number, start, count)
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


def _record_batch(rng: np.random.Generator, cohort: Cohort, names: pa.Array) -> pa.RecordBatch:
    """Draw both years of a chunk and lay them out as the insurer records them."""
    year = draw_year(rng, cohort, older=0)
    following = draw_year(rng, cohort, older=1)
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


def _use_columns(year: Year) -> dict[str, pa.Array]:
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


def _person_types(cohort: Cohort) -> npt.NDArray[np.str_]:
    """``psn_type`` after scheme and age: active, retired, preschool, pupil, adult resident."""
    age = cohort.age
    employee = np.where(age >= np.where(cohort.male, 60, 55), "1201", "1101")
    resident = np.where(age < 7, "1402", np.where(age < 18, "1403", "1501"))
    return np.where(cohort.employee, employee, resident)


def _codes(rng: np.random.Generator, cohort: Cohort) -> pa.ListArray:
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


def pseudonyms(seed: int, province: int, start: int, count: int) -> pa.Array:
    """Name persons by sixteen hexadecimal digits each.

    Args:
        seed: Of the run.
        province: Index in `synthetic_parameters.PROVINCES`.
        start: Index of the first person in the province.
        count: Persons, shape of the answer.

    Guarantees:
        For every seed a bijection of (province, index); equal arguments give equal names.
    """
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is meant
        z = np.arange(start, start + count, dtype=np.uint64) + np.uint64(province << 48)
        z = (z + np.uint64(seed << 24)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    digits = z.astype(">u8").tobytes().hex().encode()
    return pa.array(np.frombuffer(digits, dtype="S16").astype("U16"))
