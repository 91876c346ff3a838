"""Deriving against the same computation row by row, over every kind of storage, order and cut."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fedmed.data.feature_sets.compile import Derivation
from fedmed.data.feature_sets.definition import Definition, Measure, packaged_feature_set
from fedmed.data.feature_sets.derive import derive, open_derived, parts_for
from fedmed.data.feature_sets.recipe import require_tables
from fedmed.data.nhsa.folder import open_folder
from fedmed.errors import ConfigError, DataContractError
from tests.claims_tables import Rows, Tables, write_tables
from tests.derived_claims import YEAR, province

SET = packaged_feature_set()
HOME = Derivation(features=SET, year=YEAR, regions=("310000",))


def obvious(tables: Tables, year: int, home: Sequence[str]) -> Rows:
    """What is derived, person by person and row by row."""
    rows = []
    for person in tables["psn_insu"]:
        month = f"{year}-12"
        is_here = person["begn_ym"] <= month < (person["end_ym"] or "9999-12")
        if not is_here or not person["insu_admdvs"].startswith(tuple(home)):
            continue
        own = [row for row in tables["setl"] if row["psn_no"] == person["psn_no"]]
        visits = {row["mdtrt_id"] for row in own if row["enddate"].year == year}
        standing = {v for v in visits if sum(_sign(row) for row in own if row["mdtrt_id"] == v) > 0}
        found = {"psn_no": person["psn_no"]}
        for one in SET.features:
            found[one.name] = _value(one, person, own, tables, year=year, standing=standing, home=home)
        for one in SET.outcomes:
            found[one.name] = _value(one, person, own, tables, year=year + 1, standing=standing, home=home)
        rows.append(found)
    return sorted(rows, key=lambda row: str(row["psn_no"]))


def _sign(row: dict[str, Any]) -> int:
    return -1 if row["refd_setl_flag"] == "1" else 1


def _value(one: Definition, person: dict[str, Any], own: Rows, tables: Tables, **where: Any) -> object:
    """One cell."""
    if one.measure is Measure.ATTRIBUTE:
        return person[one.column]
    if one.measure is Measure.AGE:
        return None if person["brdy"] is None else where["year"] - int(person["brdy"][:4])
    if one.table == "setl":
        rows = [row for row in own if row["enddate"].year == where["year"]]
    else:
        rows = [row for row in tables[one.table] if row["mdtrt_id"] in where["standing"]]
    rows = [row for row in rows if all(row[c] in values for c, values in one.where.items())]
    if one.away:
        rows = [row for row in rows if not row["mdtrtarea_admdvs"].startswith(tuple(where["home"]))]
    if one.measure is Measure.CODES:
        heads = {row[one.column][: one.signs] for row in rows}
        return [at for at, word in enumerate(one.vocabulary) if word in heads]
    if one.measure is Measure.DISTINCT:
        return len({row[one.column] for row in rows if row["mdtrt_id"] in where["standing"]})
    if one.measure is Measure.SUM:
        return float(sum(row[one.column] or 0 for row in rows))
    return sum(_sign(row) for row in rows) if one.table == "setl" else len(rows)


def derived(folder: Path, derivation: Derivation = HOME, *, threads: int = 1) -> pa.Table:
    with open_derived(folder, derivation, memory_mib=256, threads=threads) as found:
        rows = pa.concat_tables(found.chunks(found.columns)).sort_by("psn_no")
        assert rows.num_rows == found.rows
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    read = {name: rows for name, rows in province().items() if name in SET.needs}
    return write_tables(tmp_path_factory.mktemp("claims"), read)


def test_derived_rows_are_those_of_a_loop_over_persons(folder: Path) -> None:
    due, found = obvious(province(), YEAR, ["31"]), derived(folder).to_pylist()
    assert found == due
    by_person = {row["psn_no"]: row for row in found}
    # A person counts at the node where insured in December and beyond: one who moves then, at one of two.
    assert not set(by_person) & {"P0001", "P0002", "P0003", "P0005"}
    assert "P0004" in by_person
    assert by_person["P9000"]["total_cost"] == 0.0
    assert by_person["P9000"]["diagnoses"] == []
    assert by_person["P0008"]["away_visits"] == 4
    assert by_person["P0010"]["total_cost"] == 3000.0
    assert by_person["P0012"]["next_cost"] == 4000.4
    assert by_person["P0006"]["age"] is None


@pytest.mark.slow
def test_a_person_taken_away_changes_nobody_else_even_where_visits_have_one_number(tmp_path: Path) -> None:
    def without(tables: Tables, person: str) -> Tables:
        return {name: [row for row in rows if row.get("psn_no") != person] for name, rows in tables.items()}

    tables = {name: rows for name, rows in province().items() if name in SET.needs}
    own = next(row for row in tables["setl"] if row["psn_no"] == "P0020")
    line = next(row for row in tables["fee_list"] if row["psn_no"] == "P0020")
    for place, visit in enumerate(row["mdtrt_id"] for row in tables["setl"][:60]):
        # P0020 has reversals, and a line of its own, under visits of others.
        taken = {"mdtrt_id": visit, "setl_id": f"X{place}"}
        tables["setl"] += [{**own, **taken, "refd_setl_flag": "1"}] * 3
        tables["fee_list"].append({**line, **taken, "med_chrgitm_type": "09", "med_list_codg": "XC038"})
    before = derived(write_tables(tmp_path / "with", tables)).to_pylist()
    after = derived(write_tables(tmp_path / "without", without(tables, "P0020"))).to_pylist()
    assert [row for row in before if row["psn_no"] != "P0020"] == after
    assert len(after) == len(before) - 1


@pytest.mark.slow
def test_storage_order_parts_and_threads_do_not_show(folder: Path, tmp_path: Path) -> None:
    due = derived(folder)
    backwards = {name: rows[::-1] for name, rows in province().items()}
    as_csv = write_tables(tmp_path / "csv", backwards, as_csv=True)
    assert derived(as_csv, threads=2).equals(due)
    with open_folder(folder, memory_mib=256, threads=2) as opened:
        present = {name: table.columns for name, table in opened.tables.items()}
        found = derive(opened.engine, HOME, present=present, parts=3)
        assert pa.concat_tables(found.chunks(found.columns)).sort_by("psn_no").equals(due)
    elsewhere = Derivation(features=SET, year=YEAR, regions=("320400",))
    assert derived(folder, elsewhere)["psn_no"].to_pylist() == ["P0001"]


def test_claims_that_end_before_the_outcomes_begin_are_refused(tmp_path: Path) -> None:
    folder = write_tables(tmp_path, province())
    ahead = Derivation(features=SET, year=YEAR + 1, regions=("310000",))
    with (
        pytest.raises(DataContractError, match="derive an earlier year"),
        open_derived(folder, ahead, memory_mib=256, threads=1),
    ):
        pass


def test_a_missing_table_or_column_is_named() -> None:
    present = dict(SET.needs)
    require_tables(HOME, present)
    with pytest.raises(DataContractError, match="setl: column hosp_lv is missing"):
        require_tables(HOME, present | {"setl": present["setl"] - {"hosp_lv"}})
    del present["setl_diag"]
    with pytest.raises(DataContractError, match="table setl_diag is missing"):
        require_tables(HOME, present)


def test_years_and_regions_are_checked() -> None:
    for regions in ((), ("31",), ("3100000",), ("31' OR",)):
        with pytest.raises(ConfigError, match="region"):
            Derivation(features=SET, year=YEAR, regions=regions)
    with pytest.raises(ConfigError, match="year"):
        Derivation(features=SET, year=24, regions=("310000",))


def test_more_rows_than_memory_are_taken_in_parts() -> None:
    assert parts_for(4_000_000, 1_024) == 1
    assert parts_for(10_000_000, 1_024) == 3
