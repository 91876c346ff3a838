from __future__ import annotations

from fedmed.data.nhsa.glossary import glossary


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


def test_words_about_visits_do_not_explain_a_persons_year() -> None:
    found = glossary(["age", "gend", "medfee_sumamt"], {"gend": ("1",)}, dataset="person_year")
    assert list(found) == ["gend", "medfee_sumamt"]
    assert "age" in glossary(["age"], {}, dataset="stay")
