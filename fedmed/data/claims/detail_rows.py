"""Rows below settlements: ``fee_list``, ``setl_diag``, ``setl_oprn``, ``drg_result``, ``label_fraud``."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fedmed.data.claims import catalogue
from fedmed.data.claims.arrow_columns import coded, decimals, numbered, table, yuan
from fedmed.data.claims.calendar import dates, month_of, times
from fedmed.data.claims.diagnoses import group_weight
from fedmed.data.claims.fraud import Fraud
from fedmed.data.claims.institutions import institutions
from fedmed.data.claims.settlement_rows import BY_GROUP, BY_POINTS, Chunk, Rows
from fedmed.data.synthetic_parameters import PROVINCES
from fedmed.types import IntArray

_GRADES = ("01", "02", "03")
_GROUPS = tuple(f"{k + 1:02d}" for k in range(len(catalogue.GROUPS)))
_DOCTORS = 20
_VERSIONS = ("2.0", "1.0")
_CONDITIONS_AT_ADMISSION = ("1", "2", "3", "4")
_AT_ADMISSION = np.cumsum([0.93, 0.03, 0.02, 0.02])
_MORE_OPERATIONS, _DATE_LOST = 0.3, 0.5
# A bed's day begins at six; a line's second in a visit is its own, so that no two lines are alike.
_MORNING, _BETWEEN_LINES = 6 * 3_600, 47
RATE = 7_800
"""Yuan that one unit of weight is paid where prices are average."""
_POINTS_A_WEIGHT = 1_000
_LOW, _HIGH = 40, 250
"""Per cent of the standard cost below and above which a stay is an outlier."""


def fee_lines(rng: np.random.Generator, chunk: Chunk) -> Rows:
    """Fee lines, by visit; the times of a visit's lines differ and lie inside it."""
    lines, visits = chunk.lines, chunk.visits
    visit = lines.visit
    day, second = _times_of_lines(chunk)
    doctor = visits.institution[visit] * _DOCTORS + rng.integers(_DOCTORS, size=visit.size)
    unsigned = (institutions().level[visits.institution] == 0)[visit] | chunk.missing(rng, visit)
    columns = {
        "feedetl_sn": chunk.names("F", np.arange(visit.size)),
        "mdtrt_id": chunk.treatment(visit),
        "setl_id": chunk.settlement(visit),
        "psn_no": chunk.persons(visits.owner[visit]),
        "fee_ocur_time": times(day, second),
        "med_list_codg": coded(lines.item, catalogue.items().names),
        "med_chrgitm_type": coded(catalogue.items().group[lines.item], _GROUPS),
        "chrgitm_lv": coded(lines.grade, _GRADES),
        "cnt": decimals(lines.units * 10_000, 16, 4),
        "pric": decimals(lines.price * 10_000, 16, 6),
        "det_item_fee_sumamt": yuan(lines.amount),
        "selfpay_prop": decimals(lines.first_share, 5, 4),
        "fulamt_ownpay_amt": yuan(lines.own),
        "overlmt_amt": yuan(lines.over),
        "preselfpay_amt": yuan(lines.first),
        "inscp_scp_amt": yuan(lines.scope),
        "bilg_dr_codg": coded(doctor, _doctors(), empty=unsigned),
    }
    month = month_of(visits.settled)[visit]
    return Rows(table="fee_list", visit=visit, month=month, rows=table("fee_list", columns))


def _doctors() -> pa.Array:
    """Codes of the doctors of all institutions, `_DOCTORS` each."""
    return numbered("D", np.arange(len(institutions().names) * _DOCTORS), 11)


def _times_of_lines(chunk: Chunk) -> tuple[IntArray, IntArray]:
    """Day and second of every line: spread over a stay's days, just before a visit's settlement."""
    visits, visit = chunk.visits, chunk.lines.visit
    count = np.bincount(visit, minlength=visits.count)
    within = np.arange(visit.size) - (np.cumsum(count) - count)[visit]
    stay = visits.is_stay[visit]
    spread = within * (visits.nights[visit] + 1) // count[visit]
    day = visits.begin[visit] + np.where(stay, spread, 0)
    second = np.where(stay, _MORNING, visits.second[visit] - 3_600) + within * _BETWEEN_LINES
    return day, second


