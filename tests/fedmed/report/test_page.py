"""The page: self-contained, escaped, the same every time, for any set of arms."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from fedmed.report.page import render_html
from fedmed.report.result import Result

# Together these take more than the fast part of the suite can spare.
pytestmark = pytest.mark.slow

Make = Callable[..., Result]
VOID = {"meta", "br", "img", "link", "input", "hr"}
ATTACK = "<script>alert('x')</script>\"><img src=x onerror=1> $a$ {{ 7*7 }}"


class _Page(HTMLParser):
    """Collects what a browser would act on, and holds the tags to be balanced."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page(make_result: Make) -> str:
    """The page of the usual result."""
    return render_html(make_result())


def test_the_page_is_balanced_html_with_unique_ids(page: str) -> None:
    parsed = _Page(page)
    assert parsed.open == []
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {"title", "main", "h1", "table", "figure"} <= parsed.tags


def test_the_page_refers_to_nothing_outside_itself(page: str) -> None:
    addresses = set(re.findall(r"(?:https?:)?//[^\s\"'<)]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    parsed = _Page(page)
    assert not parsed.tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    assert not any(name.startswith("on") or name == "src" for name in parsed.attributes)
    assert not re.search(r"@import|url\((?!#)", page)


def test_the_page_says_what_it_must(page: str) -> None:
    text = " ".join(_Page(page).text.split())
    for words in (
        "Training together is worth +0.032 AUC",
        "fallback epsilon",
        "Epsilon by RDP",
        "Who can see and decrypt what",
        "上海",
        "known in a simulation only",
        "The data are synthetic",
        "4f0c2a9d" * 8,
        "flwr 1.41.0",
        "What this report does not show",
    ):
        assert words in text, words
    assert "went wrong" not in text


def test_every_picture_has_words_for_those_who_do_not_see_it(page: str) -> None:
    pictures = re.findall(r"<svg[^>]*>", page)
    assert len(pictures) > 10
    assert all("aria-label" in one or 'aria-hidden="true"' in one for one in pictures)


def test_the_same_result_gives_the_same_page(make_result: Make, page: str) -> None:
    assert render_html(make_result()) == page


def test_texts_of_the_result_cannot_add_markup(make_result: Make) -> None:
    def change(document: dict[str, Any]) -> None:
        document["study"].update(id=ATTACK, title=ATTACK, owner=ATTACK, purpose=ATTACK, digest=ATTACK)
        document["nodes"][0].update(name=ATTACK, name_zh=ATTACK)
        document["phases"][0]["phase"] = ATTACK
        document["aggregation"].update(parameter_set=ATTACK)
        document["aggregation"]["lost_nodes"] = [{"node": "anhui", "aggregation": 1, "phase": ATTACK}]
        document["data"].update(name=ATTACK, outcome=ATTACK)
        document["versions"][ATTACK] = ATTACK

    parsed = _Page(render_html(make_result(change)))
    assert parsed.open == []
    assert not parsed.tags & {"script", "img"}
    assert "onerror" not in parsed.attributes
    assert "alert('x')" in parsed.text
    assert "{{ 7*7 }}" in parsed.text


@pytest.mark.parametrize(
    ("arms", "nodes", "aggregations"),
    [((), 1, 1), (("alone_private",), 3, 2), (("pooled",), 4, 40), (("central", "alone"), 4, 1)],
)
def test_any_set_of_arms_renders(
    make_result: Make, arms: tuple[str, ...], nodes: int, aggregations: int
) -> None:
    def change(document: dict[str, Any]) -> None:
        document["simulation"] = False
        document["arms"] = {k: v for k, v in document["arms"].items() if k == "federated" or k in arms}

    parsed = _Page(render_html(make_result(change, nodes=nodes, aggregations=aggregations)))
    assert parsed.open == []
    assert "None" not in parsed.text
    assert "†" not in parsed.text


def test_a_result_with_only_what_is_required_renders(make_result: Make) -> None:
    def change(document: dict[str, Any]) -> None:
        document["arms"] = {"federated": {"auc": 0.8}}
        for key in ("curve", "phases", "data", "versions"):
            document.pop(key)
        for key in ("margin_bits", "payload_bits", "fields", "field_bits", "contributors", "lost_nodes"):
            document["aggregation"].pop(key)

    parsed = _Page(render_html(make_result(change)))
    assert parsed.open == []
    assert "None" not in parsed.text


@pytest.mark.slow
def test_thirty_one_nodes_render(make_result: Make) -> None:
    parsed = _Page(render_html(make_result(nodes=31)))
    assert parsed.open == []
    assert "Province 31" in parsed.text


def test_what_went_wrong_has_its_own_box(make_result: Make) -> None:
    def change(document: dict[str, Any]) -> None:
        document["aggregation"]["attempts"] = 41
        document["arms"] = {"federated": {"auc": 0.8}}

    assert "What went wrong on the way" in render_html(make_result(change))


def test_importing_the_report_loads_no_library_that_draws() -> None:
    code = "import sys, fedmed.report, fedmed.report.terminal; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert not {"matplotlib", "jinja2", "rich"} & set(loaded.split())


def test_a_deployment_without_scores_has_no_empty_cells(unscored: Result) -> None:
    text = render_html(unscored)
    for words in ("No scores are in this result", "Aggregations", "It was not scored", "上海"):
        assert words in text
    for words in ("Scores by", "AUC", "None", "–</td>", "†"):
        assert words not in text.partition("<body>")[2], words
