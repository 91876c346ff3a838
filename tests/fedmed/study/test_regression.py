"""Study files of regressions and curves: what they need and refuse, and that they survive a round trip."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from fedmed.errors import ConfigError
from fedmed.study import canonical_bytes, from_canonical_bytes, load_study, to_toml
from tests.small_regression import fitting

MONTHS = {"column": "months", "low": 1, "high": 12}
NODES = {f"node{i}": pa.table({"x": [0] * 50}) for i in range(1, 5)}
AGE = {"column": "age", "low": 0, "high": 100}
POISSON = {"family": "poisson", "outcome": {"column": "visits", "high": 50}, "terms": [AGE]}
TIME = {"column": "month", "event": "died", "intervals": 12}
COX = {"family": "cox", "time": TIME, "terms": [AGE]}
MEANS = {"column": "visits", "high": 50, "mean_low": 1, "mean_high": 10}


@pytest.mark.parametrize(
    ("kind", "section", "epsilon"),
    [
        ("regression", POISSON, None),
        ("regression", {**POISSON, "outcome": MEANS}, 1.0),
        ("regression", {**POISSON, "exposure": MONTHS}, None),
        ("regression", COX, None),
        ("survival", {"time": TIME, "by": {"column": "sex", "levels": ["f", "m"]}}, None),
        ("survival", {"time": TIME}, 1.0),
    ],
)
def test_a_study_survives_text_and_bytes(kind: str, section: dict[str, Any], epsilon: float | None) -> None:
    spec = fitting(kind, section, NODES, epsilon=epsilon)
    assert load_study(to_toml(spec)) == spec
    assert from_canonical_bytes(canonical_bytes(spec)) == spec
    assert spec.columns[0] == "psn_no"


def test_exact_and_noisy_fits_plan_their_own_rounds() -> None:
    assert fitting("regression", POISSON, NODES).regression.rounds == 25  # type: ignore[attr-defined]
    noisy = fitting("regression", {**POISSON, "outcome": MEANS}, NODES, epsilon=1.0)
    assert noisy.regression.rounds == 12  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("section", "epsilon", "fault"),
    [
        ({**POISSON, "family": "cox"}, None, "family cox needs time and no outcome"),
        ({**COX, "max_rows_per_person": 2}, None, "one row a person"),
        ({**COX, "exposure": MONTHS}, None, "cox takes no exposure"),
        ({**POISSON, "exposure": {**MONTHS, "high": 1}}, None, "low must be < high"),
        ({**POISSON, "exposure": {**MONTHS, "low": 0}}, None, "must be > 0"),
        ({**POISSON, "exposure": {**MONTHS, "low": 1e-9}}, None, "at most 1,000 times low"),
        ({**POISSON, "exposure": {**MONTHS, "column": "age"}}, None, "must differ"),
        ({**POISSON, "terms": [AGE, AGE]}, None, "must differ"),
        ({**POISSON, "terms": [{"column": "visits", "low": 0, "high": 1}]}, None, "must differ"),
        ({**POISSON, "terms": [{"column": "psn_no", "low": 0, "high": 1}]}, None, "person column"),
        ({**POISSON, "terms": [{"column": "age", "low": 1, "high": 1}]}, None, "low must be < high"),
        ({**POISSON, "terms": [{"column": "age", "low": 1}]}, None, "needs both low and high"),
        ({**POISSON, "terms": [{"column": "sex", "levels": ["f"]}]}, None, "two or more"),
        ({**POISSON, "terms": [{**AGE, "levels": ["f", "m"]}]}, None, "not both"),
        ({**POISSON, "outcome": {"column": "visits"}}, None, "public bound high"),
        ({**POISSON, "family": "gamma"}, None, "low > 0"),
        ({**POISSON, "family": "logistic"}, None, "no other bounds"),
        ({**POISSON, "outcome": {**MEANS, "at_least": 1}}, 1.0, "at_least is for family logistic"),
        ({**POISSON, "outcome": MEANS}, None, "are for noise"),
        (POISSON, 1.0, "needs mean_low < mean_high"),
    ],
)
def test_a_regression_that_means_nothing_is_refused(
    section: dict[str, Any], epsilon: float | None, fault: str
) -> None:
    with pytest.raises(ConfigError, match=fault):
        fitting("regression", section, NODES, epsilon=epsilon)


@pytest.mark.parametrize(
    ("section", "fault"),
    [
        ({"time": {**TIME, "event": "month"}}, "two columns"),
        ({"time": TIME, "by": {"column": "month", "levels": ["1", "2"]}}, "must differ"),
        ({"time": TIME, "by": {"column": "psn_no", "levels": ["1", "2"]}}, "neither time nor group"),
        ({"time": TIME, "min_cell": 2}, "min_cell"),
    ],
)
def test_curves_that_mean_nothing_are_refused(section: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        fitting("survival", section, NODES)
