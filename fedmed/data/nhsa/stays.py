"""Hospital stays: one row a stay with its main diagnosis, and each person's first stay with what came after.

Both are made from ``setl`` and ``setl_diag`` of one province. A stay's settlements and their reversals are
added up; a stay whose settlements were all reversed counts for nothing.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path

import pyarrow as pa

from fedmed.data.duckdb_files import literal, own_words
from fedmed.data.nhsa.folder import open_folder
from fedmed.data.nhsa.schema import INPATIENT
from fedmed.errors import DataContractError

_SETTLEMENT = (
    "psn_no",
    "mdtrt_id",
    "gend",
    "age",
    "insutype",
    "hosp_lv",
    "insu_admdvs",
    "mdtrtarea_admdvs",
    "begndate",
    "enddate",
    "med_type",
    "dscg_way",
    "act_ipt_days",
    "medfee_sumamt",
    "fund_pay_sumamt",
    "psn_part_amt",
)
_NEEDED = {"setl": frozenset(_SETTLEMENT), "setl_diag": frozenset({"mdtrt_id", "diag_code", "maindiag_flag"})}
_DIED = "5"

# What does not differ between a stay's settlements is taken as the least: a rule without an order of rows.
_STAY = """
CREATE TEMP TABLE stay AS
WITH main AS (
  SELECT mdtrt_id, min(diag_code) AS diag_code FROM setl_diag WHERE maindiag_flag = '1' GROUP BY mdtrt_id
), visit AS (
  SELECT psn_no, mdtrt_id, min(gend) AS gend, min(age) AS age, min(insutype) AS insutype,
    min(hosp_lv) AS hosp_lv, min(insu_admdvs) AS insu_admdvs, min(mdtrtarea_admdvs) AS mdtrtarea_admdvs,
    min(begndate) AS begndate, max(enddate) AS enddate, min(dscg_way) AS dscg_way,
    max(act_ipt_days) AS act_ipt_days, sum(medfee_sumamt) AS medfee_sumamt,
    sum(fund_pay_sumamt) AS fund_pay_sumamt, sum(psn_part_amt) AS psn_part_amt
  FROM setl WHERE med_type IN ({kinds}) GROUP BY psn_no, mdtrt_id HAVING sum(medfee_sumamt) > 0
)
SELECT visit.* EXCLUDE (mdtrt_id), main.diag_code, mdtrt_id,
  row_number() OVER one AS number, lead(begndate) OVER one AS next_begins
FROM visit LEFT JOIN main USING (mdtrt_id)
WINDOW one AS (PARTITION BY psn_no ORDER BY begndate, enddate, mdtrt_id)
"""
_ALL = "SELECT * EXCLUDE (mdtrt_id, number, next_begins, dscg_way) FROM stay ORDER BY psn_no, number"
_FIRST = """
SELECT * EXCLUDE (mdtrt_id, number, next_begins, dscg_way),
  greatest(date_diff('day', enddate, coalesce(next_begins, (SELECT max(enddate) FROM setl))), 0)
    AS followed_days,
  CAST(next_begins IS NOT NULL AS INTEGER) AS readmitted
FROM stay WHERE number = 1 AND dscg_way IS DISTINCT FROM {died} ORDER BY psn_no
"""


class StayTable(Enum):
    """Tables of stays by the name that a study's ``data.dataset`` gives them.

    ``stay`` has a row a stay: person, sex, age, scheme, hospital level, regions of insurance and of care,
    main diagnosis, days and amounts. ``first_stay`` has the first one of each person who left it alive, and
    ``followed_days`` until the next stay (``readmitted`` 1) or the last day of the tables (0).
    """

    STAY = "stay"
    FIRST_STAY = "first_stay"


def stay_table(folder: Path, table: StayTable, *, memory_mib: int = 1024, threads: int = 2) -> pa.Table:
    """Make a table of stays from a province's tables.

    Args:
        folder: See `fedmed.data.nhsa.folder`; needs ``setl`` and ``setl_diag``.
        table: Which.
        memory_mib: Bound of the engine's memory, MiB.
        threads: Its threads.

    Returns:
        The rows, by person and begin; amounts in yuan as decimals.

    Raises:
        DataContractError: a table or column is missing, or a file cannot be read.
        StoreFailed: the memory was too small.

    Guarantees:
        Equal tables give equal rows, whatever the order of theirs. Nothing is written to disk.
    """
    with open_folder(folder, memory_mib=memory_mib, threads=threads) as opened:
        for name, columns in _NEEDED.items():
            found = opened.tables.get(name)
            missing = sorted(columns - found.columns) if found is not None else ["all of it"]
            if missing:
                raise DataContractError(
                    f"{folder.name}/{name}: {', '.join(missing)} is missing; stays are made from it"
                )
        kinds = ", ".join(literal(kind) for kind in sorted(INPATIENT))
        query = _ALL if table is StayTable.STAY else _FIRST.format(died=literal(_DIED))
        with own_words("the tables"):
            opened.engine.execute(_STAY.format(kinds=kinds))
            return opened.engine.sql(query).to_arrow_table()
