"""Days, months and seconds of the window that claims cover, counted from its first January."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedmed.data.synthetic_parameters import YEAR
from fedmed.types import FloatArray, IntArray

FIRST_DAY = np.datetime64(f"{YEAR}-01-01", "D")
FIRST_MONTH = np.datetime64(f"{YEAR}-01", "M")
SECONDS_A_DAY = 86_400

# Fewer claims in the month of the Spring Festival, more in the cold months.
_SEASON = np.array([1.08, 0.78, 1.06, 1.02, 1.00, 0.97, 0.96, 0.95, 0.97, 0.96, 1.05, 1.20])


def days_of(months: int) -> int:
    """Days in the first ``months`` months of the window."""
    return int(((FIRST_MONTH + months).astype("datetime64[D]") - FIRST_DAY).astype(np.int64))


def month_of(day: IntArray) -> IntArray:
    """Month of each day, shape (n,)."""
    return ((FIRST_DAY + day).astype("datetime64[M]") - FIRST_MONTH).astype(np.int64)


def month_name(month: int) -> str:
    """``2023-01`` for month 0."""
    return str(FIRST_MONTH + month)


def month_names(month: IntArray, *, empty: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Months as text, shape (n,); null where ``empty``."""
    texts = np.datetime_as_string(FIRST_MONTH + month, unit="M")
    return pa.array(texts, mask=empty, type=pa.string())


def dates(day: IntArray, *, empty: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Days as Arrow dates, shape (n,); null where ``empty``."""
    whole = (FIRST_DAY + day).astype("datetime64[D]").astype(np.int32)
    return pa.array(whole, mask=empty).cast(pa.date32())


def times(day: IntArray, second: IntArray) -> pa.Array:
    """Points in time, to the second; both arguments of shape (n,)."""
    start = FIRST_DAY.astype("datetime64[s]").astype(np.int64)
    return pa.array(start + day * SECONDS_A_DAY + second).cast(pa.timestamp("s"))


def day_in_year(year: int, luck: FloatArray) -> IntArray:
    """Turn luck in [0, 1) into days of a year of the window, more of them in its busy months.

    Args:
        year: 0 for the first.
        luck: Shape (n,).

    Returns:
        Days, shape (n,), counted from the window's first.
    """
    first, after = days_of(12 * year), days_of(12 * year + 12)
    day = np.arange(first, after)
    weekday = (FIRST_DAY + day).astype("datetime64[D]").astype(np.int64) % 7  # 2 and 3: Saturday, Sunday
    weight = _SEASON[month_of(day) % 12] * np.where((weekday == 2) | (weekday == 3), 0.6, 1.0)
    chance = np.cumsum(weight) / weight.sum()
    found: IntArray = first + np.searchsorted(chance, luck, side="right")
    return np.minimum(found, after - 1)
