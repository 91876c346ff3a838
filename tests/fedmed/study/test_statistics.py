from __future__ import annotations

import math

import pytest

from fedmed.errors import ConfigError
from fedmed.study import canonical_bytes, from_canonical_bytes, load_study, to_toml
from fedmed.types import Mode, StudyKind
from tests.small_question import small_question


def test_a_question_is_read_back_from_its_text_and_its_bytes() -> None:
    for spec in (small_question(), small_question(privacy__epsilon=1.0)):
        assert load_study(to_toml(spec)) == spec
        assert from_canonical_bytes(canonical_bytes(spec)) == spec
        assert (spec.kind, spec.privacy.mode) == (StudyKind.STATISTICS, Mode.STATISTICS)
    assert spec.columns == ("psn_no", "level", "sex", "cost")
    assert spec.statistics.cells == 6


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


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"study__kind": "statistic"}, "did you mean statistics"),
        ({"statistics__max_row_per_person": 3}, "did you mean max_rows_per_person"),
        ({"statistics__measures": [{"name": "a", "kind": "sum"}]}, "a sum needs column, low and high"),
        ({"statistics__measures": [{"name": "a", "kind": "count"}] * 2}, "must differ"),
        ({"statistics__by": [{"column": "psn_no", "categories": ["a"]}]}, "must not make cells"),
        ({"statistics__by": [{"column": "a", "categories": ["x", "x"]}]}, "must differ"),
        ({"privacy__mode": "aggregate"}, "privacy.mode"),
        ({"training__momentum": 0.5}, "training: unknown key"),
    ],
)
def test_a_fault_of_a_question_is_named(change: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        small_question(**change)  # type: ignore[arg-type]  # keys of the study file


def test_bounds_in_units_are_exact_decimals() -> None:
    measure = {"name": "a", "kind": "sum", "column": "a", "low": -0.07, "high": 0.07, "decimals": 2}
    (found,) = small_question(statistics__measures=[measure]).statistics.measures
    assert found.units == (-7, 7)  # binary floats would give 8
