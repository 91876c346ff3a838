"""Counts as a system of equations: the view of somebody who wants to work out what is hidden.

A published table is more than its cells: rows add up to margins, margins of several tables agree, coarse
categories are sums of fine ones. Here every count of every table is one variable, named by the conditions
that its persons meet, and what is known about them are linear equations. Two tables that show the same count
share its variable, so successive queries are one system with the first. Sums whose parts nobody asked for
get variables too: what four provinces have more than three of them is the fourth's. So do sums that nobody
asked for but that two tables have in common: persons by age and persons by region are as many.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from fedmed.types import require

OTHER = "*"
"""Stands for all values of a column that no table names."""

Condition = tuple[str, frozenset[str]]
"""A column and the values that a person may have in it."""

Cell = frozenset[Condition]
"""Conditions that all persons of a count meet; the empty one is everybody."""


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


def cells_of(
    dimensions: tuple[Dimension, ...],
    where: Mapping[str, frozenset[str]],
    values: Mapping[str, frozenset[str]],
    *,
    kept: tuple[int, ...],
) -> Iterator[Cell]:
    """Every cell of a table, or of one of its margins.

    Args:
        dimensions: In the order of the axes; none for a single total.
        where: Values to which the whole table is restricted, by column.
        values: `known_values` of all tables that are looked at together.
        kept: The axes that are kept: all for the table itself, none for its total.

    Yields:
        One cell for each place among the levels of the axes kept, the last axis fastest.
    """
    # A sum over levels that leave people out is a sum over the named values only.
    left_out = (d for a, d in enumerate(dimensions) if a not in kept and not d.is_complete)
    within = frozenset(where.items()) | {(d.column, d.named) for d in left_out}
    levels = (tuple(_conditions(dimensions[axis], values)) for axis in kept)
    return (within.union(place) for place in itertools.product(*levels))


Grid = frozenset[tuple[str, frozenset[frozenset[str]]]]
"""For each column of a table the sets of values that its cells ask for; every combination is a cell."""


def grid_of(cells: Iterable[Cell]) -> Grid:
    """The conditions of one table's cells, or of one of its margins, column by column."""
    found: dict[str, set[frozenset[str]]] = {}
    for cell in cells:
        for column, chosen in cell:
            found.setdefault(column, set()).add(chosen)
    return frozenset((column, frozenset(sets)) for column, sets in found.items())


def sums_in_common(grids: Iterable[Grid], values: Mapping[str, frozenset[str]]) -> Iterator[Cell]:
    """Cells through which any two tables tell something about each other, whether or not a table has them.

    Both tables are added up over the columns that the other does not have, and then the levels of the one
    become those of the other; a column at a time, so that each step is a sum in one column.

    Args:
        grids: Of all tables and margins.
        values: `known_values` of the same tables.

    Yields:
        Cells of all these steps; what is certain to be about different persons has none.
    """
    every = sorted(frozenset(grids), key=_spelled)
    pairs = itertools.combinations(every, 2)
    steps = frozenset(grid for one, other in pairs for grid in _steps(dict(one), dict(other), values))
    for grid in steps.difference(every):
        columns = [[(column, chosen) for chosen in sets] for column, sets in grid]
        yield from map(frozenset, itertools.product(*columns))


_Levels = dict[str, frozenset[frozenset[str]]]


def _steps(one: _Levels, other: _Levels, values: Mapping[str, frozenset[str]]) -> Iterator[Grid]:
    """From one grid to another by sums in one column; first those that leave nobody out."""
    shared = sorted(one.keys() & other.keys())
    if any(_all(one[column]).isdisjoint(_all(other[column])) for column in shared):
        return
    for levels in (one, other):
        left = dict(levels)
        for column in sorted(levels.keys() - set(shared), key=lambda c: (_all(levels[c]) != values[c], c)):
            del left[column]
            yield frozenset(left.items())
    mixed = {column: one[column] for column in shared}
    for column in shared:
        mixed[column] = other[column]
        yield frozenset(mixed.items())


def _all(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    """Values of some sets."""
    return frozenset().union(*sets)


def _spelled(grid: Grid) -> list[tuple[str, list[list[str]]]]:
    """A grid as something with an order."""
    return sorted((column, sorted(map(sorted, sets))) for column, sets in grid)


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


def equations(cells: Iterable[Cell], values: Mapping[str, frozenset[str]]) -> tuple[Equation, ...]:
    """The sums that hold among counts, whatever the numbers are.

    A count is the sum of others that differ from it in one column only and split its values there; having no
    condition on a column means all of its values.

    Args:
        cells: Cells of all tables.
        values: `known_values` of the same tables.

    Returns:
        Equations between these cells, and others that they split into.

    Guarantees:
        Cells that differ in one column follow from one another by these equations alone, if they do by
        linear algebra. The work grows with the cells and with the values that their conditions list.
    """
    known = dict.fromkeys(cells)
    found: tuple[Equation, ...] = ()
    for _ in range(_PASSES):
        found = tuple(_one_pass(known, values))
        parts = dict.fromkeys(cell for rule in found for cell in rule.parts)
        if parts.keys() <= known.keys():
            break
        known |= parts
    return found


# Parts that the first pass needs may split further in another column.
_PASSES = 2


def _one_pass(cells: Iterable[Cell], values: Mapping[str, frozenset[str]]) -> Iterator[Equation]:
    """Equations within each family of cells that differ in one column."""
    families: dict[tuple[str, Cell], dict[frozenset[str], Cell]] = {}
    for cell in cells:
        for condition in cell:
            column, chosen = condition
            families.setdefault((column, cell - {condition}), {})[chosen] = cell
    known = frozenset(cells)
    cut = functools.cache(finest_parts)  # thousands of families are cut alike
    for (column, rest), sets in families.items():
        if rest in known:
            sets = {**sets, values[column]: rest}
        elif sum(map(len, sets)) == len(frozenset().union(*sets)):
            continue  # disjoint, and no sum of them: nothing follows from anything
        atoms = cut(tuple(sets))
        for chosen, whole in sets.items():
            inside = atoms[chosen]
            if len(inside) > 1:
                parts = (sets.get(part, rest | {(column, part)}) for part in inside)
                yield Equation(whole=whole, parts=tuple(parts))


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
