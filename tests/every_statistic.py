"""One entry of every kind of statistic over one small table of stays."""

from __future__ import annotations

from tests.small_question import LEVELS, SEXES, Entry

LEVEL: Entry = {"column": "level", "levels": list(LEVELS)}
SEX: Entry = {"column": "sex", "levels": list(SEXES)}
FROM: Entry = {"column": "home", "name": "from", "prefix": 2, "levels": ["32", "33"]}
TO: Entry = {"column": "place", "name": "to", "prefix": 2, "levels": ["32", "33"]}
AGE: Entry = {"column": "born", "name": "age", "bands": [0, 18, 65], "age_at": "2026-01"}
MONTH: Entry = {"column": "day", "name": "month", "first_month": "2025-01", "last_month": "2025-06"}
COST: Entry = {"column": "cost", "low": -100, "high": 500, "decimals": 2}
FUND: Entry = {"column": "fund", "low": 0, "high": 400, "decimals": 2}

EVERY: tuple[Entry, ...] = (
    {"name": "stays", "kind": "count", "unit": "rows", "by": [LEVEL]},
    {"name": "persons", "kind": "count", "unit": "persons", "by": [LEVEL], "weight": 2.0},
    {"name": "money", "kind": "sum", "value": COST, "by": [SEX], "where": [LEVEL]},
    {"name": "mean", "kind": "mean", "value": COST, "by": [LEVEL, SEX]},
    {"name": "variance", "kind": "variance", "value": COST},
    {
        "name": "sizes",
        "kind": "histogram",
        "unit": "rows",
        "bins": {"column": "cost", "edges": [0, 100, 500]},
    },
    {"name": "median", "kind": "quantile", "value": COST, "steps": 12, "probabilities": [0.5], "by": [SEX]},
    {"name": "cross", "kind": "cross_table", "unit": "persons", "by": [LEVEL, SEX]},
    {"name": "ratio", "kind": "ratio", "value": FUND, "denominator": COST, "by": [LEVEL]},
    {
        "name": "rate",
        "kind": "standardised_rate",
        "strata": [AGE, SEX],
        "standard": [2, 2, 5, 5, 1, 2],
        "event": [{"column": "level", "levels": ["3"]}],
        "per": 1000,
    },
    {"name": "flow", "kind": "flow", "unit": "persons", "by": [FROM, TO]},
    {
        "name": "months",
        "kind": "monthly",
        "value": FUND,
        "month": MONTH,
        "warning": {"baseline_months": 4},
    },
)
"""Every kind of `fedmed.study.statistics.StatisticKind`."""

COLUMNS = ("psn_no", "level", "sex", "cost", "fund", "born", "home", "place", "day")
