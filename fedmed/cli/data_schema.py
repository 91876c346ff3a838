"""What ``fedmed data schema`` shows: the tables for the terminal, as JSON Schema, or as a page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fedmed.cli.schema_page import filled_text, kind_text, values_text
from fedmed.data.nhsa.rules import rule_kinds, rules
from fedmed.data.nhsa.schema import Schema

if TYPE_CHECKING:
    from rich.console import RenderableType


def tables_text(schema: Schema) -> Iterator[RenderableType]:
    """One line a table."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False)
    for heading in ("table", "columns", "key", "what it holds"):
        shown.add_column(heading, justify="right" if heading == "columns" else "left", overflow="fold")
    for table in schema.tables:
        shown.add_row(table.name, str(len(table.columns)), ", ".join(table.key), f"{table.zh} {table.en}")
    yield shown
    yield Text("fedmed data schema TABLE shows its columns; --html FILE makes a page, --json a JSON Schema")


def columns_text(schema: Schema, name: str) -> Iterator[RenderableType]:
    """One line a column of a table.

    Raises:
        ConfigError: there is no such table.
    """
    from rich.table import Table

    shown = Table(box=None, pad_edge=False)
    for heading in ("column", "what it is", "type", "filled", "values", "grade"):
        shown.add_column(heading, overflow="fold")
    for column in schema.table(name).columns:
        # Patterns hold square brackets, which are markup to rich.
        values = values_text(column).replace("[", "\\[")
        shown.add_row(
            column.name, column.zh, kind_text(column), filled_text(column), values, column.grade.value
        )
    yield shown


def rules_text() -> Iterator[RenderableType]:
    """One line a rule."""
    from rich.table import Table

    shown = Table(box=None, pad_edge=False)
    for heading in ("rule", "lowers", "what is wrong"):
        shown.add_column(heading, overflow="fold")
    for rule in rules():
        kind = rule_kinds()[rule.kind]
        shown.add_row(rule.id, kind.dimension.value, f"{kind.zh} {kind.en}")
    yield shown
