"""Columns of the tables as Arrow arrays: exact money, numbered names, coded texts; no Python rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedmed.data.nhsa.arrow import arrow_type
from fedmed.data.nhsa.schema import schema
from fedmed.types import IntArray

BoolArray = npt.NDArray[np.bool_]


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
    """One table of the schema, its columns in order and of its types; texts may keep their dictionary.

    Raises:
        KeyError: a column is not given.
        pyarrow.ArrowInvalid: a value does not fit its type.
    """
    found = {}
    for column in schema().table(name).columns:
        values = columns[column.name]
        coded_text = pa.types.is_dictionary(values.type)
        found[column.name] = values if coded_text else values.cast(arrow_type(column))
    return pa.table(found)
