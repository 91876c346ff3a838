"""Hospital stays: one row a stay with its main diagnosis, and each person's first stay with what came after.

A cross-province stay lies in the tables of two provinces, of the one that insures and of the one that treats.
It is a row of the first alone, so that all nodes together tell of each stay once. A stay's settlements and
their reversals are added up; a stay whose settlements were all reversed counts for nothing.

Both are made for a public period: nothing in one person's row depends on how long others were in hospital.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from fedmed.data.duckdb_files import literal
from fedmed.data.feature_sets.definition import PERSON
from fedmed.data.feature_sets.recipe import RESULT, at_home, first_day, one_part, require_regions
from fedmed.data.nhsa.schema import INPATIENT
from fedmed.types import digest, require

_COLUMNS: Final[Mapping[str, str]] = {
    PERSON: "VARCHAR",
    "gend": "VARCHAR",
    "age": "DOUBLE",
    "insutype": "VARCHAR",
    "hosp_lv": "VARCHAR",
    "insu_admdvs": "VARCHAR",
    "mdtrtarea_admdvs": "VARCHAR",
    "begndate": "VARCHAR",
    "enddate": "VARCHAR",
    "act_ipt_days": "BIGINT",
    "medfee_sumamt": "DOUBLE",
    "fund_pay_sumamt": "DOUBLE",
    "psn_part_amt": "DOUBLE",
    "diag_code": "VARCHAR",
}
_FOLLOWED: Final[Mapping[str, str]] = {"followed_days": "BIGINT", "readmitted": "BIGINT"}
_READ: Final = {
    "setl": ({*_COLUMNS} - {"diag_code"}) | {"mdtrt_id", "med_type", "dscg_way", "refd_setl_flag"}
}
_NEEDS: Final = {
    **{table: frozenset(columns) for table, columns in _READ.items()},
    "setl_diag": frozenset({"mdtrt_id", "diag_code", "maindiag_flag"}),
}
_INSURED: Final = frozenset({PERSON, "insu_admdvs", "begn_ym", "end_ym"})
_DIED: Final = "5"

# What does not differ between a stay's settlements is taken as the least: a rule without an order of rows.
_STAYS: Final = """
CREATE TABLE d_stays AS
WITH main AS (
  SELECT mdtrt_id, min(diag_code) AS diag_code FROM setl_diag WHERE maindiag_flag = '1' GROUP BY mdtrt_id
), visit AS (
  SELECT psn_no, mdtrt_id, min(gend) AS gend, min(age) AS age, min(insutype) AS insutype,
    min(hosp_lv) AS hosp_lv, min(insu_admdvs) AS insu_admdvs, min(mdtrtarea_admdvs) AS mdtrtarea_admdvs,
    min(begndate) AS begndate, max(enddate) AS enddate, min(dscg_way) AS dscg_way,
    max(act_ipt_days) AS act_ipt_days, sum(medfee_sumamt) AS medfee_sumamt,
    sum(fund_pay_sumamt) AS fund_pay_sumamt, sum(psn_part_amt) AS psn_part_amt
  FROM setl
  WHERE med_type IN ({kinds}) AND psn_no IS NOT NULL AND {mine} AND {is_home}
  GROUP BY psn_no, mdtrt_id
  HAVING sum(CASE refd_setl_flag WHEN '1' THEN -1 ELSE 1 END) > 0
    AND max(enddate) BETWEEN {first} AND {last}
)
SELECT visit.*, main.diag_code, row_number() OVER one AS number, lead(begndate) OVER one AS next_begins
FROM visit LEFT JOIN main USING (mdtrt_id)
WINDOW one AS (PARTITION BY psn_no ORDER BY begndate, enddate, mdtrt_id)
"""
_ALL: Final = "INSERT INTO {result} SELECT {columns} FROM d_stays"
# Whoever is insured here beyond the period's first month is insured nowhere else then: no other node has the
# person. Who moves in that month is insured at two places in it, and counts where the insurance goes on.
_FIRST: Final = """
INSERT INTO {result}
WITH insured AS (
  SELECT psn_no, CASE WHEN bool_or(end_ym IS NULL) THEN {last}
    ELSE least({last}, coalesce(last_day(TRY_CAST(max(end_ym) || '-01' AS DATE)), {last})) END AS until
  FROM psn_insu
  WHERE psn_no IS NOT NULL AND {mine} AND {is_home} AND coalesce(begn_ym, {month}) <= {month}
    AND (end_ym IS NULL OR end_ym > {month})
  GROUP BY psn_no
)
SELECT {columns},
  greatest(date_diff('day', enddate, least(coalesce(next_begins, until), until)), 0) AS followed_days,
  CAST(coalesce(next_begins <= until, FALSE) AS BIGINT) AS readmitted
