"""The sums that hold among cells, whatever the numbers are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fedmed.analytics.disclosure.cells import ValueSets
from fedmed.types import IntArray

# Parts that the first pass needs may split further in another column.
_PASSES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Equations:
    """Cells that are sums of others.

    Attributes:
        cells: Shape (cells, columns): every cell of an equation once.
        wholes: Shape (equations,): place of the cell that each equation splits.
        parts: Places of the cells that it splits into, one equation after the other.
        ends: Shape (equations + 1,): where the parts of each equation begin, and the end of the last.
    """

    cells: IntArray
    wholes: IntArray
    parts: IntArray
    ends: IntArray


def equations(cells: IntArray, sets: ValueSets) -> Equations:
    """The sums that hold among counts, whatever the numbers are.

    A count is the sum of others that differ from it in one column only and split its values there; having no
    condition on a column means all of its values.

    Args:
        cells: Shape (cells, columns): cells of all tables; one may come several times.
        sets: Which sets of values their numbers are; sets that cells split into are added.

    Returns:
        Equations between these cells, and others that they split into.

    Guarantees:
        Cells that differ in one column follow from one another by these equations alone, if they do by
        linear algebra. The work grows with the cells and with the values that their conditions list.
    """
    known = _each_once(cells, sets)
    for _ in range(_PASSES):
        found = [rules for column in range(len(sets.columns)) for rules in _in_column(known, column, sets)]
        wholes, parts, counts = (np.concatenate(each) for each in zip(_no_rules(known), *found, strict=True))
        more = _each_once(np.concatenate([known, parts]), sets)
        if len(more) == len(known):
            break
        known = more
    codes = sets.codes(np.concatenate([wholes, parts]))
    _, firsts, places = np.unique(codes, return_index=True, return_inverse=True)
    return Equations(
        cells=np.concatenate([wholes, parts])[firsts],
        wholes=places[: len(wholes)],
        parts=places[len(wholes) :],
        ends=np.concatenate([[0], np.cumsum(counts)]),
    )


def _each_once(cells: IntArray, sets: ValueSets) -> IntArray:
    """The cells without repetitions."""
    _, firsts = np.unique(sets.codes(cells), return_index=True)
    return cells[firsts]


_Rules = tuple[IntArray, IntArray, IntArray]
"""The cells that equations split, all the parts one equation after the other, and how many parts each has."""


def _no_rules(cells: IntArray) -> _Rules:
    """No equations, in the shape of others."""
    return cells[:0], cells[:0], np.zeros(0, dtype=np.int64)


def _in_column(cells: IntArray, column: int, sets: ValueSets) -> Iterator[_Rules]:
    """Equations within each family of cells that differ in one column; families cut alike come together."""
    families = sets.codes(cells, without=column)
    order = np.lexsort((cells[:, column], families))
    families, numbers = families[order], cells[order, column]
    bounds = np.append(np.flatnonzero(np.diff(families, prepend=-1)), len(cells))
    bounds = np.column_stack([bounds[:-1], bounds[1:]])
    alike: dict[bytes, list[int]] = {}
    for begin, end in bounds[bounds[:, 1] - bounds[:, 0] > 1].tolist():
        alike.setdefault(numbers[begin:end].tobytes(), []).append(begin)
    for key, begins in alike.items():
        chosen = np.frombuffer(key, dtype=np.int64).tolist()
        inside = zip(chosen, sets.finest(column, tuple(chosen)), strict=True)
        cut = [(whole, parts) for whole, parts in inside if len(parts) > 1]
        if cut:
            like = cells[order[begins]]
            yield (
                _with(like, column, [whole for whole, _ in cut]),
                _with(like, column, list(itertools.chain.from_iterable(parts for _, parts in cut))),
                np.tile([len(parts) for _, parts in cut], len(begins)),
            )


def _with(cells: IntArray, column: int, numbers: list[int]) -> IntArray:
    """Each cell with each of the numbers in a column."""
    found = np.repeat(cells, len(numbers), axis=0)
    found[:, column] = np.tile(numbers, len(cells))
    return found
