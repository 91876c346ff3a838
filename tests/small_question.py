"""A small statistics study over four nodes, and rows for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fedmed.study import StatisticsStudy, study_from_document
from tests.small_province import DATASET, names

Entry = dict[str, Any]

LEVELS = ("1", "2", "3")
SEXES = ("f", "m")
DECLARED = 60
BY = [{"column": "level", "levels": list(LEVELS)}, {"column": "sex", "levels": list(SEXES)}]
VALUE: Entry = {"column": "cost", "low": 0, "high": 500, "decimals": 2}
STAYS: Entry = {"name": "stays", "kind": "count", "unit": "rows", "by": BY}
COST: Entry = {"name": "cost", "kind": "sum", "value": VALUE, "by": BY}


def small_question(nodes: int = 4, *, statistics: Sequence[Entry] = (), **changes: Any) -> StatisticsStudy:
    """Stays and cost by level and sex, or other statistics; ``section__key=value`` changes one key."""
    document: dict[str, Any] = {
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
            "max_rows_per_person": 3,
            "declared_persons": dict.fromkeys(names(nodes), DECLARED),
        },
        "privacy": {"protection": "exact"},
        "aggregation": {"scheme": "plain", "spare_attempts": 1},
        "statistics": list(statistics) or [STAYS, COST],
    }
    for name, value in changes.items():
        section, _, key = name.partition("__")
        document.setdefault(section, {})[key] = value
        if name == "privacy__epsilon":
            document["privacy"].pop("protection", None)
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
