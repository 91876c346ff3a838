"""Questions through the whole path: real apps, real custodians, one sum."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fedmed.protocol.schedule import schedule_for
from fedmed.simulation import run_question
from fedmed.study import StatisticsStudy, load_study
from tests.nodes.answers.test_statistics import totals
from tests.small_question import small_question, stays

TABLES = {f"node{point}": stays(point) for point in range(1, 5)}


def pooled(spec: StatisticsStudy) -> np.ndarray:
    return np.sum([totals(table, spec) for table in TABLES.values()], axis=0).reshape(2, -1)


def test_an_exact_question_gives_the_sums_of_all_nodes_to_the_last_fen(tmp_path: Path) -> None:
    spec = small_question()
    document = run_question(spec, TABLES, folder=tmp_path)
    result = document["result"]
    cells = [list(cell["by"].values()) for cell in result["cells"]]
    assert cells == [list(pair) for pair in itertools.product("123", "fm")]
    found = [[cell[name] for cell in result["cells"]] for name in ("stays", "cost")]
    assert found == pooled(spec).tolist()
    assert document["privacy"]["epsilon"] is None
    assert document["aggregation"]["attempts"] == 1
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8")) == document
    assert load_study((tmp_path / "study.toml").read_text(encoding="utf-8")) == spec


def test_a_noisy_question_lies_within_the_noise_that_it_states(tmp_path: Path) -> None:
    spec = small_question(privacy__epsilon=1.0)
    document = run_question(spec, TABLES, folder=tmp_path)
    due = pooled(small_question()) / np.array([[1], [100]])
    result = document["result"]
    for name, row, measure in zip(("stays", "cost"), due, result["measures"], strict=True):
        off = np.array([cell[name] for cell in result["cells"]]) - row
        # Each of 12 values lies beyond 7 standard deviations with a chance of 2.6e-12.
        assert np.all(np.abs(off) <= 7 * measure["noise_std"])
        assert np.any(off != 0)
    assert document["privacy"]["epsilon_spent"] <= 1.0
    assert schedule_for(spec).planned_events[0].count == 2, "the round and its spare attempt"


@pytest.mark.slow
def test_ten_thousand_cells_over_four_nodes_take_two_phases_and_two_seconds(tmp_path: Path) -> None:
    names = [str(i) for i in range(100)]
    spec = small_question(
        aggregation__scheme="threshold",
        statistics__by=[{"column": "a", "categories": names}, {"column": "b", "categories": names}],
        statistics__measures=[{"name": "stays", "kind": "count"}],
    )
    rng = np.random.default_rng(1)
    tables = {
        node: pa.table(
            {
                "psn_no": [f"p{i % 60}" for i in range(2000)],
                "a": [names[v] for v in rng.integers(0, 100, 2000)],
                "b": [names[v] for v in rng.integers(0, 100, 2000)],
            }
        )
        for node in TABLES
    }
    began = time.process_time()
    document = run_question(spec, tables, folder=tmp_path)
    seconds = time.process_time() - began
    assert sum(cell["stays"] for cell in document["result"]["cells"]) == 4 * 60 * 3
    assert {"contribute", "open"} <= set(document["seconds"])
    assert document["aggregation"]["attempts"] == 1
    assert seconds < 4, f"{seconds:.1f} s of processor time, the ceremony among them"
