"""A small statistics study over four nodes, and rows for it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fedmed.study import StatisticsStudy, study_from_document
from tests.small_province import DATASET, names

LEVELS = ("1", "2", "3")
SEXES = ("f", "m")
DECLARED = 60


def small_question(nodes: int = 4, **changes: object) -> StatisticsStudy:
    """Stays and cost by level and sex; ``section__key=value`` changes one key of the study file."""
    document: dict[str, dict[str, object]] = {
        "study": {
            "id": "stays",
            "title": "Stays",
            "kind": "statistics",
            "purpose": "insurance_finance",
            "owner": "tests",
            "expires": "2099-12-31",
        },
        "data": {
            "dataset": DATASET,
            "min_cohort": 1,
            "declared_persons": dict.fromkeys(names(nodes), DECLARED),
        },
        "privacy": {"protection": "exact"},
        "aggregation": {"scheme": "plain"},
        "statistics": {
            "by": [
                {"column": "level", "categories": list(LEVELS)},
                {"column": "sex", "categories": list(SEXES)},
            ],
            "measures": [
                {"name": "stays", "kind": "count"},
                {"name": "cost", "kind": "sum", "column": "cost", "low": 0, "high": 500, "decimals": 2},
            ],
            "max_rows_per_person": 3,
            "spare_attempts": 1,
        },
    }
    for name, value in changes.items():
        section, _, key = name.partition("__")
        document.setdefault(section, {})[key] = value
        if (name, value) == ("privacy__epsilon", value):
            del document["privacy"]["protection"]
    spec = study_from_document(document)
    assert isinstance(spec, StatisticsStudy)
    return spec


def stays(seed: int, *, persons: int = 50, rows: int = 90) -> pa.Table:
    """Rows of one node: some persons have too many, some values do not fit."""
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "psn_no": [f"{seed}-{p}" for p in rng.integers(0, persons, rows)],
            "level": [str(v) for v in rng.integers(1, 5, rows)],
            "sex": [SEXES[v] for v in rng.integers(0, 2, rows)],
            "cost": pa.array([None if v > 580 else round(float(v), 2) for v in rng.uniform(-50, 600, rows)]),
        }
    )
