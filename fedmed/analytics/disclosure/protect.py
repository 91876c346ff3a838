"""Disclosure control of exact tables: small cells, one person's share, and everything that gives them away.

Small counts are hidden, and with them every other number of the same cell. An amount is hidden too where one
person could hold half of it, or two persons 85 %; that is judged by bounds of one person's part, the public
one or what nodes added up, so it holds whatever the rows are. Nothing is promised about one province's share:
no sum over a single province is ever opened, so nobody can see it. A person who is known to several nodes
counts at each of them.

Threat model, and what is guaranteed: `fedmed.analytics.disclosure.hiding`. Sums with noise need none of this.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fedmed.analytics.disclosure.cells import ValueSets, known_values
from fedmed.analytics.disclosure.grids import Grid, cells_of_grids, grid_of, sums_in_common
from fedmed.analytics.disclosure.hiding import hide
from fedmed.analytics.disclosure.net import Flags, Net, Quantity
from fedmed.analytics.disclosure.points import Points
from fedmed.analytics.disclosure.tables import PERSONS, ExactTable, Kept, ProtectedTable, State
from fedmed.types import IntArray, require

MOST_TURNS = 10
"""How often one number of each bound that is too tight is hidden; then all that touches what it bounds is."""

DEFAULT_MINIMUM = 11
LEAST_MINIMUM, LARGEST_MINIMUM = 5, 30


def protect(
    tables: Sequence[ExactTable], *, minimum: int, earlier: Sequence[ProtectedTable] = ()
) -> tuple[ProtectedTable, ...]:
    """Decide what may be shown of exact tables.

    Args:
        tables: All tables of a study, each with another name.
        minimum: Fewest persons of a cell that may be shown, 5 to 30.
        earlier: What was published of the same rows before.

    Returns:
        The tables, in order, with the verdict on every number.

    Guarantees:
        A shown number is of at least ``minimum`` persons, and if it is an amount, no person has half of it
        and no two have 85 %. An attacker who knows everything shown, earlier publications and the rules can
        name no total in 1..minimum-1 of persons, rows included, that contains a hidden count; and no total
        that contains a hidden number of few persons without at least one person's largest part of others.
        Numbers of one cell are hidden with its persons, and with the counts that guard them, which are
        protected as persons are, so that no total of a guarded number is of few of them. Where a person may
        be in several cells, persons are taken to add up wherever the counts do.

    Raises:
        ConfigError: ``minimum`` is outside its bounds.
    """
    in_bounds = LEAST_MINIMUM <= minimum <= LARGEST_MINIMUM
    require(in_bounds, f"the minimum cell must be {LEAST_MINIMUM} to {LARGEST_MINIMUM}, got {minimum}")
    study = _Study.of(tables, earlier, minimum)
    guards = {n.name: n.guards for t in study.tables for n in t.numbers}
    # What guards others has no guards, so it comes first.
    names = sorted({n.name for t in tables for n in t.numbers}, key=lambda name: (len(guards[name]), name))
    adding = tuple(t for t, table in enumerate(study.tables) if table.is_partition or len(table.margins) == 1)
    holding = {name: study.holding(name) for name in names}
    frames = _frames(study, (adding, *holding.values()))
    hidden = {PERSONS: _hidden_persons(study, _of_persons(study, PERSONS, frames[adding]))}
    for name in names:
        few = np.any([hidden[each] for each in (PERSONS, *guards[name])], axis=0)
        hidden[name] = _hidden_numbers(study, name, frames[holding[name]], few)
    return tuple(_judged(study, t, hidden) for t in range(len(study.earlier), len(study.tables)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Study:
    """What is looked at together.

    Attributes:
        tables: Earlier ones, then this study's.
        earlier: What was published of the first of them.
        minimum: Fewest persons of a cell that is shown.
        sets: Which sets of values the numbers in ``cells`` are.
        cells: Shape (cells, columns): every cell once.
        grids: For each table and margin its cells as a grid.
        places: For each table and margin, the place in ``cells`` of each of its numbers; no two are equal.
    """

    tables: tuple[ExactTable, ...]
    earlier: tuple[ProtectedTable, ...]
    minimum: int
    sets: ValueSets
    cells: IntArray
    grids: tuple[Mapping[Kept, Grid], ...]
    places: tuple[Mapping[Kept, IntArray], ...]

    @classmethod
    def of(cls, tables: Sequence[ExactTable], earlier: Sequence[ProtectedTable], minimum: int) -> _Study:
        """Number all cells."""
        every = (*(e.table for e in earlier), *tables)
        sets = ValueSets(known_values((t.dimensions, t.where) for t in every))
        found = [{kept: sets.cells_of(t.dimensions, t.where, kept=kept) for kept in t.margins} for t in every]
        every_margin = (cells for margins in found for cells in margins.values())
        each = [cells.reshape(math.prod(cells.shape[:-1]), -1) for cells in every_margin]
        rows = np.concatenate([np.zeros((0, len(sets.columns)), dtype=np.int64), *each])
        _, firsts, numbers = np.unique(sets.codes(rows), return_index=True, return_inverse=True)
        splits = iter(np.split(numbers, np.cumsum([len(cells) for cells in each])))
        return cls(
            tables=every,
            earlier=tuple(earlier),
            minimum=minimum,
            sets=sets,
            cells=rows[firsts],
            grids=tuple({kept: grid_of(cells) for kept, cells in margins.items()} for margins in found),
            places=tuple(
                {kept: next(splits).reshape(cells.shape[:-1]) for kept, cells in margins.items()}
                for margins in found
            ),
        )

    def holding(self, name: str) -> tuple[int, ...]:
        """Tables that have a number."""
        return tuple(t for t, table in enumerate(self.tables) if any(n.name == name for n in table.numbers))

    def each(self, tables: Iterable[int]) -> Iterator[tuple[int, Kept, IntArray]]:
        """Every margin of some tables, and the places of its cells."""
        return ((t, kept, places) for t in tables for kept, places in self.places[t].items())

    def least_persons(self, name: str = PERSONS) -> IntArray:
        """Persons of every cell or those that guard a number, whichever are fewest (at least so many)."""
        found = np.full(len(self.cells), np.iinfo(np.int64).max)
        for t, kept, places in self.each(range(len(self.tables))):
            found[places] = np.minimum(found[places], self.tables[t].persons_at_least(kept))
        for t, kept, places in self.each(self.holding(name)):
            found[places] = np.minimum(found[places], self.tables[t].least_persons(name, kept))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """Tables whose numbers are sums of one another.

    Attributes:
        tables: Places of the tables in the study.
        net: The equations between their cells.
        ours: Shape (cells of the net,): place in the study of each cell that the tables have, else -1.
        points: What the cells of several tables consist of; None where there are too many.
        known: Shape (cells of the points,): place in the study of each.
    """

    tables: tuple[int, ...]
    net: Net
    ours: IntArray
    points: Points | None
    known: IntArray

    def inside(self, numbers: IntArray) -> IntArray:
        """Numbers of the study's cells for the net's; 0 where no table has the cell."""
        found = np.zeros(len(self.ours), dtype=np.int64)
        found[self.net.is_known] = numbers[self.ours[self.net.is_known]]
        return found

    def hide(self, quantity: _Numbers, *, hidden: Flags, needs: IntArray) -> Flags:
        """What must be hidden, in flags of the study's cells.

        Guarantees:
            Where the tables have points, no world of points that agrees with what is shown bounds a protected
            cell below its need, unless earlier publications alone do.
        """
        good, turn = np.zeros(len(self.known), dtype=np.bool_), 0
        while True:
            hidden = self._hide_by_net(quantity, hidden=hidden, needs=needs)
            if self.points is None:
                return hidden
            verdict = self.points.too_narrow(
                Quantity(values=quantity.values[self.known], needs=needs[self.known], floor=quantity.floor),
                hidden[self.known],
                published=quantity.published[self.known],
                good=good,
                is_last=turn >= MOST_TURNS,
            )
            if not verdict.above.any():
                return hidden
            hidden[self.known[verdict.above]] = True
            good, turn = verdict.good, turn + 1

    def _hide_by_net(self, quantity: _Numbers, *, hidden: Flags, needs: IntArray) -> Flags:
        """`fedmed.analytics.disclosure.hiding.hide`, in flags of the study's cells."""
        chosen = hide(
            Quantity(values=self.inside(quantity.values), needs=self.inside(needs), floor=quantity.floor),
            self.net,
            hidden=self.inside(hidden.astype(np.int64)) > 0,
            published=self.inside(quantity.published.astype(np.int64)) > 0,
        )
        found = (hidden | (needs > 0)) & ~quantity.published
        found[self.ours[chosen]] = True
        return found


