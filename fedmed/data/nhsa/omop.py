"""From OMOP CDM 5.4 to the insurance tables: one SELECT a table, over views of the OMOP tables.

OMOP describes care, not settlement. What it does not hold is listed in `LOSSES`; nothing is made up to fill
it, save the scheme, the region and the institutions' codes, which whoever imports declares.

A person is insured in each observation period, a row a period, and never beyond its end: an export's last day
ends a period too, so that nobody counts as watched when nobody looked. Death ends a period, and none begins
after it. Periods that begin in the same month are one. A person without a period has one row without a
beginning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from fedmed.data.duckdb_files import literal, quoted
from fedmed.data.nhsa.schema import schema
from fedmed.types import require

REQUIRED: Final = ("person", "visit_occurrence")
"""OMOP tables without which nothing can be imported."""

SOURCES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "person": ("person_id", "gender_concept_id", "year_of_birth", "month_of_birth"),
        "observation_period": (
            "person_id",
            "observation_period_start_date",
            "observation_period_end_date",
        ),
        "death": ("person_id", "death_date"),
        "visit_occurrence": (
            "visit_occurrence_id",
            "person_id",
            "visit_concept_id",
            "visit_start_date",
            "visit_end_date",
            "care_site_id",
        ),
        "condition_occurrence": ("condition_occurrence_id", "visit_occurrence_id", "condition_source_value"),
        "procedure_occurrence": (
            "procedure_occurrence_id",
            "visit_occurrence_id",
            "procedure_date",
            "procedure_source_value",
        ),
        "drug_exposure": (
            "drug_exposure_id",
            "visit_occurrence_id",
            "drug_exposure_start_date",
            "drug_source_value",
            "quantity",
        ),
        "device_exposure": (
            "device_exposure_id",
            "visit_occurrence_id",
            "device_exposure_start_date",
            "device_source_value",
            "quantity",
        ),
    }
)
"""OMOP tables and the columns of them that are read; a column that is not there counts as empty."""

LOSSES: Final = (
    "COST is not read, as its amounts say neither currency nor fund: every amount is empty, not 0, so "
    "nothing about money can be studied; a feature set that adds up costs finds nothing to add",
    "codes keep their source vocabulary; what is no ICD-10 code has no code_ver, as fedmed data check says",
    "the first condition of a visit counts as its main diagnosis; traditional diagnoses are unknown",
    "conditions, procedures, drugs and devices without a visit are left out",
    "a settlement is dated on the visit's last day; reversals do not exist",
    "scheme and region are declared by whoever imports; CARE_SITE and LOCATION are not read, so an "
    "institution is a number, and kind of person, level and ownership stay empty",
    "a person is insured in each observation period until its end, which may be the export's last day, or "
    "until death; PAYER_PLAN_PERIOD, which knows the plans, is not read",
    "the way of discharge is known for those who died by the visit's last day alone",
    "birth is kept to the month, and stays empty where OMOP has the year alone",
    "MEASUREMENT, OBSERVATION, SPECIMEN and NOTE are not read: the insurance tables hold no results",
    "fund_split, drg_result, ltc_assess and fund_month have no source",
)
"""What an import loses, in words."""

_STAYS = "('9201', '262')"
_ICD = r"'[A-Z]\d{2}(\.[0-9x]\w*)?'"


@dataclass(frozen=True, slots=True, kw_only=True)
class OmopImport:
    """What OMOP does not say and an import must declare.

    Attributes:
        region: Six digits: where the persons are insured and treated.
        insutype: The scheme, of the code list.
    """

    region: str
    insutype: str = "390"

    def __post_init__(self) -> None:
        is_region = len(self.region) == 6 and self.region.isascii() and self.region.isdigit()
        require(is_region, f"region must be six digits such as 310000, got {self.region!r}")
        known = schema().code_lists["insutype"].codes
        require(self.insutype in known, f"insutype must be one of {', '.join(known)}, got {self.insutype!r}")


def source_view(name: str, source: str | None, columns: frozenset[str]) -> str:
    """SQL of the view of one OMOP table: the columns of `SOURCES` as text.

    Args:
        name: The OMOP table.
        source: SQL relation of its rows; None = the table is not there, and the view is empty.
        columns: Lower-case names of the columns that the source has.
    """
    found = {c: f"nullif(CAST({quoted(c)} AS VARCHAR), '')" for c in SOURCES[name] if c in columns}
    cells = ", ".join(f"{found.get(c, 'CAST(NULL AS VARCHAR)')} AS {c}" for c in SOURCES[name])
    rows = f"FROM {source}" if source is not None else "WHERE FALSE"
    return f"CREATE VIEW omop_{name} AS SELECT {cells} {rows}"


def selects(declared: OmopImport) -> Mapping[str, str]:
    """Table -> SQL of its rows, columns in the schema's order.

    Args:
        declared: What OMOP does not say.
    """
    region, scheme = literal(declared.region), literal(declared.insutype)
    return {
        "psn_insu": _listed("psn_insu", _persons(region, scheme), _INSURED),
        "medins": _listed("medins", _institutions(region), f"FROM ({_sites(region)})"),
        "setl": _listed(
            "setl",
            _settlements(region, scheme),
            f"FROM {_VISITS} LEFT JOIN ({_sites(region)}) USING (care_site) "
            f"LEFT JOIN {_DEATHS} USING (person_id)",
        ),
        "setl_diag": _listed("setl_diag", _DIAGNOSES, f"FROM {_events('condition')}"),
        "setl_oprn": _listed("setl_oprn", _PROCEDURES, f"FROM {_events('procedure')}"),
        "fee_list": " UNION ALL ".join(
            _listed("fee_list", _lines(domain, kind), f"FROM {_events(domain)}")
            for domain, kind in _CHARGES.items()
        ),
    }


_DEATHS = "(SELECT person_id, min(TRY_CAST(death_date AS DATE)) AS died FROM omop_death GROUP BY 1)"
_PERIODS = f"""(SELECT person_id, strftime(first_day, '%Y-%m') AS begins,
  CASE WHEN count(*) = count(last_day) THEN max(last_day) END AS last_day
  FROM (SELECT person_id, TRY_CAST(observation_period_start_date AS DATE) AS first_day,
    TRY_CAST(observation_period_end_date AS DATE) AS last_day FROM omop_observation_period)
  LEFT JOIN {_DEATHS} USING (person_id) WHERE coalesce(first_day <= died, TRUE) GROUP BY ALL)"""  # noqa: S608  # fixed text
_INSURED = f"""FROM omop_person LEFT JOIN {_DEATHS} USING (person_id)
LEFT JOIN {_PERIODS} USING (person_id)"""

_VISITS = """(SELECT *, coalesce(care_site_id, '') AS care_site, TRY_CAST(visit_start_date AS DATE) AS begins,
  coalesce(TRY_CAST(visit_end_date AS DATE), TRY_CAST(visit_start_date AS DATE)) AS ends
  FROM omop_visit_occurrence JOIN (SELECT DISTINCT person_id, gender_concept_id, year_of_birth, month_of_birth
    FROM omop_person) USING (person_id))"""

_DIAGNOSES = {
    "mdtrt_id": "visit_occurrence_id",
    "diag_srt_no": "position",
    "diag_type": "'1'",
    "diag_code": "condition_source_value",
    "maindiag_flag": "CASE WHEN position = 1 THEN '1' ELSE '0' END",
    "code_ver": f"CASE WHEN regexp_full_match(condition_source_value, {_ICD}) THEN '2.0' END",
}
_PROCEDURES = {
    "mdtrt_id": "visit_occurrence_id",
    "oprn_srt_no": "position",
    "oprn_oprt_code": "procedure_source_value",
    "oprn_oprt_date": "TRY_CAST(procedure_date AS DATE)",
}
_CHARGES = {"drug": "09", "device": "08"}


def _lines(domain: str, kind: str) -> dict[str, str]:
    """Columns of ``fee_list`` for drugs or devices; a letter keeps their numbers apart."""
    return {
        "feedetl_sn": f"{literal(domain[:2].upper())} || {domain}_exposure_id",
        "mdtrt_id": "visit_occurrence_id",
        "setl_id": "'S' || visit_occurrence_id",
        "psn_no": "person_id",
        "fee_ocur_time": f"TRY_CAST({domain}_exposure_start_date AS TIMESTAMP)",
        "med_list_codg": f"{domain}_source_value",
        "med_chrgitm_type": literal(kind),
        "cnt": "TRY_CAST(quantity AS DECIMAL(16, 4))",
    }


def _listed(name: str, chosen: Mapping[str, str], rows: str) -> str:
    """SELECT with every column of a table; what is not chosen is empty, amounts too: 0 would be free care."""
    cells = (f"{chosen.get(c.name, 'NULL')} AS {c.name}" for c in schema().table(name).columns)
    return f"SELECT {', '.join(cells)} {rows}"


def _sex(column: str) -> str:
    """The code of OMOP's gender concept."""
    return f"CASE {column} WHEN '8507' THEN '1' WHEN '8532' THEN '2' END"