def diagnosis_rows(rng: np.random.Generator, chunk: Chunk) -> Rows:
    """Diagnoses, the main one of each visit first."""
    found, visits = chunk.diagnoses, chunk.visits
    visit = found.visit
    luck = np.searchsorted(_AT_ADMISSION, rng.random(visit.size), side="right")
    empty = ~visits.is_stay[visit] | chunk.missing(rng, visit)
    columns = {
        "mdtrt_id": chunk.treatment(visit),
        "diag_srt_no": pa.array(found.position),
        "diag_type": coded(np.zeros(visit.size, dtype=np.int64), ["1"]),
        "diag_code": catalogue.spelled(found.stem, found.spelling),
        "maindiag_flag": coded((found.position == 1).astype(np.int64), ["0", "1"]),
        "adm_cond_type": coded(np.minimum(luck, 3), _CONDITIONS_AT_ADMISSION, empty=empty),
        "code_ver": coded(found.old.astype(np.int64), _VERSIONS),
    }
    month = month_of(visits.settled)[visit]
    return Rows(table="setl_diag", visit=visit, month=month, rows=table("setl_diag", columns))


def operation_rows(rng: np.random.Generator, chunk: Chunk) -> Rows:
    """Operations of stays, on a day of the stay."""
    visits = chunk.visits
    count = np.where(chunk.diagnoses.operated, 1 + (rng.random(visits.count) < _MORE_OPERATIONS), 0)
    visit = np.repeat(np.arange(visits.count), count)
    position = np.arange(visit.size) - (np.cumsum(count) - count)[visit] + 1
    code = (len(catalogue.PROCEDURES) * rng.random(visit.size) ** 2).astype(np.int64)
    day = visits.begin[visit] + rng.integers(0, visits.nights[visit] + 1)
    month = month_of(visits.settled)
    old = (month < institutions().new_codes_from[visits.institution])[visit]
    columns = {
        "mdtrt_id": chunk.treatment(visit),
        "oprn_srt_no": pa.array(position),
        "oprn_oprt_code": coded(code, catalogue.PROCEDURES),
        "oprn_oprt_date": dates(day, empty=chunk.missing(rng, visit) & (rng.random(visit.size) < _DATE_LOST)),
        "code_ver": coded(old.astype(np.int64), _VERSIONS),
    }
    return Rows(table="setl_oprn", visit=visit, month=month[visit], rows=table("setl_oprn", columns))


def group_rows(chunk: Chunk) -> Rows:
    """Payment groups of the stays that are paid by group or points."""
    visits, found = chunk.visits, chunk.diagnoses
    visit = np.flatnonzero(visits.is_stay & np.isin(chunk.payment, [BY_GROUP, BY_POINTS]))
    main, operated, severity = found.main[visit], found.operated[visit], found.severity[visit]
    weight = np.rint(10_000 * group_weight(main, operated, severity)).astype(np.int64)
    price = np.array([round(100 * RATE * p.price_level) for p in PROVINCES])[visits.province[visit]]
    standard = weight * price // 10_000
    share = 100 * chunk.money.total[visit] // standard
    points = chunk.payment[visit] == BY_POINTS
    columns = {
        "setl_id": chunk.settlement(visit),
        "grp_type": coded(points.astype(np.int64), ["DRG", "DIP"]),
        "grp_code": coded(((main * 2 + operated) * 3 + severity) * 2 + points, _group_codes()),
        "weight_or_points": decimals(weight * np.where(points, _POINTS_A_WEIGHT, 1), 12, 4),
        "std_cost": yuan(standard),
        "outlier": coded(np.where(share < _LOW, 0, np.where(share > _HIGH, 2, 1)), ["low", "normal", "high"]),
    }
    month = month_of(visits.settled)[visit]
    return Rows(table="drg_result", visit=visit, month=month, rows=table("drg_result", columns))


def _group_codes() -> list[str]:
    """Codes by main diagnosis, operation, severity and kind; in the national form, numbers made up."""
    codes = []
    for stem in catalogue.diagnosis_stems():
        for operation in ("R", "B"):
            for severity in ("5", "3", "1"):
                codes.append(f"{stem[0]}{operation}{stem[1]}{stem[2]}{severity}")
                codes.append(f"{stem}:{'38.9300' if operation == 'B' else 'n00'}{severity}")
    return codes


def fraud_labels(chunk: Chunk) -> Rows:
    """One row for every claim in which fraud was committed."""
    visits = chunk.visits
    visit = np.flatnonzero(visits.fraud)
    columns = {
        "setl_id": chunk.settlement(visit),
        "fixmedins_code": coded(visits.institution[visit], institutions().names),
        "fraud_type": coded(visits.fraud[visit] - 1, [kind.code for kind in Fraud]),
        "injected": coded(np.zeros(visit.size, dtype=np.int64), ["1"]),
    }
    month = month_of(visits.settled)[visit]
    return Rows(table="label_fraud", visit=visit, month=month, rows=table("label_fraud", columns))
