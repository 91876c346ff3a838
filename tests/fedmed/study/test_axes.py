from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fedmed.study.axes import OTHERS, AxisTable, ValueTable


def axis(**keys: Any) -> AxisTable:
    return AxisTable.model_validate({"column": "a", **keys}, strict=False)


@pytest.mark.parametrize(
    ("keys", "labels"),
    [
        ({"levels": ["1", "2"]}, ("1", "2")),
        ({"levels": ["E11", "I10"], "prefix": 3}, ("E11", "I10")),
        ({"first_month": "2025-11", "last_month": "2026-02"}, ("2025-11", "2025-12", "2026-01", "2026-02")),
        ({"bands": [0, 18, 65]}, ("0-17", "18-64", "65+")),
        ({"bands": [0.5, 1.5]}, ("0.5 to <1.5", "1.5+")),
        ({"edges": [0, 1_000_000, 2.5e6]}, ("0 to <1000000", "1000000 to <2500000")),
    ],
)
def test_levels_are_named_and_all_other_values_come_last(keys: Any, labels: tuple[str, ...]) -> None:
    found = axis(**keys)
    assert found.labels == (*labels, OTHERS)
    assert found.size == len(labels) + 1


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({}, "needs one of"),
        ({"levels": ["1"], "bands": [1]}, "needs one of"),
        ({"levels": ["1", "1"]}, "must differ"),
        ({"levels": ["others"]}, "none may be 'others'"),
        ({"levels": ["E1"], "prefix": 3}, "prefix's length 3"),
        ({"bands": [1, 1]}, "must rise"),
        ({"edges": [1]}, "two or more"),
        ({"first_month": "2026-01"}, "together"),
        ({"first_month": "2026-01", "last_month": "2025-01"}, "must not be after"),
        ({"first_month": "2026-13", "last_month": "2026-13"}, "pattern"),
        ({"edges": [1, 2], "age_at": "2026-01"}, "belongs to bands"),
        ({"bands": [1], "prefix": 2}, "belongs to levels"),
    ],
)
def test_an_axis_says_one_thing(keys: Any, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        axis(**keys)


def test_bounds_in_units_are_exact_decimals() -> None:
    value = ValueTable(column="a", low=-0.07, high=0.07, decimals=2)
    assert value.units == (-7, 7)  # binary floats would give 8
    with pytest.raises(ValidationError, match="15 digits"):
        ValueTable(column="a", high=1e12, decimals=6)
