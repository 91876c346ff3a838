from __future__ import annotations

import dataclasses
import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedmed.data.feature_sets.derive import derive, open_derived
from fedmed.data.feature_sets.stays import StayDerivation, StayTable, stays_reference
from fedmed.data.nhsa.folder import open_folder
from fedmed.errors import ConfigError, DataContractError

HERE = StayDerivation(
    table=StayTable.STAY, year=2024, last_day=datetime.date(2024, 12, 31), regions=("310000",)
)
FIRST = dataclasses.replace(HERE, table=StayTable.FIRST_STAY)


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
        "refd_setl_flag": "0",
        **changes,
    }


def insured(person: str, begin: str | None = None, end: str | None = None) -> dict[str, Any]:
    return {"psn_no": person, "insu_admdvs": "310101", "begn_ym": begin, "end_ym": end}


def province(
    folder: Path, settlements: list[dict[str, Any]], persons: list[dict[str, Any]] | None = None
) -> Path:
    visits = dict.fromkeys(row["mdtrt_id"] for row in settlements)
    main = [{"mdtrt_id": v, "diag_code": "I10.x00", "maindiag_flag": "1"} for v in visits]
    beside = [{"mdtrt_id": v, "diag_code": "E11.900", "maindiag_flag": "0"} for v in visits]
    known = persons or [insured(person) for person in dict.fromkeys(row["psn_no"] for row in settlements)]
    kinds = pa.schema([(name, pa.string()) for name in insured("")])
    pq.write_table(pa.Table.from_pylist(settlements), folder / "setl.parquet")
    pq.write_table(pa.Table.from_pylist([*beside, *main]), folder / "setl_diag.parquet")
    pq.write_table(pa.Table.from_pylist(known, schema=kinds), folder / "psn_insu.parquet")
    return folder


def derived(folder: Path, recipe: StayDerivation) -> list[dict[str, Any]]:
    with open_derived(folder, recipe, memory_mib=256, threads=1) as found:
        rows = pa.concat_tables(found.chunks(found.columns)).to_pylist()
    return sorted(rows, key=lambda row: tuple(map(str, row.values())))


def test_a_stay_adds_up_its_settlements_and_a_reversed_one_counts_for_nothing(tmp_path: Path) -> None:
    rows = [
        settlement("p1", "v1", 0, "100.00"),
        settlement("p1", "v1", 0, "50.10"),
        settlement("p2", "v2", 0, "80.00"),
        settlement("p2", "v2", 0, "-80.00", refd_setl_flag="1"),
        settlement("p3", "v3", 0, "70.00", med_type="11"),
    ]
    found = derived(province(tmp_path, rows), HERE)
    assert [(row["psn_no"], row["medfee_sumamt"], row["diag_code"]) for row in found] == [
        ("p1", 150.10, "I10.x00")
    ]
    assert (found[0]["begndate"], found[0]["enddate"]) == ("2024-01-01", "2024-01-03")


def test_a_stay_without_amounts_is_a_stay(tmp_path: Path) -> None:
    (row,) = derived(province(tmp_path, [settlement("p1", "v1", 0, "0.00")]), HERE)
    assert (row["psn_no"], row["medfee_sumamt"]) == ("p1", 0.0)


def test_a_stay_is_a_row_of_the_node_that_insures_and_of_no_other(tmp_path: Path) -> None:
    rows = [
        settlement("home", "v1", 0, "100.00"),
        settlement("guest", "v2", 0, "100.00", insu_admdvs="320101", mdtrtarea_admdvs="310101"),
    ]
    folder = province(tmp_path, rows)
    elsewhere = dataclasses.replace(HERE, regions=("320000",))
    assert [row["psn_no"] for row in derived(folder, HERE)] == ["home"]
    assert [row["psn_no"] for row in derived(folder, elsewhere)] == ["guest"]


def test_a_stay_belongs_to_the_period_in_which_it_ends(tmp_path: Path) -> None:
    rows = [
        settlement("before", "v1", -3, "100.00"),
        settlement("begun before", "v2", -1, "100.00"),
        settlement("within", "v3", 363, "100.00"),
        settlement("after", "v4", 364, "100.00"),
    ]
    assert [row["psn_no"] for row in derived(province(tmp_path, rows), HERE)] == ["begun before", "within"]


