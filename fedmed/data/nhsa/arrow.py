"""The schema's tables as Arrow types, for whoever writes them."""

from __future__ import annotations

import pyarrow as pa

from fedmed.data.nhsa.schema import Column, Kind, Table

_TYPES = {
    Kind.TEXT: pa.string(),
    Kind.INTEGER: pa.int32(),
    Kind.DATE: pa.date32(),
    Kind.TIME: pa.timestamp("s"),
    Kind.MONTH: pa.string(),
}


def arrow_schema(table: Table) -> pa.Schema:
    """Arrow's schema of a table.

    Returns:
        Its columns in order, nullable where they are not required; money as decimals, months as text
        ``YYYY-MM``.
    """
    return pa.schema([pa.field(c.name, arrow_type(c), nullable=not c.required) for c in table.columns])


def arrow_type(column: Column) -> pa.DataType:
    """Arrow's type of a column."""
    if column.kind is Kind.DECIMAL:
        return pa.decimal128(column.size, column.scale)
    return _TYPES[column.kind]