def _persons(region: str, scheme: str) -> dict[str, str]:
    """Columns of ``psn_insu``."""
    birth = "lpad(year_of_birth, 4, '0') || '-' || lpad(month_of_birth, 2, '0')"
    return {
        "psn_no": "person_id",
        "gend": _sex("gender_concept_id"),
        "brdy": birth,
        "insutype": scheme,
        "insu_admdvs": region,
        "psn_insu_stas": "CASE WHEN coalesce(last_day, died) IS NULL THEN '1' ELSE '3' END",
        "begn_ym": "begins",
        "end_ym": "strftime(least(last_day, died), '%Y-%m')",
        "die_flag": "CASE WHEN died IS NULL THEN '0' ELSE '1' END",
    }


def _sites(region: str) -> str:
    """Care sites with the codes that institutions get, in the order of their numbers; one for unknown."""
    code = f"'H' || {region} || lpad(CAST(row_number() OVER (ORDER BY care_site) AS VARCHAR), 5, '0')"
    return (
        f"SELECT care_site, {code} AS code FROM "  # noqa: S608  # fixed text
        "(SELECT DISTINCT coalesce(care_site_id, '') AS care_site FROM omop_visit_occurrence)"
    )


def _institutions(region: str) -> dict[str, str]:
    """Columns of ``medins``."""
    return {"fixmedins_code": "code", "fixmedins_type": "'H'", "fix_blng_admdvs": region}


