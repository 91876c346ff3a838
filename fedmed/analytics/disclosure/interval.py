"""How large an attacker must think that a hidden number may be: linear programmes over what hangs together.

A component is what hangs together by equations that have blanks in common. Programmes of many components are
one programme, since nothing connects them. A component that is too large to be audited is not audited more
weakly but hidden more: every sum above a protected number goes, up to the total, and then an exact argument
takes the place of the programme.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from fedmed.analytics.disclosure.net import Flags, Net, Quantity
from fedmed.types import IntArray

MOST_AUDITED = 12_000
"""Blanks of a component that a linear programme looks at."""

MOST_WORK = 3_000_000
"""Blanks times equations of such a component; a cube needs more of both than a flat table of its size."""

MOST_WORK_ALONE = 3_000_000
"""Blanks times equations times targets that get a programme of their own; beyond it none of them does."""

_MOST_AT_ONCE = 10_000
"""Blanks whose sums are looked up together; bounds the memory."""

_Component = tuple[IntArray, int]
"""Cells that hang together, and how many equations they are in."""

_SLACK = 1e-6
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found out about blanks, as flags of the net's cells.

    Attributes:
        narrow: Protected cells that cannot be as large as their need, and cells of no table that are
            certainly above zero and certainly below the floor.
        above: What must be hidden with them, where the caller may not choose.
        good: Cells found to be none of these. They stay so when more is hidden, since nobody learns from a
            blank what the number did not say.
    """

    narrow: Flags
    above: Flags
    good: Flags


