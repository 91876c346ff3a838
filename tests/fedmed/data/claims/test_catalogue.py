"""The world's lists: codes have their form and mean one thing each."""

import re

import numpy as np

from fedmed.data.claims import catalogue
from fedmed.data.synthetic_parameters import CODES

FORM = re.compile(r"^[A-Z]\d{2}(\.[0-9x]\w*)?$")


def test_every_spelling_has_the_form_of_a_diagnosis():
    spellings = catalogue.diagnosis_spellings().to_pylist()
    assert all(FORM.match(code) for code in spellings)
    assert len(spellings) == catalogue.SPELLINGS * len(catalogue.diagnosis_stems())


def test_old_codes_differ_from_new_ones():
    stems = np.arange(len(catalogue.diagnosis_stems()))
    old = catalogue.spelled(stems, np.full(stems.size, catalogue.OLD)).to_pylist()
    new = catalogue.spelled(stems, np.full(stems.size, catalogue.FULL)).to_pylist()
    assert not set(old) & set(new)
    assert all(a[:5] == b[:5] for a, b in zip(old, new, strict=True))


def test_every_abstract_code_is_a_diagnosis_or_a_drug():
    drugs = catalogue.GROUPS[catalogue.WESTERN].items
    assert catalogue.DIAGNOSIS_CODES + drugs == CODES


def test_items_have_a_name_of_their_own_and_a_class():
    items = catalogue.items()
    assert len(set(items.names.to_pylist())) == len(items.names)
    assert (items.price > 0).all()
    assert set(items.first_share[items.grade == catalogue.CLASS_A]) == {0}
    assert set(items.first_share[items.grade == catalogue.CLASS_C]) == {10_000}
