"""What all tables say together: one unknown for every point of the grid on which they all lie.

The equations of a net are sums in one column at a time. Tables whose levels overlap without one lying in the
other bound each other through points that no such sum names; this is the last look at a choice of blanks, by
programmes that know nothing but points, where there are few enough of them. Where a number is still bounded
too tightly, the programme's multipliers name the shown numbers that do it, and the least of them goes.

Source:
    Fischetti and Salazar 2001, Management Science 47(7): hidden cells audited over all worlds that agree with
    what is shown, and the dual solution of one that fails as the numbers of which one must go.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.sparse import bmat, csr_matrix, eye_array

from fedmed.analytics.disclosure.cells import ValueSets
from fedmed.analytics.disclosure.interval import System, Verdict, by_one_world
from fedmed.analytics.disclosure.net import Flags, Quantity, incidence
from fedmed.types import IntArray

MOST_SIZE = 40_000
"""Points of the grid of all tables times their cells; beyond it nothing is looked at by points."""

MOST_WORK = 4_000_000
"""Points times shown numbers times programmes of one look; what is not reached counts as too tight."""


_NO_MULTIPLIER = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Which points the cells of some tables consist of.

    Attributes:
        given: Shape (cells,): for every cell, in their fixed order, its place among those that were given.
        members: Shape (cells, points), int64: 1 where a point is in a cell. Every point is in some cell, and
            no two are in the same ones.
    """

    given: IntArray
    members: csr_matrix

    @classmethod
    def of(cls, cells: IntArray, sets: ValueSets) -> Points | None:
        """The points of some cells.

        Args:
            cells: Shape (cells, columns): those of all tables that are looked at together, each once.
            sets: Which sets of values their numbers are.

        Returns:
            The points; None where there are none, or too many (`MOST_SIZE`).
        """
        asked = [tuple(np.unique(column).tolist()) for column in cells.T]
        cuts = [sets.finest(column, numbers) for column, numbers in enumerate(asked)]
        every = [sorted({part for parts in cut for part in parts}) for cut in cuts]
        if not len(cells) or math.prod(map(len, every)) * len(cells) > MOST_SIZE:
            return None
        given = sets.in_order(cells)
        inside = np.ones((len(cells), 1), dtype=np.bool_)
        for column, cut in enumerate(cuts):
            is_part = np.array([np.isin(every[column], parts) for parts in cut])
            mine = is_part[np.searchsorted(asked[column], cells[given, column])]
            inside = (inside[:, :, None] & mine[:, None, :]).reshape(len(cells), -1)
        homes = sorted({tuple(np.flatnonzero(point).tolist()) for point in inside.T if point.any()})
        places = np.concatenate([np.array(home, dtype=np.int64) for home in homes])
        ends = np.cumsum([0, *map(len, homes)])
        return cls(given=given, members=incidence(places, ends, len(cells)).T.tocsr())

    def too_narrow(
        self, quantity: Quantity, blank: Flags, *, published: Flags, good: Flags, is_last: bool = False
    ) -> Verdict:
        """Protected blanks that all tables together bound below their need.

        Args:
            quantity: The numbers of the cells; where no world of points has them all, they bound nothing.
            blank: Shape (cells,): hidden cells.
            published: Shape (cells,): cells that cannot be hidden any more.
            good: `Verdict.good` of fewer blanks.
            is_last: Whether to make an end: hide whatever shares a person with a blank that fails.

        Returns:
            The verdict; ``above`` is the least number of each bound that is too tight. Of blanks about which
            programmes find nothing out in time it is all that shares a person with them.
        """
        can = ~blank & ~published
        waiting = blank & (quantity.needs > 0) & ~good
        seen = self.members.T @ (~blank).astype(np.int64) > 0
        # A point that no shown number counts may be as large as one likes.
        waiting &= self.members @ (~seen).astype(np.int64) == 0
        if not waiting.any():
            return Verdict(narrow=waiting, above=waiting, good=good)
        targets, shown = np.flatnonzero(waiting), np.flatnonzero(~blank)
        system = self._system(quantity, targets, shown)
        left = by_one_world(system, system.has_need)
        if left is None and not self._agrees(quantity):
            return Verdict(narrow=np.zeros_like(blank), above=np.zeros_like(blank), good=good)
        narrow, lost, bounds = system.has_need, system.has_need, np.zeros_like(blank)
        if left is not None:
            programmes = MOST_WORK // (self.members.shape[1] * len(shown))
            narrow, lost, used = _by_own_world(system, left, most=programmes)
            for rule in used:
                offered = shown[rule[: len(shown)] & can[shown]]
                bounds[offered[np.argsort(quantity.values[offered], kind="stable")[:1]]] = True
        found, unproved = np.zeros((2, len(blank)), dtype=np.bool_)
        found[targets] = narrow[: len(targets)]
        unproved[targets] = (narrow if is_last else lost)[: len(targets)]
        touched = self.members.T @ unproved.astype(np.int64) > 0
        bounds |= can & (self.members @ touched.astype(np.int64) > 0)
        return Verdict(narrow=found, above=bounds, good=good | (waiting & ~found))

    def _agrees(self, quantity: Quantity) -> bool:
        """Whether some world of points has all numbers, as it must where nobody is in two of them."""
        every = self._system(quantity, np.arange(0), np.arange(len(self.given)))
        return every.solve(np.zeros(len(every.wanted))) is not None

    def _system(self, quantity: Quantity, targets: IntArray, shown: IntArray) -> System:
        """The unknowns are the targets, and then all points; the equations those of what is shown first."""
        members = self.members.astype(np.float64)
        size, few = members.shape[1], len(targets)
        largest = int(max(quantity.values.max(), quantity.wanted.max()))
        unit = max(quantity.floor, largest >> 30)
        matrix = members[shown]
        if few:
            matrix = bmat([[None, matrix], [-eye_array(few), members[targets]]])
        return System(
            places=np.concatenate([targets, np.full(size, -1)]),
            component=np.zeros(few + size, dtype=np.int64),
            matrix=csr_matrix(matrix),
            right=np.concatenate([quantity.values[shown], np.zeros(few)]) / unit,
            wanted=np.concatenate([quantity.wanted[targets] / unit, np.ones(size)]),
            has_need=np.arange(few + size) < few,
            work=0,
            most=4.0 * largest / unit + 4.0,
        )


def _by_own_world(system: System, left: Flags, *, most: int) -> tuple[Flags, Flags, list[Flags]]:
    """Targets that fail, each tried in a programme of its own.

    Args:
        system: The programme.
        left: Its unknowns that have not been large enough yet.
        most: How many programmes there is time for.

    Returns:
        Those that fail or were not reached, of these the ones that nothing was found out about, and for each
        of the others the equations that bound it.
    """
    narrow, lost, used = left.copy(), np.zeros_like(left), []
    while (left & narrow).any():
        place = int(np.flatnonzero(left & narrow)[0])
        found = system.bound(place) if most > 0 else None
        if found is None:
            lost[place] = True
        else:
            world, multipliers = found
            narrow &= ~(left & system.reached(world))
            if narrow[place]:
                used.append(np.abs(multipliers) > _NO_MULTIPLIER)
        left = left & narrow
        left[place] = False
        most -= 1
    return narrow, lost, used
