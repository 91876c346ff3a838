"""Numbers of the synthetic world: provinces, conditions, use of care, money, codes.

They follow the published figures of Chinese basic medical insurance (national bulletins 2022-2024, the
2020 census) as far as such figures exist; the rest was tuned by simulation until the generated tables
reached them. The tests compare the tables with the figures themselves, which this module does not read.

Money is in yuan; log scales are natural. Region codes are the six-digit ``admdvs`` codes.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from fedmed.types import FloatArray

WORLD_SEED = 20_240_101
"""Fixes the codes' effects; part of the world, never of a run."""

YEAR = 2023
"""Year of the inputs; the outcome is the cost of the year after."""

LABEL_THRESHOLD = 5_000.0
"""Next-year cost in yuan that about one insured person in ten reaches; a public round number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Province:
    """One province: who is insured, how care is used, priced and coded.

    Attributes:
        key: Node key, lower-case pinyin.
        chinese_name: Name for display.
        demo_persons: Persons in the demonstration of 80,000; fixes the share of any total.
        age_bands: Share at ages 0-14, 15-59, 60-64, 65 and over (2020 census, rounded).
        employee_working: Share in the employee scheme at ages 15-59.
        employee_retired: The same from 60 on.
        price_level: Price of a stay relative to the national mean.
        level_shares: Shares of stays in hospitals of level 1, 2 and 3.
        visit_shift: Added to the log of the mean number of outpatient visits.
        stay_shift: Added to the log of the mean number of stays.
        away: Share of stays in another province.
        condition_shifts: Added to the logit of a condition, by name.
        coded: Share of true diagnoses that are coded.
        unspecified: Share of codes recorded only as the head of their family of four.
        old_version: Share of persons coded under version 1.0 of the diagnosis codes.
        missing: Share of values missing in the columns that may be empty.
        cities: Region codes of the insuring cities or districts.
        city_without_level: The city that does not report hospital levels, if any.
    """

    key: str
    chinese_name: str
    demo_persons: int
    age_bands: tuple[float, float, float, float]
    employee_working: float
    employee_retired: float
    price_level: float
    level_shares: tuple[float, float, float]
    visit_shift: float
    stay_shift: float
    away: float
    condition_shifts: tuple[tuple[str, float], ...]
    coded: float
    unspecified: float
    old_version: float
    missing: float
    cities: tuple[str, ...]
    city_without_level: str | None = None


PROVINCES: tuple[Province, ...] = (
    Province(
        key="shanghai",
        chinese_name="上海",
        demo_persons=13_400,
        age_bands=(0.098, 0.668, 0.071, 0.163),
        employee_working=0.86,
        employee_retired=0.80,
        price_level=1.35,
        level_shares=(0.10, 0.25, 0.65),
        visit_shift=0.35,
        stay_shift=-0.20,
        away=0.015,
        condition_shifts=(("diabetes", 0.15), ("tumour", 0.20), ("copd", -0.30)),
        coded=0.92,
        unspecified=0.0,
        old_version=0.0,
        missing=0.01,
        cities=("310101", "310104", "310106", "310112", "310115"),
    ),
    Province(
        key="jiangsu",
        chinese_name="江苏",
        demo_persons=26_600,
        age_bands=(0.152, 0.630, 0.056, 0.162),
        employee_working=0.55,
        employee_retired=0.35,
        price_level=1.05,
        level_shares=(0.20, 0.35, 0.45),
        visit_shift=0.05,
        stay_shift=0.0,
        away=0.04,
        condition_shifts=(("hypertension", 0.15),),
        coded=0.85,
        unspecified=0.0,
        old_version=0.0,
        missing=0.03,
        cities=("320100", "320200", "320400", "320500", "320600"),
    ),
    Province(
        key="zhejiang",
        chinese_name="浙江",
        demo_persons=20_000,
        age_bands=(0.135, 0.678, 0.054, 0.133),
        employee_working=0.60,
        employee_retired=0.35,
        price_level=1.10,
        level_shares=(0.22, 0.36, 0.42),
        visit_shift=0.25,
        stay_shift=-0.05,
        away=0.035,
        condition_shifts=(("ckd", 0.10),),
        coded=0.88,
        unspecified=0.0,
        old_version=0.0,
        missing=0.02,
        cities=("330100", "330200", "330300", "330400", "330500"),
    ),
    Province(
        key="anhui",
        chinese_name="安徽",
        demo_persons=20_000,
        age_bands=(0.192, 0.620, 0.038, 0.150),
        employee_working=0.25,
        employee_retired=0.14,
        price_level=0.75,
        level_shares=(0.30, 0.42, 0.28),
        visit_shift=-0.30,
        stay_shift=0.15,
        away=0.10,
        condition_shifts=(("copd", 0.30), ("stroke", 0.30)),
        coded=0.70,
        unspecified=0.15,
        old_version=0.30,
        missing=0.08,
        cities=("340100", "340200", "340500", "341100", "341200"),
        city_without_level="341100",
    ),
)

OLDEST_AGE = 89
"""Ages above 89 are top-coded."""
MALE_SHARE = 0.51


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One chronic condition: its logistic model and what it adds to use and cost.

    Attributes:
        name: The column is ``cond_<name>``.
        intercept: Logit at age 50.
        decade: Added to the logit for every ten years of age.
        male: Added for men.
        follows: Whether hypertension and diabetes raise it.
        visits: Added to the log of the mean number of visits.
        stays: Added to the log of the mean number of stays.
        stay_cost: Added to the log of the cost of a stay.
    """

    name: str
    intercept: float
    decade: float
    male: float
    follows: bool = False
    visits: float
    stays: float
    stay_cost: float


