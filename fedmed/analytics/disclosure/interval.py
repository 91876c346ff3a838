"""How large an attacker must think that a hidden number may be: linear programmes, one component at a time.

A component is what hangs together by equations that have blanks in common. One that is too large to be
audited is not audited more weakly but hidden more: every sum above a protected number goes, up to the total,
and then an exact argument takes the place of the programme.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from fedmed.analytics.disclosure.cells import Cell, Equation

MOST_AUDITED = 1500
"""Blanks of a component that a linear programme looks at."""

_SLACK = 1e-6
_Floats = npt.NDArray[np.float64]


def order_of(cell: Cell) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """A fixed order of cells, so that no choice depends on hashing."""
    return tuple(sorted((column, tuple(sorted(values))) for column, values in cell))


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """Numbers and the equations between them.

    Attributes:
        values: Number of every cell that some table has.
        rules: All equations; their cells may be ones that no table has.
        rules_of: Places in ``rules`` of the equations of each cell.
    """

    values: Mapping[Cell, int]
    rules: tuple[Equation, ...]
    rules_of: Mapping[Cell, tuple[int, ...]]

    @classmethod
    def of(cls, values: Mapping[Cell, int], rules: tuple[Equation, ...]) -> Net:
        """Index the equations by their cells."""
        homes: dict[Cell, list[int]] = {}
        for place, rule in enumerate(rules):
            for cell in (rule.whole, *rule.parts):
                homes.setdefault(cell, []).append(place)
        return cls(values=values, rules=rules, rules_of={c: tuple(p) for c, p in homes.items()})

    def cells(self, place: int) -> tuple[Cell, ...]:
        """The whole and the parts of an equation."""
        return (self.rules[place].whole, *self.rules[place].parts)

    def left(self, rule: Equation, blank: set[Cell]) -> int:
        """A shown whole minus its shown parts: what the other parts add up to."""
        shown = (self.values[c] for c in rule.parts if c in self.values and c not in blank)
        return self.values[rule.whole] - sum(shown)

    def is_blank(self, cell: Cell, blank: set[Cell]) -> bool:
        """Whether nobody sees the cell's number: hidden, or of no table."""
        return cell in blank or cell not in self.values


def too_narrow(
    net: Net, blank: set[Cell], *, needs: Mapping[Cell, int], floor: int, safe: set[frozenset[int]]
) -> dict[Cell, frozenset[Cell]]:
    """Blanks about which too much can be worked out, where more than one sum must be looked at.

    Args:
        net: The numbers.
        blank: Hidden cells.
        needs: As `fedmed.analytics.disclosure.hiding.Quantity.needs`.
        floor: As `fedmed.analytics.disclosure.hiding.Quantity.floor`; judges cells that no table has.
        safe: Components (places of their cells' equations) found good before; good ones are added.

    Returns:
        Protected cells that cannot be as large as their need, and cells of no table that are certainly above
        zero and certainly below the floor; with each what must be hidden as well, empty where the caller may
        choose. A programme that fails counts as too narrow.
    """
    found: dict[Cell, frozenset[Cell]] = {}
    for component in _components(net, blank):
        targets = [c for c in component if c in needs or c not in net.values]
        places = frozenset(p for c in component for p in net.rules_of[c])
        key = places | {-len(component)}
        if not targets or key in safe:
            continue
        if len(places) == 1 and not net.is_blank(net.rules[min(places)].whole, blank):
            continue  # one sum: the caller looked at what its blanks add up to
        if len(component) > MOST_AUDITED:
            bad = {c: above for c in targets if (above := _above(net, blank, c)) is not None}
        else:
            narrow = _narrow_by_programme(net, component, targets, needs=needs, floor=floor)
            bad = dict.fromkeys(narrow, frozenset())
        found |= bad
        if not bad:
            safe.add(key)
    return found


def _components(net: Net, blank: set[Cell]) -> list[list[Cell]]:
    """Blanks that hang together by equations, in a fixed order; those in no equation are free."""
    cells = sorted((c for c in net.rules_of if net.is_blank(c, blank)), key=order_of)
    place = {cell: i for i, cell in enumerate(cells)}
    links = [(p, place[c]) for p in range(len(net.rules)) for c in net.cells(p) if c in place]
    if not links:
        return []
    size = len(cells)
    ends = np.array(links, dtype=np.int64)
    shape = (size + len(net.rules),) * 2
    graph = coo_matrix((np.ones(len(links)), (ends[:, 1], ends[:, 0] + size)), shape=shape)
    count, labels = connected_components(graph, directed=False)
    groups: list[list[Cell]] = [[] for _ in range(count)]
    for cell, label in zip(cells, labels, strict=False):
        groups[label].append(cell)
    return [group for group in groups if group]


