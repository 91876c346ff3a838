"""The schema as data: what stands in it, and what its reader refuses."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from fedmed.data.nhsa.schema import INPATIENT, Grade, Kind, parse_schema, schema
from fedmed.data.tables import DIRECT_IDENTIFIERS
from fedmed.errors import ConfigError

TABLES = (
    *("psn_insu", "setl", "setl_diag", "setl_oprn", "fee_list", "fund_split", "medins", "drg_result"),
    *("ltc_assess", "fund_month", "label_fraud"),
)


def packaged(name: str) -> str:
    return files("fedmed.data.nhsa").joinpath(name).read_text(encoding="utf-8")


def test_the_schema_has_the_tables_that_a_platform_has() -> None:
    assert schema().names == TABLES
    assert [table.name for table in schema().tables if table.synthetic] == ["label_fraud"]
    assert schema() is schema()


def test_a_column_says_its_type_grade_labels_and_bounds() -> None:
    column = schema().table("setl").column("medfee_sumamt")
    assert (column.kind, column.size, column.scale, column.unit) == (Kind.DECIMAL, 16, 2, "yuan")
    assert (column.grade, column.zh, column.required) == (Grade.SENSITIVE, "医疗费总额", True)
    assert schema().table("fee_list").column("setl_id").refers == "setl.setl_id"


def test_every_column_and_code_has_words_in_both_languages() -> None:
    for table in schema().tables:
        for labelled in (table, *table.columns):
            assert re.search(r"[\u4e00-\u9fff]", labelled.zh), labelled.name
            assert labelled.en
    for codes in schema().code_lists.values():
        assert codes.version
        assert all(zh and en for zh, en in codes.codes.values())
    assert set(schema().grades) == set(Grade)


def test_stays_are_codes_of_their_list() -> None:
    assert set(INPATIENT) <= set(schema().code_lists["med_type"].codes)


def test_other_spellings_lead_to_the_column() -> None:
    assert schema().canonical("psn_cashpay") == "psn_cash_pay"
    assert schema().canonical(" MEDFEE_SUMAMT") == "medfee_sumamt"
    columns = {column.name for table in schema().tables for column in table.columns}
    assert set(schema().aliases.values()) <= columns


def test_no_direct_identifier_is_a_column_and_both_lists_of_them_agree() -> None:
    assert set(schema().refused) == set(DIRECT_IDENTIFIERS)
    assert not {c.name for t in schema().tables for c in t.columns} & set(DIRECT_IDENTIFIERS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "psn_no", kind = "text(30)"', 'name = "certno", kind = "text(30)"'),
        ('name = "psn_no", kind = "text(30)"', 'name = "psn_no", kind = "string"'),
        ('codes = "hi_paymtd"', 'codes = "nothing"'),
        ('refers = "medins.fixmedins_code"', 'refers = "medins.nothing"'),
        ('key = ["setl_id"]', 'key = ["dise_no"]'),
        ('name = "brdy"', 'name = "gend"'),
    ],
)
def test_a_schema_whose_parts_do_not_fit_is_refused(old: str, new: str) -> None:
    text = packaged("schema.toml")
    assert old in text
    with pytest.raises(ConfigError):
        parse_schema(text.replace(old, new, 1), packaged("code_lists.toml"))


def test_a_wrong_name_is_refused_with_the_right_ones() -> None:
    with pytest.raises(ConfigError, match="fund_month"):
        schema().table("settlement")
    with pytest.raises(ConfigError, match="no column medfee"):
        schema().table("setl").column("medfee")
