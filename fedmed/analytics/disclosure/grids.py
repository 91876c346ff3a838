"""Cells of a table as a grid, and the sums that two tables have in common though neither shows them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from fedmed.analytics.disclosure.cells import EVERYBODY, ValueSets
from fedmed.types import IntArray

Grid = tuple[tuple[int, ...], ...]
"""For each column the numbers of the sets that cells ask for, rising; every combination is a cell."""

_ALL = (EVERYBODY,)


def grid_of(cells: IntArray) -> Grid:
    """The grid of a table's cells, or of one of its margins.

    Args:
        cells: As `ValueSets.cells_of` gives them.
    """
    return tuple(tuple(np.unique(cells[..., c]).tolist()) for c in range(cells.shape[-1]))


def cells_of_grids(grids: Iterable[Grid], columns: int) -> IntArray:
    """All cells of some grids, shape (cells, columns)."""
    each = [np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1).reshape(-1, columns) for grid in grids]
    return np.concatenate([np.zeros((0, columns), dtype=np.int64), *each])


def sums_in_common(grids: Iterable[Grid], sets: ValueSets) -> frozenset[Grid]:
    """Grids through which any two tables tell something about each other, whether or not a table has them.

    Both tables are added up over the columns that the other does not have, and then the levels of the one
    become those of the other; a column at a time, so that each step is a sum in one column.

    Args:
        grids: Of all tables and margins.
        sets: Which sets of values the numbers in the grids are.

    Returns:
        Grids of all these steps; what is certain to be about different persons has none.
    """
    ranks = [sets.ranks(column) for column in range(len(sets.columns))]

    def spelled(grid: Grid) -> list[tuple[int, list[int]]]:
        return [(c, sorted(ranks[c][list(n)].tolist())) for c, n in enumerate(grid) if n != _ALL]

    every = sorted(frozenset(grids), key=spelled)
    pairs = itertools.combinations(every, 2)
    return frozenset(grid for one, other in pairs for grid in _steps(one, other, sets)).difference(every)


def _steps(one: Grid, other: Grid, sets: ValueSets) -> Iterator[Grid]:
    """From one grid to another by sums in one column; first those that leave nobody out."""
    shared = [c for c in range(len(one)) if _ALL not in (one[c], other[c])]
    if any(sets.covered(c, one[c]).isdisjoint(sets.covered(c, other[c])) for c in shared):
        return
    for grid in (one, other):
        left = list(grid)
        own = [c for c in range(len(one)) if grid[c] != _ALL and c not in shared]
        for column in sorted(own, key=lambda c: sets.covered(c, grid[c]) != sets.covered(c, _ALL)):
            left[column] = _ALL
            yield tuple(left)
    mixed = [one[c] if c in shared else _ALL for c in range(len(one))]
    for column in shared:
        mixed[column] = other[column]
        yield tuple(mixed)
