"""An attacker who knows every number shown and nothing else, written apart from the code that hides.

The unknowns are the persons (or what they add up to) of every combination of values of all columns: whatever
can be worked out of any tables of them is a linear programme over these.
"""

import itertools

import numpy as np
from scipy.optimize import linprog

from fedmed.analytics.disclosure.cells import known_values
from fedmed.analytics.disclosure.tables import PERSONS


class Attacker:
    """Knows what `tables` show of one number."""

    def __init__(self, tables, name=PERSONS):
        self.tables, self.name = tables, name
        self.values = known_values((t.table.dimensions, t.table.where) for t in tables)
        self.columns = sorted(self.values)
        self.points = list(itertools.product(*(sorted(self.values[c]) for c in self.columns)))
        rows, right = [], []
        for table in tables:
            for kept in self._margins(table):
                for place, number in np.ndenumerate(table.shown(name, kept)):
                    if number is not None:
                        rows.append(self._members(table.table, kept, place))
                        right.append(number)
        self.scale = max([1, *right]) / 1e4 if name != PERSONS else 1.0
        self.rows, self.right = (np.array(rows), np.array(right) / self.scale) if rows else (None, None)

    def _margins(self, table):
        return [kept for name, kept in table.states if name == self.name]

    def _members(self, table, kept, place):
        """Which points a number counts."""
        allowed = dict(table.where)
        for axis, dimension in enumerate(table.dimensions):
            levels = list(dimension.levels.values())
            chosen = levels[place[kept.index(axis)]] if axis in kept else frozenset()
            if not chosen and (axis in kept or not dimension.is_complete):
                chosen = self.values[dimension.column] - dimension.named if axis in kept else dimension.named
            allowed[dimension.column] = chosen or self.values[dimension.column]
        homes = [allowed.get(c, self.values[c]) for c in self.columns]
        return np.array([all(v in h for v, h in zip(p, homes, strict=True)) for p in self.points], float)

    def interval(self, members):
        """Least and largest that a sum of points can be."""
        ends = []
        for sign in (1.0, -1.0):
            found = linprog(sign * members, A_eq=self.rows, b_eq=self.right, bounds=(0, None))
            assert found.status in (0, 3), found.message
            ends.append(found.fun * sign * self.scale if found.status == 0 else np.inf)
        return ends

    def blanks(self, table):
        """Every blank number of a table: its true value, its persons, and which points it counts."""
        for kept in self._margins(table):
            for place, number in np.ndenumerate(table.shown(self.name, kept)):
                if number is None:
                    persons = int(table.table.persons_at_least(kept)[place])
                    true = int(table.table.values(self.name, kept)[place])
                    yield true, persons, self._members(table.table, kept, place)


def assert_nothing_small_is_known(tables, minimum):
    """No persons below the minimum are shown, and no interval lies within 1..minimum-1."""
    attacker = Attacker(tables)
    for table in tables:
        for kept in attacker._margins(table):
            shown = [n for n in table.shown(PERSONS, kept).ravel() if n is not None]
            assert all(n >= minimum for n in shown)
        for true, persons, members in attacker.blanks(table):
            low, high = attacker.interval(members)
            assert low - 1e-4 <= true <= high + 1e-4
            if 0 < persons < minimum:
                assert high >= minimum - 1e-4
            assert not (low > 1e-4 and high < minimum - 1e-4)
