"""Counts as a system of equations: the view of somebody who wants to work out what is hidden.

A published table is more than its cells: rows add up to margins, margins of several tables agree, coarse
categories are sums of fine ones. Here every count of every table is one variable, named by the conditions
that its persons meet, and what is known about them are linear equations. Two tables that show the same count
share its variable, so successive queries are one system with the first. Sums whose parts nobody asked for
get variables too: what four provinces have more than three of them is the fourth's. So do sums that nobody
asked for but that two tables have in common: persons by age and persons by region are as many.

A cell is named by numbers: for each column that of the set of values that its persons may have. So a study's
cells are the rows of one array, and what is looked for among them is found by sorting.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedmed.types import IntArray, require

OTHER = "*"
"""Stands for all values of a column that no table names."""

EVERYBODY = 0
"""Number of the set of all values of a column: having no condition on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """One classification of a table; who is in the table is in exactly one of its levels.

    Attributes:
        column: Column of the dataset.
        levels: Name of each level with the column's values that it stands for, disjoint. The last level may
            stand for all other values (its set is then empty); without such a level who has another value
            is not in the table.
    """

    column: str
    levels: Mapping[str, frozenset[str]]

    def __post_init__(self) -> None:
        sets = list(self.levels.values())
        require(
            bool(sets) and all(sets[:-1]) and (len(sets) > 1 or bool(sets[0])),
            f"dimension {self.column} needs levels with values; only the last may stand for all others",
        )
        named = [value for level in sets for value in level]
        require(len(named) == len(set(named)), f"levels of dimension {self.column} overlap")

    @property
    def named(self) -> frozenset[str]:
        """Values that some level names."""
        return frozenset().union(*self.levels.values())

    @property
    def is_complete(self) -> bool:
        """Whether the last level stands for all other values, so that nobody is left out."""
        return not all(self.levels.values())


def known_values(
    places: Iterable[tuple[tuple[Dimension, ...], Mapping[str, frozenset[str]]]],
) -> dict[str, frozenset[str]]:
    """All values of each column that some table names, and `OTHER`.

    Args:
        places: Dimensions of each table, and the conditions that the whole table has.
    """
    found: dict[str, frozenset[str]] = {}
    for dimensions, where in places:
        for column, values in (*((d.column, d.named) for d in dimensions), *where.items()):
            found[column] = found.get(column, frozenset({OTHER})) | values
    return found


