"""Which numbers stay hidden so that no small one can be worked out.

Attack model: somebody knows every shown number, the rule, all equations between numbers of all tables (those
published earlier too), and that no number is negative. Hidden are numbers that need protection, and further
ones until an attacker must think it possible that each protected number is as large as its need: no total
that can be worked out and that contains it is then smaller than that. Zeros are hidden with small counts, so
a blank does not say that somebody is there.

Source:
    Hundepool et al. 2012, Statistical Disclosure Control, chapter 4 (secondary suppression, interval audit).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedmed.analytics.disclosure.interval import too_narrow
from fedmed.analytics.disclosure.net import Flags, Net, Quantity
from fedmed.types import IntArray


def hide(quantity: Quantity, net: Net, *, hidden: Flags, published: Flags) -> Flags:
    """Choose what stays hidden.

    Args:
        quantity: The numbers of all tables, earlier ones included.
        net: The equations between their cells.
        hidden: Shape (cells of the net,): cells that are hidden whatever the numbers say.
        published: The same shape: cells whose numbers are known already; they cannot be hidden any more.

    Returns:
        The same shape, the hidden cells: ``hidden``, all that have needs, and complementary ones. The same
        for every order of tables and levels.

    Guarantees:
        For every hidden cell that has a need, a world exists that agrees with everything shown, in which the
        cell's number is at least the need; so no sum of hidden cells with it that can be worked out is
        smaller. What is hidden of a sum that is shown adds up to zero or at least the floor. Neither can
        be promised of what was published before under weaker rules.
    """
    blank = ((quantity.needs > 0) | hidden) & ~published
    good, parts = np.zeros_like(blank), _Parts.by_size(quantity, net)
    while True:
        culprits, more = _open_sums(quantity, net, blank), np.zeros_like(blank)
        if not culprits.any():
            verdict = too_narrow(quantity, net, blank, good=good)
            culprits, more, good = verdict.narrow, verdict.above, verdict.good
        if not culprits.any():
            return blank
        taken = blank | published
        more = more & net.is_known & ~taken
        # A complementary cell alone in a sum is worked out, so it hides nothing: mend those first.
        if not more.any():
            more = _cheapest(quantity, net, taken, _alone(quantity, net, blank), parts)
        if not more.any():
            more = _cheapest(quantity, net, taken, culprits, parts)
        if not more.any():
            more = _nearest(quantity, net, taken, culprits)
        if not more.any():
            return blank
        blank = blank | more


def _judged(net: Net, blank: Flags) -> tuple[Flags, IntArray]:
    """Equations with a shown whole, and how many parts of each equation nobody sees."""
    shown = net.is_known[net.wholes] & ~blank[net.wholes]
    return shown, net.parts @ net.open_at(blank).astype(np.int64)


def _open_sums(quantity: Quantity, net: Net, blank: Flags) -> Flags:
    """Cells of equations in which the blanks add up to something small that can be read off."""
    shown, count = _judged(net, blank)
    left = quantity.left(net, blank)
    found = np.zeros_like(blank)
    # All parts of a hidden whole are shown.
    found[net.wholes[blank[net.wholes] & (count == 0)]] = True
    found &= quantity.needs > 0
    rules, places = net.parts.nonzero()
    is_small = ((left > 0) & (left < quantity.floor))[rules] | (quantity.needs[places] > left[rules])
    found[places[net.open_at(blank)[places] & shown[rules] & is_small]] = True
    return found


def _alone(quantity: Quantity, net: Net, blank: Flags) -> Flags:
    """Hidden cells that are the only blank of a shown sum and not zero."""
    shown, count = _judged(net, blank)
    wanting = shown & (count == 1) & (quantity.left(net, blank) > 0)
    return np.asarray((net.parts.T @ wanting.astype(np.int64) > 0) & blank, dtype=np.bool_)


def _nearest(quantity: Quantity, net: Net, taken: Flags, wanting: Flags) -> Flags:
    """Where no equation of a cell has a shown number: the least one of each equation that is nearest."""
    reached, can, found = wanting, net.is_known & ~taken, np.zeros_like(taken)
    while True:
        touched = net.touches.T @ reached.astype(np.int64) > 0
        wider = reached | (net.touches @ touched.astype(np.int64) > 0)
        if (wider & can).any() or np.array_equal(wider, reached):
            break
        reached = wider
    rules, places = net.signed.nonzero()
    offered = touched[rules] & can[places]
    rules, places = rules[offered], places[offered]
    order = np.lexsort((places, quantity.values[places], rules))
    _, firsts = np.unique(rules[order], return_index=True)
    found[places[order][firsts]] = True
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """Parts of all equations, equation after equation, the least numbers first.

    Attributes:
        rules: Shape (parts of all equations,): the equation.
        places: The same shape: the part.
    """

    rules: IntArray
    places: IntArray

    @classmethod
    def by_size(cls, quantity: Quantity, net: Net) -> _Parts:
        """Put the parts in order."""
        rules, places = net.parts.nonzero()
        order = np.lexsort((places, quantity.values[places], rules))
        return cls(rules=rules[order], places=places[order])

    def where(self, can: Flags) -> _Parts:
        """Only parts at some places."""
        kept = can[self.places]
        return _Parts(rules=self.rules[kept], places=self.places[kept])


def _cheapest(quantity: Quantity, net: Net, taken: Flags, wanting: Flags, parts: _Parts) -> Flags:
    """For each cell the shown number whose loss costs least.

    A part, where the equation is tightest, just large enough; where none is left to offer, the whole.
    """
    found, asking = np.zeros_like(taken), np.flatnonzero(wanting)
    if not len(asking):
        return found
    rows, rules = net.touches[asking].nonzero()
    can = net.is_known & ~taken
    is_tight = can[net.wholes[rules]]
    left = np.where(is_tight, quantity.left(net, taken)[rules], -1)
    short = quantity.wanted[asking[rows]] - left
    places, is_whole = _offered(quantity, net, rules, short, parts=parts.where(can))
    sizes = quantity.values[places]
    lacks = sizes < short
    order = np.lexsort((places, np.where(lacks, -sizes, sizes), lacks, is_whole, left, ~is_tight, rows))
    order = order[(is_tight | ~is_whole)[order]]
    _, firsts = np.unique(rows[order], return_index=True)
    found[places[order[firsts]]] = True
    return found


def _offered(
    quantity: Quantity, net: Net, rules: IntArray, short: IntArray, *, parts: _Parts
) -> tuple[IntArray, Flags]:
    """What each of some equations offers to who is so much short: the least part that suffices.

    Returns:
        Shape of the equations: the cell offered, the largest part if none suffices, the first of equal ones;
        and whether it is the whole, since there is no part.
    """
    ends = np.searchsorted(parts.rules, np.arange(len(net.wholes) + 1))
    low, high = ends[rules], ends[rules + 1]
    sizes = np.append(quantity.values[parts.places], 0)
    largest = np.where(low < high, sizes[high - 1], 0)
    at = _first_at_least(sizes, np.minimum(short, largest), low, high)
    is_whole = low == high
    return np.where(is_whole, net.wholes[rules], np.append(parts.places, 0)[at]), is_whole


def _first_at_least(sizes: IntArray, least: IntArray, low: IntArray, high: IntArray) -> IntArray:
    """Where sizes rise from ``low`` to ``high``, the first place of a size that is not below ``least``."""
    while (low < high).any():
        middle = (low + high) // 2
        is_below = (low < high) & (sizes[middle] < least)
        low, high = np.where(is_below, middle + 1, low), np.where(is_below, high, middle)
    return low
