"""Questions through the whole path: real apps, real custodians, one sum."""

from __future__ import annotations

import itertools
import json
import stat
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import load_file

from fedmed.programs.statistic_tables import ResultTable
from fedmed.programs.statistics import result_tables
from fedmed.protocol.schedule import schedule_for
from fedmed.question import axis_columns, declared_levels
from fedmed.simulation import run_question
from fedmed.study import StatisticsStudy, load_study
from tests.small_question import BY, LEVELS, SEXES, small_question, stays

TABLES = {f"node{point}": stays(point) for point in range(1, 5)}
# More rows than any person has here: nothing is left out, so a plain loop gives the sums.
ALL = {"data__max_rows_per_person": 100}


def costs_by_cell() -> list[list[float | None]]:
    """The cost of every row of every cell, by a loop over all nodes' rows."""
    rows = list(itertools.chain.from_iterable(table.to_pylist() for table in TABLES.values()))
    return [
        [
            row["cost"]
            for row in rows
            if (row["level"] if row["level"] in LEVELS else None) == level and row["sex"] == sex
        ]
        for level, sex in itertools.product((*LEVELS, None), (*SEXES, None))
    ]


def pooled() -> tuple[list[int], list[int]]:
    """Rows and fen of every cell."""
    cells = costs_by_cell()
    fen = [sum(round(min(max(cost, 0), 500) * 100) for cost in mine if cost is not None) for mine in cells]
    return [len(mine) for mine in cells], fen


def complete() -> list[bool]:
    """Whether a cell has rows, each with a cost."""
    return [bool(mine) and None not in mine for mine in costs_by_cell()]


def columns(document: Any, place: int) -> Any:
    return document["result"]["statistics"][place]["columns"]


def unhidden(spec: StatisticsStudy, folder: Path) -> tuple[ResultTable, ...]:
    """All numbers, before anything is left blank."""
    return result_tables(spec, load_file(folder / "state.safetensors"))


def test_an_exact_question_gives_the_sums_of_all_nodes_to_the_last_fen(tmp_path: Path) -> None:
    spec, folder = small_question(**ALL), tmp_path / "run"
    document = run_question(spec, TABLES, folder=folder)
    counts, fen = pooled()
    stays_table, cost_table = unhidden(spec, folder)
    assert list(stays_table.columns["estimate"]) == counts
    assert list(cost_table.columns["units"]) == fen
    few = [count < spec.privacy.minimum_cell for count in counts]
    assert any(few)
    for place, due in enumerate((counts, fen)):
        name = ("estimate", "units")[place]
        for shown, number, is_few in zip(columns(document, place)[name], due, few, strict=True):
            assert shown == number if shown is not None else is_few or place == 1
    # Of 1 to 5 persons in a cell no cost is known: the two tables' difference would tell how many.
    assert [shown is not None for shown in columns(document, 1)["units"]] == complete()
    assert sum(complete()) == 2
    levels = document["result"]["statistics"][0]["by"]
    assert levels["level"] == [level for level in (*LEVELS, "others") for _ in range(3)]
    assert document["privacy"]["epsilon"] is None
    assert document["rows"] == "persons' years"
    assert document["axes"] == {"level": "level", "sex": "sex"}
    assert document["aggregation"]["attempts"] == 1
    assert json.loads((folder / "result.json").read_text(encoding="utf-8")) == document
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "state.safetensors").stat().st_mode) == 0o600, "it holds hidden sums"
    assert load_study((folder / "study.toml").read_text(encoding="utf-8")) == spec


def test_levels_of_several_statistics_are_known_together_and_a_name_of_two_columns_stands_for_none() -> None:
    def count(name: str, *axes: dict[str, Any]) -> dict[str, Any]:
        return {"name": name, "kind": "count", "unit": "rows", "by": axes}

    spec = small_question(
        statistics=[
            count(
                "one",
                {"column": "hosp_lv", "levels": ["3"]},
                {"column": "gend", "name": "k", "bands": [0]},
            ),
            count("two", {"column": "hosp_lv", "levels": ["2", "3"]}),
            count("three", {"column": "insutype", "name": "k", "levels": ["310"]}),
        ]
    )
    assert declared_levels(spec)["hosp_lv"] == ("3", "2")
    assert axis_columns(spec) == {"hosp_lv": "hosp_lv", "k": ""}


