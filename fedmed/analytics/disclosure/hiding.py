"""Which counts stay hidden so that no small one can be worked out.

Attack model: somebody knows every shown count, the rule, all equations between counts of all tables (those
published earlier too), and that no count is negative. Hidden are small counts, and further ones until
nothing small can be derived: neither a count itself, nor what several hidden counts of one equation add up
to. Zero counts are hidden with them, so a blank does not say that somebody is there.

Source:
    Hundepool et al. 2012, Statistical Disclosure Control, chapter 4 (secondary suppression, interval audit).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog
from scipy.sparse import csr_matrix

from fedmed.analytics.disclosure.cells import Cell, Equation
from fedmed.types import require

LEAST_MINIMUM, LARGEST_MINIMUM = 5, 30
# An attacker's interval must leave at least two whole numbers.
_PINNED = 1.0 - 1e-6
_ROUNDS_OF_BULK = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """What may be shown.

    Attributes:
        shown: Cells whose count may be shown.
        small: Hidden because their own count is below the minimum and not zero.
        zero: Hidden because nobody is in them.
        complementary: Hidden because others could be worked out from them.
    """

    shown: frozenset[Cell]
    small: frozenset[Cell]
    zero: frozenset[Cell]
    complementary: frozenset[Cell]


def hide(
    counts: Mapping[Cell, int],
    rules: Iterable[Equation],
    *,
    minimum: int,
    published: frozenset[Cell] = frozenset(),
) -> Suppression:
    """Choose what stays hidden.

    Args:
        counts: All counts of all tables, earlier ones included.
        rules: `fedmed.analytics.disclosure.cells.equations` of them.
        minimum: Smallest count that may be shown, 5 to 30.
        published: Cells whose counts are known already; they cannot be hidden any more.

    Returns:
        A choice for every count.

    Guarantees:
        No shown count lies in 1..minimum-1 (unless it was published). For every hidden count in that range
        an attacker's interval holds two whole numbers or more, and reaches below 1 or to the minimum. In
        every equation what is hidden adds up to zero or at least the minimum.

    Raises:
        ConfigError: ``minimum`` is outside its bounds.
    """
    in_bounds = LEAST_MINIMUM <= minimum <= LARGEST_MINIMUM
    require(in_bounds, f"the minimum cell must be {LEAST_MINIMUM} to {LARGEST_MINIMUM}, got {minimum}")
    known = tuple(rules)
    hidden = {cell for cell, count in counts.items() if count < minimum} - published
    while True:
        culprits = _open_sums(counts, known, hidden, minimum) or _derivable(counts, known, hidden, minimum)
        if not culprits:
            break
        found = (_cheapest(counts, known, hidden | published, cell) for cell in culprits)
        more = {cell for cell in found if cell is not None}
        if not more:  # nothing near is left to hide: hide all that shares an equation with a hidden cell
            more = {c for e in known for c in _cells(e) if hidden & set(_cells(e))} - hidden - published
        if not more:
            break
        hidden |= more
    return Suppression(
        shown=frozenset(counts) - hidden,
        small=frozenset(c for c in hidden if 0 < counts[c] < minimum),
        zero=frozenset(c for c in hidden if counts[c] == 0),
        complementary=frozenset(c for c in hidden if counts[c] >= minimum),
    )


def _cells(equation: Equation) -> tuple[Cell, ...]:
    """All cells of an equation."""
    return (equation.whole, *equation.parts)


def _open_sums(
    counts: Mapping[Cell, int], rules: tuple[Equation, ...], hidden: set[Cell], minimum: int
) -> set[Cell]:
    """Hidden cells of equations whose hidden parts add up to a small number that can be read off."""
    found: set[Cell] = set()
    for rule in rules:
        blank = [cell for cell in rule.parts if cell in hidden]
        if rule.whole not in hidden and blank and 0 < sum(counts[c] for c in blank) < minimum:
            found.update(c for c in blank if counts[c] > 0)
    return found


def _derivable(
    counts: Mapping[Cell, int], rules: tuple[Equation, ...], hidden: set[Cell], minimum: int
) -> set[Cell]:
    """Hidden small cells whose interval is too narrow."""
    system = _system(counts, rules, hidden)
    small = [i for i, cell in enumerate(system.cells) if 0 < counts[cell] < minimum]
    if not small:
        return set()
    low = np.array([counts[c] for c in system.cells], dtype=np.float64)
    high = low.copy()
    for objective in _objectives(len(low), small):
        _widen(system, objective, low, high)
    for i in small:
        if not _is_safe(low[i], high[i], minimum):
            for sign in (1.0, -1.0):
                objective = np.zeros(len(low))
                objective[i] = sign
                _widen(system, objective, low, high)
    return {system.cells[i] for i in small if not _is_safe(low[i], high[i], minimum)}


def _is_safe(low: float, high: float, minimum: int) -> bool:
    """Two whole numbers or more, and not certainly a small positive one."""
    return high - low >= _PINNED and (low < _PINNED or high >= minimum - 1e-6)


@dataclass(frozen=True, slots=True, kw_only=True)
class _System:
    """``matrix @ x == right``, ``x >= 0`` over the hidden cells that stand in some equation."""

    cells: tuple[Cell, ...]
    matrix: csr_matrix
    right: npt.NDArray[np.float64]


def _system(counts: Mapping[Cell, int], rules: tuple[Equation, ...], hidden: set[Cell]) -> _System:
    """What the shown counts say about the hidden ones; cells without an equation are free."""
    cells = tuple(sorted({c for r in rules for c in _cells(r) if c in hidden}, key=_order))
    place = {cell: i for i, cell in enumerate(cells)}
    rows: list[int] = []
    columns: list[int] = []
    entries: list[float] = []
    right: list[float] = []
    for rule in rules:
        if not any(cell in place for cell in _cells(rule)):
            continue
        known = 0
        for cell, sign in ((rule.whole, -1), *((part, 1) for part in rule.parts)):
            if cell in place:
                rows.append(len(right))
                columns.append(place[cell])
                entries.append(float(sign))
            else:
                known += sign * counts[cell]
        right.append(-float(known))
    matrix = csr_matrix((entries, (rows, columns)), shape=(len(right), len(cells)))
    return _System(cells=cells, matrix=matrix, right=np.array(right))


def _order(cell: Cell) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """A fixed order of cells, so that the choice does not depend on hashing."""
    return tuple(sorted((column, tuple(sorted(values))) for column, values in cell))


def _objectives(size: int, small: list[int]) -> Iterable[npt.NDArray[np.float64]]:
    """Directions in which one programme shows for many cells at once how far they may lie apart."""
    for step in range(_ROUNDS_OF_BULK):
        objective = np.zeros(size)
        for rank, i in enumerate(small):
            objective[i] = 1.0 if (rank >> (step // 2)) & 1 == step % 2 else -1.0
        yield objective


def _widen(
    system: _System,
    objective: npt.NDArray[np.float64],
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
) -> None:
    """Find a possible world far along the objective and widen every cell's interval by it."""
    found = linprog(-objective, A_eq=system.matrix, b_eq=system.right, bounds=(0, None), method="highs")
    if found.status == 0:
        np.minimum(low, found.x, out=low)
        np.maximum(high, found.x, out=high)
    elif found.status == 3:  # nothing bounds it: as far as one likes
        high[objective > 0] = np.inf


def _cheapest(
    counts: Mapping[Cell, int], rules: tuple[Equation, ...], taken: set[Cell], cell: Cell
) -> Cell | None:
    """The smallest shown count that shares an equation with a cell; a part rather than the whole."""
    near = {
        (index == 0, counts[other], _order(other)): other
        for rule in rules
        if cell in (rule.whole, *rule.parts)
        for index, other in enumerate(_cells(rule))
        if other not in taken
    }
    return near[min(near)] if near else None