def _above(net: Net, blank: set[Cell], cell: Cell) -> frozenset[Cell] | None:
    """All sums above a blank; None if they are blank, so that it may be as large as one likes.

    Adding anything to a set of blanks changes no equation if each has its whole in the set exactly when it
    has one part there, and no other number of it.
    """
    atom = cell
    while below := [p for p in net.rules_of[atom] if net.rules[p].whole == atom]:
        atom = min(net.rules[below[0]].parts, key=lambda c: (not net.is_blank(c, blank), order_of(c)))
    above, waiting = {atom}, [atom]
    while waiting:
        part = waiting.pop()
        wholes = {net.rules[p].whole for p in net.rules_of[part]} - above
        above |= wholes
        waiting += wholes
    touched = {p for c in above for p in net.rules_of[c]}
    is_free = all(net.is_blank(c, blank) for c in above) and all(
        (net.rules[p].whole in above) == (sum(c in above for c in net.rules[p].parts) == 1) for p in touched
    )
    return None if is_free else frozenset(above)


@dataclass(frozen=True, slots=True, kw_only=True)
class _System:
    """``matrix @ x == right``, ``0 <= x <= most``, in a unit that suits the programme."""

    matrix: csr_matrix
    right: _Floats
    most: float

    def solve(self, goal: _Floats) -> _Floats | None:
        """A world in which ``goal @ x`` is largest; None if the programme fails."""
        found = linprog(-goal, A_eq=self.matrix, b_eq=self.right, bounds=(0, self.most), method="highs-ds")
        return found.x if found.status == 0 else None


def _system(net: Net, component: list[Cell], *, largest: int, unit: int) -> _System:
    """What the shown numbers say about the blanks of a component."""
    place = {cell: i for i, cell in enumerate(component)}
    entries: list[tuple[int, int, float]] = []
    right: list[float] = []
    for p in sorted({p for c in component for p in net.rules_of[c]}):
        known = 0
        for index, cell in enumerate(net.cells(p)):
            sign = -1 if index == 0 else 1
            if cell in place:
                entries.append((len(right), place[cell], float(sign)))
            else:
                known -= sign * net.values[cell]
        right.append(known / unit)
    rows, columns, signs = zip(*entries, strict=True)
    matrix = csr_matrix((signs, (rows, columns)), shape=(len(right), len(component)))
    # Far above every number, so that it binds nowhere it matters; where it does, it errs towards hiding.
    return _System(matrix=matrix, right=np.array(right), most=4.0 * largest / unit + 4.0)


def _narrow_by_programme(
    net: Net, component: list[Cell], targets: list[Cell], *, needs: Mapping[Cell, int], floor: int
) -> set[Cell]:
    """Targets of a component that fail; a programme for many at once first, then one for each."""
    largest = max(max(net.values.values()), *(needs.get(c, floor) for c in targets))
    # Programmes are solved to 1e-7 of their unit; amounts reach 1e14.
    unit = max(floor, largest >> 30)
    system = _system(net, component, largest=largest, unit=unit)
    place = {cell: i for i, cell in enumerate(component)}
    wanted = {place[c]: needs.get(c, floor) / unit * (1 - _SLACK) for c in targets}
    left = set(wanted)
    while left:
        goal = np.zeros(len(component))
        goal[list(left)] = [1 / wanted[i] for i in left]
        world = system.solve(goal)
        reached = set() if world is None else {i for i in left if world[i] >= wanted[i]}
        if not reached:
            break
        left -= reached
    for i in sorted(left):
        goal = np.zeros(len(component))
        goal[i] = 1.0
        world = system.solve(goal)
        if world is not None and world[i] >= wanted[i]:
            left.discard(i)
        elif component[i] not in needs:
            world = system.solve(-goal)
            if world is not None and world[i] <= _SLACK:
                left.discard(i)
    return {component[i] for i in left}
