"""Exact tables before disclosure control, and what may be shown of them: a number or one blank.

Who asks sees a number or None. Why a number is missing (few persons, nobody at all, one person's share too
large, or only to keep another one hidden) is for the coordinator's owner alone (`ProtectedTable.states`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from fedmed.analytics.disclosure.cells import Dimension
from fedmed.types import IntArray, require

PERSONS: Final = "persons"
"""Name of the count of persons."""
CONTRIBUTORS: Final = "@node"
"""Column that stands for the nodes in a sum, in `ExactTable.where`: their rows are the table's population."""

SHARE_OF_TWO: Final = 85
"""Two persons together stay below so many per cent of an amount; then one stays below half of it."""

LARGEST_PART: Final = 1 << 53
"""Largest part of one person, in the unit of the number."""

Kept = tuple[int, ...]
"""Axes of a table that a margin keeps: all for the table itself, none for its total."""
Shown = npt.NDArray[np.object_]
"""Whole numbers, and None where nothing is shown."""


class State(IntEnum):
    """Why a number is shown or not."""

    SHOWN = 0
    ZERO = 1
    SMALL = 2
    DOMINATED = 3
    COMPLEMENTARY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One number of every cell, which adds up over cells.

    Attributes:
        name: What it is; two tables that use the same name mean the same number, by the same rules for a
            person's rows.
        values: Shape of the table, int64, >= 0. Of amounts that may be negative first subtract the public
            lower bound of each row.
        most_of_person: Largest number that one person can add, over all cells (>= 1).
        is_amount: Whether one person's share of it must be limited; not so for counts.
        largest: Shape of the table, int64: no person has more in the cell; None where only
            ``most_of_person`` is known.
        guards: Numbers of the same table without which this one is not shown: counts of the persons who make
            it differ from what it would be if nobody were special.
        is_persons: Whether it counts different persons, as `ExactTable.persons` does: it adds up over cells
            only where they do.
    """

    name: str
    values: IntArray
    most_of_person: int
    is_amount: bool
    largest: IntArray | None = None
    guards: tuple[str, ...] = ()
    is_persons: bool = False

    def __post_init__(self) -> None:
        require(bool(np.all(self.values >= 0)), f"{self.name} must be >= 0: subtract its lower bound first")
        in_bounds = 1 <= self.most_of_person <= LARGEST_PART
        require(in_bounds, f"most_of_person must be 1 to 2^53, got {self.most_of_person}")
        self.values.setflags(write=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactTable:
    """A table with all its exact numbers.

    Attributes:
        name: What the study calls it.
        dimensions: In the order of the axes; none for a single total.
        where: Values to which the whole table is restricted, by column; `CONTRIBUTORS` names the nodes.
        persons: Shape (levels of each dimension ...), int64, >= 0: different persons in each cell.
        is_partition: Whether a person is in one cell only, so that persons add up. Where they do not, margins
            show no persons.
        numbers: What else each cell holds.
        with_margins: Whether sums over the dimensions are shown too.
    """

    name: str
    dimensions: tuple[Dimension, ...]
    where: Mapping[str, frozenset[str]]
    persons: IntArray
    is_partition: bool
    numbers: tuple[Number, ...] = ()
    with_margins: bool = True

    def __post_init__(self) -> None:
        shape = tuple(len(d.levels) for d in self.dimensions)
        named = {PERSONS: self.persons, **{n.name: n.values for n in self.numbers}}
        require(len(named) == 1 + len(self.numbers), f"the numbers of {self.name} must have different names")
        guards = {guard for number in self.numbers for guard in number.guards}
        require(guards <= set(named), f"{self.name} must have the numbers that guard others")
        for name, values in named.items():
            require(values.shape == shape, f"{name} must have shape {shape}, got {values.shape}")
        require(bool(np.all(self.persons >= 0)), "persons must be >= 0")
        columns = [*(d.column for d in self.dimensions), *self.where]
        require(len(set(columns)) == len(columns), "dimensions and conditions must be of different columns")
        self.persons.setflags(write=False)

    @property
    def margins(self) -> tuple[Kept, ...]:
        """What is shown: the table itself last, and the sums over its dimensions."""
        axes = range(len(self.dimensions))
        if not self.with_margins:
            return (tuple(axes),)
        return tuple(
            itertools.chain.from_iterable(itertools.combinations(axes, r) for r in range(len(axes) + 1))
        )

    def persons_at_least(self, kept: Kept) -> IntArray:
        """Persons of a margin: exact where they add up, else the most that one cell has."""
        dropped = self._dropped(kept)
        found = self.persons.sum(axis=dropped) if self.is_partition else self.persons.max(axis=dropped)
        return np.asarray(found, dtype=np.int64)

    def values(self, name: str, kept: Kept) -> IntArray:
        """A number's sums, shape of the axes that are kept.

        Raises:
            KeyError: the table has no such number, or no such margin of persons.
        """
        if name == PERSONS:
            if not self.is_partition and len(kept) < len(self.dimensions):
                raise KeyError(name)
            return self.persons_at_least(kept)
        number = {number.name: number for number in self.numbers}[name]
        add_up = np.max if number.is_persons and not self.is_partition else np.sum
        return np.asarray(add_up(number.values, axis=self._dropped(kept)), dtype=np.int64)

    def least_persons(self, name: str, kept: Kept) -> IntArray:
        """Persons of a margin, or those that guard a number, whichever are fewest.

        Raises:
            KeyError: the table has no such number.
        """
        found = self.persons_at_least(kept)
        if name == PERSONS:
            return found
        for guard in {number.name: number.guards for number in self.numbers}[name]:
            found = np.minimum(found, self.values(guard, kept))
        return found

    def least_shown(self, name: str, kept: Kept) -> IntArray:
        """Smallest sum of a number at which one person surely has less than half, and two less than 85 %.

        Returns:
            Shape of the axes that are kept, int64; 1 for counts.

        Raises:
            KeyError: the table has no such number.
        """
        if name == PERSONS:
            return np.ones(self.persons_at_least(kept).shape, dtype=np.int64)
        number = {number.name: number for number in self.numbers}[name]
        most = np.full(self.persons_at_least(kept).shape, number.most_of_person, dtype=np.int64)
        if not number.is_amount:
            return np.ones_like(most)
        # Who is in several cells may have more in their sum than in any of them.
        if number.largest is not None and (self.is_partition or len(kept) == len(self.dimensions)):
            most = np.minimum(most, number.largest.max(axis=self._dropped(kept)))
        return np.asarray(2 * most * 100 // SHARE_OF_TWO + 1, dtype=np.int64)

    def _dropped(self, kept: Kept) -> Kept:
        """Axes that a margin sums over."""
        return tuple(axis for axis in range(len(self.dimensions)) if axis not in kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectedTable:
    """A table with the verdict on each of its numbers.

    Attributes:
        table: The exact numbers; for the owner's eyes.
        states: `State` of each number, int8, by name and margin, shaped as `ExactTable.values`. For the
            owner's eyes.
    """

    table: ExactTable
    states: Mapping[tuple[str, Kept], npt.NDArray[np.int8]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "states", MappingProxyType(dict(self.states)))

    def shown(self, name: str, kept: Kept | None = None) -> Shown:
        """What everybody may see of a number.

        Args:
            name: `PERSONS`, or a number of the table.
            kept: A margin; None = the table itself.

        Returns:
            Whole numbers, and None where nothing is shown, shaped as `ExactTable.values`.

        Guarantees:
            The same for a small count, for nobody, and for a number that is hidden for another reason.

        Raises:
            KeyError: the table shows no such number.
        """
        place = tuple(range(len(self.table.dimensions))) if kept is None else kept
        is_shown = self.states[name, place] == State.SHOWN
        found = np.full(is_shown.shape, None, dtype=np.object_)
        values = self.table.values(name, place)
        for cell in zip(*np.nonzero(is_shown), strict=True) if is_shown.ndim else [()] * bool(is_shown):
            found[cell] = int(values[cell])
        return found


def derived(formula: Callable[..., float], *parts: Shown) -> npt.NDArray[np.object_]:
    """A mean, ratio or rate of shown numbers.

    Args:
        formula: Takes one whole number of each part.
        parts: What `ProtectedTable.shown` gave, of one shape.

    Returns:
        The same shape; None where any part is blank, so nothing but shown numbers enters.
    """
    found = np.full(parts[0].shape, None, dtype=np.object_)
    for place in np.ndindex(found.shape):
        numbers = [part[place] for part in parts]
        if all(number is not None for number in numbers):
            found[place] = formula(*numbers)
    return found
