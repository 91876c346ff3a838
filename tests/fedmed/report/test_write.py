"""Writing the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedmed.errors import ConfigError
from fedmed.report import render_html, write_report
from fedmed.report.result import Result

Make = Callable[..., Result]


@pytest.fixture(scope="module")
def small(make_result: Make) -> Result:
    """A result that renders quickly."""

    def change(document: dict[str, Any]) -> None:
        document["arms"] = {"federated": {"auc": 0.8}}
        document.update(curve=[], phases=[])

    return make_result(change)


def test_the_page_lies_in_the_run_folder_and_nothing_else_does(small: Result, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "study"
    path = write_report(folder, small)
    assert path == folder / "report.html"
    assert path.read_text(encoding="utf-8") == render_html(small)
    assert list(folder.iterdir()) == [path]


def test_an_older_page_is_replaced(small: Result, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old")
    assert write_report(tmp_path, small).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_folder_that_cannot_be_is_refused_with_a_remedy(small: Result, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigError, match="choose a folder"):
        write_report(tmp_path / "file", small)