def test_a_noisy_question_lies_within_the_noise_that_it_states(tmp_path: Path) -> None:
    spec = small_question(privacy__epsilon=1.0, **ALL)
    document = run_question(spec, TABLES, folder=tmp_path)
    counts, fen = pooled()
    for place, due in enumerate((np.array(counts), np.array(fen) / 100)):
        found = columns(document, place)
        off = np.array(found["estimate"]) - due
        # Each of 24 values lies beyond 7 standard deviations with a chance of 2.6e-12.
        assert np.all(np.abs(off) <= 7 * np.array(found["std_error"]))
        assert np.any(off != 0)
    assert document["privacy"]["epsilon_spent"] <= 1.0
    assert schedule_for(spec).planned_events[0].count == 2, "the round and its spare attempt"


@pytest.mark.slow
def test_ten_thousand_cells_over_four_nodes_take_two_phases_and_two_seconds(tmp_path: Path) -> None:
    names = [str(i) for i in range(99)]
    by = [{"column": "a", "levels": names}, {"column": "b", "levels": names}]
    stays = {"name": "stays", "kind": "count", "unit": "rows", "by": by}
    spec = small_question(statistics=[stays], aggregation__scheme="threshold")
    rng = np.random.default_rng(1)
    tables = {
        node: pa.table(
            {
                "psn_no": [f"p{i % 60}" for i in range(2000)],
                "a": [names[v] for v in rng.integers(0, 99, 2000)],
                "b": [names[v] for v in rng.integers(0, 99, 2000)],
            }
        )
        for node in TABLES
    }
    began = time.process_time()
    document = run_question(spec, tables, folder=tmp_path)
    seconds = time.process_time() - began
    (found,) = unhidden(spec, tmp_path)
    assert sum(found.columns["estimate"]) == 4 * 60 * 3
    assert {"contribute", "open"} <= set(document["seconds"])
    assert document["aggregation"]["attempts"] == 1
    assert seconds < 4, f"{seconds:.1f} s of processor time, the ceremony among them"


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["threshold", "ckks"])
def test_money_of_a_hundred_trillion_fen_a_node_is_exact_through_the_encrypted_path(
    tmp_path: Path, scheme: str
) -> None:
    value = {"column": "cost", "low": -1e12, "high": 1e12, "decimals": 2}
    entry = {"name": "fund", "kind": "sum", "value": value, "by": BY[1:]}
    clamped_value = {
        **value,
        "column": "same_cost",
        "low": 0,
        "high": 1e7,
    }  # one rule a column
    variance = {"name": "spread", "kind": "variance", "value": clamped_value}
    spec = small_question(statistics=[entry, variance], aggregation__scheme=scheme, **ALL)
    fen = np.random.default_rng(2).integers(-(10**14), 10**14, (4, 10))
    fen[:, 0] = 10**14 - 1
    # As a CSV file has it.
    cost = [[f"{'-' * (v < 0)}{abs(v) // 100}.{abs(v) % 100:02d}" for v in row] for row in fen.tolist()]
    tables = {
        node: pa.table(
            {
                "psn_no": [str(p) for p in range(10)],
                "sex": ["f", "m"] * 5,
                "cost": cost[place],
                "same_cost": cost[place],
            }
        )
        for place, node in enumerate(TABLES)
    }
    run_question(spec, tables, folder=tmp_path)
    fund, spread = unhidden(spec, tmp_path)
    assert list(fund.columns["units"]) == [int(fen[:, ::2].sum()), int(fen[:, 1::2].sum()), 0]
    clamped = np.clip(fen, 0, 10**9).ravel().tolist()
    squares, total = sum(v * v for v in clamped), sum(clamped)
    assert list(spread.columns["estimate"]) == [(40 * squares - total**2) / (40 * 39 * 10**4)]