def _condition(name: str, logit: tuple[float, float, float], use: tuple[float, float, float]) -> Condition:
    """Name the numbers of one line of the table below."""
    return Condition(
        name=name,
        intercept=logit[0],
        decade=logit[1],
        male=logit[2],
        follows=name in ("chd", "stroke", "ckd"),
        visits=use[0],
        stays=use[1],
        stay_cost=use[2],
    )


CONDITIONS: tuple[Condition, ...] = (
    _condition("hypertension", (-1.55, 0.75, 0.05), (0.35, 0.15, 0.00)),
    _condition("diabetes", (-2.45, 0.55, 0.10), (0.45, 0.25, 0.05)),
    _condition("chd", (-3.60, 0.75, 0.15), (0.35, 0.55, 0.25)),
    _condition("stroke", (-4.20, 0.75, 0.20), (0.30, 0.65, 0.20)),
    _condition("copd", (-3.50, 0.60, 0.50), (0.30, 0.60, 0.10)),
    _condition("ckd", (-3.20, 0.35, -0.10), (0.40, 0.60, 0.15)),
    _condition("tumour", (-4.60, 0.50, 0.00), (0.60, 1.30, 0.35)),
    _condition("depression", (-3.40, 0.05, -0.50), (0.40, 0.25, 0.05)),
    _condition("lung", (-4.80, 0.40, 0.30), (0.20, 0.50, 0.10)),
)
CONDITION_FRAILTY = 0.55
CONDITION_MINOR = -2.5
AFTER_HYPERTENSION, AFTER_DIABETES = 0.6, 0.5

# Use of care: counts are Poisson with a gamma-distributed mean (shape below, mean 1).
VISIT_SHAPE, STAY_SHAPE = 1.6, 1.2
VISIT_BASE = {"employee": 1.11, "resident": 0.30}
VISIT_AGE, VISIT_FRAILTY = 0.012, 0.45
STAY_BASE = {"employee": -2.29, "resident": -2.49}
STAY_AGE, STAY_FRAILTY, STAY_UNDER_SIX = 0.022, 0.35, 0.8
MOST_VISITS, MOST_STAYS = 300, 24

# Money, log-normal a visit and a stay.
VISIT_COST = {"employee": 5.15, "resident": 4.60}
VISIT_COST_SD = 0.95
STAY_COST = (8.312, 8.622, 9.130)
STAY_COST_SCHEME = {"employee": 0.16, "resident": -0.10}
STAY_COST_BASE, STAY_COST_SD, STAY_COST_FRAILTY = -0.50, 0.80, 0.10
STAY_DAYS = (12.6, 9.6, 7.7)
STAY_DAYS_SHAPE = 2.0

# What the fund pays: of in-scope stay cost above the deductible, by level and scheme; of a visit's cost.
IN_SCOPE = 0.88
DEDUCTIBLE = (200.0, 400.0, 800.0)
FUND_RATIO = {"employee": (0.894, 0.874, 0.835), "resident": (0.808, 0.724, 0.632)}
FUND_AWAY = -0.10
FUND_VISIT = {"employee": 0.55, "resident": 0.42}

# Diagnosis and drug codes: popularity falls like a power law of the rank.
CODES = 400
CODE_MEAN_COUNT, CODE_RANK_SHIFT, CODE_EXPONENT = 4.0, 3.0, 0.6
CODE_EFFECT_SHARE, CODE_EFFECT_SD = 0.15, 0.8
CODE_FAMILY = 4
"""Siblings share their first four digits; coders who stop there record the family's head."""


@cache
def code_popularity() -> FloatArray:
    """Chance that a person truly has each code, shape (CODES,), falling with the rank."""
    falling = (np.arange(1, CODES + 1) + CODE_RANK_SHIFT) ** -CODE_EXPONENT
    popularity: FloatArray = CODE_MEAN_COUNT * falling / falling.sum()
    popularity.setflags(write=False)
    return popularity


@cache
def code_effects() -> FloatArray:
    """What each code adds to log cost, shape (CODES,); zero for most, fixed by the world's seed."""
    rng = np.random.Generator(np.random.PCG64(WORLD_SEED))
    chosen = rng.permutation(CODES)[: round(CODES * CODE_EFFECT_SHARE)]
    effects = np.zeros(CODES)
    effects[chosen] = rng.normal(0.0, CODE_EFFECT_SD, chosen.size)
    effects.setflags(write=False)
    return effects


@cache
def code_effect_variance() -> float:
    """Variance of the codes' sum of effects on log cost between persons."""
    popularity = code_popularity()
    return float((popularity * (1 - popularity) * code_effects() ** 2).sum())


def residual_sd(total_sd: float) -> float:
    """What the codes leave of a cost's spread on the log scale: the published spread includes theirs."""
    return math.sqrt(total_sd**2 - code_effect_variance())


@cache
def code_log_shift() -> float:
    """Added to log cost so that codes and residual have the mean of the published log-normal."""
    mean_factor = np.log1p(code_popularity() * np.expm1(code_effects())).sum()
    return float(code_effect_variance() / 2 - mean_factor)


def vocabulary() -> tuple[str, ...]:
    """Names of the codes, in the order of their numbers: family, then sibling."""
    return tuple(f"F{k // CODE_FAMILY:03d}.{k % CODE_FAMILY}" for k in range(CODES))


def vocabulary_digest() -> str:
    """SHA-256 of the vocabulary, which names it in the tables' metadata."""
    return hashlib.sha256("\n".join(vocabulary()).encode()).hexdigest()
