from __future__ import annotations

import datetime

import pytest

from fedmed.cli.ready_kinds import ReadyStudy
from fedmed.cli.ready_studies import ready_study
from fedmed.data.claims.catalogue import diagnosis_stems
from fedmed.data.feature_sets.definition import packaged_feature_set
from fedmed.data.nhsa.glossary import glossary, row_word
from fedmed.data.synthetic import province_tables
from fedmed.study import load_study


def test_a_column_is_explained_with_the_codes_of_the_study() -> None:
    found = glossary(["psn_no", "HOSP_LV", "medfee_sumamt"], {"HOSP_LV": ("3", "1", "9")}, dataset="stay")
    assert list(found) == ["psn_no", "HOSP_LV", "medfee_sumamt"]
    assert found["HOSP_LV"]["codes"] == {"3": "tertiary", "1": "primary"}
    assert (found["medfee_sumamt"]["unit"], found["medfee_sumamt"]["zh"]) == ("yuan", "医疗费总额")


def test_two_digits_of_a_region_are_its_province() -> None:
    levels = {"insu_admdvs": ("31", "34"), "mdtrtarea_admdvs": ("310101",)}
    found = glossary(levels, levels, dataset="stay")
    assert found["insu_admdvs"]["codes"] == {"31": "Shanghai", "34": "Anhui"}
    assert found["mdtrtarea_admdvs"]["codes"] == {}


def test_a_column_that_no_table_has_is_left_out() -> None:
    assert glossary(["shoe_size"], {"shoe_size": ("1",)}, dataset="stay") == {}


def test_words_about_visits_do_not_explain_rows_of_another_kind() -> None:
    found = glossary(["age", "gend", "medfee_sumamt"], {"gend": ("1",)}, dataset="my_table")
    assert list(found) == ["gend", "medfee_sumamt"]
    year, stay = (glossary(["age"], {}, dataset=name)["age"] for name in ("person_year", "stay"))
    assert (year["en"], year["unit"]) == ("Age, at the end of the year", "year")
    assert stay["en"] == "Age at the beginning of the visit"


def test_derived_columns_have_words_and_units() -> None:
    stay = glossary(
        ["followed_days", "readmitted", "diag_code"], {"diag_code": ("I10", "Z99")}, dataset="first_stay"
    )
    assert (stay["followed_days"]["unit"], stay["followed_days"]["zh"]) == ("day", "随访天数")
    assert stay["diag_code"]["codes"] == {"I10": "Essential hypertension"}
    year = glossary(["cond_ckd", "scheme", "next_cost"], {"scheme": ("390",)}, dataset="person_year")
    assert year["cond_ckd"] == {"en": "Chronic kidney disease", "zh": "慢性肾脏病", "unit": "", "codes": {}}
    assert year["scheme"]["codes"] == {"390": "urban-rural resident basic"}
    assert year["next_cost"]["unit"] == "yuan"


def test_every_column_of_the_feature_set_and_of_the_generator_has_words() -> None:
    one = packaged_feature_set()
    derived = {entry.name for entry in (*one.features, *one.outcomes)}
    made_up = province_tables(500, 1)["anhui"].column_names
    for column in (*derived, *made_up):
        found = glossary([column], {}, dataset="person_year")[column]
        assert found["en"]
        assert found["zh"]


def test_every_disease_of_the_generator_has_a_title() -> None:
    diseases = sorted({stem[:3] for stem in diagnosis_stems()})
    found = glossary(["diag_code"], {"diag_code": diseases}, dataset="stay")
    assert list(found["diag_code"]["codes"]) == diseases


@pytest.mark.parametrize("kind", [kind for kind in ReadyStudy if kind is not ReadyStudy.TRAINING])
def test_every_column_of_a_ready_study_has_words(kind: ReadyStudy) -> None:
    spec = load_study(ready_study(kind, today=datetime.date(2026, 11, 22)))
    assert list(glossary(spec.columns, {}, dataset=spec.data.dataset)) == list(spec.columns)


def test_a_row_has_a_name_where_somebody_knows_one() -> None:
    assert (row_word("stay"), row_word("my_table")) == ("stays", "rows")
