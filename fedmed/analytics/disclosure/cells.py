"""Counts as a system of equations: the view of somebody who wants to work out what is hidden.

A published table is more than its cells: rows add up to margins, margins of several tables agree, coarse
categories are sums of fine ones. Here every count of every table is one variable, named by the conditions
that its persons meet, and what is known about them are linear equations. Two tables that show the same count
share its variable, so successive queries are one system with the first.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedmed.types import IntArray, require

OTHER = "*"
"""Stands for all values of a column that no table names."""

Condition = tuple[str, frozenset[str]]
"""A column and the values that a person may have in it."""

Cell = frozenset[Condition]
"""Conditions that all persons of a count meet; the empty one is everybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """One classification of a table; everybody is in exactly one of its levels.

    Attributes:
        column: Column of the dataset.
        levels: Name of each level with the column's values that it stands for, disjoint. The last level
            stands for all other values (its set is empty), so that no table leaves anybody out in silence.
    """

    column: str
    levels: Mapping[str, frozenset[str]]

    def __post_init__(self) -> None:
        sets = list(self.levels.values())
        require(
            len(sets) >= 2 and all(sets[:-1]) and not sets[-1],
            f"dimension {self.column} needs a level with values, and a last one for all others",
        )
        named = [value for level in sets for value in level]
        require(len(named) == len(set(named)), f"levels of dimension {self.column} overlap")

    @property
    def named(self) -> frozenset[str]:
        """Values that some level names."""
        return frozenset().union(*self.levels.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class CountTable:
    """Persons by all dimensions of a table.

    Attributes:
        dimensions: In the order of the axes; none for a single total.
        persons: Shape (levels of each dimension ...), int64, >= 0: persons in each cell.
        where: Values to which the whole table is restricted, by column.
    """

    dimensions: tuple[Dimension, ...]
    persons: IntArray
    where: Mapping[str, frozenset[str]]

    def __post_init__(self) -> None:
        shape = tuple(len(d.levels) for d in self.dimensions)
        require(self.persons.shape == shape, f"persons must have shape {shape}, got {self.persons.shape}")
        require(bool(np.all(self.persons >= 0)), "persons must be >= 0")
        columns = [*(d.column for d in self.dimensions), *self.where]
        require(len(set(columns)) == len(columns), "dimensions and conditions must be of different columns")


def known_values(tables: Sequence[CountTable]) -> dict[str, frozenset[str]]:
    """All values of each column that some table names, and `OTHER`."""
    found: dict[str, frozenset[str]] = {}
    for table in tables:
        for column, values in (*((d.column, d.named) for d in table.dimensions), *table.where.items()):
            found[column] = found.get(column, frozenset({OTHER})) | values
    return found


def counts_of(table: CountTable, values: Mapping[str, frozenset[str]]) -> dict[Cell, int]:
    """Every count of a table and of all its margins.

    Args:
        table: The table.
        values: `known_values` of all tables that are looked at together.
    """
    axes = range(len(table.dimensions))
    outer = frozenset(table.where.items())
    found: dict[Cell, int] = {}
    for kept in itertools.chain.from_iterable(itertools.combinations(axes, r) for r in range(len(axes) + 1)):
        summed = table.persons.sum(axis=tuple(a for a in axes if a not in kept))
        places = [tuple(_conditions(table.dimensions[a], values)) for a in kept]
        for place in np.ndindex(summed.shape):
            cell = outer | {places[i][p] for i, p in enumerate(place)}
            found[cell] = int(summed[place])
    return found


def _conditions(dimension: Dimension, values: Mapping[str, frozenset[str]]) -> Iterator[Condition]:
    """What each level asks of a person."""
    rest = values[dimension.column] - dimension.named
    for level in dimension.levels.values():
        yield dimension.column, level or rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Equation:
    """A count that is the sum of others."""

    whole: Cell
    parts: tuple[Cell, ...]


def equations(cells: Mapping[Cell, int], values: Mapping[str, frozenset[str]]) -> tuple[Equation, ...]:
    """The sums that hold among counts, whatever the numbers are.

    A count is the sum of others that differ from it in one column only and split its values there; having no
    condition on a column means all of its values.

    Args:
        cells: Counts of all tables, by cell.
        values: `known_values` of the same tables.
    """
    families: dict[tuple[str, Cell], set[frozenset[str]]] = {}
    for cell in cells:
        for column, chosen in cell:
            families.setdefault((column, cell - {(column, chosen)}), set()).add(chosen)
    found = []
    for (column, rest), sets in families.items():
        wholes = [(rest | {(column, chosen)}, chosen) for chosen in sets]
        if rest in cells:
            wholes.append((rest, values[column]))
        for whole, chosen in wholes:
            for parts in _splits(chosen, sets - {chosen} if whole != rest else sets):
                found.append(Equation(whole=whole, parts=tuple(rest | {(column, part)} for part in parts)))
    return tuple(found)


def _splits(whole: frozenset[str], sets: set[frozenset[str]]) -> list[tuple[frozenset[str], ...]]:
    """Ways to split a set of values into given ones, at least one for every given set that takes part."""
    inside = sorted((s for s in sets if s <= whole), key=lambda s: (-len(s), sorted(s)))
    ways = set()
    for order in (inside, inside[::-1]):  # coarse parts first, then fine ones first
        for first in inside:
            parts, left = [first], whole - first
            for part in order:
                if part <= left:
                    parts.append(part)
                    left -= part
            if not left:
                ways.add(frozenset(parts))
    return [tuple(sorted(way, key=sorted)) for way in sorted(ways, key=lambda w: sorted(map(sorted, w)))]
