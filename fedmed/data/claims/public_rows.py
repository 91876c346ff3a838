"""Rows that belong to no visit: persons, assessments, institutions, the funds' months, hospitals' labels."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fedmed.data.claims.arrow_columns import coded, table, yuan
from fedmed.data.claims.calendar import dates, days_of, month_names
from fedmed.data.claims.fraud import Fraud
from fedmed.data.claims.institutions import CITIES, institutions
from fedmed.data.claims.persons import NEVER, PERSON_TYPES, Enrolments, Insured
from fedmed.data.synthetic_parameters import CONDITIONS, PROVINCES
from fedmed.types import FloatArray, IntArray

_STROKE = [c.name for c in CONDITIONS].index("stroke")
_CARE_FROM_AGE = 60
_CARE_BASE, _CARE_DECADE, _CARE_STROKE, _CARE_FRAILTY = -3.7, 0.95, 1.1, 0.4
_CARE_PARTS = (("adl", 10, 10), ("cog", 4, 4), ("sense", 3, 4))
_CARE_WEIGHTS = (0.7, 0.2, 0.1)
_CARE_GRADES = np.array([0.25, 0.42, 0.58, 0.74, 0.90])
"""Weighted share of points below which need is of grade 5, 4, 3, 2 and 1."""

# Contributions in yuan a head and year where prices are average, and the balance in months of them.
_INCOME = (1_320, 3_750)
_INCOME_GROWTH, _FIRST_BALANCE_MONTHS = 0.04, 6
# Residents pay for the year at its turn, employees month by month.
_RESIDENT_MONTHS = np.array([5.0, 2.0, 1.0, 0.5, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.6])
"""Twelfths of the year's contribution in each month."""


def person_rows(insured: Insured, periods: Enrolments) -> pa.Table:
    """Rows of ``psn_insu``, one a period of insurance.

    Args:
        insured: Persons of one chunk.
        periods: Periods to write, for instance those that one node knows of.
    """
    owner, ends = periods.owner, periods.ends
    died = (insured.dies[owner] < NEVER) & (ends == insured.dies[owner])
    ended = ends < NEVER
    return table(
        "psn_insu",
        {
            "psn_no": coded(owner, insured.names),
            "gend": coded(np.where(insured.cohort.male[owner], 0, 1), ["1", "2"]),
            "brdy": month_names(insured.born[owner]),
            "psn_type": coded(insured.person_type[owner], PERSON_TYPES),
            "insutype": coded(insured.cohort.employee[owner].astype(np.int64), ["390", "310"]),
            "insu_admdvs": coded(periods.city, [code for _, code in CITIES]),
            "psn_insu_stas": coded(ended.astype(np.int64), ["1", "3"]),
            "begn_ym": month_names(periods.begins),
            "end_ym": month_names(np.where(ended, ends, 0), empty=~ended),
            "die_flag": coded(died.astype(np.int64), ["0", "1"]),
        },
    )


def care_rows(rng: np.random.Generator, insured: Insured, *, months: int) -> tuple[IntArray, pa.Table]:
    """Assessments for long-term care: each assessed person once.

    Args:
        rng: Source of the draws; for synthetic data only.
        insured: Persons of one chunk.
        months: Length of the window.

    Returns:
        The person of each row, and the rows of ``ltc_assess``; need grows with age, stroke and frailty.

    Guarantees:
        Items sum to their scores; nobody is assessed after death or before being insured.
    """
    cohort = insured.cohort
    logit = _CARE_BASE + _CARE_DECADE * (cohort.age - 75) / 10 + _CARE_STROKE * cohort.conditions[:, _STROKE]
    logit = logit + _CARE_FRAILTY * cohort.frailty
    asked = (cohort.age >= _CARE_FROM_AGE) & (rng.random(cohort.persons) < 1 / (1 + np.exp(-logit)))
    first = np.maximum(0, insured.begins)
    last = np.minimum(months - 1, np.minimum(insured.ends, insured.moves))
    owner = np.flatnonzero(asked & (first <= last))
    month = rng.integers(first[owner], last[owner] + 1)
    starts = np.array([days_of(k) for k in range(months)])
    need = rng.beta(1.6 + 0.8 * cohort.conditions[owner, _STROKE], 1.4)
    columns: dict[str, pa.Array] = {
        "psn_no": coded(owner, insured.names),
        "assess_date": dates(starts[month] + rng.integers(0, 28, owner.size)),
    }
    return owner, table("ltc_assess", columns | _care_scores(rng, need))


