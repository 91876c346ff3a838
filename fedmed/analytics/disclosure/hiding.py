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

from bisect import bisect_left

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
    good = np.zeros_like(blank)
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
            more = _cheapest(quantity, net, taken, _alone(quantity, net, blank))
        if not more.any():
            more = _cheapest(quantity, net, taken, culprits)
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


def _cheapest(quantity: Quantity, net: Net, taken: Flags, wanting: Flags) -> Flags:
    """For each cell the shown number whose loss costs least.

    A part, where the equation is tightest, just large enough.
    """
    found = np.zeros_like(taken)
    if not wanting.any():
        return found
    offers, wanted = _Offers(quantity, net, taken), quantity.wanted.tolist()
    for cell in np.flatnonzero(wanting).tolist():
        each = (offers.best(rule, wanted[cell]) for rule in net.rules_of(cell).tolist())
        best = min((offer for offer in each if offer is not None), default=None)
        if best is not None:
            found[best[-1]] = True
    return found


_Offer = tuple[bool, int, bool, bool, int, int]
"""Of one equation: is not tight, what is left, is its whole, does not suffice, its size, its place."""


class _Offers:
    """Shown numbers of each equation, by size; many cells ask the same equation."""

    def __init__(self, quantity: Quantity, net: Net, taken: Flags) -> None:
        can = net.is_known & ~taken
        rules, places = net.parts.nonzero()
        rules, places = rules[can[places]], places[can[places]]
        sizes = quantity.values[places]
        order = np.lexsort((places, sizes, rules))
        self._ends = np.searchsorted(rules[order], np.arange(len(net.wholes) + 1)).tolist()
        self._places, self._sizes = places[order].tolist(), sizes[order].tolist()
        is_tight = can[net.wholes]
        self._left = np.where(is_tight, quantity.left(net, taken), -1).tolist()
        self._is_tight, self._wholes = is_tight.tolist(), net.wholes.tolist()
        self._whole_sizes = quantity.values[net.wholes].tolist()

    def best(self, rule: int, wanted: int) -> _Offer | None:
        """What an equation offers a cell in which ``wanted`` must be possible; the least offer is best."""
        low, high = self._ends[rule], self._ends[rule + 1]
        left, is_tight = self._left[rule], self._is_tight[rule]
        short = wanted - left
        if low == high:
            size = self._whole_sizes[rule]
            key = (False, size) if size >= short else (True, -size)
            return (False, left, True, *key, self._wholes[rule]) if is_tight else None
        at = bisect_left(self._sizes, short, low, high)
        if at < high:
            return not is_tight, left, False, False, self._sizes[at], self._places[at]
        largest = self._sizes[high - 1]
        at = bisect_left(self._sizes, largest, low, high)
        return not is_tight, left, False, True, -largest, self._places[at]
