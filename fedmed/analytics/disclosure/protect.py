"""Disclosure control of exact tables: small cells, one person's share, and everything that gives them away.

Small counts are hidden, and with them every other number of the same cell. An amount is hidden too where one
person could hold half of it, or two persons 85 %; that is judged by bounds of one person's part, the public
one or what nodes added up, so it holds whatever the rows are. Nothing is promised about one province's share:
no sum over a single province is ever opened, so nobody can see it. A person who is known to several nodes
counts at each of them.

Threat model, and what is guaranteed: `fedmed.analytics.disclosure.hiding`. Sums with noise need none of this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmed.analytics.disclosure.cells import Cell, cells_of, equations, known_values
from fedmed.analytics.disclosure.hiding import Quantity, hide
from fedmed.analytics.disclosure.tables import PERSONS, ExactTable, Kept, ProtectedTable, State
from fedmed.types import require

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
        Numbers of one cell are hidden with its persons.

    Raises:
        ConfigError: ``minimum`` is outside its bounds.
    """
    in_bounds = LEAST_MINIMUM <= minimum <= LARGEST_MINIMUM
    require(in_bounds, f"the minimum cell must be {LEAST_MINIMUM} to {LARGEST_MINIMUM}, got {minimum}")
    study = _Study(tables=tuple(tables), earlier=tuple(earlier), minimum=minimum)
    few = _hidden_persons(study)
    hidden = {PERSONS: few} | {
        name: _hidden_numbers(study, name, few) for name in sorted(_names(study)) if name != PERSONS
    }
    return tuple(_judged(study, table, hidden) for table in study.tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Study:
    """What is looked at together."""

    tables: tuple[ExactTable, ...]
    earlier: tuple[ProtectedTable, ...]
    minimum: int

    @property
    def everything(self) -> tuple[ExactTable, ...]:
        """Tables of this study and earlier ones."""
        return (*(e.table for e in self.earlier), *self.tables)

    def values(self) -> Mapping[str, frozenset[str]]:
        """Values of all columns."""
        return known_values((t.dimensions, t.where) for t in self.everything)

    def places(self, table: ExactTable) -> Iterator[tuple[Kept, tuple[int, ...], Cell]]:
        """Every number's place that a table shows, and its cell."""
        margins = frozenset(table.margins)
        found = cells_of(table.dimensions, table.where, self.values())
        return ((kept, place, cell) for kept, place, cell in found if kept in margins)


def _names(study: _Study) -> set[str]:
    """Numbers that this study's tables have."""
    return {n.name for t in study.tables for n in t.numbers} | {PERSONS}


def _least_persons(study: _Study) -> dict[Cell, int]:
    """Persons of every cell; at least so many where they do not add up."""
    found: dict[Cell, int] = {}
    for table in study.everything:
        persons = {kept: table.persons_at_least(kept) for kept in table.margins}
        for kept, place, cell in study.places(table):
            count = int(persons[kept][place])
            found[cell] = min(found.get(cell, count), count)
    return found


def _hidden_persons(study: _Study) -> frozenset[Cell]:
    """Cells of few persons or nobody, and the complementary ones among counts that add up."""
    adding = [t for t in study.everything if t.is_partition]
    counts, published = _numbers(study, PERSONS, adding)
    least = _least_persons(study)
    few = frozenset(c for c, count in least.items() if count < study.minimum)
    needs = {c: study.minimum for c, count in counts.items() if 0 < count < study.minimum}
    quantity = Quantity(values=counts, needs=needs, floor=study.minimum)
    chosen = hide(
        quantity, equations(counts, study.values()), hidden=few & counts.keys(), published=published
    )
    return few | chosen


def _hidden_numbers(study: _Study, name: str, few: frozenset[Cell]) -> frozenset[Cell]:
    """Cells whose number of that name is hidden."""
    holding = [t for t in study.everything if any(n.name == name for n in t.numbers)]
    values, published = _numbers(study, name, holding)
    least, persons = _least_shown(study, name, holding), _least_persons(study)
    numbers = [n for t in holding for n in t.numbers if n.name == name]
    most = max(n.most_of_person for n in numbers)
    # How much one person may have of cells that no table shows, nobody has bounded.
    floor = 1 if any(n.is_amount for n in numbers) else study.minimum
    hidden = frozenset(c for c, value in values.items() if c in few or value < max(floor, least[c]))
    # Half of the least sum shown is more than one person can have there.
    needs = {
        c: values[c] + (min(most, least[c] // 2 + 1) if floor == 1 else most)
        for c in hidden
        if values[c] > 0 and (persons[c] < study.minimum or values[c] < max(floor, least[c]))
    }
    needs = {c: max(need, floor) for c, need in needs.items()}
    quantity = Quantity(values=values, needs=needs, floor=floor)
    return hide(quantity, equations(values, study.values()), hidden=hidden, published=published)


def _least_shown(study: _Study, name: str, tables: Sequence[ExactTable]) -> dict[Cell, int]:
    """`ExactTable.least_shown` of every cell; the largest where tables differ."""
    found: dict[Cell, int] = {}
    for table in tables:
        least = {kept: table.least_shown(name, kept) for kept in table.margins}
        for kept, place, cell in study.places(table):
            found[cell] = max(found.get(cell, 1), int(least[kept][place]))
    return found


def _numbers(
    study: _Study, name: str, tables: Sequence[ExactTable]
) -> tuple[dict[Cell, int], frozenset[Cell]]:
    """Each cell's number, and the cells whose number was published before."""
    found: dict[Cell, int] = {}
    known: set[Cell] = set()
    before = {id(e.table): e for e in study.earlier}
    for table in tables:
        values = {kept: table.values(name, kept) for kept in table.margins}
        states = before[id(table)].states if id(table) in before else None
        for kept, place, cell in study.places(table):
            value = int(values[kept][place])
            if states is not None and states[name, kept][place] == State.SHOWN:
                known.add(cell)
                found[cell] = value  # what is known is what was shown, whatever a later table says
            elif cell not in known:
                found[cell] = value
    return found, frozenset(known)


def _judged(study: _Study, table: ExactTable, hidden: Mapping[str, frozenset[Cell]]) -> ProtectedTable:
    """The verdict on each number of a table."""
    names = (PERSONS, *(n.name for n in table.numbers))
    states: dict[tuple[str, Kept], npt.NDArray[np.int8]] = {}
    for name in names:
        for kept in table.margins:
            if name != PERSONS or table.is_partition or len(kept) == len(table.dimensions):
                states[name, kept] = np.zeros(table.values(name, kept).shape, dtype=np.int8)
    persons = {kept: table.persons_at_least(kept) for kept in table.margins}
    values = {(name, kept): table.values(name, kept) for name, kept in states}
    least = {(name, kept): table.least_shown(name, kept) for name, kept in states}
    for kept, place, cell in study.places(table):
        for name in names:
            if (name, kept) in states and (cell in hidden[name] or cell in hidden[PERSONS]):
                count, value = int(persons[kept][place]), int(values[name, kept][place])
                enough = value >= int(least[name, kept][place])
                states[name, kept][place] = _state(count, value, study.minimum, enough=enough)
    return ProtectedTable(table=table, states=states)


def _state(persons: int, value: int, minimum: int, *, enough: bool) -> State:
    """Why a number is hidden."""
    if persons == 0 or value == 0:
        return State.ZERO
    if persons < minimum:
        return State.SMALL
    return State.COMPLEMENTARY if enough else State.DOMINATED