def _care_scores(rng: np.random.Generator, need: FloatArray) -> dict[str, pa.Array]:
    """Items, sums and grade for persons of whom ``need`` in [0, 1] says how much help they want."""
    columns: dict[str, pa.Array] = {}
    share = np.zeros(need.size)
    for (part, items, most), weight in zip(_CARE_PARTS, _CARE_WEIGHTS, strict=True):
        noisy = 1 - need[:, None] + 0.15 * rng.standard_normal((need.size, items))
        points = np.clip(np.rint(most * noisy), 0, most).astype(np.int64)
        columns |= {f"{part}_{k + 1}": pa.array(points[:, k]) for k in range(items)}
        columns[f"{part}_score"] = pa.array(points.sum(axis=1))
        share += weight * points.sum(axis=1) / (items * most)
    grade = len(_CARE_GRADES) - np.searchsorted(_CARE_GRADES, share, side="right")
    return columns | {"ltc_grade": pa.array(grade)}


def institution_rows() -> pa.Table:
    """Rows of ``medins``: the whole directory, the same at every node, since persons travel."""
    where = institutions()
    city = [code for _, code in CITIES]
    silent = [number for number, (p, code) in enumerate(CITIES) if PROVINCES[p].city_without_level == code]
    pharmacy = where.level == 0
    return table(
        "medins",
        {
            "fixmedins_code": where.names,
            "fixmedins_type": coded(pharmacy.astype(np.int64), ["H", "P"]),
            "hosp_lv": coded(
                np.maximum(where.level, 1) - 1, ["1", "2", "3"], empty=pharmacy | np.isin(where.city, silent)
            ),
            "fix_blng_admdvs": coded(where.city, city),
            "beds": pa.array(where.beds, mask=pharmacy),
            "own_type": coded(where.private.astype(np.int64), ["1", "2"]),
        },
    )


def hospital_labels(province: int) -> pa.Table:
    """Rows of ``label_fraud`` for the fraudulent hospitals of a province; their claims have their own."""
    where = institutions()
    here = np.flatnonzero((where.province == province) & (where.fraud > 0))
    return table(
        "label_fraud",
        {
            "setl_id": pa.nulls(here.size, pa.string()),
            "fixmedins_code": coded(here, where.names),
            "fraud_type": coded(where.fraud[here] - 1, [kind.code for kind in Fraud]),
            "injected": coded(np.zeros(here.size, dtype=np.int64), ["1"]),
        },
    )


def fund_rows_of_province(
    province: int, *, insured: IntArray, expend: IntArray, visits: IntArray, admissions: IntArray
) -> pa.Table:
    """Rows of ``fund_month`` of one province.

    Args:
        province: Its index.
        insured: Persons by city, scheme and month, shape (cities, 2, months).
        expend: Fen that the funds paid, the same shape.
        visits: Visits that are no stays, the same shape.
        admissions: Stays, the same shape.

    Returns:
        One row for each city of the province, month and scheme; the balance is the sum of what came in
        and went out since a first one of some months' income.
    """
    months = insured.shape[2]
    city = np.array([k for k, (p, _) in enumerate(CITIES) if p == province])
    income = _income(province, insured[city], months)
    first = income[:, :, :12].sum(axis=2, keepdims=True) * _FIRST_BALANCE_MONTHS // 12
    balance = first + np.cumsum(income - expend[city], axis=2)
    place, scheme, month = (axis.ravel() for axis in np.indices((city.size, 2, months)))
    return table(
        "fund_month",
        {
            "admdvs": coded(city[place], [code for _, code in CITIES]),
            "ym": month_names(month),
            "insutype": coded(scheme, ["390", "310"]),
            "income": yuan(income.ravel()),
            "expend": yuan(expend[city].ravel()),
            "psn_cnt": pa.array(insured[city].ravel()),
            "visits": pa.array(visits[city].ravel()),
            "admissions": pa.array(admissions[city].ravel()),
            "balance": yuan(balance.ravel()),
        },
    )


def _income(province: int, insured: IntArray, months: int) -> IntArray:
    """Contributions in fen, shape (cities, 2, months)."""
    month = np.arange(months)
    season = np.stack([_RESIDENT_MONTHS[month % 12], np.ones(months)]) / 12
    growth = np.exp(_INCOME_GROWTH * (month // 12))
    level = PROVINCES[province].price_level
    a_head = 100 * np.array(_INCOME)[:, None] * level * season * growth
    fen: IntArray = np.rint(insured * a_head).astype(np.int64)
    return fen
