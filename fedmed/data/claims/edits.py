"""Edits of single columns in chosen rows of a table; everything else stays as it is."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fedmed.data.claims.arrow_columns import BoolArray
from fedmed.types import IntArray


def truths(values: pa.ChunkedArray) -> BoolArray:
    """A column of truths as NumPy; nulls are false."""
    found: BoolArray = np.asarray(pc.fill_null(values, False)).astype(np.bool_)
    return found


def plain(rows: pa.Table, name: str) -> pa.ChunkedArray:
    """A column without its dictionary."""
    column = rows.column(name)
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def with_values(rows: pa.Table, name: str, chosen: BoolArray, value: pa.Scalar | pa.ChunkedArray) -> pa.Table:
    """The rows with another value of a column where chosen."""
    column = plain(rows, name)
    changed = pc.if_else(pa.array(chosen), value.cast(column.type), column)
    return rows.set_column(rows.schema.get_field_index(name), name, changed)


def with_more(rows: pa.Table, name: str, chosen: BoolArray, amount: str) -> pa.Table:
    """The rows with an amount added to a decimal column where chosen."""
    column = rows.column(name)
    return with_values(rows, name, chosen, pc.add(column, pa.scalar(Decimal(amount), column.type)))


def with_text(rows: pa.Table, name: str, chosen: BoolArray, value: str | None) -> pa.Table:
    """The rows with a fixed text, or nothing, where chosen."""
    return with_values(rows, name, chosen, pa.scalar(value, pa.string()))


def equals(rows: pa.Table, name: str, *values: str) -> BoolArray:
    """Which rows have one of some texts."""
    return truths(pc.is_in(plain(rows, name), value_set=pa.array(values)))


def day_numbers(rows: pa.Table, name: str) -> IntArray:
    """A date column of ``setl`` in days."""
    days: IntArray = np.asarray(rows.column(name).cast(pa.int32())).astype(np.int64)
    return days


def moved(rows: pa.Table, chosen: BoolArray, **days: IntArray) -> pa.Table:
    """The rows with some date columns of the chosen moved by days, times at the same second."""
    for name, by in days.items():
        column = rows.column(name)
        unit, a_day = (pa.int32(), 1) if column.type == pa.date32() else (pa.int64(), 86_400)
        moved = np.asarray(column.cast(unit)).astype(np.int64) + by * a_day
        rows = with_values(
            rows, name, chosen, pa.chunked_array([pa.array(moved).cast(unit).cast(column.type)])
        )
    return rows


def stacked(*tables: pa.Table) -> pa.Table:
    """Rows of several tables; a text column loses its dictionary where not every table has one."""
    first = tables[0]
    differ = [n for n in first.schema.names if any(t.column(n).type != first.column(n).type for t in tables)]
    for name in differ:
        place = first.schema.get_field_index(name)
        tables = tuple(t.set_column(place, name, plain(t, name)) for t in tables)
    return pa.concat_tables(tables)
