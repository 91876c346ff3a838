from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedmed.data.nhsa.stays import StayTable, stay_table
from fedmed.errors import DataContractError


def settlement(person: str, visit: str, begin: int, cost: str, **changes: object) -> dict[str, Any]:
    """A settlement of two nights from day ``begin`` of 2024 on."""
    start = datetime.date(2024, 1, 1) + datetime.timedelta(days=begin)
    return {
        "setl_id": f"S{visit}{cost}",
        "psn_no": person,
        "mdtrt_id": visit,
        "gend": "1",
        "age": Decimal("50.0"),
        "insutype": "310",
        "hosp_lv": "3",
        "insu_admdvs": "310101",
        "mdtrtarea_admdvs": "320100",
        "begndate": start,
        "enddate": start + datetime.timedelta(days=2),
        "med_type": "21",
        "dscg_way": "1",
        "act_ipt_days": 2,
        "medfee_sumamt": Decimal(cost),
        "fund_pay_sumamt": Decimal("1.00"),
        "psn_part_amt": Decimal("1.00"),
        **changes,
    }


def province(folder: Path, settlements: list[dict[str, Any]]) -> Path:
    visits = dict.fromkeys(row["mdtrt_id"] for row in settlements)
    main = [{"mdtrt_id": v, "diag_code": "I10.x00", "maindiag_flag": "1"} for v in visits]
    beside = [{"mdtrt_id": v, "diag_code": "E11.900", "maindiag_flag": "0"} for v in visits]
    pq.write_table(pa.Table.from_pylist(settlements), folder / "setl.parquet")
    pq.write_table(pa.Table.from_pylist([*beside, *main]), folder / "setl_diag.parquet")
    return folder


def test_a_stay_adds_up_its_settlements_and_a_reversed_one_counts_for_nothing(tmp_path: Path) -> None:
    rows = [
        settlement("p1", "v1", 0, "100.00"),
        settlement("p1", "v1", 0, "50.00"),
        settlement("p2", "v2", 0, "80.00"),
        settlement("p2", "v2", 0, "-80.00"),
        settlement("p3", "v3", 0, "70.00", med_type="11"),
    ]
    found = stay_table(province(tmp_path, rows), StayTable.STAY).to_pylist()
    assert [(row["psn_no"], row["medfee_sumamt"], row["diag_code"]) for row in found] == [
        ("p1", Decimal("150.00"), "I10.x00")
    ]


def test_who_is_followed_and_until_when(tmp_path: Path) -> None:
    rows = [
        settlement("again", "v1", 0, "100.00"),
        settlement("again", "v2", 32, "100.00"),
        settlement("never", "v3", 10, "100.00"),
        settlement("died", "v4", 0, "100.00", dscg_way="5"),
        settlement("visitor", "v5", 100, "100.00", med_type="11"),
    ]
    found = stay_table(province(tmp_path, rows), StayTable.FIRST_STAY).to_pylist()
    followed = {row["psn_no"]: (row["followed_days"], row["readmitted"]) for row in found}
    assert followed == {"again": (30, 1), "never": (90, 0)}


def test_the_order_of_rows_makes_no_difference(tmp_path: Path) -> None:
    rows = [settlement(f"p{n % 3}", f"v{n}", 10 * n, "10.00") for n in range(9)]
    forwards, backwards = tmp_path / "a", tmp_path / "b"
    forwards.mkdir()
    backwards.mkdir()
    for table in StayTable:
        one = stay_table(province(forwards, rows), table)
        assert one.equals(stay_table(province(backwards, rows[::-1]), table))


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    rows = [settlement("p1", "v1", 0, "100.00")]
    del rows[0]["dscg_way"]
    with pytest.raises(DataContractError, match="dscg_way"):
        stay_table(province(tmp_path, rows), StayTable.STAY)
