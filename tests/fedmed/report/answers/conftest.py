"""Result documents as the programs write them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest

Change = Callable[[dict[str, Any]], None]
Make = Callable[..., dict[str, Any]]

EXACT: Mapping[str, Any] = {
    "mode": "statistics",
    "unit": "person",
    "exact": True,
    "dropouts": 1,
    "colluders": 1,
    "epsilon": None,
    "epsilon_spent": None,
    "delta": None,
    "fallback_epsilon": None,
}
NOISY: Mapping[str, Any] = {
    **EXACT,
    "exact": False,
    "epsilon": 1.0,
    "epsilon_spent": 0.98,
    "delta": 1e-6,
    "fallback_epsilon": 1.42,
}
COLUMNS: Mapping[str, Any] = {
    "medfee_sumamt": {"en": "Total cost", "zh": "医疗费总额", "unit": "yuan", "codes": {}},
    "hosp_lv": {"en": "Level", "zh": "医院等级", "unit": "", "codes": {"1": "primary", "2": "<second>"}},
}
NODES = ["shanghai", "jiangsu", "zhejiang", "anhui"]


def coefficient(term: str, estimate: float, error: float, *, noise: float | None = None) -> dict[str, Any]:
    line = {
        "term": term,
        "estimate": estimate,
        "std_error": error,
        "statistic": estimate / error,
        "p_value": 0.00001 if abs(estimate) > 3 * error else 0.4,
        "conf_low": estimate - 1.96 * error,
        "conf_high": estimate + 1.96 * error,
    }
    if noise is not None:
        line |= {
            "noise_error": noise,
            "noise_low": estimate - 1.96 * noise,
            "noise_high": estimate + 1.96 * noise,
        }
    return line


def regression_result(*, exact: bool = True) -> dict[str, Any]:
    noise = None if exact else 0.01
    model = {"rows": 19258, "events": 12000, "log_likelihood": -52345.5, "aic": 104699.0, "rounds": 8}
    return {
        "exact": exact,
        "family": "poisson",
        "outcome": "opt_visits",
        "scale": "ratio of means",
        "confidence": 0.95,
        "ties": None,
        "coefficients": [
            coefficient("intercept", 0.1, 0.02, noise=noise),
            coefficient("age", 0.02, 0.001, noise=noise),
            coefficient("gend=2", 0.001, 0.02, noise=noise),
        ],
        "model": model if exact else {"dispersion": 1.0, "rounds": 12, "averaged_rounds": 8},
    }


def survival_result(*, exact: bool = True) -> dict[str, Any]:
    def points(hazard: float) -> list[dict[str, Any]]:
        shares = [(1 - hazard) ** k for k in range(1, 13)]
        return [
            {
                "time": 30.0 * (k + 1),
                "at_risk": 8000.0 * share,
                "events": 100.0,
                "survival": share,
                "low": share - 0.01,
                "high": min(1.0, share + 0.01),
            }
            for k, share in enumerate(shares)
        ]

    return {
        "exact": exact,
        "confidence": 0.95,
        "by": "hosp_lv",
        "noise_std": None if exact else 2.5,
        "curves": [{"group": "3", "points": points(0.02)}, {"group": "2", "points": points(0.01)}],
        "log_rank": {"statistic": 33.3, "degrees": 1, "p_value": 1e-8},
    }


def statistics_result(*, exact: bool = True) -> dict[str, Any]:
    provinces = ["31", "32", "others"]
    pairs = [(a, b) for a in provinces for b in provinces]
    flow = [900.0, 20.0, 0.0, None, 1200.0, 0.0, 0.0, 0.0, 0.0]
    months = ["2024-01", "2024-02", "2024-03", "2024-04", "others"]
    cells = [(a, b) for a in ("I", "J<", "others") for b in ("1", "2", "others")]
    mean = [9000.5, 12000.25, None, 7000.0, 8000.0, None, None, None, None]
    interval = {"std_error": [50.0] * 9, "conf_low": mean, "conf_high": mean}
    persons = {"persons": [40 if value else 0 for value in mean]}
    return {
        "exact": exact,
        "minimum_cell": 11 if exact else None,
        "max_rows_per_person": 20,
        "statistics": [
            {
                "name": "mean_cost",
                "kind": "mean",
                "unit": "medfee_sumamt",
                "decimals": 2,
                "interval": "none" if exact else "noise",
                "levels": {"chapter": ["I", "J<", "others"], "hosp_lv": ["1", "2", "others"]},
                "by": {"chapter": [a for a, _ in cells], "hosp_lv": [b for _, b in cells]},
                "columns": {"estimate": mean, **(persons if exact else interval)},
            },
            {
                "name": "stays",
                "kind": "flow",
                "unit": "rows",
                "decimals": 0,
                "interval": "none",
                "levels": {"home": provinces, "place": provinces},
                "by": {"home": [a for a, _ in pairs], "place": [b for _, b in pairs]},
                "columns": {"estimate": flow},
            },
            {
                "name": "fund",
                "kind": "monthly",
                "unit": "fund_pay_sumamt",
                "decimals": 2,
                "interval": "none",
                "levels": {"month": months},
                "by": {"month": months},
                "columns": {
                    "estimate": [100.0, 110.0, 105.0, 190.0, 0.0],
                    "band_low": [90.0, 90.0, 90.0, 95.0, None],
                    "band_high": [120.0, 120.0, 120.0, 125.0, None],
                    "alarm": [0.0, 0.0, 0.0, 1.0, None],
                },
            },
        ],
    }


RESULTS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "statistics": statistics_result,
    "regression": regression_result,
    "survival": survival_result,
}


@pytest.fixture
def make_document() -> Make:
    def make(kind: str, *, exact: bool = True, change: Change | None = None) -> dict[str, Any]:
        document: dict[str, Any] = {
            "study": {
                "id": "visits",
                "title": "Visits <by> age",
                "kind": kind,
                "purpose": "insurance_finance",
                "owner": "tests",
                "digest": "ab" * 32,
            },
            "columns": COLUMNS,
            "privacy": dict(EXACT if exact else NOISY),
            "aggregation": {
                "scheme": "threshold",
                "nodes": list(NODES),
                "rounds": 8,
                "attempts": 8,
                "contributors": [list(NODES)],
                "lost_nodes": [],
                "values": [20],
                "bytes_total": 1_234_567,
            },
            "seconds": {"total": 3.2},
            "created": "2026-11-22T03:00:00+00:00",
            "simulation": True,
            "result": RESULTS[kind](exact=exact),
        }
        if change is not None:
            change(document)
        return copy.deepcopy(document)

    return make
