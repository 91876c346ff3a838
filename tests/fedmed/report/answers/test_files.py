from __future__ import annotations

import csv
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from fedmed.report.answers.answer import Field, TidyTable
from fedmed.report.answers.files import csv_text, write_answer

Make = Callable[..., dict[str, Any]]


def test_every_table_is_there_as_parquet_and_csv(make_document: Make, tmp_path: Path) -> None:
    page = write_answer(tmp_path, make_document("regression"))
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    table = pq.read_table(tmp_path / "coefficients.parquet")
    with (tmp_path / "coefficients.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert table.column("term").to_pylist() == [line["term"] for line in lines]
    assert table.column("estimate").to_pylist() == [float(line["estimate"]) for line in lines]
    assert table.column("ratio").to_pylist()[0] is None
    assert lines[0]["ratio"] == ""
    svg = (tmp_path / "forest.svg").read_text(encoding="utf-8")
    assert ET.fromstring(svg).tag.endswith("svg")  # noqa: S314  # our own file
    assert not list(tmp_path.glob(".*draft"))


def test_no_text_is_a_formula_in_a_spreadsheet() -> None:
    table = TidyTable(
        name="t", heading="t", fields=(Field(name="a", heading="a"),), rows=(("=1+1",), (None,))
    )
    assert csv_text(table) == 'a\n\'=1+1\n""\n'
