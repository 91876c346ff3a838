"""A province with everything that deriving a person's year has to tell apart."""

from __future__ import annotations

from decimal import Decimal

from tests.claims_tables import Tables, small_province

YEAR = 2024
"""Year of the features."""


def province() -> Tables:
    """The small province with guests, movers, care away, a reversed visit, next year's visits, odd codes."""
    tables = small_province()
    persons, setl = tables["psn_insu"], tables["setl"]
    persons[1]["insu_admdvs"] = "320400"  # a guest
    persons[2]["end_ym"], persons[3]["end_ym"] = (
        "2024-11",
        "2024-12",
    )  # left before, and at the end of, December
    persons[4]["begn_ym"], persons[5]["begn_ym"] = "2024-12", "2025-01"
    persons[6]["brdy"], persons[6]["gend"] = None, None
    persons.append({**persons[7], "psn_no": "P9000"})  # has no claims
    for row in setl:
        if row["psn_no"] == "P0008":
            row["mdtrtarea_admdvs"] = "320500"
        if row["mdtrt_id"] == "M00040":  # reversed for good
            reversal = {**row, "setl_id": "S80000", "refd_setl_flag": "1"}
            reversal |= {
                k: -v for k, v in row.items() if isinstance(v, Decimal) and k.endswith(("amt", "pay"))
            }
    setl.append(reversal)
    for row in [row for row in setl if row["psn_no"] in ("P0011", "P0012")]:
        day = row["enddate"].replace(year=2025)
        later = {"mdtrt_id": f"N{row['mdtrt_id']}", "setl_id": f"N{row['setl_id']}", "enddate": day}
        setl.append({**row, **later, "medfee_sumamt": Decimal("1000.10")})
    for i, line in enumerate(tables["fee_list"]):
        line["med_list_codg"] = ("XA000A1", "XB013B2", "XQ999", "XA00")[i % 4]
    return tables