def test_who_is_followed_and_until_when(tmp_path: Path) -> None:
    rows = [
        settlement("again", "v1", 0, "100.00"),
        settlement("again", "v2", 32, "100.00"),
        settlement("never", "v3", 10, "100.00"),
        settlement("died", "v4", 0, "100.00", dscg_way="5"),
        settlement("visitor", "v5", 100, "100.00", med_type="11"),
        settlement("moved", "v6", 0, "100.00"),
        settlement("moved", "v7", 200, "100.00"),
        settlement("came", "v8", 200, "100.00"),
        settlement("stranger", "v9", 200, "100.00"),
    ]
    persons = [insured(name) for name in ("again", "never", "died", "visitor")]
    persons += [insured("moved", end="2024-02"), insured("came", begin="2024-02")]
    found = derived(province(tmp_path, rows, persons), FIRST)
    followed = {row["psn_no"]: (row["followed_days"], row["readmitted"]) for row in found}
    # To 31 December, and to 29 February; who came in February may have begun the year at another node.
    assert followed == {"again": (30, 1), "never": (353, 0), "moved": (57, 0)}


def test_who_moves_in_the_first_month_is_at_one_node_and_an_open_end_is_the_last(tmp_path: Path) -> None:
    """`StayTable`: one person, and not two whom noise for one would not cover."""
    rows = [
        settlement("moves", "v1", 0, "100.00"),
        settlement("moves", "v2", 20, "100.00", insu_admdvs="320101"),
        settlement("stays on", "v3", 0, "100.00"),
    ]
    there = {**insured("moves", begin="2024-01"), "insu_admdvs": "320101"}
    both = [insured("stays on", end="2024-02"), insured("stays on")]
    folder = province(tmp_path, rows, [insured("moves", end="2024-01"), there, *both])
    elsewhere = dataclasses.replace(FIRST, regions=("320000",))
    assert [(row["psn_no"], row["followed_days"]) for row in derived(folder, FIRST)] == [("stays on", 363)]
    assert [row["psn_no"] for row in derived(folder, elsewhere)] == ["moves"]


def test_nobody_elses_rows_change_how_long_a_person_is_followed(tmp_path: Path) -> None:
    one, both = tmp_path / "one", tmp_path / "both"
    one.mkdir()
    both.mkdir()
    alone = [settlement("p1", "v1", 0, "100.00")]
    late = settlement("p2", "v2", 360, "100.00")
    first = derived(province(one, alone), FIRST)
    assert first == [row for row in derived(province(both, [*alone, late]), FIRST) if row["psn_no"] == "p1"]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [HERE, FIRST], ids=lambda recipe: str(recipe.table.value))
def test_the_order_of_rows_and_the_number_of_parts_make_no_difference(
    tmp_path: Path, recipe: StayDerivation
) -> None:
    rows = [settlement(f"p{n % 3}", f"v{n}", 10 * n, "10.00") for n in range(9)]
    forwards, backwards = tmp_path / "a", tmp_path / "b"
    forwards.mkdir()
    backwards.mkdir()
    one = derived(province(forwards, rows), recipe)
    assert one == derived(province(backwards, rows[::-1]), recipe)
    with open_folder(forwards, memory_mib=256, threads=1) as opened:
        present = {name: table.columns for name, table in opened.tables.items()}
        parted = derive(opened.engine, recipe, present=present, parts=3)
        again = pa.concat_tables(parted.chunks(parted.columns)).to_pylist()
    assert len(one) == (9 if recipe is HERE else 3)
    assert sorted(again, key=lambda row: tuple(map(str, row.values()))) == one


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    rows = [settlement("p1", "v1", 0, "100.00")]
    del rows[0]["dscg_way"]
    with pytest.raises(DataContractError, match="dscg_way"):
        derived(province(tmp_path, rows), HERE)


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ConfigError, match="last_day must lie in 2024 or later"):
        dataclasses.replace(HERE, last_day=datetime.date(2023, 12, 31))


def test_a_reference_names_what_is_computed_whatever_the_period() -> None:
    later = dataclasses.replace(HERE, year=2023, regions=("320000",))
    assert later.reference == HERE.reference == stays_reference(StayTable.STAY)
    assert FIRST.reference.partition("@")[0] == "first_stay"
    assert FIRST.reference.partition("@")[2] != HERE.reference.partition("@")[2]
