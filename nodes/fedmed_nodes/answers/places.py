"""Rows to the places of their levels and to whole units, as a study file declares both.

No value decides whether this succeeds: what no declared level takes belongs to the others, what is no number
is missing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fedmed.data.columns import as_numbers, as_text, column
from fedmed.study.axes import AxisTable, ValueTable, month_number
from fedmed.types import FloatArray, IntArray

_MONTH = r"^(?P<year>[0-9]{4})-?(?P<month>0[1-9]|1[0-2])"


def places(rows: pa.Table, axis: AxisTable) -> IntArray:
    """The level of each row.

    Args:
        rows: A table that has the axis's column.
        axis: A declared axis.

    Returns:
        Shape (rows,), int64 in [0, axis.size); the last one for rows that no declared level takes.

    Raises:
        DataContractError: the column is missing or of an unfit type.
    """
    if axis.bands or axis.edges:
        return _between(_numbers(rows, axis), axis)
    text = as_text(column(rows, axis.column), name=axis.column)
    levels = axis.labels[:-1]
    if axis.months:
        text = _as_month(text)
    elif axis.prefix is not None:
        text = pc.utf8_slice_codeunits(text, 0, axis.prefix)
    found = pc.fill_null(pc.index_in(text, value_set=pa.array(levels, pa.string())), len(levels))
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.int64)


def units(rows: pa.Table, value: ValueTable) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """The value of each row in units of the last decimal.

    Returns:
        Values within the public bounds, 0 where there is none, and whether there is one; shape (rows,).

    Raises:
        DataContractError: the column is missing or of an unfit type.
    """
    numbers = as_numbers(column(rows, value.column), name=value.column, unfit="silence")
    known = ~np.isnan(numbers)
    low, high = value.units
    with np.errstate(over="ignore"):  # an infinite product is clamped below
        scaled = np.rint(np.where(known, numbers, 0.0) * 10.0**value.decimals)
    return np.where(known, np.clip(scaled, float(low), float(high)), 0.0).astype(np.int64), known


def _numbers(rows: pa.Table, axis: AxisTable) -> FloatArray:
    """What bands and edges are about: the column's number, or an age; NaN where there is none."""
    values = column(rows, axis.column)
    if axis.age_at is None:
        return as_numbers(values, name=axis.column, unfit="silence")
    parts = pc.extract_regex(as_text(values, name=axis.column), pattern=_MONTH)
    born = pc.add(
        pc.multiply(pc.struct_field(parts, "year").cast(pa.int64()), 12),
        pc.struct_field(parts, "month").cast(pa.int64()),
    )
    months = month_number(axis.age_at) - (np.array(born.cast(pa.float64()).to_numpy(False), np.float64) - 1)
    return np.where(months >= 0, np.floor(months / 12), np.nan)


def _between(numbers: FloatArray, axis: AxisTable) -> IntArray:
    """Which band or interval each number lies in; missing ones and those outside belong to the others."""
    lower = np.array(axis.bands or axis.edges)
    found = np.searchsorted(lower, numbers, side="right") - 1
    inside = ~np.isnan(numbers) & (numbers >= lower[0])
    if axis.edges:
        inside &= numbers < lower[-1]
    return np.where(inside, found, axis.size - 1).astype(np.int64)


def _as_month(text: pa.Array) -> pa.Array:
    """``2026-07`` of anything that begins with a year and a month; missing otherwise."""
    parts = pc.extract_regex(text, pattern=_MONTH)
    return pc.binary_join_element_wise(pc.struct_field(parts, "year"), pc.struct_field(parts, "month"), "-")
