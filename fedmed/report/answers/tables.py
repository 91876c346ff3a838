"""Tidy tables on a page: numbers to the right, intervals below them, the last axis side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fedmed.report.answers.answer import Field, TidyTable, Value
from fedmed.report.sheet import Cell, Section
from fedmed.report.units import plural

MOST_ROWS = 200
"""Rows of a table on the page; the files hold all."""

Row = tuple[Value, ...]


def value_text(value: Value, field: Field) -> str:
    """One value for people: a blank is empty, numbers have the column's digits."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return field.words.get(value, value)
    if field.name == "p_value":
        return "< 0.0001" if value < 1e-4 else f"{value:.4f}"
    if field.name == "probability":
        return repr(float(value))
    if field.name == "alarm":
        return "above" if value > 0 else "below" if value < 0 else ""
    text = f"{value:,.3g}" if field.decimals is None else f"{value:,.{field.decimals}f}"
    return text.replace("-", "−")


def table_section(table: TidyTable, *, brief: bool = False) -> Section:
    """A tidy table for people, at most `MOST_ROWS` rows of it.

    Args:
        table: What to show.
        brief: Only the columns that fit a terminal, with codes instead of words.

    Guarantees:
        What is left out of the page is said, and stands in the files.
    """
    table = _brief(table) if brief else table
    rows = _heard(table)
    section = _as_it_is(table, rows) if table.across is None else _side_by_side(table, rows)
    left = len(section.rows) - MOST_ROWS
    if left <= 0:
        return section
    more = f"{plural(left, 'row')} more are in {table.name}.csv and {table.name}.parquet."
    return replace(section, rows=section.rows[:MOST_ROWS], sentences=(more,))


def _brief(table: TidyTable) -> TidyTable:
    """A table for a terminal: fewer columns, and codes instead of words."""
    fields = tuple(
        replace(
            field,
            words={},
            heading=field.brief_heading or field.heading,
            shown=field.shown and field.is_brief,
        )
        for field in table.fields
    )
    return replace(table, fields=fields)


def _heard(table: TidyTable) -> tuple[Row, ...]:
    """Rows without those that may be left out and hold nothing."""
    names = [field.name for field in table.fields]
    quiet = [(names.index(column), value) for column, value in table.quiet]
    values = [place for place, name in enumerate(names) if name not in dict(table.quiet)]
    return tuple(
        row
        for row in table.rows
        if any(row[place] for place in values) or all(row[place] != value for place, value in quiet)
    )


def _as_it_is(table: TidyTable, rows: tuple[Row, ...]) -> Section:
    """A row an observation."""
    places = [place for place, field in enumerate(table.fields) if field.shown]
    shown = [table.fields[place] for place in places]
    is_number = [not any(isinstance(row[place], str) for row in rows) for place in places]
    cells = tuple(
        tuple(
            Cell(text=value_text(row[place], field), is_number=number)
            for place, field, number in zip(places, shown, is_number, strict=True)
        )
        for row in rows
    )
    return _section(table, tuple(field.heading for field in shown), cells)


def _side_by_side(table: TidyTable, rows: tuple[Row, ...]) -> Section:
    """A column for each level of one axis; below each estimate its interval or its persons."""
    names = [field.name for field in table.fields]
    across, value = names.index(table.across or ""), names.index("estimate")
    keys = list(range(across))
    levels = dict.fromkeys(row[across] for row in rows)
    found = {(*(row[place] for place in keys), row[across]): row for row in rows}
    lines = dict.fromkeys(tuple(row[place] for place in keys) for row in rows)
    cells = tuple(
        (
            *(Cell(text=value_text(key, table.fields[place])) for place, key in zip(keys, line, strict=True)),
            *(_cell(table, found.get((*line, level)), value) for level in levels),
        )
        for line in lines
    )
    axis = table.fields[across]
    said = (f"{axis.heading}: {value_text(level, axis)}" for level in levels)
    headings = (*(table.fields[place].heading for place in keys), *said)
    return _section(table, headings, cells)


def _cell(table: TidyTable, row: Row | None, place: int) -> Cell:
    """One estimate with what belongs to it."""
    if row is None or row[place] is None:
        return Cell(text="", is_number=True)
    by_name = {field.name: (value, field) for field, value in zip(table.fields, row, strict=True)}
    note = ""
    if "conf_low" in by_name and by_name["conf_low"][0] is not None:
        note = f"{value_text(*by_name['conf_low'])} to {value_text(*by_name['conf_high'])}"
    elif by_name.get("persons", (None,))[0] is not None and table.fields[place].heading != "Persons":
        note = f"{value_text(*by_name['persons'])} persons"
    return Cell(text=value_text(row[place], table.fields[place]), note=note, is_number=True)


def _section(table: TidyTable, headings: Sequence[str], rows: tuple[tuple[Cell, ...], ...]) -> Section:
    """The section of a table."""
    return Section(
        name=f"table-{table.name}",
        heading=table.heading,
        lead=table.lead,
        columns=tuple(headings),
        rows=rows,
    )
