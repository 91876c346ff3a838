"""Counts and sums by cell at one node: integers only, every person's part bounded before it is added.

Rows come in any order and any cut. A person's rows are put into an order of their own contents, so which of
them count when there are too many depends on that person alone: taking somebody else away moves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmed.types import IntArray, require

_Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRows:
    """Rows that fall into a cell, of persons that are told apart by two words.

    Attributes:
        persons: Shape (rows, 2), uint64: who each row belongs to.
        cells: Shape (rows,), int64, in [0, cells).
        values: Shape (measures, rows), int64, already within the public bounds of each measure.
    """

    persons: _Words
    cells: IntArray
    values: IntArray

    def __post_init__(self) -> None:
        rows = self.cells.shape[0]
        require(self.persons.shape == (rows, 2), f"persons must have shape ({rows}, 2)")
        require(self.values.ndim == 2 and self.values.shape[1] == rows, f"values must have {rows} columns")
        for array in (self.persons, self.cells, self.values):
            array.setflags(write=False)


def kept_rows(rows: CellRows, *, max_rows_per_person: int) -> CellRows:
    """At most so many rows of each person.

    Args:
        rows: All rows that fall into a cell.
        max_rows_per_person: >= 1.

    Returns:
        The rows by person; of a person with too many the first ones in the order of their own cells and
        values, which is a rule that no other person's rows enter.

    Guarantees:
        The same rows for every order of the input.
    """
    require(max_rows_per_person >= 1, f"max_rows_per_person must be >= 1, got {max_rows_per_person}")
    order = np.lexsort((*rows.values[::-1], rows.cells, rows.persons[:, 1], rows.persons[:, 0]))
    persons = rows.persons[order]
    is_first = np.ones(len(order), dtype=np.bool_)
    is_first[1:] = np.any(persons[1:] != persons[:-1], axis=1)
    starts = np.flatnonzero(is_first)
    place = np.arange(len(order)) - starts[np.cumsum(is_first) - 1] if len(order) else np.arange(0)
    kept = order[place < max_rows_per_person]
    return CellRows(persons=rows.persons[kept], cells=rows.cells[kept], values=rows.values[:, kept])


def cell_totals(rows: CellRows, *, cells: int) -> IntArray:
    """Add up every measure in every cell.

    Args:
        rows: What `kept_rows` left.
        cells: Number of cells, >= 1.

    Returns:
        Shape (measures, cells), int64, exact: no float is involved.
    """
    totals = np.zeros((rows.values.shape[0], cells), dtype=np.int64)
    for measure, values in enumerate(rows.values):
        np.add.at(totals[measure], rows.cells, values)
    return totals


def distinct_persons(persons: _Words) -> int:
    """How many persons rows belong to."""
    return int(np.unique(persons, axis=0).shape[0]) if persons.size else 0
