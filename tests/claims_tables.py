"""A small province of insurance tables in which every rule holds, row by row, for tests to break."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fedmed.data.nhsa.arrow import arrow_type
from fedmed.data.nhsa.rules import amounts
from fedmed.data.nhsa.schema import schema

Rows = list[dict[str, Any]]
Tables = dict[str, Rows]

PERSONS, VISITS = 40, 4
INSTITUTIONS = tuple(f"H310000{number:05d}" for number in range(1, 4))
DIAGNOSES = ("I10.x00", "E11.200", "J44.100", "K29.500")


def small_province() -> Tables:
    """Forty persons with four visits each, every other one a stay; one settlement is reversed."""
    tables: Tables = {name: [] for name in schema().names if name != "label_fraud"}
    for i, code in enumerate(INSTITUTIONS):
        row = {"fixmedins_code": code, "fixmedins_type": "H", "hosp_lv": str(i + 1)}
        tables["medins"].append({**row, "fix_blng_admdvs": "310000", "beds": 100, "own_type": "1"})
    for person in range(PERSONS):
        _add_person(tables, person)
        for visit in range(VISITS):
            _add_visit(tables, person, visit)
    _reverse(tables, tables["setl"][0])
    for month in ("2024-01", "2024-02"):
        figures = {"income": "900.00", "expend": "800.00", "balance": "5000.00"}
        money = {name: Decimal(text) for name, text in figures.items()}
        counts = {"psn_cnt": PERSONS, "visits": 80, "admissions": 80}
        tables["fund_month"].append({"admdvs": "310000", "ym": month, "insutype": "310", **money, **counts})
    return tables


def write_tables(folder: Path, tables: Mapping[str, Rows], *, as_csv: bool = False) -> Path:
    """Write the tables as Parquet or CSV, settlements in a folder by month, and give the folder back."""
    for name, rows in tables.items():
        by_month: dict[str, Rows] = {}
        for row in rows:
            by_month.setdefault(f"{row['setl_time']:%Y-%m}" if name == "setl" else "", []).append(row)
        for month, part in by_month.items():
            place = folder / name / f"month={month}" / "part-0" if month else folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            _write(place, name, part, as_csv=as_csv)
    return folder


def _write(place: Path, name: str, rows: Rows, *, as_csv: bool) -> None:
    columns = [column for column in schema().table(name).columns if column.name in rows[0]]
    others = [key for key in rows[0] if key not in {column.name for column in columns}]
    if as_csv:
        with place.with_name(f"{place.name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return
    data = {c.name: pa.array([row[c.name] for row in rows], arrow_type(c)) for c in columns}
    data |= {key: pa.array([row[key] for row in rows]) for key in others}
    pq.write_table(pa.table(data), place.with_name(f"{place.name}.parquet"))


def _add_person(tables: Tables, person: int) -> None:
    """An employee of one sex, born in one of forty years."""
    born = f"{1940 + person}-05"
    tables["psn_insu"].append(
        {
            "psn_no": f"P{person:04d}",
            "gend": str(1 + person % 2),
            "brdy": born,
            "psn_type": "1101",
            "insutype": "310",
            "insu_admdvs": "310000",
            "psn_insu_stas": "1",
            "begn_ym": "2020-01",
            "end_ym": None,
            "die_flag": "0",
        }
    )
    items = {f"adl_{i}": 5 for i in range(1, 11)} | {f"cog_{i}": 2 for i in range(1, 5)}
    items |= {f"sense_{i}": 3 for i in range(1, 4)}
    scores = {"adl_score": 50, "cog_score": 8, "sense_score": 9, "ltc_grade": 2}
    key = {"psn_no": f"P{person:04d}", "assess_date": date(2024, 3, 1)}
    tables["ltc_assess"].append({**key, **scores, **items})


def _add_visit(tables: Tables, person: int, visit: int) -> None:
    """A visit with its settlement, diagnoses, lines and funds."""
    number = person * VISITS + visit
    begin = date(2024, 1 + visit, 3 + person % 9)
    is_stay = visit % 2 == 1
    end = begin + timedelta(days=5 if is_stay else 0)
    ids = {"mdtrt_id": f"M{number:05d}", "setl_id": f"S{number:05d}", "psn_no": f"P{person:04d}"}
    tables["setl"].append(
        {
            **ids,
            "gend": str(1 + person % 2),
            "age": Decimal(2024 - 1940 - person),
            "insutype": "310",
            "psn_type": "1101",
            "med_type": "21" if is_stay else "11",
            "setl_time": datetime(end.year, end.month, end.day, 16) + timedelta(days=1),
            "begndate": begin,
            "enddate": end,
            "fixmedins_code": INSTITUTIONS[number % 3],
            "hosp_lv": str(1 + number % 3),
            "insu_admdvs": "310000",
            "mdtrtarea_admdvs": "310000",
            "fix_blng_admdvs": "310000",
            "dise_no": None,
            "hi_paymtd": "4" if is_stay else None,
            **_money(),
            "dscg_way": "1" if is_stay else None,
            "act_ipt_days": 5 if is_stay else None,
            "refd_setl_flag": "0",
        }
    )
    for i in (1, 2):
        code = {"diag_type": "1", "diag_code": DIAGNOSES[(number + i) % 4], "maindiag_flag": str(2 - i)}
        row = {"mdtrt_id": ids["mdtrt_id"], "diag_srt_no": i, **code, "adm_cond_type": "1", "code_ver": "2.0"}
        tables["setl_diag"].append(row)
    _add_details(tables, ids, number, datetime(begin.year, begin.month, begin.day, 9), is_stay=is_stay)


def _money() -> dict[str, Decimal]:
    """One settlement of 1000 yuan in which every identity holds."""
    money = {name: Decimal(0) for name in amounts(schema().table("setl"))}
    figures = {
        "medfee_sumamt": 1000,
        "fulamt_ownpay_amt": 50,
        "overlmt_selfpay": 10,
        "preselfpay_amt": 40,
        "inscp_scp_amt": 900,
        "act_pay_dedc": 200,
        "hifp_pay": 560,
        "fund_pay_sumamt": 560,
        "psn_part_amt": 440,
        "acct_pay": 300,
        "psn_cash_pay": 140,
    }
    money |= {name: Decimal(value) for name, value in figures.items()}
    return {**money, "pool_prop_selfpay": Decimal("0.8")}


def _add_details(
    tables: Tables, ids: Mapping[str, str], number: int, when: datetime, *, is_stay: bool
) -> None:
    """Two lines, one fund, and for stays a procedure and a group."""
    for i, (cnt, pric) in enumerate((("4", "200"), ("2", "100"))):
        amount = Decimal(cnt) * Decimal(pric)
        own = {"fulamt_ownpay_amt": 25, "overlmt_amt": 5, "preselfpay_amt": 20}
        split = {name: Decimal(value) for name, value in own.items()}
        tables["fee_list"].append(
            {
                "feedetl_sn": f"F{number:05d}{i}",
                **ids,
                "fee_ocur_time": when,
                "med_list_codg": f"XA{i:04d}",
                "med_chrgitm_type": "09",
                "chrgitm_lv": "02",
                "cnt": Decimal(cnt),
                "pric": Decimal(pric),
                "det_item_fee_sumamt": amount,
                "selfpay_prop": Decimal("0.1"),
                **split,
                "inscp_scp_amt": amount - sum(split.values()),
                "bilg_dr_codg": "D001",
            }
        )
    fund = {"setl_id": ids["setl_id"], "fund_pay_type": "310100", "fund_payamt": Decimal(560)}
    tables["fund_split"].append(fund)
    if is_stay:
        code = {"oprn_srt_no": 1, "oprn_oprt_code": "47.0100", "oprn_oprt_date": when.date()}
        tables["setl_oprn"].append({"mdtrt_id": ids["mdtrt_id"], **code, "code_ver": "2.0"})
        group = {"grp_type": "DRG", "grp_code": "GD19", "outlier": "normal"}
        worth = {"weight_or_points": Decimal("1.2"), "std_cost": Decimal(9000)}
        tables["drg_result"].append({"setl_id": ids["setl_id"], **group, **worth})


def _reverse(tables: Tables, settled: dict[str, Any]) -> None:
    """Reverse a settlement and settle the visit again, as an institution that corrected a charge."""
    money = ("pool_prop_selfpay", *amounts(schema().table("setl")))
    negated = {name: -settled[name] for name in money[1:]}
    tables["setl"].append({**settled, **negated, "setl_id": "S90000", "refd_setl_flag": "1"})
    tables["fund_split"].append(
        {"setl_id": "S90000", "fund_pay_type": "310100", "fund_payamt": Decimal(-560)}
    )
    tables["setl"].append({**settled, "setl_id": "S90001"})
    tables["fund_split"].append({"setl_id": "S90001", "fund_pay_type": "310100", "fund_payamt": Decimal(560)})
    lines = [row for row in tables["fee_list"] if row["setl_id"] == settled["setl_id"]]
    for i, line in enumerate(lines):
        tables["fee_list"].append({**line, "feedetl_sn": f"F90001{i}", "setl_id": "S90001"})
