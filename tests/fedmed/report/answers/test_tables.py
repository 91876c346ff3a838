from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fedmed.report.answers.answer import Field, TidyTable
from fedmed.report.answers.by_kind import answer_of
from fedmed.report.answers.tables import MOST_ROWS, table_section, value_text

Make = Callable[..., dict[str, Any]]


def test_values_are_written_by_their_column() -> None:
    field = Field(name="cost", heading="Cost", decimals=2)
    assert value_text(None, field) == ""
    assert value_text(-1234.5, field) == "−1,234.50"
    assert value_text(1e-9, Field(name="p_value", heading="p")) == "< 0.0001"
    probability = Field(name="probability", heading="Probability", decimals=2)
    assert [value_text(p, probability) for p in (0.995, 0.996, 0.5)] == ["0.995", "0.996", "0.5"]


def test_two_axes_stand_side_by_side_with_persons_or_intervals(make_document: Make) -> None:
    exact = table_section(answer_of(make_document("statistics")).tables[0])
    assert exact.columns == ("chapter", "Level: 1 primary", "Level: 2 <second>")
    assert [cell.text for cell in exact.rows[0]] == ["I", "9,000.50", "12,000.25"]
    assert exact.rows[0][1].note == "40 persons"
    noisy = table_section(answer_of(make_document("statistics", exact=False)).tables[0])
    assert noisy.rows[0][1].note == "9,000.50 to 9,000.50"


def test_only_empty_rows_of_other_levels_are_left_out(make_document: Make) -> None:
    table = answer_of(make_document("statistics")).tables[1]
    section = table_section(replace(table, across=None))
    assert len(section.rows) == 4  # a blank of declared levels stays
    assert len(table.rows) == 9


def test_a_long_table_says_where_the_rest_is() -> None:
    fields = (Field(name="a", heading="a"),)
    table = TidyTable(name="t", heading="t", fields=fields, rows=((1,),) * (MOST_ROWS + 2))
    assert table_section(table).sentences == ("2 rows more are in t.csv and t.parquet.",)


def test_a_terminal_gets_codes_without_words(make_document: Make) -> None:
    table = answer_of(make_document("statistics")).tables[0]
    assert table_section(table, brief=True).columns == ("chapter", "hosp_lv: 1", "hosp_lv: 2")
    assert table.rows[0][1] == "1"  # and so do files


def test_a_terminal_gets_fewer_columns(make_document: Make) -> None:
    table = answer_of(make_document("regression")).tables[0]
    assert table_section(table, brief=True).columns == (
        "Term",
        "Estimate",
        "p",
        "Rate ratio",
        "from",
        "to",
    )
    assert len(table_section(table).columns) == len(table.fields)
