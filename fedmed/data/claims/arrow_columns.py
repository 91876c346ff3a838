"""Columns of the tables as Arrow arrays: exact money, numbered names, coded texts; no Python rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedmed.data.nhsa.schema import Kind, schema
from fedmed.types import IntArray

BoolArray = npt.NDArray[np.bool_]

_TYPES = {
    Kind.TEXT: pa.string(),
    Kind.MONTH: pa.string(),
    Kind.INTEGER: pa.int64(),
    Kind.DATE: pa.date32(),
    Kind.TIME: pa.timestamp("s"),
}


def table_schema(name: str) -> pa.Schema:
    """The Arrow schema of one table; columns that may be empty say so."""
    fields = []
    for column in schema().table(name).columns:
        decimal = column.kind is Kind.DECIMAL
        kind = pa.decimal128(column.size, column.scale) if decimal else _TYPES[column.kind]
        fields.append(pa.field(column.name, kind))
    return pa.schema(fields)


def decimals(values: IntArray, digits: int, scale: int, *, empty: BoolArray | None = None) -> pa.Array:
    """Whole numbers as decimals: 123 with scale 2 is 1.23.

    Args:
        values: Shape (n,), in units of 10^-``scale``.
        digits: Of the type, at most 18.
        scale: Digits after the point.
        empty: Shape (n,), where to put nulls; None = nowhere.

    Guarantees:
        Exact; negative numbers too.
    """
    words = np.empty((values.size, 2), dtype=np.int64)  # 128 bits, the low word first
    words[:, 0] = values
    words[:, 1] = values >> 63
    valid = None if empty is None else pa.array(~empty).buffers()[1]
    kind = pa.decimal128(digits, scale)
    return pa.Array.from_buffers(kind, values.size, [valid, pa.py_buffer(words)])


def yuan(fen: IntArray) -> pa.Array:
    """Fen as decimal(16,2) yuan, shape (n,)."""
    return decimals(fen, 16, 2)


def numbered(prefix: str, numbers: IntArray, digits: int) -> pa.Array:
    """Names such as ``S31000000000042``: a prefix and a number with leading zeros, shape (n,)."""
    width = len(prefix) + digits
    text = np.empty((numbers.size, width), dtype=np.uint8)
    text[:, : len(prefix)] = np.frombuffer(prefix.encode(), dtype=np.uint8)
    rest = numbers.copy()
    for place in range(width - 1, len(prefix) - 1, -1):
        rest, digit = np.divmod(rest, 10)
        text[:, place] = digit + ord("0")
    ends = np.arange(numbers.size + 1, dtype=np.int32) * width
    return pa.StringArray.from_buffers(numbers.size, pa.py_buffer(ends), pa.py_buffer(text))


def coded(index: IntArray, words: Sequence[str] | pa.Array, *, empty: BoolArray | None = None) -> pa.Array:
    """Texts from a list, by index, shape (n,); dictionary-encoded, null where ``empty``."""
    known = words if isinstance(words, pa.Array) else pa.array(list(words), type=pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32), mask=empty), known)


def table(name: str, columns: dict[str, pa.Array]) -> pa.Table:
    """One table in the schema's order of columns.

    Raises:
        KeyError: a column is not given.
    """
    names = [column.name for column in schema().table(name).columns]
    return pa.table({column: columns[column] for column in names})