class ValueSets:
    """Numbers of the sets of values that conditions ask for, column by column.

    A set gets its number when it is first asked for; no result depends on which one.

    Attributes:
        columns: Their names, rising; a cell has one number for each.
    """

    def __init__(self, values: Mapping[str, frozenset[str]]) -> None:
        """Know the columns.

        Args:
            values: `known_values` of all tables that are looked at together.
        """
        self.columns = tuple(sorted(values))
        self._sets = [[values[column]] for column in self.columns]
        self._numbers = [{values[column]: EVERYBODY} for column in self.columns]
        self._covered: dict[tuple[int, tuple[int, ...]], frozenset[str]] = {}
        self._finest: dict[tuple[int, tuple[int, ...]], tuple[tuple[int, ...], ...]] = {}

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many sets each column has."""
        return tuple(map(len, self._sets))

    def number(self, column: int, chosen: frozenset[str]) -> int:
        """The number of a set of a column's values."""
        found = self._numbers[column].setdefault(chosen, len(self._sets[column]))
        if found == len(self._sets[column]):
            self._sets[column].append(chosen)
        return found

    def covered(self, column: int, numbers: tuple[int, ...]) -> frozenset[str]:
        """Values of some sets together."""
        key = column, numbers
        if key not in self._covered:
            self._covered[key] = frozenset().union(*(self._sets[column][n] for n in numbers))
        return self._covered[key]

    def finest(self, column: int, numbers: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """For each of some sets of a column the finest parts that all of them tell apart."""
        key = column, numbers
        if key not in self._finest:
            sets = tuple(self._sets[column][n] for n in numbers)
            parts = finest_parts(sets)
            self._finest[key] = tuple(tuple(self.number(column, p) for p in parts[s]) for s in sets)
        return self._finest[key]

    def ranks(self, column: int) -> IntArray:
        """The place of each set in the order of their values, which does not depend on who asked first."""
        sets = self._sets[column]
        found = np.empty(len(sets), dtype=np.int64)
        found[sorted(range(len(sets)), key=lambda n: sorted(sets[n]))] = np.arange(len(sets))
        return found

    def cells_of(
        self, dimensions: Sequence[Dimension], where: Mapping[str, frozenset[str]], *, kept: tuple[int, ...]
    ) -> IntArray:
        """Every cell of a table, or of one of its margins.

        Args:
            dimensions: In the order of the axes; none for a single total.
            where: Values to which the whole table is restricted, by column.
            kept: The axes that are kept: all for the table itself, none for its total.

        Returns:
            Shape (levels of each axis kept ..., columns), int64.
        """
        place = {column: at for at, column in enumerate(self.columns)}
        shape = tuple(len(dimensions[axis].levels) for axis in kept)
        found = np.full((*shape, len(self.columns)), EVERYBODY, dtype=np.int64)
        # A sum over levels that leave people out is a sum over the named values only.
        left_out = {
            d.column: d.named for a, d in enumerate(dimensions) if a not in kept and not d.is_complete
        }
        for name, chosen in (*where.items(), *left_out.items()):
            found[..., place[name]] = self.number(place[name], chosen)
        for at, axis in enumerate(kept):
            column = place[dimensions[axis].column]
            rest = self._sets[column][EVERYBODY] - dimensions[axis].named
            levels = [self.number(column, level or rest) for level in dimensions[axis].levels.values()]
            found[..., column] = np.reshape(levels, (-1, *[1] * (len(kept) - at - 1)))
        return found

    def codes(self, cells: IntArray, *, without: int | None = None) -> IntArray:
        """One number for each cell; equal for equal cells of the same call.

        Args:
            cells: Shape (cells, columns).
            without: A column to leave out, so that cells alike but for it have equal numbers.

        Returns:
            Shape (cells,), int64.
        """
        found, span = np.zeros(len(cells), dtype=np.int64), 1
        for column, size in enumerate(self.sizes):
            if column == without:
                continue
            if span * size > np.iinfo(np.int64).max:
                values, found = np.unique(found, return_inverse=True)
                span = len(values)
            found = found * size + cells[:, column]
            span *= size
        return found

    def in_order(self, cells: IntArray) -> IntArray:
        """Places of cells in the order of their conditions, whatever order they come in.

        Args:
            cells: Shape (cells, columns), all different.
        """
        keys, above = np.full(cells.shape, -1, dtype=np.int64), 0
        for column, size in enumerate(self.sizes):
            asked = cells[:, column] != EVERYBODY
            keys[asked, column] = above + self.ranks(column)[cells[asked, column]]
            above += size
        # As lists of conditions are compared: the first condition first, wherever its column is.
        keys = np.take_along_axis(keys, np.argsort(keys < 0, axis=1, kind="stable"), axis=1)
        return np.lexsort(keys.T[::-1]) if keys.size else np.arange(len(cells))


def finest_parts(sets: tuple[frozenset[str], ...]) -> dict[frozenset[str], tuple[frozenset[str], ...]]:
    """Each set as a union of disjoint ones: the finest parts that all the sets together tell apart."""
    homes: dict[str, list[int]] = {}
    for place, chosen in enumerate(sets):
        for value in chosen:
            homes.setdefault(value, []).append(place)
    alike: dict[tuple[int, ...], list[str]] = {}
    for value in sorted(homes):
        alike.setdefault(tuple(homes[value]), []).append(value)
    inside: dict[frozenset[str], list[frozenset[str]]] = {chosen: [] for chosen in sets}
    for places, together in alike.items():
        part = frozenset(together)
        for place in places:
            inside[sets[place]].append(part)
    return {chosen: tuple(parts) for chosen, parts in inside.items()}
