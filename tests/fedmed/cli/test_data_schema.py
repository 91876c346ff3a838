"""``fedmed data schema`` as its user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedmed.cli.edge import run
from fedmed.data.nhsa.rules import rules
from fedmed.data.nhsa.schema import schema


@pytest.mark.slow
def test_the_terminal_lists_tables_columns_and_rules(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "schema"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in schema().names)
    assert run(["data", "schema", "medins"]) == 0
    shown = capsys.readouterr().out
    assert r"^[HP]\d{11}$" in shown
    assert run(["data", "schema", "--rules"]) == 0
    assert "no_main_diagnosis:setl" in capsys.readouterr().out
    assert run(["data", "schema", "nothing"]) == 2


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "schema", "--json"]) == 0
    assert set(schema().names) < set(json.loads(capsys.readouterr().out)["$defs"])


def test_the_page_has_every_column_code_and_kind_of_rule(tmp_path: Path) -> None:
    page = tmp_path / "schema.html"
    assert run(["data", "schema", "--html", str(page)]) == 0
    text = page.read_text()
    for table in schema().tables:
        assert all(f"{column.zh}" in text and column.name in text for column in table.columns)
    assert all(words[0] in text for codes in schema().code_lists.values() for words in codes.codes.values())
    assert all(rule.kind in text for rule in rules())
    assert "http" not in text