def too_narrow(quantity: Quantity, net: Net, blank: Flags, *, good: Flags) -> Verdict:
    """Blanks about which too much can be worked out, where more than one sum must be looked at.

    Args:
        quantity: The numbers.
        net: The equations between their cells.
        blank: Shape (cells of the net,): hidden cells.
        good: `Verdict.good` of fewer blanks.

    Returns:
        The verdict. A programme that fails counts as too narrow, and so do cells that were not reached
        together in components where asking for each would take too long.
    """
    is_open = net.open_at(blank)
    is_target = is_open & ((quantity.needs > 0) | ~net.is_known) & ~good
    seen, values = _worked_out(quantity, net, ~is_open)
    narrow = is_target & seen & (values > 0) & (values < quantity.wanted)
    above = np.zeros_like(blank)
    audited: list[_Component] = []
    for component, rules in _components(net, is_open, seen=seen, is_target=is_target):
        if len(component) <= MOST_AUDITED and len(component) * rules <= MOST_WORK:
            audited.append((component, rules))
            continue
        targets = component[is_target[component]]
        for cells in np.array_split(targets, len(targets) // _MOST_AT_ONCE + 1):
            narrow[cells], sums = _under_sums(net, is_open, cells)
            above |= sums
    known = replace(quantity, values=values)
    narrow |= _narrow_by_programme(known, net, audited, is_target)
    return Verdict(narrow=narrow, above=above, good=good | (is_target & ~narrow))


def _worked_out(quantity: Quantity, net: Net, seen: Flags) -> tuple[Flags, IntArray]:
    """What follows without any programme: the only blank of an equation, and all that is left of zero.

    Returns:
        Cells that are seen or worked out, and the numbers of these; both of the net's cells.
    """
    values = np.where(seen, quantity.values, 0)
    rules, places = net.signed.nonzero()
    signs = np.where(net.wholes[rules] == places, -1, 1)
    while True:
        short = -(net.signed @ values)
        waits = ~seen[places]
        alone = waits & (np.bincount(rules[waits], minlength=len(net.wholes)) == 1)[rules]
        alone &= signs * short[rules] >= 0
        nothing = waits & (signs > 0) & (seen[net.wholes] & (short == 0))[rules]
        if not (alone | nothing).any():
            return seen, values
        values[places[alone]] = (signs * short[rules])[alone]
        seen = seen.copy()
        seen[places[alone | nothing]] = True


def _components(net: Net, is_open: Flags, *, seen: Flags, is_target: Flags) -> list[_Component]:
    """Blanks that hang together by equations, more than one shown sum, and how many equations."""
    unseen = ~seen
    cells = np.flatnonzero(unseen & (np.diff(net.touches.indptr) > 0))
    links = net.touches[cells]
    size = len(cells)
    graph = csr_matrix((size + len(net.wholes),) * 2, dtype=np.int64)
    if links.nnz:
        rows, columns = links.nonzero()
        ends = (rows, columns + size)
        graph = csr_matrix((np.ones(len(rows), dtype=np.int64), ends), shape=graph.shape)
    count, labels = connected_components(graph, directed=False)
    rules = np.bincount(labels[size:], minlength=count)
    # One shown sum alone: the caller looked at what its blanks add up to; not so once one is worked out.
    as_shown = ~is_open[net.wholes] & (net.touches.T @ (is_open & seen).astype(np.int64) == 0)
    one_sum = (rules == 1) & (np.bincount(labels[size:], weights=as_shown, minlength=count) == 1)
    asked = np.bincount(labels[:size], weights=is_target[cells], minlength=count) > 0
    order = np.argsort(labels[:size], kind="stable")
    starts = np.searchsorted(labels[:size][order], np.arange(count + 1))
    chosen = np.flatnonzero(asked & ~one_sum).tolist()
    return [(cells[order[starts[c] : starts[c + 1]]], int(rules[c])) for c in chosen]


def _under_sums(net: Net, is_open: Flags, cells: IntArray) -> tuple[Flags, Flags]:
    """Blanks that may not be as large as one likes whatever the numbers are, because of the sums above them.

    Adding anything to a set of blanks changes no equation if each has its whole in the set exactly when it
    has one part there, and no other number of it. The set is one part of each cell with all sums above it.

    Returns:
        Shape of the cells given, whether it is so; and flags of the net's cells, all sums above these.
    """
    places = np.arange(len(cells) + 1)
    ones = np.ones(len(cells), dtype=np.int64)
    reach = csr_matrix((ones, _finest_of(net, is_open)[cells], places), shape=(len(cells), len(is_open)))
    up = net.parts.T @ (net.parts - net.signed)
    while True:
        wider = (reach + reach @ up).tocsr()
        wider.data[:] = 1
        if wider.nnz == reach.nnz:
            break
        reach = wider
    uneven = abs(reach @ net.signed.T) @ np.ones(len(net.wholes), dtype=np.int64)
    is_held = (uneven + reach @ (~is_open).astype(np.int64)) > 0
    return is_held, np.asarray(reach.T @ is_held.astype(np.int64) > 0, dtype=np.bool_)


def _finest_of(net: Net, is_open: Flags) -> IntArray:
    """One of the finest parts of every cell, a blank one where there is one."""
    size = len(is_open)
    found = np.arange(size)
    if len(net.wholes):
        keys = np.where(is_open, 0, size)[net.parts.indices] + net.parts.indices
        wholes, firsts = np.unique(net.wholes, return_index=True)
        found[wholes] = np.minimum.reduceat(keys, net.parts.indptr[:-1])[firsts] % size
    while not np.array_equal(found, found[found]):
        found = found[found]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """``matrix @ x == right``, ``0 <= x <= most``, in a unit that suits the programme.

    Attributes:
        places: Shape (n,): cells of the unknowns.
        component: Shape (n,): to which component each belongs.
        matrix: Shape (m, n).
        right: Shape (m,).
        wanted: Shape (n,): what must be possible.
        has_need: Shape (n,): whether the number is known to be smaller than that.
        work: Blanks times equations, over the components.
        most: Far above every number, so that it binds nowhere it matters; else it errs towards hiding.
    """

    places: IntArray
    component: IntArray
    matrix: csr_matrix
    right: _Floats
    wanted: _Floats
    has_need: Flags
    work: int
    most: float

    @classmethod
    def of(cls, quantity: Quantity, net: Net, components: Sequence[_Component]) -> System:
        """What the shown numbers say about the blanks of some components."""
        places = np.concatenate([cells for cells, _ in components])
        is_inside = np.zeros(len(net.given), dtype=np.bool_)
        is_inside[places] = True
        rules = np.flatnonzero(net.touches.T @ is_inside.astype(np.int64))
        rows = net.signed[rules]
        largest = int(max(quantity.values.max(), quantity.wanted.max()))
        # Programmes are solved to 1e-7 of their unit; amounts reach 1e14.
        unit = max(quantity.floor, largest >> 30)
        known = np.asarray(-(rows @ np.where(is_inside, 0, quantity.values)), dtype=np.int64)
        return cls(
            places=places,
            component=np.repeat(np.arange(len(components)), [len(c) for c, _ in components]),
            matrix=rows[:, places].astype(np.float64),
            right=known / unit,
            wanted=quantity.wanted[places] / unit,
            has_need=quantity.needs[places] > 0,
            work=sum(len(cells) * count for cells, count in components),
            most=4.0 * max(largest, _largest_sum(quantity, net)) / unit + 4.0,
        )

    def solve(self, goal: _Floats, upper: _Floats | None = None) -> _Floats | None:
        """A world in which ``goal @ x`` is largest; None if the programme fails.

        Args:
            goal: Shape (n,).
            upper: Shape (n,), bounds to put on the worlds looked at; None = ``most``.
        """
        most = np.full(len(goal), self.most) if upper is None else upper
        found = self._programme(goal, most)
        return None if found is None else found[0]

    def bound(self, place: int) -> tuple[_Floats, _Floats] | None:
        """A world in which one unknown is largest, and what keeps it from being larger.

        Args:
            place: The unknown.

        Returns:
            The world, and the multiplier of each equation, shape (m,): where it is zero, the bound would be
            the same without the equation. None if the programme fails.
        """
        goal = np.zeros(len(self.wanted))
        goal[place] = 1.0
        return self._programme(goal, np.full(len(goal), self.most))

    def _programme(self, goal: _Floats, most: _Floats) -> tuple[_Floats, _Floats] | None:
        """Where the goal is largest, and the multipliers of the equations."""
        bounds = np.column_stack([np.zeros(len(goal)), most])
        found = linprog(-goal, A_eq=self.matrix, b_eq=self.right, bounds=bounds, method="highs-ds")
        return (found.x, found.eqlin.marginals) if found.status == 0 else None

    def reached(self, world: _Floats) -> Flags:
        """Unknowns that are as large as wanted in a world."""
        return np.asarray(world >= self.wanted * (1 - _SLACK), dtype=np.bool_)


def _largest_sum(quantity: Quantity, net: Net) -> float:
    """No less than any sum of shown numbers, of cells that no table has too."""
    reach = quantity.values.astype(np.float64)
    while True:
        sums = net.parts @ reach
        if np.all(sums <= reach[net.wholes]):
            return float(reach.max())
        np.maximum.at(reach, net.wholes, sums)


def _narrow_by_programme(
    quantity: Quantity, net: Net, components: Sequence[_Component], is_target: Flags
) -> Flags:
    """Targets that fail in components: all components at once, apart where one of them has no solution."""
    found = np.zeros_like(is_target)
    if not components:
        return found
    system = System.of(quantity, net, components)
    left = by_one_world(system, is_target[system.places])
    if left is None and len(components) > 1:
        for component in components:
            found |= _narrow_by_programme(quantity, net, [component], is_target)
        return found
    if left is None:
        cells, _ = components[0]
        found[cells] = is_target[cells]
        return found
    found[system.places[_by_own_world(system, left)]] = True
    return found


def by_one_world(system: System, left: Flags) -> Flags | None:
    """Targets left after worlds in which many at once are large; None if there is no world."""
    while left.any():
        goal = np.where(left, 1 / system.wanted, 0.0)
        # No target needs more than is wanted: what it leaves, others get. The true world stays allowed.
        upper = np.where(left & system.has_need, system.wanted, system.most)
        world = system.solve(goal, upper)
        if world is None:
            world = system.solve(goal)
        if world is None:
            return None
        still = left & ~system.reached(world)
        if np.array_equal(still, left):
            break
        left = still
    return left


def _by_own_world(system: System, left: Flags) -> Flags:
    """Targets that fail in the end, each tried in a programme of its own, one of each component at a time."""
    bad = left.copy()
    rounds = int(np.bincount(system.component[left]).max(initial=0))
    if rounds * system.work > MOST_WORK_ALONE:
        return bad
    while left.any():
        waiting = np.flatnonzero(left)
        first = waiting[np.unique(system.component[waiting], return_index=True)[1]]
        world = system.solve(_goal(left, first))
        if world is not None:
            bad &= ~system.reached(world)
        unknown = first[bad[first] & ~system.has_need[first]]
        if len(unknown):  # of what no table has, nothing is said where it may be zero
            world = system.solve(-_goal(left, unknown))
            if world is not None:
                bad[unknown[world[unknown] <= _SLACK]] = False
        left = left & bad
        left[first] = False
    return bad


def _goal(left: Flags, places: IntArray) -> _Floats:
    """The sum of some unknowns."""
    goal = np.zeros(len(left))
    goal[places] = 1.0
    return goal
