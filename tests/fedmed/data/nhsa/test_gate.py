"""The quality gate on small tables: what is found, what is shown, what the files may look like."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fedmed.data.nhsa.gate import check_folder
from fedmed.data.nhsa.results import QualityReport, State, quality_document
from fedmed.data.nhsa.rules import FAULTS, Dimension, rules
from fedmed.data.nhsa.settings import QualitySettings
from fedmed.errors import DataContractError
from tests.claims_tables import Rows, Tables, small_province, write_tables

TWELVE = 12
"""Rows that each fault changes: enough for its count to be shown."""


def of_table(name: str) -> Callable[[Tables], Rows]:
    return lambda tables: tables[name]


def stays(tables: Tables) -> Rows:
    return [row for row in tables["setl"] if row["med_type"] == "21"]


def visits(tables: Tables) -> Rows:
    return [row for row in tables["setl"] if row["med_type"] == "11" and row["mdtrt_id"] != "M00000"]


def change(which: Callable[[Tables], Rows], **values: object) -> Callable[[Tables], None]:
    """A fault that sets cells of the last twelve rows."""

    def break_it(tables: Tables) -> None:
        for row in which(tables)[-TWELVE:]:
            row.update({k: v(row) if callable(v) else v for k, v in values.items()})

    return break_it


def repeat(table: str, **values: object) -> Callable[[Tables], None]:
    """A fault that adds twelve rows again."""

    def break_it(tables: Tables) -> None:
        new = [{k: v(i) if callable(v) else v for k, v in values.items()} for i in range(TWELVE)]
        tables[table] += [{**row, **n} for row, n in zip(tables[table][-TWELVE:], new, strict=True)]

    return break_it


def unpair(tables: Tables) -> None:
    for row in visits(tables)[-TWELVE:]:
        amounts = {
            k: -v for k, v in row.items() if isinstance(v, Decimal) and k not in ("age", "pool_prop_selfpay")
        }
        row.update(amounts, refd_setl_flag="1")


def overlap(tables: Tables) -> None:
    first = {row["psn_no"]: row for row in reversed(stays(tables))}
    for row in stays(tables)[-2 * TWELVE + 1 :: 2]:
        row["begndate"] = first[row["psn_no"]]["enddate"] - timedelta(days=1)
        row["act_ipt_days"] = (row["enddate"] - row["begndate"]).days


def make_unspecified(tables: Tables) -> None:
    for row in tables["setl_diag"][: len(tables["setl_diag"]) // 2]:
        row["diag_code"] = "I10.900"


BREAK: dict[str, Callable[[Tables], None]] = {
    "duplicate_setl_id": repeat("setl"),
    "unpaired_reversal": unpair,
    "money_identity_total": change(visits, inscp_scp_amt=Decimal(950)),
    "money_identity_fund": change(visits, hifp_pay=Decimal(500)),
    "money_identity_person": change(visits, acct_pay=Decimal(310)),
    "fund_over_scope": change(visits, act_pay_dedc=Decimal(700)),
    "ratio_out_of_range": change(visits, pool_prop_selfpay=Decimal("1.5")),
    "negative_amount": change(visits, oth_pay=Decimal(-1)),
    "line_price_mismatch": change(of_table("fee_list"), pric=Decimal("111")),
    "lines_not_sum": change(of_table("fee_list"), det_item_fee_sumamt=Decimal(1)),
    "end_before_begin": change(visits, enddate=lambda row: row["begndate"] - timedelta(days=1)),
    "days_mismatch": change(stays, act_ipt_days=9),
    "long_stay": change(stays, begndate=lambda row: row["enddate"] - timedelta(days=400)),
    "settle_before_end": change(visits, setl_time=lambda row: row["setl_time"] - timedelta(days=2)),
    "overlapping_stays": overlap,
    "age_birth_mismatch": change(visits, age=lambda row: row["age"] + 3),
    "bad_code_value": change(visits, med_type="77"),
    "bad_diag_format": change(of_table("setl_diag"), diag_code="hypertension"),
    "sex_specific_code": change(
        lambda tables: [row for row in tables["setl_diag"] if int(row["mdtrt_id"][1:]) // 4 % 2 == 0],
        diag_code="O80.000",
    ),
    "no_main_diagnosis": change(
        lambda tables: [row for row in tables["setl_diag"] if int(row["mdtrt_id"][1:]) % 2], maindiag_flag="0"
    ),
    "insutype_psn_type_mismatch": change(visits, psn_type="1501"),
    "duplicate_line": repeat("fee_list", feedetl_sn=lambda i: f"X{i:05d}"),
    "null_key_column": change(visits, psn_no=None),
    "orphan_fee_line": change(of_table("fee_list"), setl_id="S77777"),
    "unknown_institution": change(visits, fixmedins_code="H31000077777"),
    "late_settlement": change(visits, setl_time=lambda row: row["setl_time"] + timedelta(days=60)),
    "unspecified_codes": make_unspecified,
}

# Faults that look alike are counted together where they are injected together.
TOGETHER = (
    ("money_identity_total", "days_mismatch", "bad_diag_format", "line_price_mismatch"),
    ("long_stay", "no_main_diagnosis", "orphan_fee_line"),
    ("money_identity_fund", "overlapping_stays", "sex_specific_code", "duplicate_line"),
    ("money_identity_person", "lines_not_sum", "unspecified_codes"),
    ("duplicate_setl_id", "ratio_out_of_range", "age_birth_mismatch"),
    ("unpaired_reversal", "settle_before_end"),
    ("bad_code_value", "late_settlement", "fund_over_scope"),
    ("negative_amount", "insutype_psn_type_mismatch", "unknown_institution"),
    ("end_before_begin", "null_key_column"),
)
SHOWN = {
    "lines_not_sum": "<11",
    "no_main_diagnosis": "<11",
    "unspecified_codes": "160",
    "unpaired_reversal": "all but <11",
}


def check(folder: Path, **settings: object) -> QualityReport:
    return check_folder(folder, QualitySettings(**settings), memory_mib=128, threads=1)  # type: ignore[arg-type]


def kinds(report: QualityReport) -> set[str]:
    return {outcome.rule.kind for outcome in report.found}


@pytest.mark.slow
def test_a_province_in_which_every_rule_holds_is_fit_and_nothing_is_found(tmp_path: Path) -> None:
    told: list[str] = []
    folder = write_tables(tmp_path, small_province())
    report = check_folder(folder, QualitySettings(), memory_mib=256, threads=1, say=told.append)
    assert report.found == ()
    assert report.is_fit
    assert set(report.scores.values()) == {1.0}
    assert report.delay_days == 1
    assert {outcome.state for outcome in report.outcomes if outcome.rule.table != "label_fraud"} == {
        State.HOLDS
    }
    assert told
    shown = json.loads(json.dumps(quality_document(report)))
    assert (shown["fit"], shown["found"]) == (True, [])
    assert shown["not_checked"] == [rule.id for rule in rules() if rule.table == "label_fraud"]


def test_the_lists_of_faults_here_and_in_the_product_agree() -> None:
    assert set(BREAK) == set(FAULTS) == {fault for group in TOGETHER for fault in group}


@pytest.mark.slow
@pytest.mark.parametrize("faults", TOGETHER, ids="+".join)
def test_every_fault_is_named_with_its_count(faults: tuple[str, ...], tmp_path: Path) -> None:
    tables = small_province()
    for fault in faults:
        BREAK[fault](tables)
    report = check(write_tables(tmp_path, tables), gate=0.0)
    assert set(faults) <= kinds(report)
    for fault in faults:
        shown = [outcome.failing for outcome in report.found if outcome.rule.kind == fault]
        assert SHOWN.get(fault, str(TWELVE)) in shown, fault


@pytest.mark.slow
def test_text_files_give_the_same_answer_as_typed_ones_whatever_the_spelling(tmp_path: Path) -> None:
    tables = small_province()
    BREAK["money_identity_total"](tables)
    typed = quality_document(check(write_tables(tmp_path / "typed", tables)))
    for row in tables["setl"]:
        row["PSN_CASHPAY"] = row.pop("psn_cash_pay")
        row["ward"] = "7"
    text = quality_document(check(write_tables(tmp_path / "text", tables, as_csv=True)))
    assert text["found"] == typed["found"]
    assert text["scores"] == typed["scores"]
    setl = next(table for table in text["tables"] if table["name"] == "setl")
    assert (setl["aliases"], setl["unknown"]) == ({"PSN_CASHPAY": "psn_cash_pay"}, ["ward"])


@pytest.mark.slow
def test_parts_add_up_to_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = small_province()
    for fault in ("duplicate_line", "lines_not_sum", "overlapping_stays", "unknown_institution"):
        BREAK[fault](tables)
    folder = write_tables(tmp_path, tables)
    whole = quality_document(check(folder))
    monkeypatch.setattr("fedmed.data.nhsa.gate.ROWS_PER_MIB", 1)
    assert quality_document(check(folder)) == whole


def test_one_table_alone_is_checked_by_its_own_rules(tmp_path: Path) -> None:
    tables = small_province()
    medins = tables["medins"] * 5
    for i, row in enumerate(medins):
        medins[i] = {**row, "fixmedins_code": f"H310000{i:05d}", "beds": "many"}
        del medins[i]["fix_blng_admdvs"]
    report = check(write_tables(tmp_path, {"medins": medins}, as_csv=True))
    found = {outcome.rule.id: outcome.failing for outcome in report.found}
    assert found == {"column_missing:medins.fix_blng_admdvs": "15", "wrong_type:medins.beds": "15"}
    assert report.scores[Dimension.COMPLETENESS] == 0
    assert not report.is_fit
    assert report.delay_days is None


@pytest.mark.slow
def test_settings_switch_rules_off_and_allow_rates_and_codes(tmp_path: Path) -> None:
    one = small_province()["medins"][0]
    rows = [{**one, "fixmedins_code": f"H310000{i:05d}"} for i in range(40)]
    for row in rows[:TWELVE]:
        row.update(own_type="7", fix_blng_admdvs="31")
    folder = write_tables(tmp_path, {"medins": rows})
    assert kinds(check(folder)) == {"bad_code_value", "bad_format"}
    lenient = check(folder, off={"bad_format"}, codes={"own_type": ("7",)})
    assert lenient.found == ()
    allowed = check(folder, allowed={"bad_format": 0.3, "bad_code_value:medins.own_type": 0.3})
    assert (allowed.found, allowed.scores[Dimension.VALIDITY]) == ((), 1.0)


@pytest.mark.parametrize("name", ["psn_name", "CertNo"])
def test_a_table_that_names_persons_is_refused(name: str, tmp_path: Path) -> None:
    rows = [{**row, name: "x"} for row in small_province()["medins"]]
    with pytest.raises(DataContractError, match="identifies persons directly"):
        check(write_tables(tmp_path, {"medins": rows}))