def _frames(study: _Study, each: Iterable[tuple[int, ...]]) -> dict[tuple[int, ...], _Frame]:
    """The frame of each set of tables; sets with the same cells have one net."""
    nets: dict[frozenset[Grid], tuple[Net, IntArray]] = {}
    found: dict[tuple[int, ...], _Frame] = {}
    for tables in dict.fromkeys(each):
        grids = frozenset(grid for t in tables for grid in study.grids[t].values())
        if grids not in nets:
            nets[grids] = _net_of(study, tables, grids)
        net, known = nets[grids]
        # Of one table the net has every sum.
        points = Points.of(study.cells[known], study.sets) if len(tables) > 1 else None
        ordered = known[:0] if points is None else known[points.given]
        ours = np.append(known, -1)[net.given]
        found[tables] = _Frame(tables=tables, net=net, ours=ours, points=points, known=ordered)
    return found


def _net_of(study: _Study, tables: Iterable[int], grids: frozenset[Grid]) -> tuple[Net, IntArray]:
    """The equations of some tables, and the places of their cells in the study."""
    places = [p.ravel() for _, _, p in study.each(tables)]
    known = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *places]))
    between = cells_of_grids(sums_in_common(grids, study.sets), len(study.sets.columns))
    return Net.of(study.cells[known], study.sets, between=between), known


