"""What an operator is told of thresholds, bounds and levels before a yes."""

from __future__ import annotations

import pyarrow as pa

from fedmed_nodes.column_bounds import bounds_of
from tests.federation import small_study
from tests.small_regression import fitting


def test_a_training_study_names_its_outcomes_threshold_and_the_bounds_of_its_inputs() -> None:
    features = [
        {"name": "cost", "kind": "number", "low": 0, "high": 5e5, "log": True},
        {"name": "sex", "kind": "category", "categories": ["1", "2"]},
        {"name": "level", "kind": "category", "categories": list("abcde")},
    ]
    spec = small_study(data__features=features, data__label={"column": "visits", "at_least": 6})
    assert bounds_of(spec) == {
        "cost": "0..500000, log",
        "sex": "1, 2",
        "level": "a, b, c, d, ... (5)",
        "visits": ">= 6",
    }


def test_a_fit_names_the_bounds_of_its_outcome_exposure_and_terms() -> None:
    tables = {node: pa.table({"x": [1, 2]}) for node in ("n1", "n2", "n3", "n4")}
    section = {
        "family": "poisson",
        "rounds": 4,
        "outcome": {"column": "visits", "low": 0, "high": 50},
        "exposure": {"column": "months", "low": 1, "high": 12},
        "terms": [{"column": "age", "low": 0, "high": 100}, {"column": "sex", "levels": ["1", "2"]}],
    }
    spec = fitting("regression", section, tables, scheme="threshold")
    assert bounds_of(spec) == {"age": "0..100", "sex": "1, 2", "months": "1..12", "visits": "0..50"}
