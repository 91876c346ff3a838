"""``fedmed data check`` as its user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedmed.cli.edge import run
from tests.claims_tables import small_province, write_tables


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty institutions, twelve of them with a regional code."""
    one = small_province()["medins"][0]
    rows = [{**one, "fixmedins_code": f"H310000{i:05d}"} for i in range(40)]
    for row in rows[:12]:
        row["own_type"] = "7"
    return write_tables(tmp_path / "上海", {"medins": rows})


def test_unfit_tables_end_with_code_7_a_page_and_one_json_document(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "pages" / "quality.html"
    assert run(["data", "check", str(folder), "--json", "--html", str(page)]) == 7
    shown = json.loads(capsys.readouterr().out)
    assert shown["below_gate"] == ["validity"]
    assert [(entry["id"], entry["failing"], entry["rate"]) for entry in shown["found"]] == [
        ("bad_code_value:medins.own_type", "12", 0.3)
    ]
    text = page.read_text()
    assert "上海" in text
    assert "Not fit. Below the gate 0.95: validity 0.700." in text
    assert "H310000" not in text


def test_the_terminal_says_what_is_wrong_in_both_languages(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "check", str(folder), "--gate", "0.5"]) == 0
    shown = capsys.readouterr().out
    assert "bad_code_value" in shown
    assert "代码不在值域内" in shown
    assert "Fit. Every score reaches the gate 0.5" in shown.replace("\n", " ")


@pytest.mark.slow
def test_settings_come_from_a_file_whose_faults_are_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "quality.toml"
    settings.write_text('[codes]\nown_type = ["7"]\n')
    assert run(["data", "check", str(folder), "--settings", str(settings)]) == 0
    for text, words in (
        ("mony = 1\n", "did you mean money?"),
        ('off = ["no_rule"]\n', "unknown rule no_rule"),
        ("gate = 2\n", "gate: must be <= 1"),
        ("gate =", "is not TOML"),
    ):
        settings.write_text(text)
        assert run(["data", "check", str(folder), "--settings", str(settings)]) == 2
        assert words in capsys.readouterr().err


def test_the_page_says_above_which_rate_a_rule_is_named(tmp_path: Path) -> None:
    tables = {name: small_province()[name] for name in ("setl_diag", "medins")}
    folder, page = write_tables(tmp_path / "in", tables), tmp_path / "page.html"
    run(["data", "check", str(folder), "--html", str(page)])
    assert "(unspecified_codes, setl_diag.diag_code): named above 30 % only" in page.read_text()


def test_a_folder_without_tables_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "check", str(tmp_path)]) == 7
    assert "none of the schema's tables" in capsys.readouterr().err
    assert run(["data", "check", str(tmp_path / "nowhere")]) == 7
    assert run(["data", "check", str(tmp_path), "--memory", "1"]) == 2