@dataclass(frozen=True, slots=True, kw_only=True)
class _Numbers:
    """One number of every cell.

    Attributes:
        values: Shape (cells of the study,), int64; 0 where no table has the number.
        exists: The same shape: some table has it.
        published: The same shape: it was published before.
        floor: As `fedmed.analytics.disclosure.net.Quantity.floor`.
    """

    values: IntArray
    exists: Flags
    published: Flags
    floor: int

    @classmethod
    def of(cls, study: _Study, name: str, tables: Sequence[int], floor: int) -> _Numbers:
        """Each cell's number; what is known is what was shown, whatever a later table says."""
        values = np.zeros(len(study.cells), dtype=np.int64)
        exists, published = np.zeros((2, len(study.cells)), dtype=np.bool_)
        for t, kept, places in study.each(tables):
            exists[places] = True
            told = np.zeros(places.shape, dtype=np.bool_)
            if t < len(study.earlier):
                told = study.earlier[t].states[name, kept] == State.SHOWN
            taken = told | ~published[places]
            values[places[taken]] = study.tables[t].values(name, kept)[taken]
            published[places[told]] = True
        return cls(values=values, exists=exists, published=published, floor=floor)


def _of_persons(study: _Study, name: str, frame: _Frame) -> _Frame:
    """The frame with the equations that hold of a count of persons.

    Where a person may be in several cells, nothing has to add up; but persons by sex do, everybody knows it,
    and the counts show it.
    """
    partitions = tuple(t for t in frame.tables if study.tables[t].is_partition)
    if partitions == frame.tables:
        return frame
    counts = _Numbers.of(study, name, frame.tables, study.minimum)
    certain = np.zeros(len(study.cells), dtype=np.int64)
    for _, _, places in study.each(partitions):
        certain[places] = 1
    net = frame.net.where_true(frame.inside(counts.values), certain=frame.inside(certain) > 0)
    return replace(frame, net=net)


def _hidden_persons(study: _Study, frame: _Frame) -> Flags:
    """Cells of few persons or nobody, and the complementary ones among counts that add up."""
    counts = _Numbers.of(study, PERSONS, frame.tables, study.minimum)
    few = study.least_persons() < study.minimum
    is_small = counts.exists & (counts.values > 0) & (counts.values < study.minimum)
    needs = np.where(is_small, study.minimum, 0)
    return few | frame.hide(counts, hidden=few & counts.exists, needs=needs)


def _hidden_numbers(study: _Study, name: str, frame: _Frame, few: Flags) -> Flags:
    """Cells whose number of that name is hidden."""
    every = [n for t in frame.tables for n in study.tables[t].numbers if n.name == name]
    most = max(n.most_of_person for n in every)
    frame = _of_persons(study, name, frame) if any(n.is_persons for n in every) else frame
    # How much one person may have of cells that no table shows, nobody has bounded.
    floor = 1 if any(n.is_amount for n in every) else study.minimum
    numbers = _Numbers.of(study, name, frame.tables, floor)
    least = _least_shown(study, name, frame.tables)
    is_little = numbers.values < np.maximum(floor, least)
    hidden = numbers.exists & (few | is_little)
    is_protected = hidden & (numbers.values > 0) & (is_little | (study.least_persons(name) < study.minimum))
    # Half of the least sum shown is more than one person can have there.
    part = np.minimum(most, least // 2 + 1) if floor == 1 else np.full_like(least, most)
    needs = np.where(is_protected, np.maximum(numbers.values + part, floor), 0)
    return frame.hide(numbers, hidden=hidden, needs=needs)


def _least_shown(study: _Study, name: str, tables: Sequence[int]) -> IntArray:
    """`ExactTable.least_shown` of every cell; the largest where tables differ."""
    found = np.ones(len(study.cells), dtype=np.int64)
    for t, kept, places in study.each(tables):
        found[places] = np.maximum(found[places], study.tables[t].least_shown(name, kept))
    return found


def _judged(study: _Study, place: int, hidden: Mapping[str, Flags]) -> ProtectedTable:
    """The verdict on each number of a table."""
    table = study.tables[place]
    states: dict[tuple[str, Kept], npt.NDArray[np.int8]] = {}
    for name in (PERSONS, *(n.name for n in table.numbers)):
        for kept, cells in study.places[place].items():
            if name == PERSONS and not table.is_partition and len(kept) < len(table.dimensions):
                continue
            values, persons = table.values(name, kept), table.least_persons(name, kept)
            is_dominated = values < table.least_shown(name, kept)
            reasons = np.select(
                [(table.persons_at_least(kept) == 0) | (values == 0), persons < study.minimum, is_dominated],
                [State.ZERO, State.SMALL, State.DOMINATED],
                State.COMPLEMENTARY,
            )
            is_hidden = (hidden[name] | hidden[PERSONS])[cells]
            states[name, kept] = np.where(is_hidden, reasons, State.SHOWN).astype(np.int8)
    return ProtectedTable(table=table, states=states)
