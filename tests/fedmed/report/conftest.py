"""Invented results for the report's tests: plausible figures, made by arithmetic, measured by nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fedmed.report.result import Result

PROVINCES = (
    ("shanghai", "上海", "Shanghai", 13_400),
    ("jiangsu", "江苏", "Jiangsu", 26_600),
    ("zhejiang", "浙江", "Zhejiang", 20_000),
    ("anhui", "安徽", "Anhui", 20_000),
)
MEAN_AUC = {"federated": 0.811, "central": 0.812, "alone_private": 0.779, "alone": 0.818, "pooled": 0.828}
MEAN_PRECISION = {
    "federated": 0.391,
    "central": 0.393,
    "alone_private": 0.342,
    "alone": 0.402,
    "pooled": 0.418,
}
MEAN_RATIO = {"federated": 1.02, "central": 1.01, "alone_private": 1.11, "alone": 1.0, "pooled": 1.0}
SPREAD = (-0.012, 0.006, 0.011, -0.005)
RATIO_SPREAD = (-0.17, 0.02, 0.06, 0.22)
DIGEST = "4f0c2a9d" * 8

STUDY: dict[str, Any] = {
    "id": "high-cost-next-year",
    "title": "Next-year high cost in four provinces",
    "digest": DIGEST,
    "purpose": "insurance_finance",
    "owner": "Fund planning group",
}
PRIVACY: dict[str, Any] = {
    "mode": "aggregate",
    "epsilon": 1.0,
    "epsilon_spent": 0.973,
    "epsilon_rdp": 1.042,
    "delta": 1.25e-6,
    "unit": "person",
    "max_nodes_per_person": 1,
    "noise_multiplier": 24.17,
    "dropouts": 1,
    "colluders": 1,
    "fallback_epsilon": 1.432,
    "clip_norm": 4.0,
}


def _nodes(count: int) -> list[dict[str, Any]]:
    """The four provinces, or invented ones."""
    known = [
        {"key": key, "name": name, "name_zh": zh, "declared_persons": persons, "point": at}
        for at, (key, zh, name, persons) in enumerate(PROVINCES[:count], start=1)
    ]
    more = [
        {
            "key": f"p{at}",
            "name": f"Province {at}",
            "name_zh": "某省",
            "declared_persons": 1_000 * at,
            "point": at,
        }
        for at in range(len(known) + 1, count + 1)
    ]
    return known + more


def _calibration(ratio: float) -> list[dict[str, Any]]:
    """Ten bins of risk."""
    risks = [0.008, 0.015, 0.024, 0.036, 0.052, 0.073, 0.102, 0.145, 0.22, 0.43]
    return [
        {"predicted": risk, "observed": min(1.0, round(risk / ratio, 4)), "persons": 300} for risk in risks
    ]


def _arm(name: str, nodes: list[dict[str, Any]]) -> dict[str, Any]:
    """One arm with scores that differ by node."""
    scores = {}
    for at, node in enumerate(nodes):
        ratio = round(MEAN_RATIO[name] + RATIO_SPREAD[at % 4], 3)
        held_out = round(node["declared_persons"] * 0.3)
        scores[node["key"]] = {
            "auc": round(MEAN_AUC[name] + SPREAD[at % 4] + 0.001 * (at // 4 % 3), 4),
            "average_precision": round(MEAN_PRECISION[name] + 2 * SPREAD[at % 4], 4),
            "expected_over_observed": ratio,
            "persons": held_out,
            "positives": held_out // 10,
        }
        if name == "federated":
            scores[node["key"]]["calibration"] = _calibration(ratio)
    return {
        "auc": MEAN_AUC[name],
        "auc_pooled_test": MEAN_AUC[name] + 0.004,
        "average_precision": MEAN_PRECISION[name],
        "expected_over_observed": MEAN_RATIO[name],
        "per_node": scores,
    }


def _aggregation(keys: list[str], aggregations: int) -> dict[str, Any]:
    """How the sums were made, and what they cost."""
    return {
        "scheme": "threshold",
        "nodes": len(keys),
        "threshold": (2 * len(keys) + 3) // 3,
        "aggregations": aggregations,
        "attempts": aggregations,
        "contributors": [keys],
        "lost_nodes": [],
        "values": 431,
        "bytes_up_per_value": 12.4,
        "bytes_down_per_value": 8.9,
        "bytes_total": 48_300_000,
        "parameter_set": "t8",
        "margin_bits": 2.4,
        "payload_bits": 140,
        "fields": 4,
        "field_bits": 35,
    }


def _curve(aggregations: int) -> list[dict[str, Any]]:
    """AUC that rises and levels off."""
    return [
        {
            "aggregation": at,
            "federated": round(0.811 - 0.29 * 0.86**at, 4),
            "central": round(0.812 - 0.29 * 0.855**at, 4),
        }
        for at in range(1, aggregations + 1)
    ]


def result_document(nodes: int = 4, aggregations: int = 40) -> dict[str, Any]:
    """A whole document, to be changed by a test and then validated."""
    roster = _nodes(nodes)
    return {
        "version": 1,
        "study": dict(STUDY),
        "privacy": dict(PRIVACY),
        "aggregation": _aggregation([node["key"] for node in roster], aggregations),
        "arms": {name: _arm(name, roster) for name in MEAN_AUC},
        "curve": _curve(aggregations),
        "phases": [
            {"phase": "ceremony", "seconds": 3.84, "bytes": 11_200_000},
            {"phase": "contribute", "seconds": 21.6, "bytes": 19_800_000},
            {"phase": "open", "seconds": 6.2, "bytes": 17_300_000},
            {"phase": "combine", "seconds": 0.41, "bytes": 0},
            {"phase": "baselines", "seconds": 18.9, "bytes": 0},
        ],
        "seconds": {"total": 52.7, "ceremony": 3.84, "contribute": 21.6, "open": 6.2},
        "nodes": roster,
        "data": {
            "name": "person_year",
            "synthetic": True,
            "outcome": "next-year cost of at least 14,000 yuan",
            "held_out": 0.3,
            "inputs": 430,
        },
        "versions": {"fedmed": "0.1.0", "flwr": "1.41.0", "torch": "2.13.0", "python": "3.11.9"},
        "created": "2026-03-14T09:26:53+08:00",
        "simulation": True,
    }


@pytest.fixture(scope="session")
def make_result() -> Callable[..., Result]:
    """Give a function that makes a result, after ``change`` has altered its document."""

    def make(
        change: Callable[[dict[str, Any]], object] | None = None, *, nodes: int = 4, aggregations: int = 40
    ) -> Result:
        document = result_document(nodes, aggregations)
        if change is not None:
            change(document)
        return Result.model_validate(document)

    return make


@pytest.fixture(scope="session")
def unscored(make_result: Callable[..., Result]) -> Result:
    """A deployment that released no scores."""

    def change(document: dict[str, Any]) -> None:
        document["arms"], document["curve"], document["simulation"] = {}, [], False
        document["phases"].pop()
        del document["data"]["synthetic"]

    return make_result(change)