def _settlements(region: str, scheme: str) -> dict[str, str]:
    """Columns of ``setl``."""
    is_stay = f"visit_concept_id IN {_STAYS}"
    months = "date_diff('month', make_date(year_of_birth::INT, coalesce(month_of_birth::INT, 7), 1), begins)"
    return {
        "setl_id": "'S' || visit_occurrence_id",
        "mdtrt_id": "visit_occurrence_id",
        "psn_no": "person_id",
        "gend": _sex("gender_concept_id"),
        "age": f"greatest(0, floor({months} / 12))",
        "insutype": scheme,
        "med_type": "CASE visit_concept_id WHEN '9201' THEN '21' WHEN '262' THEN '24' WHEN '9203' THEN '13' "
        "ELSE '11' END",
        "setl_time": "CAST(ends AS TIMESTAMP)",
        "begndate": "begins",
        "enddate": "ends",
        "fixmedins_code": "code",
        "insu_admdvs": region,
        "mdtrtarea_admdvs": region,
        "fix_blng_admdvs": region,
        "dscg_way": f"CASE WHEN {is_stay} AND died <= ends THEN '5' END",
        "act_ipt_days": f"CASE WHEN {is_stay} THEN greatest(1, date_diff('day', begins, ends)) END",
        "refd_setl_flag": "'0'",
    }


def _events(domain: str) -> str:
    """Rows of an event table whose visit is there, numbered within the visit."""
    table = f"{domain}_{'exposure' if domain in _CHARGES else 'occurrence'}"
    key = f"{table}_id"
    return (
        f"(SELECT e.*, v.person_id, row_number() OVER (PARTITION BY visit_occurrence_id "  # noqa: S608
        f"ORDER BY TRY_CAST({key} AS BIGINT), {key}) AS position FROM omop_{table} e "
        "JOIN (SELECT DISTINCT visit_occurrence_id, person_id FROM omop_visit_occurrence) v "
        "USING (visit_occurrence_id))"
    )
