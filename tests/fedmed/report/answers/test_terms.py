from __future__ import annotations

import pytest

from fedmed.report.answers.meanings import Words
from fedmed.report.answers.terms import term_label, term_words

WORDS = Words(
    columns={
        "age": {"en": "Age, at the end of the year", "zh": "年龄", "unit": "year", "codes": {}},
        "gend": {"en": "Sex", "zh": "性别", "unit": "", "codes": {"1": "male", "2": "female"}},
        "scheme": {
            "en": "Insurance scheme",
            "zh": "险种",
            "unit": "",
            "codes": {"390": "urban-rural resident"},
        },
    },
    axes={},
    rows="rows",
)


@pytest.mark.parametrize(
    ("term", "full", "short"),
    [
        ("age", "Age (per year)", "Age"),
        ("gend[2]", "Sex: 2 female, against 1 male", "Sex: 2 female"),
        ("gend=2", "Sex: 2 female, against 1 male", "Sex: 2 female"),
        ("scheme[390]", "Insurance scheme: 390 urban-rural resident", "Insurance scheme: 390"),
        ("shoe_size", "shoe_size", "shoe_size"),
        ("site[a_very_long_level_of_it]", "site: a_very_long_level_of_it", "site: a_very_long_level_of_it"),
    ],
)
def test_a_term_is_said_in_words_and_short_beside_a_plot(term: str, full: str, short: str) -> None:
    assert term_words(term, WORDS, {"gend": "1"}) == full
    assert term_label(term, WORDS) == short
