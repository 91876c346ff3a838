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

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fedmed.analytics.disclosure.cells import Cell, Equation
from fedmed.analytics.disclosure.interval import Net, order_of, too_narrow


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """What adds up: persons, rows, or an amount; the same one in all tables that show it.

    Attributes:
        values: Number of every cell, >= 0.
        needs: Cells that must be protected, with the number that an attacker must think possible there;
            larger than the cell's own.
        floor: Smallest total but zero that may be known of cells that no table has (>= 1).
    """

    values: Mapping[Cell, int]
    needs: Mapping[Cell, int]
    floor: int


def hide(
    quantity: Quantity,
    rules: Iterable[Equation],
    *,
    hidden: frozenset[Cell] = frozenset(),
    published: frozenset[Cell] = frozenset(),
) -> frozenset[Cell]:
    """Choose what stays hidden.

    Args:
        quantity: The numbers of all tables, earlier ones included.
        rules: `fedmed.analytics.disclosure.cells.equations` of their cells.
        hidden: Cells that are hidden whatever the numbers say.
        published: Cells whose numbers are known already; they cannot be hidden any more.

    Returns:
        The hidden cells: ``hidden``, all that have needs, and complementary ones. The same for every order of
        cells and rules.

    Guarantees:
        For every hidden cell that has a need, a world exists that agrees with everything shown, in which the
        cell's number is at least the need; so no sum of hidden cells with it that can be worked out is
        smaller. What is hidden of a sum that is shown adds up to zero or at least the floor. Neither can
        be promised of what was published before under weaker rules.
    """
    net = Net.of(quantity.values, tuple(rules))
    blank = (set(quantity.needs) | hidden) - published
    safe: set[frozenset[int]] = set()
    while True:
        culprits = _open_sums(quantity, net, blank) or too_narrow(
            net, blank, needs=quantity.needs, floor=quantity.floor, safe=safe
        )
        if not culprits:
            return frozenset(blank)
        taken = blank | published
        more = {c for cells in culprits.values() for c in cells if c in quantity.values} - taken
        # A complementary cell alone in a sum is worked out, so it hides nothing: mend those first.
        for wanting in (_alone(quantity, net, blank), culprits.keys()):
            found = (_cheapest(quantity, net, taken, cell) for cell in sorted(wanting, key=order_of))
            more = more or {cell for cell in found if cell is not None}
        if not more:  # nothing near is left to hide: hide all that shares an equation with a blank
            touched = {place for cell in culprits.keys() | blank for place in net.rules_of.get(cell, ())}
            near = {cell for place in touched for cell in net.cells(place)}
            more = {cell for cell in near if cell in quantity.values} - taken
        if not more:
            return frozenset(blank)
        blank |= more


def _open_sums(quantity: Quantity, net: Net, blank: set[Cell]) -> dict[Cell, frozenset[Cell]]:
    """Cells of equations in which the blanks add up to something small that can be read off."""
    found: set[Cell] = set()
    for rule in net.rules:
        open_parts = [c for c in rule.parts if net.is_blank(c, blank)]
        if rule.whole in blank and not open_parts:
            found |= {rule.whole} & quantity.needs.keys()
        if rule.whole in blank or rule.whole not in quantity.values or not open_parts:
            continue
        left = net.left(rule, blank)
        if 0 < left < quantity.floor:
            found.update(open_parts)
        found.update(c for c in open_parts if quantity.needs.get(c, 0) > left)
    return dict.fromkeys(found, frozenset())


def _alone(quantity: Quantity, net: Net, blank: set[Cell]) -> set[Cell]:
    """Hidden cells that are the only blank of a shown sum and not zero."""
    found = set()
    for rule in net.rules:
        if rule.whole in blank or rule.whole not in quantity.values:
            continue
        open_parts = [c for c in rule.parts if net.is_blank(c, blank)]
        if len(open_parts) == 1 and net.left(rule, blank) > 0:
            found.update(blank.intersection(open_parts))
    return found


def _cheapest(quantity: Quantity, net: Net, taken: set[Cell], cell: Cell) -> Cell | None:
    """The shown number whose loss costs least: a part, where the equation is tightest, just large enough."""
    best = None
    for place in net.rules_of.get(cell, ()):
        rule = net.rules[place]
        is_tight = rule.whole in quantity.values and rule.whole not in taken
        left = net.left(rule, taken) if is_tight else -1
        short = quantity.needs.get(cell, quantity.floor) - left
        for index, other in enumerate(net.cells(place)):
            if other in taken or other not in quantity.values:
                continue
            value = quantity.values[other]
            suffices = value >= short
            size = value if suffices else -value
            key = (not is_tight, left, index == 0, not suffices, size, order_of(other))
            if best is None or key < best[0]:
                best = (key, other)
    return best[1] if best else None
