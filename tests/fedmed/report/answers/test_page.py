from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from fedmed.report.answers.by_kind import READERS, answer_of
from fedmed.report.answers.page import contributors, render_answer

Make = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("kind", sorted(READERS))
def test_a_page_is_escaped_and_refers_to_nothing_outside(make_document: Make, kind: str) -> None:
    document = make_document(kind)
    page = render_answer(document, answer_of(document))
    assert "Visits &lt;by&gt; age" in page
    assert not re.search(r'(src|href)="(?!#)', page)
    assert "<script" not in page
    assert "no noise and no epsilon" in page


def test_noise_is_said_with_its_epsilon(make_document: Make) -> None:
    document = make_document("regression", exact=False)
    page = render_answer(document, answer_of(document))
    assert "0.98" in page
    assert "if all others collude, epsilon 1.42" in page


@pytest.mark.slow
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    ("scheme", "said", "alone"),
    [
        ("threshold", "only the sum over all contributors could be opened", "; if all others collude, eps"),
        ("ckks", "the coordinator with any one province, can open it", "one uses the key that all hold, eps"),
        ("plain", "the coordinator could read each one", "against the coordinator, and if"),
    ],
)
def test_a_page_says_who_can_open_what_a_province_sent(
    make_document: Make, exact: bool, scheme: str, said: str, alone: str
) -> None:
    def carry(document: dict[str, Any]) -> None:
        document["aggregation"]["scheme"] = scheme

    document = make_document("regression", exact=exact, change=carry)
    page = render_answer(document, answer_of(document))
    assert said in page
    assert (alone in page) != exact
    assert ("could be opened" in page) == (scheme == "threshold")
    assert "encrypted sums" not in page


def test_contributors_are_those_of_every_round(make_document: Make) -> None:
    def lose(document: dict[str, Any]) -> None:
        document["aggregation"]["contributors"].append(["shanghai", "jiangsu", "zhejiang"])

    assert contributors(make_document("survival", change=lose)) == ("shanghai", "jiangsu", "zhejiang")


def test_a_page_says_what_columns_and_codes_mean(make_document: Make) -> None:
    document = make_document("statistics")
    page = render_answer(document, answer_of(document))
    assert "Total cost 医疗费总额" in page
    assert "1 primary, 2 &lt;second&gt;" in page
    document.pop("columns")
    assert "What the columns mean" not in render_answer(document, answer_of(document))
