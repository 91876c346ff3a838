"""Sums by cell at one node: integers only, every person's part bounded before it is added.

Rows come in any order and any cut. Of a person with too many rows a hash of that person's own rows decides
which of them count: taking somebody else away moves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmed.types import IntArray, require

_Words = npt.NDArray[np.uint64]

HIGH_BITS = 31
"""A total is kept as two words: high * 2**31 + low, so that no sum of 64-bit values overflows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonOrder:
    """Rows put in order by person, then by a hash.

    Attributes:
        order: Shape (rows,), int64: places of the rows in the input.
        person: Shape (rows,), int64: number of each ordered row's person, rising from 0.
        begins: Shape (rows,), int64: where in the order that person's rows begin.
    """

    order: IntArray
    person: IntArray
    begins: IntArray

    @property
    def persons(self) -> int:
        """How many persons there are."""
        return int(self.person[-1]) + 1 if len(self.person) else 0


def person_order(persons: _Words, contents: _Words) -> PersonOrder:
    """Put rows in order.

    Args:
        persons: Shape (rows, 2): two words that name each row's person.
        contents: Shape (rows,): a hash of the row's own contents and person.

    Guarantees:
        A person's rows have the same order whoever else is there and however the input was ordered, as far as
        their contents differ.
    """
    require(persons.shape == (len(contents), 2), f"persons must have shape ({len(contents)}, 2)")
    order = np.lexsort((contents, persons[:, 1], persons[:, 0]))
    ordered = persons[order]
    is_first = np.ones(len(order), dtype=np.bool_)
    is_first[1:] = np.any(ordered[1:] != ordered[:-1], axis=1)
    person = np.cumsum(is_first, dtype=np.int64) - 1
    return PersonOrder(order=order, person=person, begins=np.flatnonzero(is_first)[person])


def kept(counted: npt.NDArray[np.bool_], order: PersonOrder, *, max_rows_per_person: int) -> IntArray:
    """Which rows of a statistic are added up.

    Args:
        counted: Shape (rows,), in the order of the input: rows that count in the statistic.
        order: The order of the same rows.
        max_rows_per_person: >= 1.

    Returns:
        Places in the order (not in the input): of each person the first ones that count, at most so many.
    """
    require(max_rows_per_person >= 1, f"max_rows_per_person must be >= 1, got {max_rows_per_person}")
    mine = counted[order.order]
    # Counted rows before each row, among all rows and before the person's first one.
    before = np.concatenate([[0], np.cumsum(mine, dtype=np.int64)])
    rank = before[:-1] - before[order.begins]
    return np.flatnonzero(mine & (rank < max_rows_per_person))


def totals(cells: IntArray, values: IntArray, *, size: int) -> tuple[IntArray, IntArray]:
    """Add up values in every cell, without rounding and without overflow.

    Args:
        cells: Shape (rows,), int64, in [0, size).
        values: Shape (rows,), int64, any.
        size: Number of cells, >= 1.

    Returns:
        (high, low), each shape (size,), int64: the total is high * 2**31 + low; exact up to 2**31 rows.
    """
    high, low = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    np.add.at(low, cells, values & ((1 << HIGH_BITS) - 1))
    np.add.at(high, cells, values >> HIGH_BITS)
    return high, low


def distinct_persons(persons: _Words) -> int:
    """How many persons rows belong to; shape (rows, 2)."""
    return int(np.unique(persons, axis=0).shape[0]) if persons.size else 0


def distinct_in_cells(cells: IntArray, persons: IntArray, *, size: int) -> IntArray:
    """How many persons each cell has.

    Args:
        cells: Shape (rows,), int64, in [0, size).
        persons: Shape (rows,), int64: number of each row's person.
        size: Number of cells, >= 1.

    Returns:
        Shape (size,), int64. A person counts once in every cell in which one of the rows lies.

    Raises:
        ConfigError: cells times persons' numbers reach 2**63.
    """
    _, starts, found = _by_pair(cells, persons, size)
    return np.bincount(found[starts], minlength=size).astype(np.int64)


def squares_of_persons(
    cells: IntArray, persons: IntArray, values: IntArray, *, size: int
) -> tuple[IntArray, IntArray]:
    """Add up in every cell the square of what each person has there.

    Args:
        cells: Shape (rows,), int64, in [0, size).
        persons: Shape (rows,), int64: number of each row's person.
        values: Shape (rows,), int64; what one person has in a cell is below 2**31 in absolute value.
        size: Number of cells, >= 1.

    Returns:
        As `totals`.

    Raises:
        ConfigError: cells times persons' numbers reach 2**63.
    """
    order, starts, found = _by_pair(cells, persons, size)
    parts = np.add.reduceat(values[order], starts) if len(starts) else values
    return totals(found[starts], parts**2, size=size)


def _by_pair(cells: IntArray, persons: IntArray, size: int) -> tuple[IntArray, IntArray, IntArray]:
    """Rows in order by person and cell, where each pair begins in that order, and each ordered row's cell."""
    require(
        (int(persons.max(initial=0)) + 1) * size <= np.iinfo(np.int64).max,
        "persons times cells must fit into 64 bits: ask for fewer cells",
    )
    codes = persons * size + cells
    # Rows come by person, so they are nearly in order: the stable sort makes use of it.
    order = np.argsort(codes, kind="stable")
    codes = codes[order]
    return order, np.flatnonzero(np.diff(codes, prepend=-1)), codes % size
