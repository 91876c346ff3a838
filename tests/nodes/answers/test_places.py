from __future__ import annotations

import datetime
import decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fedmed.errors import DataContractError
from fedmed.study.axes import AxisTable, ValueTable
from fedmed_nodes.answers.places import places, units


def placed(values: Any, **keys: Any) -> list[str]:
    axis = AxisTable.model_validate({"column": "a", **keys}, strict=False)
    return [axis.labels[place] for place in places(pa.table({"a": values}), axis)]


def test_levels_are_text_whatever_the_type() -> None:
    for values in (["1", " 2 ", "1.0", None], [1, 2, 1, None], [1.0, 2.0, 1.0, None]):
        assert placed(values, levels=["2", "1"]) == ["1", "2", "1", "others"]


def test_a_prefix_of_a_code_is_its_level() -> None:
    codes = ["E11.9", "E11", "I10.x00", "E1", "", None]
    assert placed(codes, levels=["E11", "I10"], prefix=3) == ["E11", "E11", "I10"] + ["others"] * 3


def test_a_month_is_read_from_dates_times_and_months() -> None:
    months = {"first_month": "2025-01", "last_month": "2025-02"}
    text = ["2025-01-31", "2025-02-01 09:30:00", "202502", "2025-03", "2025-13", "soon", None]
    assert placed(text, **months) == ["2025-01", "2025-02", "2025-02"] + ["others"] * 4
    dates = [datetime.date(2025, 1, 9), None]
    assert placed(dates, **months) == ["2025-01", "others"]
    assert placed([datetime.datetime(2025, 2, 3, 4, 5)], **months) == ["2025-02"]


def test_bands_hold_their_lower_end_and_the_last_is_open() -> None:
    ages = [-1.0, 0.0, 17.9, 18.0, 300.0, float("nan"), None, float("inf")]
    due = ["others", "0-17", "0-17", "18+", "18+", "others", "others", "18+"]
    assert placed(ages, bands=[0, 18]) == due
    assert placed(pa.array([decimal.Decimal("17.9")]), bands=[0, 18]) == ["0-17"]


def test_edges_leave_out_what_lies_outside() -> None:
    found = placed([0.0, 9.9, 10.0, 20.0, -0.1], edges=[0, 10, 20])
    assert found == ["0 to <10", "0 to <10", "10 to <20", "others", "others"]


def test_an_age_is_taken_in_completed_years() -> None:
    born = ["2008-01", "2008-02", "200801", "2030-01", "?", None]
    found = placed(born, bands=[0, 18], age_at="2026-01")
    assert found == ["18+", "0-17", "18+", "others", "others", "others"]


@pytest.mark.parametrize("low", [0, -100])
def test_values_become_whole_units_within_their_bounds(low: float) -> None:
    value = ValueTable(column="a", low=float(low), high=100.0, decimals=2)
    numbers = ["1.005", "0.125", "-7", "1e300", "-inf", "nan", "", "much", None]
    found, known = units(pa.table({"a": numbers}), value)
    assert known.tolist() == [True] * 5 + [False] * 4
    floor = int(low * 100)
    assert found.tolist() == [100, 12, max(-700, floor), 10_000, floor, 0, 0, 0, 0]
    assert found.dtype == np.int64


def test_a_column_that_holds_no_plain_values_is_refused_by_its_type() -> None:
    with pytest.raises(DataContractError, match="type"):
        placed([[1], [2]], levels=["1"])
