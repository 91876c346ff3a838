from __future__ import annotations

import math
from typing import Any

import pytest

from fedmed.errors import ConfigError
from fedmed.study import canonical_bytes, from_canonical_bytes, load_study, to_toml
from fedmed.types import Mode, StudyKind
from tests.every_statistic import COST, EVERY, FROM, LEVEL, MONTH, SEX
from tests.small_question import small_question


def test_a_question_is_read_back_from_its_text_and_its_bytes() -> None:
    for spec in (small_question(), small_question(privacy__epsilon=1.0), small_question(statistics=EVERY)):
        assert load_study(to_toml(spec)) == spec
        assert from_canonical_bytes(canonical_bytes(spec)) == spec
        assert (spec.kind, spec.privacy.mode) == (StudyKind.STATISTICS, Mode.STATISTICS)
    assert small_question().columns == ("psn_no", "level", "sex", "cost")
    assert small_question().statistics[0].groups == 4 * 3, "all other values are a level"
    assert small_question().spare_attempts == 1


def test_an_exact_study_claims_no_epsilon_that_anybody_could_allow() -> None:
    spec = small_question()
    assert spec.privacy.is_exact
    assert (spec.privacy.epsilon, spec.privacy.delta) == (math.inf, 1.0)
    assert b"epsilon" not in canonical_bytes(spec)
    with pytest.raises(ConfigError, match="exact sums have no epsilon"):
        small_question(privacy__epsilon=1.0, privacy__protection="exact")


def test_noise_needs_an_epsilon_and_gets_the_usual_delta() -> None:
    spec = small_question(privacy__epsilon=1.0)
    assert (spec.privacy.epsilon, spec.privacy.delta) == (1.0, 1e-5)
    with pytest.raises(ConfigError, match="epsilon is missing"):
        small_question(privacy__protection="noise")


def test_exact_sums_of_one_column_have_one_pair_of_bounds() -> None:
    """`low` 0 and `high` 94 beside 95: the difference of two sums counts who is over 94."""
    other = {**COST, "high": 499}
    entries = [{"name": "one", "kind": "sum", "value": COST}, {"name": "two", "kind": "mean", "value": other}]
    with pytest.raises(ConfigError, match="same low, high and decimals"):
        small_question(statistics=entries)
    assert small_question(statistics=entries, privacy__epsilon=1.0).privacy.epsilon == 1.0
    grid = {"steps": 5, "probabilities": [0.5]}
    small_question(statistics=[entries[0], {**entries[1], "kind": "quantile", **grid}])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"study__kind": "statistic"}, "did you mean statistics"),
        ({"data__max_row_per_person": 3}, "did you mean max_rows_per_person"),
        ({"privacy__mode": "aggregate"}, "privacy.mode"),
        ({"training__momentum": 0.5}, "training: unknown key"),
    ],
)
def test_a_fault_of_a_question_is_named(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        small_question(**change)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"kind": "sum"}, r"statistics\[1\]: a sum needs value"),
        ({"kind": "count"}, "a count needs unit"),
        ({"kind": "count", "unit": "rows", "value": COST}, "a count has no value"),
        ({"kind": "count", "unit": "row"}, "'rows' or 'persons'"),
        ({"kind": "counts", "unit": "rows"}, "kind: must be one of"),
        ({"kind": "count", "unit": "rows", "by": [{**SEX, "column": "psn_no"}]}, "must not make cells"),
        ({"kind": "count", "unit": "rows", "by": [SEX, SEX]}, "two axes have one name"),
        ({"kind": "cross_table", "unit": "rows", "by": [SEX]}, "needs two axes"),
        ({"kind": "flow", "unit": "rows", "by": [FROM, SEX]}, "equal levels"),
        ({"kind": "monthly", "month": MONTH}, "needs unit or value"),
        ({"kind": "monthly", "unit": "rows", "month": LEVEL}, "month needs first_month"),
        ({"kind": "monthly", "unit": "rows", "month": MONTH, "warning": {}}, "needs 13 months"),
        ({"kind": "variance", "value": {**COST, "high": 1e9}}, "2\\^30 units"),
        (
            {"kind": "quantile", "value": {"column": "a", "high": 3}, "steps": 9, "probabilities": [0.5]},
            "steps",
        ),
        (
            {"kind": "standardised_rate", "strata": [SEX], "standard": [1], "event": [LEVEL], "per": 1},
            "standard needs 2 numbers",
        ),
    ],
)
def test_a_fault_of_a_statistic_is_named(entry: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        small_question(statistics=[{"name": "a", **entry}])


def test_names_differ_and_cells_are_bounded() -> None:
    count = {"name": "a", "kind": "count", "unit": "rows"}
    with pytest.raises(ConfigError, match="names of statistics must differ"):
        small_question(statistics=[count, count])
    many = [{"column": str(i), "bands": list(range(50))} for i in range(4)]
    with pytest.raises(ConfigError, match="at most 1000000"):
        small_question(statistics=[{**count, "by": many}])


def test_an_exact_study_takes_a_column_for_one_thing() -> None:
    """Persons of 94 years and persons from 94 on, as text and as a number, leave who is older."""
    axes = [{"column": "age", "bands": [0, 94]}, {"column": "age", "levels": ["94"]}]
    entries = [{"name": f"n{i}", "kind": "count", "unit": "rows", "by": [a]} for i, a in enumerate(axes)]
    with pytest.raises(ConfigError, match="n1 takes age for text, another axis takes it for a number"):
        small_question(statistics=entries)
    assert small_question(statistics=entries, privacy__epsilon=1.0)
    assert small_question(statistics=entries[:1])