FROM d_stays JOIN insured USING (psn_no)
WHERE number = 1 AND begndate <= until AND dscg_way IS DISTINCT FROM {died}
"""


class StayTable(Enum):
    """Tables of stays by the name that a study's ``data.dataset`` and a node's ``features`` give them.

    ``stay`` has a row a stay: person, sex, age, scheme, hospital level, regions of insurance and of care,
    first and last day, main diagnosis, days and amounts. Who moved within the period is at two nodes.
    ``first_stay`` has the first one of each person who was insured at home when the period began, and beyond
    its first month, and who left hospital alive. ``followed_days`` are until the next stay (``readmitted`` 1)
    or else the last day of the period or of the insurance at home (0). A person is at one node, where nobody
    is insured at two of them both in the first month and beyond it.
    """

    STAY = "stay"
    FIRST_STAY = "first_stay"


@dataclass(frozen=True, slots=True, kw_only=True)
class StayDerivation:
    """Which stays; a `fedmed.data.feature_sets.recipe.Recipe`.

    Attributes:
        table: Which of the two.
        year: The period's first year; stays that end in the period count.
        last_day: The period's last day, public.
        regions: As `fedmed.data.feature_sets.compile.Derivation.regions`.

    Guarantees:
        Equal tables give equal rows, for every kind of storage, order of rows, number of parts and threads.
        Each stay is a row at one node alone, where each region is one node's.
    """

    table: StayTable
    year: int
    last_day: datetime.date
    regions: tuple[str, ...]

    def __post_init__(self) -> None:
        require(1900 <= self.year <= 9999, f"year must be in 1900..9999, got {self.year}")
        require(
            self.last_day >= datetime.date(self.year, 1, 1),
            f"last_day must lie in {self.year} or later, got {self.last_day}",
        )
        require_regions(self.regions)

    @property
    def reference(self) -> str:
        """See `fedmed.data.feature_sets.recipe.Recipe.reference`."""
        return stays_reference(self.table)

    @property
    def columns(self) -> tuple[str, ...]:
        """See `fedmed.data.feature_sets.recipe.Recipe.columns`."""
        return stay_columns(self.table)

    @property
    def needs(self) -> Mapping[str, frozenset[str]]:
        """See `fedmed.data.feature_sets.recipe.Recipe.needs`."""
        return _NEEDS if self.table is StayTable.STAY else {**_NEEDS, "psn_insu": _INSURED}

    @property
    def must_reach(self) -> int | None:
        """See `fedmed.data.feature_sets.recipe.Recipe.must_reach`: a period may be quiet."""
        return None

    def statements(self, parts: int) -> Iterator[str]:
        """See `fedmed.data.feature_sets.recipe.Recipe.statements`."""
        columns = _columns(self.table)
        yield f"CREATE TABLE {RESULT} ({', '.join(f'{name} {kind}' for name, kind in columns.items())})"
        words = {
            "result": RESULT,
            "kinds": ", ".join(literal(kind) for kind in sorted(INPATIENT)),
            "is_home": at_home("insu_admdvs", self.regions),
            "first": first_day(self.year),
            "last": f"DATE '{self.last_day}'",
            "month": f"'{self.year:04d}-01'",
            "died": literal(_DIED),
            "columns": ", ".join(f"CAST({name} AS {kind})" for name, kind in _COLUMNS.items()),
        }
        chosen = _ALL if self.table is StayTable.STAY else _FIRST
        for number in range(parts):
            mine = one_part(number, parts)
            yield _STAYS.format(mine=mine, **words)
            yield chosen.format(mine=mine, **words)
            yield "DROP TABLE d_stays"


def stay_columns(table: StayTable) -> tuple[str, ...]:
    """Columns of a table of stays, in order, the person first."""
    return tuple(_columns(table))


def stays_reference(table: StayTable) -> str:
    """``name@digest`` of what is computed, for whatever period and regions."""
    rules = (_STAYS, _ALL if table is StayTable.STAY else _FIRST, *_columns(table), *sorted(INPATIENT), _DIED)
    return f"{table.value}@{digest('fedmed/stays', *(rule.encode() for rule in rules)).hex()}"


def _columns(table: StayTable) -> Mapping[str, str]:
    """Columns with DuckDB's types; amounts leave as the nearest double of an exact decimal, dates as text."""
    return _COLUMNS if table is StayTable.STAY else {**_COLUMNS, **_FOLLOWED}
