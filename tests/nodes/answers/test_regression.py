"""A node's Newton sums: what taking a person away can change, by trying it, and what rows can not decide."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import DataContractError, ParametersUnfit
from fedmed.plans.regression import bounded_model, exact_model, scales
from fedmed.privacy.clipping import ClippedSum
from fedmed.protocol.schedule import schedule_for
from fedmed.study import RegressionStudy
from fedmed.types import FloatArray
from fedmed_nodes.answers.by_kind import half_for
from fedmed_nodes.answers.regression import LARGEST_PARAMETER, RegressionAnswerer
from fedmed_nodes.sources import TableSource
from tests.small_regression import fitting

DECLARED = 60
TERMS = [{"column": "age", "low": 0, "high": 100}, {"column": "level", "levels": ["1", "2"]}]
MEANS = {"mean_low": 1, "mean_high": 40}
FAMILIES = {
    "logistic": {"outcome": {"column": "stay"}},
    "poisson": {"outcome": {"column": "visits", "high": 50, **MEANS}},
    "negative_binomial": {"outcome": {"column": "visits", "high": 50, **MEANS}},
    "gamma": {"outcome": {"column": "visits", "low": 1, "high": 50, **MEANS}},
    "cox": {"time": {"column": "month", "event": "stay", "intervals": 12}},
}


def visits(seed: int, persons: int = 30) -> pa.Table:
    rng = np.random.default_rng(seed)
    rows = 2 * persons
    return pa.table(
        {
            "psn_no": [f"{seed}-{p}" for p in rng.integers(0, persons, rows)],
            "age": rng.uniform(-10, 110, rows),
            "level": [str(v) for v in rng.integers(1, 4, rows)],
            "visits": rng.poisson(8, rows).astype(float),
            "stay": rng.integers(0, 2, rows).astype(float),
            "month": rng.uniform(0, 14, rows),
        }
    )


def question(
    family: str, *, rows: int = 1, epsilon: float | None = 8.0, **changes: object
) -> RegressionStudy:
    section = {"family": family, "terms": TERMS, **FAMILIES[family], **changes}
    if epsilon is None and family != "cox":
        kept = {k: v for k, v in FAMILIES[family]["outcome"].items() if not k.startswith("mean")}
        section["outcome"] = kept
    if family != "cox":
        section["max_rows_per_person"] = rows
    nodes = {f"node{i}": pa.table({"x": [0] * DECLARED}) for i in range(1, 5)}
    spec = fitting("regression", section, nodes, epsilon=epsilon)
    assert isinstance(spec, RegressionStudy)
    return spec


def answer(spec: RegressionStudy, table: pa.Table, inputs: FloatArray) -> ClippedSum:
    source = TableSource(table, declared_persons=DECLARED, data_year=2026)
    return half_for(spec).read(source).answer(schedule_for(spec).main, inputs)


MONTHS = {"column": "month", "low": 1, "high": 12}
QUESTIONS = {
    **{family: question(family, rows=1 if family == "cox" else 2) for family in FAMILIES},
    "poisson with exposure": question("poisson", rows=2, exposure=MONTHS),
}


@pytest.mark.slow
@settings(deadline=None, max_examples=4)
@given(
    scale=st.sampled_from([0.0, 1.0, 1e3, 1e12]),
    seed=st.integers(0, 10**6),
    worst=st.sampled_from([1e300, 50.0, -1.0]),
)
def test_taking_a_person_away_moves_no_sum_by_more_than_its_bound(
    scale: float, seed: int, worst: float
) -> None:
    table, rng = visits(3), np.random.default_rng(seed)
    extra = {
        "psn_no": ["x"] * 4,
        "age": [100.0, 0.0, 1e300, 100.0],
        "level": ["2", "1", "2", "2"],
        "visits": [worst, 50.0, 0.0, 50.0],
        "stay": [1.0, 0.0, 1.0, 1.0],
        "month": [12.0, 1.0, 3.0, 12.0],
    }
    with_person = pa.concat_tables([table, pa.table(extra)])
    for spec in QUESTIONS.values():
        inputs = rng.normal(size=bounded_model(spec).input_values) * scale
        whole, rest = answer(spec, with_person, inputs), answer(spec, table, inputs)
        assert np.all(np.isfinite(whole.values))
        moved = float(np.linalg.norm(whole.values - rest.values))
        assert moved <= whole.clip_norm <= schedule_for(spec).stages[0].clip_norm


def test_rows_without_an_exposure_fall_out_and_others_count_as_its_bounds() -> None:
    spec = question("poisson", epsilon=None, exposure=MONTHS)
    months = [None, 0.0, -3.0, float("nan"), 0.25, 6.0, 99.0]
    columns = {"psn_no": [str(n) for n in range(7)], "age": [50.0] * 7, "level": ["1"] * 7}
    table = pa.table({**columns, "visits": [1.0] * 7, "month": pa.array(months)})
    source = TableSource(table, declared_persons=DECLARED, data_year=2026)
    answerer = half_for(spec).read(source)
    assert isinstance(answerer, RegressionAnswerer)
    assert sorted(answerer.rows.offset) == pytest.approx(np.log([1, 6, 12]))


@pytest.mark.slow
def test_one_person_can_attain_most_of_the_bound() -> None:
    spec = question("logistic")
    lonely = {name: column[:1] for name, column in visits(1).to_pydict().items()}
    lonely |= {"age": [100.0], "level": ["2"], "stay": [1.0]}
    moved = np.linalg.norm(answer(spec, pa.table(lonely), np.zeros(3)).values)
    # At zero parameters the residual is a half of its bound, and the information its whole bound.
    assert moved == pytest.approx(np.hypot(0.5, 1.0), rel=1e-5)


@pytest.mark.parametrize("epsilon", [pytest.param(8.0, marks=pytest.mark.slow), None])
def test_the_order_of_the_rows_changes_nothing(epsilon: float | None) -> None:
    table = visits(4)
    shuffled = table.take(np.random.default_rng(5).permutation(table.num_rows))
    spec = question("poisson", rows=2, epsilon=epsilon)
    inputs = np.array([1.5, 0.2, -0.3])
    assert np.array_equal(answer(spec, table, inputs).values, answer(spec, shuffled, inputs).values)


@pytest.mark.slow
def test_no_value_decides_whether_an_answer_comes() -> None:
    strange = pa.table(
        {
            "psn_no": ["a", None, "c", "d", "e"],
            "age": ["12.5", "40", "", "inf", "much"],
            "level": ["1", "2", None, "x", "1"],
            "visits": ["3", "-1", "2.5", "nan", ""],
            "stay": ["1", "2", "", "0", "maybe"],
            "month": ["1", "-4", "", "inf", "99"],
        }
    )
    for family in FAMILIES:
        spec = question(family)
        inputs = np.zeros(bounded_model(spec).input_values)
        whole, first = answer(spec, strange, inputs), answer(spec, strange.slice(0, 1), inputs)
        assert np.array_equal(whole.values, first.values), "only the first row is usable"
        assert not answer(spec, strange.slice(0, 0), inputs).values.any()


def test_exact_sums_that_do_not_fit_say_so_and_nothing_else() -> None:
    spec = question("poisson", epsilon=None)
    stage, table = schedule_for(spec).main, visits(6)
    scale = scales(spec, stage)
    fits = answer(spec, table, np.zeros(3)).values
    rows = half_for(spec).read(TableSource(table, declared_persons=DECLARED, data_year=2026))
    assert isinstance(rows, RegressionAnswerer)
    np.testing.assert_allclose(
        scale.to_values(fits), exact_model(spec).sums(np.zeros(3), rows.rows), atol=float(scale.unit.max())
    )
    lost = answer(spec, table, np.array([45.0, 0.0, 0.0])).values
    assert (lost[-1], np.count_nonzero(lost)) == (1, 1)


def test_absurd_inputs_and_too_many_persons_are_refused() -> None:
    spec = question("logistic")
    with pytest.raises(ParametersUnfit, match="within"):
        half_for(spec).check_inputs(schedule_for(spec).stages[0], np.full(3, 2 * LARGEST_PARAMETER))
    crowd = visits(7, persons=400)
    with pytest.raises(DataContractError, match="more persons"):
        answer(spec, crowd, np.zeros(3))
