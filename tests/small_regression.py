"""Small studies that fit models over four nodes, and data that packages ship, cut into provinces."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from fedmed.study import StudySpec, study_from_document

NMES = (
    Path(__file__).resolve().parents[1].parent / "shared" / "data" / "nmes_meps_4regions" / "nmes1988.csv.gz"
)
NMES_TERMS = [
    {"column": "hospital", "low": 0, "high": 8},
    {"column": "health", "levels": ["average", "excellent", "poor"]},
    {"column": "chronic", "low": 0, "high": 8},
    {"column": "gender", "levels": ["female", "male"]},
    {"column": "school", "low": 0, "high": 18},
    {"column": "insurance", "levels": ["no", "yes"]},
]
ROSSI_TERMS = [
    {"column": "fin", "low": 0, "high": 1},
    {"column": "age", "low": 10, "high": 50},
    {"column": "race", "low": 0, "high": 1},
    {"column": "wexp", "low": 0, "high": 1},
    {"column": "mar", "low": 0, "high": 1},
    {"column": "paro", "low": 0, "high": 1},
    {"column": "prio", "low": 0, "high": 20},
]
ROSSI_TIME = {"column": "week", "event": "arrest", "intervals": 52}


def fitting(
    kind: str,
    section: Mapping[str, Any],
    tables: Mapping[str, pa.Table],
    *,
    epsilon: float | None = None,
    scheme: str = "plain",
) -> StudySpec:
    """A study over these tables, which declare as many persons as they have rows; exact without epsilon."""
    privacy: dict[str, object] = {"protection": "exact"} if epsilon is None else {"epsilon": epsilon}
    document = {
        "study": {
            "id": "fit",
            "title": "Fit",
            "kind": kind,
            "purpose": "academic_research",
            "owner": "tests",
            "expires": "2099-12-31",
        },
        "data": {
            "dataset": "survey",
            "min_cohort": 1,
            "declared_persons": {node: max(1, table.num_rows) for node, table in tables.items()},
        },
        "privacy": privacy,
        "aggregation": {"scheme": scheme},
        kind: dict(section),
    }
    return study_from_document(document)


def provinces(frame: pd.DataFrame, by: str | None = None) -> dict[str, pa.Table]:
    """A table a province, each row a person of its own; every fourth row where nothing says the province."""
    named = frame.assign(psn_no=[f"p{i}" for i in range(len(frame))])
    site = named[by] if by else pd.Series([f"node{i % 4 + 1}" for i in range(len(named))], index=named.index)
    return {
        str(key).replace(" ", "_"): pa.Table.from_pandas(part, preserve_index=False)
        for key, part in named.groupby(site)
    }


def nmes() -> pd.DataFrame:
    """The medical expenditure survey of 1988, or a skip."""
    if not NMES.exists():
        pytest.skip("needs nmes1988.csv.gz in ../shared/data/nmes_meps_4regions beside the checkout")
    return pd.read_csv(NMES)


def rossi() -> pd.DataFrame:
    """432 persons with times in weeks, many of them tied; lifelines ships them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lifelines is not yet quiet under this pandas
        from lifelines.datasets import load_rossi

        frame: pd.DataFrame = load_rossi()
    return frame
