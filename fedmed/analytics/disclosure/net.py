"""Cells and the equations between them as arrays: what tells which numbers give away which.

Cells become places in a fixed order, so no choice depends on hashing nor on the order of tables or levels.
Sums over equations are products with a sparse matrix of whole numbers and hence exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from fedmed.analytics.disclosure.cells import Cell, Condition, equations
from fedmed.types import IntArray

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """Which counts are sums of which others.

    Attributes:
        cells: All cells of the equations, in their fixed order.
        is_known: Shape (cells,): some table has the cell. Others only occur in equations.
        wholes: Shape (rules,): place of the cell that each equation splits.
        parts: Shape (rules, cells), int64: 1 where a cell is a part in an equation.
        signed: ``parts`` with -1 at the whole, so that ``signed @ numbers`` is zero.
        touches: Shape (cells, rules), int64: 1 where a cell is in an equation, as whole or part.
    """

    cells: tuple[Cell, ...]
    is_known: Flags
    wholes: IntArray
    parts: csr_matrix
    signed: csr_matrix
    touches: csr_matrix

    @classmethod
    def of(
        cls, known: Iterable[Cell], values: Mapping[str, frozenset[str]], *, between: Iterable[Cell] = ()
    ) -> Net:
        """Whatever follows from one another; cells that are in no equation are left out.

        Args:
            known: Cells of the tables.
            values: `fedmed.analytics.disclosure.cells.known_values` of the same tables.
            between: `fedmed.analytics.disclosure.cells.sums_in_common` of the same tables.
        """
        given = dict.fromkeys(known)
        rules = equations((*given, *between), values)
        cells = in_order({c for rule in rules for c in (rule.whole, *rule.parts)})
        place = {cell: i for i, cell in enumerate(cells)}
        found = sorted((place[rule.whole], tuple(sorted(place[c] for c in rule.parts))) for rule in rules)
        wholes = np.array([whole for whole, _ in found], dtype=np.int64)
        parts = incidence([inside for _, inside in found], len(cells))
        above = incidence([(whole,) for whole, _ in found], len(cells))
        return cls(
            cells=cells,
            is_known=np.array([cell in given for cell in cells], dtype=np.bool_),
            wholes=wholes,
            parts=parts,
            signed=(parts - above).tocsr(),
            touches=(parts + above).T.tocsr(),
        )

    def where_true(self, values: IntArray, *, certain: Flags) -> Net:
        """The net without the equations that numbers refute.

        Args:
            values: Shape (cells,), int64: number of every cell that some table has.
            certain: Shape (cells,): cells whose numbers add up whatever they are; equations of such cells,
                and of cells that no table has, stay.

        Returns:
            The same cells. What no table has is taken for the least that an equation says of it.
        """
        values, seen = np.where(self.is_known, values, 0), self.is_known.copy()
        open_to_doubt = self.touches.T @ (self.is_known & ~certain).astype(np.int64) > 0
        rules, places = self.signed.nonzero()
        is_whole = self.wholes[rules] == places
        while True:
            left = -(self.signed @ values)
            unseen = np.bincount(rules[~seen[places]], minlength=len(self.wholes))
            refuted = np.where(unseen == 0, left != 0, seen[self.wholes] & (left < 0)) & open_to_doubt
            alone = ~seen[places] & ((unseen == 1) & ~refuted)[rules]
            alone &= is_whole if (alone & is_whole).any() else left[rules] >= 0
            if not alone.any():
                return self._only(~refuted)
            told = np.full(len(values), np.iinfo(np.int64).max)
            np.minimum.at(told, places[alone], np.abs(left[rules[alone]]))
            values[places[alone]] = told[places[alone]]
            seen[places[alone]] = True

    def _only(self, rules: Flags) -> Net:
        """The same cells with some of the equations."""
        return replace(
            self,
            wholes=self.wholes[rules],
            parts=self.parts[rules],
            signed=self.signed[rules],
            touches=self.touches[:, np.flatnonzero(rules)].tocsr(),
        )

    def rules_of(self, cell: int) -> IntArray:
        """Equations that a cell is in, rising."""
        return _row(self.touches, cell)

    def parts_of(self, rule: int) -> IntArray:
        """Parts of an equation, rising."""
        return _row(self.parts, rule)

    def open_at(self, blank: Flags) -> Flags:
        """Cells whose number nobody sees: hidden, or of no table."""
        return blank | ~self.is_known


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """What adds up: persons, rows, or an amount; the same one in all tables that show it.

    Attributes:
        values: Shape (cells of the net,), int64, >= 0: number of every cell; 0 where no table has it.
        needs: Shape (cells of the net,), int64: what an attacker must think possible in a cell that must be
            protected, larger than the cell's own number; 0 in others.
        floor: Smallest total but zero that may be known of cells that no table has (>= 1).
    """

    values: IntArray
    needs: IntArray
    floor: int

    @property
    def wanted(self) -> IntArray:
        """What must be possible in a cell: its need, the floor where it has none."""
        return np.where(self.needs > 0, self.needs, self.floor)

    def left(self, net: Net, gone: Flags) -> IntArray:
        """Each whole minus its parts that tables have and that are not gone: what the others add up to."""
        seen = np.where(net.is_known & ~gone, self.values, 0)
        return np.asarray(self.values[net.wholes] - net.parts @ seen, dtype=np.int64)


def in_order(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """Cells by their columns and values, whatever order they come in."""
    found = list(cells)
    conditions = {condition for cell in found for condition in cell}
    rank = {condition: i for i, condition in enumerate(sorted(conditions, key=_spelled))}
    return tuple(sorted(found, key=lambda cell: sorted(rank[condition] for condition in cell)))


def _spelled(condition: Condition) -> tuple[str, list[str]]:
    """A condition as something with an order."""
    return condition[0], sorted(condition[1])


def incidence(rows: Sequence[Sequence[int]], columns: int) -> csr_matrix:
    """A matrix with 1 at the given columns of each row."""
    ends = np.cumsum([0, *map(len, rows)])
    places = np.fromiter((place for row in rows for place in row), dtype=np.int64, count=int(ends[-1]))
    return csr_matrix((np.ones(len(places), dtype=np.int64), places, ends), shape=(len(rows), columns))


def _row(matrix: csr_matrix, row: int) -> IntArray:
    """Columns of the entries of a row."""
    return np.asarray(matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]], dtype=np.int64)
