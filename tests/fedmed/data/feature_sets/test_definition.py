import json
import tomllib
from pathlib import Path

import pytest
import tomli_w

from fedmed.data.feature_sets import definition
from fedmed.data.feature_sets.definition import (
    Measure,
    derived_grades,
    packaged_feature_set,
    parse_feature_set,
)
from fedmed.data.nhsa.schema import Grade
from fedmed.errors import ConfigError
from fedmed.types import DatasetSpec, FeatureKind, Label

TEXT = Path(definition.__file__).with_name("person_year.toml").read_text(encoding="utf-8")


def edited(change: str, to: str) -> str:
    assert change in TEXT
    return TEXT.replace(change, to, 1)


def test_the_packaged_set_is_a_dataset_of_a_study() -> None:
    found = packaged_feature_set()
    features = tuple(one.feature for one in found.features)
    spec = DatasetSpec(name=found.name, person="psn_no", label=Label(column="next_cost"), features=features)
    assert spec.inputs == 491
    assert [one.kind for one in spec.features][-2:] == [FeatureKind.CODES] * 2
    assert found.columns[0] == "psn_no"
    assert found.reference == f"person_year@{found.digest.hex()}"


def test_layout_and_comments_do_not_change_the_digest_and_anything_else_does() -> None:
    found = parse_feature_set(TEXT)
    assert parse_feature_set("# a remark\n" + TEXT) == found
    assert parse_feature_set(tomli_w.dumps(tomllib.loads(TEXT))).digest == found.digest
    for change, to in (
        ('"XA000"', '"XA999"'),
        ("high = 12\n", "high = 13\n"),
        ('version = "1.1"', 'version = "1"'),
    ):
        assert parse_feature_set(edited(change, to)).digest != found.digest


def test_needs_name_every_column_that_is_read() -> None:
    needs = packaged_feature_set().needs
    assert set(needs) == {"psn_insu", "setl", "setl_diag", "setl_oprn", "fee_list"}
    assert {"mdtrtarea_admdvs", "hosp_lv", "act_ipt_days", "refd_setl_flag"} <= needs["setl"]
    assert needs["fee_list"] == {"mdtrt_id", "psn_no", "med_list_codg", "med_chrgitm_type"}


def test_what_is_made_of_a_persons_claims_stays_sensitive() -> None:
    found = derived_grades(packaged_feature_set().columns)
    assert found.pop("psn_no") is Grade.RESTRICTED
    assert set(found.values()) == {Grade.SENSITIVE}


@pytest.mark.parametrize(
    ("change", "to", "says"),
    [
        ('measure = "age"', 'measur = "age"', "unknown key measur; did you mean measure?"),
        ('measure = "age"', 'measure = "mean"', "not a valid Measure"),
        ("format = 1", "format = 2", "format must be 1"),
        ('column = "brdy"', 'column = "birth"', "no column birth"),
        ('table = "psn_insu"', 'table = "medins"', "table must be one of"),
        ('column = "brdy"', "", "name a column"),
        ('name = "stays"', 'name = "days"', "days stands there twice"),
        ('"XA000"', '"XA00"', "must have 5 signs"),
        ('"XB001"', '"XA000"', "stands there twice"),
        ("high = 100\n", "high = 0\n", "low must be < high"),
        ('column = "medfee_sumamt"', 'column = "hosp_lv"', "amounts and days"),
        ('where = { med_type = ["41"] }', 'where = { med_type = ["4\'"] }', "words are plain"),
    ],
)
def test_a_set_that_cannot_be_is_refused_with_the_cause(change: str, to: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace("?", r"\?")):
        parse_feature_set(edited(change, to))


def test_what_is_no_set_is_refused() -> None:
    for text in ("][", "format = 1", json.dumps({"format": 1})):
        with pytest.raises(ConfigError, match="feature set"):
            parse_feature_set(text)


def test_measures_are_a_closed_choice() -> None:
    assert {one.value for one in Measure} == {"attribute", "age", "count", "sum", "distinct", "codes"}
