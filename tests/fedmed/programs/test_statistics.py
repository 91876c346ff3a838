"""Tables of every kind, from the sums of four nodes, against plain loops over all rows."""

from __future__ import annotations

import functools
import itertools
import json
import statistics
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fedmed.programs.contract import OpenedSum
from fedmed.programs.statistic_tables import ResultTable
from fedmed.programs.statistics import StatisticsProgram, result_tables
from fedmed.protocol.schedule import schedule_for
from fedmed.study import StatisticsStudy
from fedmed_nodes.answers.by_kind import half_for
from fedmed_nodes.sources import TableSource
from tests.every_statistic import EVERY
from tests.small_question import LEVELS, small_question

PERSONS = 120
MANY: dict[str, Any] = {
    "data__max_rows_per_person": 4,
    "data__declared_persons": {f"node{p}": PERSONS for p in range(1, 5)},
}
EXACT = small_question(statistics=EVERY, **MANY)


@functools.cache
def node(point: int) -> pa.Table:
    """Four rows of each person, none of which is left out; levels are not of equal size."""
    draw, rows = np.random.default_rng(point), 4 * PERSONS
    cost = np.round(draw.gamma(2, 60, rows), 2)
    return pa.table(
        {
            "psn_no": [f"{point}-{r // 4}" for r in range(rows)],
            "level": draw.choice(["1", "2", "3", "9"], rows, p=[0.3, 0.4, 0.2, 0.1]).tolist(),
            "sex": ["fm"[(r // 4) % 2] for r in range(rows)],
            "cost": [None if c > 450 else float(c) for c in cost],
            "fund": np.round(cost * 0.6, 2).tolist(),
            "born": [f"{1935 + (r // 4) % 85}-07" for r in range(rows)],
            "home": ["320100", "330200"] * (rows // 2),
            "place": draw.choice(["320500", "330100", "110000"], rows).tolist(),
            "day": [f"2025-{m:02d}-15" for m in draw.integers(1, 8, rows)],
        }
    )


@functools.cache
def rows() -> list[dict[str, Any]]:
    return list(itertools.chain.from_iterable(node(p).to_pylist() for p in range(1, 5)))


@functools.cache
def sums(is_exact: bool) -> Any:
    spec = EXACT if is_exact else noisy_study()
    stage = schedule_for(spec).stages[0]
    sources = [TableSource(node(p), declared_persons=PERSONS, data_year=2025) for p in range(1, 5)]
    return np.sum([half_for(spec).read(s).answer(stage, np.zeros(0)).values for s in sources], axis=0)


@functools.cache
def study_with_noise() -> tuple[StatisticsStudy]:
    return (small_question(statistics=EVERY, privacy__epsilon=20.0, **MANY),)


def noisy_study() -> StatisticsStudy:
    return study_with_noise()[0]


def tables(spec: StatisticsStudy, values: Any) -> dict[str, ResultTable]:
    opened = OpenedSum(
        stage=schedule_for(spec).stages[0], round_number=1, values=values, contributors=(1, 2, 3, 4)
    )
    program = StatisticsProgram(spec=spec)
    state = program.absorb(program.begin(), opened)
    assert program.is_finished(state)
    json.dumps(program.document(state), allow_nan=False)
    return {table.name: table for table in result_tables(spec, state)}


@functools.cache
def exact() -> dict[str, ResultTable]:
    return tables(EXACT, sums(True))


def level(row: dict[str, Any]) -> str:
    return row["level"] if row["level"] in LEVELS else "others"


def by(name: str) -> list[tuple[str, ...]]:
    return list(zip(*exact()[name].by.values(), strict=True))


def estimates(name: str) -> list[Any]:
    return list(exact()[name].columns["estimate"])


def test_rows_persons_and_totals_are_counted_as_a_loop_counts() -> None:
    assert estimates("stays") == [sum(level(r) == lev for r in rows()) for (lev,) in by("stays")]
    due = [len({r["psn_no"] for r in rows() if level(r) == lev}) for (lev,) in by("persons")]
    assert estimates("persons") == due == list(exact()["stays"].columns["persons"])
    pairs = [(r["home"][:2], r["place"][:2]) for r in rows()]
    patients = [{r["psn_no"] for r, p in zip(rows(), pairs, strict=True) if p == cell} for cell in by("flow")]
    assert estimates("flow")[:2] == [len(patients[0]), len(patients[1])]
    money = [round(r["cost"] * 100) for r in rows() if r["cost"] is not None and level(r) != "others"]
    assert sum(exact()["money"].columns["units"]) == sum(money)


def test_means_variances_and_ratios_are_those_of_the_rows() -> None:
    for cell, found in zip(by("mean"), estimates("mean"), strict=True):
        mine = [r["cost"] for r in rows() if (level(r), r["sex"]) == cell and r["cost"] is not None]
        assert found == (pytest.approx(statistics.mean(mine), rel=1e-12) if mine else None)
    costs = [r["cost"] for r in rows() if r["cost"] is not None]
    assert estimates("variance") == [pytest.approx(statistics.variance(costs), rel=1e-12)]
    for (lev,), found in zip(by("ratio"), estimates("ratio"), strict=True):
        mine = [r for r in rows() if level(r) == lev and r["cost"] is not None]
        due = sum(min(r["fund"], 400) for r in mine) / sum(r["cost"] for r in mine)
        assert found == pytest.approx(due, rel=1e-12)


def test_histograms_and_quantiles_are_those_of_the_rows() -> None:
    costs = [r["cost"] for r in rows()]
    known = [c for c in costs if c is not None]
    due = [sum(c < 100 for c in known), sum(c >= 100 for c in known), len(costs) - len(known)]
    assert estimates("sizes") == due
    assert by("sizes") == [("0 to <100",), ("100 to <500",), ("others",)]
    table = exact()["median"]
    for row, sex in enumerate("fm"):
        middle = np.quantile([r["cost"] for r in rows() if r["sex"] == sex and r["cost"] is not None], 0.5)
        assert table.columns["conf_low"][row] <= middle <= table.columns["conf_high"][row]
        assert table.columns["conf_high"][row] - table.columns["conf_low"][row] == 50, "the grid's step"
    assert (table.interval, table.columns["estimate"][2]) == ("grid", None)


def test_a_standardised_rate_weighs_its_strata() -> None:
    standard = dict(zip(itertools.product(range(3), "fm"), (2, 2, 5, 5, 1, 2), strict=True))
    due = 0.0
    for (band, sex), weight in standard.items():
        ages = [(2026 - int(r["born"][:4]) - 1, r) for r in rows() if r["sex"] == sex]
        mine = [r for age, r in ages if (age >= 18) + (age >= 65) == band]
        due += weight / 17 * sum(r["level"] == "3" for r in mine) / len(mine)
    table = exact()["rate"]
    assert table.columns["estimate"][0] == pytest.approx(1000 * due)
    assert table.columns["rows"] == (len(rows()),)
    assert table.columns["conf_low"][0] < 1000 * due < table.columns["conf_high"][0]
    assert table.unit == "per 1000"


def test_months_outside_the_window_are_added_up_but_not_judged() -> None:
    table = exact()["months"]
    assert table.by["month"][-1] == "others"
    # Persons of later rows, values above the bound and days in July are in it.
    due = [
        sum(round(min(r["fund"], 400) * 100) for r in rows() if r["day"][5:7] == f"{m:02d}")
        for m in range(1, 8)
    ]
    assert list(table.columns["units"]) == due
    assert table.columns["alarm"][-1] is None
    assert table.columns["alarm"][:4] == (0.0,) * 4
    rule = {"baseline_months": 4, "trend": False, "allowance": 1.0, "limit": 6.0}
    assert table.document()["rule"] == rule


@pytest.mark.slow
def test_a_noisy_mean_lies_inside_the_bounds_of_its_values() -> None:
    spec, clean = noisy_study(), sums(False)
    layout, draw = schedule_for(spec).stages[0].layout, np.random.default_rng(8)
    noise = 15 * layout.noise_scale * layout.grid
    tried = [tables(spec, clean + noise * draw.normal(size=clean.shape))["mean"].columns for _ in range(3)]
    for name in ("estimate", "conf_low", "conf_high"):
        found = [value for columns in tried for value in columns[name]]
        assert 0 < found.count(None) < len(found), "what noise hides"
        assert all(-100 <= value <= 500 for value in found if value is not None)


@pytest.mark.slow
def test_noisy_intervals_of_every_kind_cover_the_exact_numbers() -> None:
    spec = noisy_study()
    stage, clean = schedule_for(spec).stages[0], sums(False)
    std = stage.layout.noise_scale * stage.layout.grid * 2
    draw, inside, asked = np.random.default_rng(6), {}, {}
    for _ in range(100):
        found = tables(spec, clean + std * draw.normal(size=clean.shape))
        for name, table in found.items():
            ends = zip(*(table.columns[c] for c in ("conf_low", "conf_high")), estimates(name), strict=True)
            told = [(a, b, c) for a, b, c in ends if a is not None and c is not None]
            inside[name] = inside.get(name, 0) + sum(a <= c <= b for a, b, c in told)
            asked[name] = asked.get(name, 0) + len(told)
    for name, count in asked.items():
        share = inside[name] / count
        # Rates have their sampling error in the interval too, quantiles the step of the grid.
        wide = name in ("rate", "median")
        reach = 5 * (0.95 * 0.05 / count) ** 0.5  # a chance of 6e-7, and the seed is fixed
        assert 0.95 - reach <= share <= (1.0 if wide else 0.95 + reach), (name, share)
