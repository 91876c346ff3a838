from __future__ import annotations

from typing import Any

import pytest

from fedmed.report.answers.meanings import words_of

COLUMNS: dict[str, Any] = {
    "hosp_lv": {
        "en": "Level of the hospital; stays",
        "zh": "医院等级",
        "unit": "",
        "codes": {"3": "tertiary"},
    },
    "cond_copd": {"en": "COPD, of the lung", "zh": "慢阻肺", "unit": "", "codes": {}},
    "cost": {"en": "Cost", "zh": "费用", "unit": "yuan", "codes": {}},
}


@pytest.mark.parametrize(
    ("axes", "axis", "name", "inside", "level"),
    [
        ({"hosp_lv": "hosp_lv"}, "hosp_lv", "Level of the hospital", "level of the hospital", "3 tertiary"),
        ({}, "cond_copd", "COPD", "COPD", "3"),
        ({"Level": "hosp_lv"}, "Level", "Level", "Level", "3 tertiary"),
        ({"hosp_lv": "ward"}, "hosp_lv", "hosp_lv", "hosp_lv", "3"),
        ({"hosp_lv": ""}, "hosp_lv", "hosp_lv", "hosp_lv", "3"),
    ],
)
def test_the_study_has_the_first_word_on_the_name_of_an_axis_goes_before_words(
    axes: dict[str, str], axis: str, name: str, inside: str, level: str
) -> None:
    words = words_of({"columns": COLUMNS, "axes": axes})
    assert (words.name(axis), words.inside(axis), words.level(axis, "3")) == (name, inside, level)


def test_units_are_those_of_columns_and_squares_and_rows_are_what_they_are() -> None:
    words = words_of({"columns": COLUMNS, "rows": "stays"})
    assert [words.unit(name) for name in ("cost", "cost^2", "rows", "persons", "1")] == [
        "yuan",
        "yuan²",
        "stays",
        "persons",
        "1",
    ]


def test_a_document_of_an_older_version_has_no_words() -> None:
    words = words_of({})
    assert (words.name("hosp_lv"), words.level("hosp_lv", "3"), words.unit("rows")) == (
        "hosp_lv",
        "3",
        "rows",
    )
