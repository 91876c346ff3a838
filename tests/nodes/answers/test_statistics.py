"""A node's totals: what the rows say, and what taking a person away can change, by trying it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import DataContractError
from fedmed.protocol.schedule import schedule_for
from fedmed.study import StatisticsStudy
from fedmed.types import FloatArray, IntArray
from fedmed_nodes.answers.by_kind import half_for
from fedmed_nodes.sources import TableSource
from tests.small_question import DECLARED, LEVELS, SEXES, small_question, stays

EXACT, NOISY = small_question(), small_question(privacy__epsilon=1.0)
STAGES = {spec.privacy.is_exact: schedule_for(spec).stages[0] for spec in (EXACT, NOISY)}


def totals(table: pa.Table, spec: StatisticsStudy = EXACT) -> IntArray | FloatArray:
    source = TableSource(table, declared_persons=DECLARED, data_year=2026)
    stage = STAGES[spec.privacy.is_exact]
    answer = half_for(spec).read(source).answer(stage, np.zeros(0))
    assert answer.clip_norm <= stage.clip_norm
    return answer.values


def test_totals_are_what_a_loop_over_the_rows_gives() -> None:
    table = stays(3)
    seen: dict[str, list[tuple[int, int, int]]] = {}
    for row in table.to_pylist():
        if row["level"] in LEVELS:
            cell = LEVELS.index(row["level"]) * 2 + SEXES.index(row["sex"])
            fen = 0 if row["cost"] is None else round(min(max(row["cost"], 0), 500) * 100)
            seen.setdefault(row["psn_no"], []).append((cell, 1, fen))
    due = np.zeros((2, 6), dtype=np.int64)
    for rows in seen.values():
        for cell, one, fen in sorted(rows)[:3]:
            due[:, cell] += (one, fen)
    assert max(map(len, seen.values())) > 3, "the cap on rows must act"
    assert totals(table).tolist() == due.ravel().tolist()


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_the_rows_changes_nothing(seed: int) -> None:
    table = stays(4)
    shuffled = table.take(np.random.default_rng(seed).permutation(table.num_rows))
    assert totals(shuffled).tolist() == totals(table).tolist()


@settings(deadline=None, max_examples=8)
@given(
    many=st.integers(1, 9), cost=st.floats(allow_nan=True, allow_infinity=True), level=st.sampled_from("1234")
)
def test_taking_a_person_away_moves_the_totals_by_the_bound_at_most(
    many: int, cost: float, level: str
) -> None:
    table = stays(5)
    worst = pa.table(
        {"psn_no": ["x"] * many, "level": [level] * many, "sex": ["f"] * many, "cost": [cost] * many}
    )
    with_person = pa.concat_tables([table, worst])
    for spec in (EXACT, NOISY):
        stage = STAGES[spec.privacy.is_exact]
        moved = np.linalg.norm((totals(with_person, spec) - totals(table, spec)).astype(np.float64))
        assert moved <= stage.clip_norm * (1 + 1e-9)


def test_the_bound_is_attained() -> None:
    table = stays(6)
    worst = pa.table({"psn_no": ["x"] * 5, "level": ["1"] * 5, "sex": ["f"] * 5, "cost": [1e9] * 5})
    moved = totals(pa.concat_tables([table, worst]), NOISY) - totals(table, NOISY)
    stage = STAGES[False]
    assert np.linalg.norm(moved) == pytest.approx(stage.clip_norm)


def test_every_persons_removal_stays_inside_the_bound() -> None:
    table = stays(7, persons=12, rows=60)
    whole = totals(table, NOISY)
    stage = STAGES[False]
    for person in set(table["psn_no"].to_pylist()):
        rest = totals(table.filter(pc.not_equal(table["psn_no"], person)), NOISY)
        assert np.linalg.norm(whole - rest) <= stage.clip_norm * (1 + 1e-9)


def test_no_value_decides_whether_an_answer_comes() -> None:
    strange = pa.table(
        {
            "psn_no": ["a", None, "c", "d"],
            "level": ["1", "2", None, "x"],
            "sex": ["f", "m", "m", "?"],
            "cost": ["12.5", "much", "", "inf"],
        }
    )
    assert totals(strange).tolist() == [1, 0, 0, 0, 0, 0, 1250, 0, 0, 0, 0, 0]
    assert not totals(strange.slice(0, 0)).any()


def test_more_persons_than_declared_and_missing_columns_are_refused() -> None:
    many = DECLARED + 1
    crowd = pa.table(
        {
            "psn_no": [str(i) for i in range(many)],
            "level": ["4"] * many,
            "sex": ["f"] * many,
            "cost": [1.0] * many,
        }
    )
    with pytest.raises(DataContractError, match="more persons"):
        totals(crowd)
    with pytest.raises(DataContractError, match="level is missing"):
        totals(stays(1).drop_columns(["level"]))
