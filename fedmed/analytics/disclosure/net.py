"""Cells and the equations between them as arrays: what tells which numbers give away which.

Cells become places in a fixed order, so no choice depends on the order of tables or levels.
Sums over equations are products with a sparse matrix of whole numbers and hence exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from fedmed.analytics.disclosure.cells import ValueSets
from fedmed.analytics.disclosure.equations import equations
from fedmed.types import IntArray

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """Which counts are sums of which others.

    Attributes:
        given: Shape (cells,): for every cell of the equations, in their fixed order, its place among the
            cells that the net was made of, -1 where it is none of them.
        is_known: Shape (cells,): some table has the cell. Others only occur in equations.
        wholes: Shape (rules,): place of the cell that each equation splits.
        parts: Shape (rules, cells), int64: 1 where a cell is a part in an equation.
        signed: ``parts`` with -1 at the whole, so that ``signed @ numbers`` is zero.
        touches: Shape (cells, rules), int64: 1 where a cell is in an equation, as whole or part.
    """

    given: IntArray
    is_known: Flags
    wholes: IntArray
    parts: csr_matrix
    signed: csr_matrix
    touches: csr_matrix

    @classmethod
    def of(cls, known: IntArray, sets: ValueSets, *, between: IntArray) -> Net:
        """Whatever follows from one another; cells that are in no equation are left out.

        Args:
            known: Shape (cells, columns): cells of the tables, each once.
            sets: Which sets of values their numbers are.
            between: The same of cells that tables have in common (`sums_in_common`).
        """
        rules = equations(np.concatenate([known, between]), sets)
        order = sets.in_order(rules.cells)
        place = np.argsort(order)
        parts = incidence(place[rules.parts], rules.ends, len(order))
        parts.sort_indices()
        above = incidence(place[rules.wholes], np.arange(len(rules.ends)), len(order))
        # Parts of a cell in two columns are different cells: the first of them tells the equations apart.
        rising = np.lexsort((parts.indices[parts.indptr[:-1]], place[rules.wholes]))
        parts, above = parts[rising], above[rising]
        given = _places_in(known, rules.cells[order], sets)
        return cls(
            given=given,
            is_known=given >= 0,
            wholes=place[rules.wholes][rising],
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


def incidence(places: IntArray, ends: IntArray, columns: int) -> csr_matrix:
    """A matrix with 1 at places, of each row those from one end to the next."""
    ones = np.ones(len(places), dtype=np.int64)
    return csr_matrix((ones, places, ends), shape=(len(ends) - 1, columns))


def _places_in(known: IntArray, cells: IntArray, sets: ValueSets) -> IntArray:
    """The place of each cell among the known ones, -1 where it is none of them."""
    codes = sets.codes(np.concatenate([known, cells]))
    order = np.argsort(codes[: len(known)])
    at = np.searchsorted(codes[order], codes[len(known) :])
    at = order[np.minimum(at, len(known) - 1)]
    return np.where(codes[at] == codes[len(known) :], at, -1)


def _row(matrix: csr_matrix, row: int) -> IntArray:
    """Columns of the entries of a row."""
    return np.asarray(matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]], dtype=np.int64)
