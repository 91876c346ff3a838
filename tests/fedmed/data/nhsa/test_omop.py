"""From OMOP to the insurance tables, on hand-made rows and on the Synthea fixture."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fedmed.cli.edge import run
from fedmed.cli.import_omop import import_omop
from fedmed.data.feature_sets.derive import open_derived
from fedmed.data.feature_sets.stays import StayDerivation, StayTable
from fedmed.data.nhsa.gate import check_folder
from fedmed.data.nhsa.omop import OmopImport
from fedmed.data.nhsa.schema import schema
from fedmed.data.nhsa.settings import QualitySettings
from fedmed.errors import ConfigError, DataContractError

FIXTURE = Path(__file__).resolve().parents[4].parent / "shared" / "data" / "omop_synthea27"
SHANGHAI = OmopImport(region="310000")

PERSON = "PERSON_ID,gender_concept_id,year_of_birth,month_of_birth\n1,8507,1960,4\n2,8532,1970,\n"
VISIT = """visit_occurrence_id,person_id,visit_concept_id,visit_start_date,visit_end_date,care_site_id
10,1,9201,2020-02-01,2020-02-05,77
11,2,9202,2020-03-01,,
"""
CONDITION = """condition_occurrence_id,visit_occurrence_id,condition_source_value
5,10,I10.x00
4,10,E11.900
6,99,I10.x00
7,,I10.x00
8,11,38341003
"""
PERIOD = """person_id,observation_period_start_date,observation_period_end_date
1,2018-01-03,2018-06-30
1,2019-05-01,2019-05-10
1,2019-05-20,2022-09-30
2,2020-01-01,2023-01-31
2,2021-06-01,2023-01-31
"""
DEVICE = """device_exposure_id,visit_occurrence_id,device_exposure_start_date,device_source_value,quantity
1,10,2020-02-02,2282746,
"""


@pytest.fixture
def omop(tmp_path: Path) -> Path:
    """Two persons, two visits, two conditions without a visit."""
    folder = tmp_path / "omop"
    folder.mkdir()
    for name, text in (("person", PERSON), ("visit_occurrence", VISIT), ("condition_occurrence", CONDITION)):
        (folder / f"{name}.csv").write_text(text)
    (folder / "death.csv").write_text("person_id,death_date\n2,2021-05-01\n")
    (folder / "observation_period.csv").write_text(PERIOD)
    (folder / "device_exposure.csv").write_text(DEVICE)
    return folder


@pytest.mark.slow
def test_persons_visits_and_diagnoses_are_mapped(omop: Path, tmp_path: Path) -> None:
    rows = import_omop(omop, tmp_path / "out", SHANGHAI, memory_mib=256)
    assert set(rows) < set(schema().names)
    read = {name: pq.read_table(tmp_path / "out" / f"{name}.parquet").to_pylist() for name in rows}
    persons = {row["psn_no"]: row for row in read["psn_insu"]}
    assert (persons["1"]["gend"], persons["1"]["brdy"], persons["1"]["die_flag"]) == ("1", "1960-04", "0")
    assert (persons["2"]["gend"], persons["2"]["brdy"], persons["2"]["die_flag"]) == ("2", None, "1")
    assert sorted((r["psn_no"], r["begn_ym"], r["end_ym"]) for r in read["psn_insu"]) == [
        ("1", "2018-01", "2018-06"),
        ("1", "2019-05", "2022-09"),
        ("2", "2020-01", "2021-05"),
    ], "a row a period, until its end or death; none begins after death"
    visits = {row["mdtrt_id"]: row for row in read["setl"]}
    assert (visits["10"]["med_type"], visits["10"]["act_ipt_days"], visits["10"]["age"]) == ("21", 4, 59)
    assert (visits["11"]["enddate"], visits["11"]["act_ipt_days"]) == (date(2020, 3, 1), None)
    assert {row["fixmedins_code"] for row in read["medins"]} == {v["fixmedins_code"] for v in visits.values()}
    coded = [(r["mdtrt_id"], r["diag_code"], r["maindiag_flag"], r["code_ver"]) for r in read["setl_diag"]]
    assert sorted(coded) == [
        ("10", "E11.900", "1", "2.0"),
        ("10", "I10.x00", "0", "2.0"),
        ("11", "38341003", "1", None),
    ]
    assert (visits["10"]["dscg_way"], visits["10"]["medfee_sumamt"]) == (None, None), "unknown is not 0"
    (line,) = read["fee_list"]
    assert (line["mdtrt_id"], line["med_list_codg"], line["med_chrgitm_type"]) == ("10", "2282746", "08")
    assert (line["cnt"], line["pric"], line["det_item_fee_sumamt"]) == (None, None, None)
    assert read["setl_oprn"] == []
    report = check_folder(tmp_path / "out", QualitySettings(), memory_mib=128, threads=1)
    assert "duplicate_key" not in {outcome.rule.kind for outcome in report.found}


@pytest.mark.slow
def test_who_has_no_period_or_died_in_hospital_is_not_insured_for_ever(omop: Path, tmp_path: Path) -> None:
    (omop / "observation_period.csv").unlink()
    (omop / "death.csv").write_text("person_id,death_date\n1,2020-02-05\n")
    import_omop(omop, tmp_path / "out", SHANGHAI, memory_mib=256)
    persons = pq.read_table(tmp_path / "out" / "psn_insu.parquet").to_pylist()
    assert [(r["psn_no"], r["begn_ym"], r["end_ym"], r["psn_insu_stas"]) for r in persons] == [
        ("1", None, "2020-02", "3"),
        ("2", None, None, "1"),
    ]
    (stay, _) = pq.read_table(tmp_path / "out" / "setl.parquet").to_pylist()
    assert (stay["mdtrt_id"], stay["dscg_way"]) == ("10", "5")


def test_what_cannot_be_imported_is_refused_and_leaves_nothing(omop: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exists"):
        import_omop(omop, omop, SHANGHAI)
    for words, declared in (
        ("six digits", {"region": "31"}),
        ("insutype", {"insutype": "9", "region": "310000"}),
    ):
        with pytest.raises(ConfigError, match=words):
            OmopImport(**declared)
    (omop / "person.csv").write_text('person_id\n"1\n')
    with pytest.raises(DataContractError, match="not readable"):
        import_omop(omop, tmp_path / "out", SHANGHAI)
    (omop / "person.csv").unlink()
    with pytest.raises(DataContractError, match="person is missing"):
        import_omop(omop, tmp_path / "out", SHANGHAI)
    assert [path.name for path in tmp_path.iterdir()] == ["omop"]


@pytest.mark.slow
@pytest.mark.skipif(not FIXTURE.is_dir(), reason="needs shared/data/omop_synthea27 beside the repository")
def test_the_synthea_fixture_keeps_every_person_visit_and_event_with_a_visit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "claims"
    assert run(["data", "import-omop", str(FIXTURE), "--out", str(out), "--region", "310000"]) == 0
    assert "every amount is empty, not 0" in capsys.readouterr().out
    rows = {
        name: pq.read_metadata(out / f"{name}.parquet").num_rows for name in ("psn_insu", "setl", "setl_oprn")
    }
    assert rows == {"psn_insu": 28, "setl": 1791, "setl_oprn": 1649}
    report = check_folder(out, QualitySettings(), memory_mib=256, threads=1)
    # Source codes are no ICD-10, amounts are empty, and Synthea's stays carry no condition; nothing else.
    assert {outcome.rule.kind for outcome in report.found} == {
        "bad_diag_format",
        "null_key_column",
        "no_main_diagnosis",
        "duplicate_line",
    }
    persons = pq.read_table(out / "psn_insu.parquet").to_pylist()
    assert all(row["end_ym"] for row in persons), "every period of the fixture ends"
    recipe = StayDerivation(table=StayTable.STAY, year=2000, last_day=date(2022, 12, 31), regions=("310000",))
    with open_derived(out, recipe, memory_mib=256, threads=1) as derived:
        stays = [row for chunk in derived.chunks(recipe.columns) for row in chunk.to_pylist()]
    assert len(stays) == 13
    assert {row["medfee_sumamt"] for row in stays} == {None}, "nobody takes them for free care"
