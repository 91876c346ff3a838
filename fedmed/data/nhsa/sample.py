"""Made-up values of a column, from the public schema alone: the same at every node, and nobody's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from fedmed.data.feature_sets.definition import Definition, Measure
from fedmed.data.nhsa.schema import Column, Kind, schema

ROWS: Final = 3
"""Made-up values that a catalogue shows of a column."""


def column_sample(table: str, column: Column, rows: int = ROWS) -> tuple[str, ...]:
    """Values that a column of the schema could hold.

    Args:
        table: The column's table.
        column: The column.
        rows: How many.

    Guarantees:
        They depend on the names, code lists and bounds of the schema and on nothing else.
    """
    return tuple(_value(column, _number(table, column.name, row)) for row in range(rows))


def derived_sample(one: Definition, rows: int = ROWS) -> tuple[str, ...]:
    """Values that a derived column could hold; guarantees as `column_sample`, for bounds and vocabularies."""
    return tuple(_derived(one, _number("derived", one.name, row)) for row in range(rows))


def _number(*names: object) -> int:
    """A number that looks drawn and is not: a hash of public names."""
    return int.from_bytes(hashlib.sha256("\x00".join(map(str, names)).encode()).digest()[:6], "big")


def _value(column: Column, number: int) -> str:
    """One value of a column."""
    if column.codes:
        return _one_of(tuple(schema().code_lists[column.codes].codes), number)
    if column.kind in (Kind.DECIMAL, Kind.INTEGER):
        low = column.low or 0
        high = (
            column.high if column.high is not None else low + 10 ** min(4, max(1, column.size - column.scale))
        )
        return str(low + number % (high - low + 1))
    if column.kind is Kind.TEXT:
        return (
            f"310{number % 1000:03d}"
            if "admdvs" in column.name
            else f"{column.name[0].upper()}{number % 100_000:05d}"
        )
    month = f"20{10 + number % 15:02d}-{1 + number % 12:02d}"
    return month if column.kind is Kind.MONTH else f"{month}-{1 + number % 28:02d}"


def _derived(one: Definition, number: int) -> str:
    """One value of a derived column."""
    if one.measure is Measure.ATTRIBUTE:
        return _one_of(one.categories, number)
    if one.measure is Measure.CODES:
        words = sorted({(number >> shift) % len(one.vocabulary) for shift in (0, 9)})
        return "[" + ", ".join(one.vocabulary[word] for word in words) + "]"
    return f"{one.low + number % int(one.high - one.low + 1):.0f}"


def _one_of(values: Sequence[str], number: int) -> str:
    """One of several values."""
    return values[number % len(values)]
