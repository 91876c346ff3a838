"""A node's half of a statistics study: rows to cells and whole units, then bounded sums.

A row is read once for all statistics. Which rows of a person count is decided for each statistic by itself,
so that a filter of one takes no row from another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedmed.analytics.cell_totals import (
    HIGH_BITS,
    PersonOrder,
    distinct_in_cells,
    kept,
    person_order,
    squares_of_persons,
    totals,
)
from fedmed.errors import ConfigError
from fedmed.plans.stage import Stage
from fedmed.plans.statistics import (
    CONCENTRATIONS,
    DENOMINATORS,
    OFF_BOUNDS,
    OFF_LOWS,
    Block,
    Moment,
    blocks,
    digit_bits,
    digits_of,
    grid_edges,
    most_of,
    person_unit,
)
from fedmed.privacy.clipping import ClippedSum
from fedmed.study.axes import AxisTable
from fedmed.study.statistics import StatisticKind, StatisticsStudy, StatisticTable
from fedmed.types import FloatArray, IntArray
from fedmed_nodes.answers.places import places, units
from fedmed_nodes.gathering import as_written, mixed, named_rows, person_keys
from fedmed_nodes.sources import RowSource, require_persons

_Words = npt.NDArray[np.uint64]
_Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedRows:
    """What one statistic sees of rows, in their order.

    Attributes:
        counted: Shape (rows,): whether the row counts.
        cells: Shape (rows,), int64: cell of the axes.
        values: Shape (parts, rows), int64: value and denominator in units, as far as the statistic has them;
            for a rate whether the row is an event.
    """

    counted: _Flags
    cells: IntArray
    values: IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsHalf:
    """A `fedmed_nodes.answers.contract.NodeHalf`."""

    spec: StatisticsStudy

    def prove(self) -> None:
        """See `NodeHalf.prove`: integers are added, so there is nothing to prove of a machine."""

    def check_inputs(self, stage: Stage, inputs: FloatArray) -> None:
        """See `NodeHalf.check_inputs`: there are none."""

    def read(self, source: RowSource) -> StatisticsAnswerer:
        """See `NodeHalf.read`: sums are all that is kept of the rows."""
        persons, contents = [np.zeros((0, 2), dtype=np.uint64)], [np.zeros(0, dtype=np.uint64)]
        parts: list[tuple[CountedRows, ...]] = []
        with source.chunks(self.spec.columns) as chunks:
            for chunk in chunks:
                rows, pseudonyms, number = named_rows(chunk, self.spec.data.person)
                parts.append(_counted_rows(as_written(rows), self.spec.statistics))
                persons.append(person_keys(pseudonyms)[number])
                contents.append(_contents(persons[-1], parts[-1]))
        order = person_order(np.concatenate(persons), np.concatenate(contents))
        require_persons(order.persons, source.declared_persons)
        seen = [_joined(each) for each in zip(*parts, strict=True)]
        return StatisticsAnswerer(spec=self.spec, sums=_sums(self.spec, seen, order))


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsAnswerer:
    """A `fedmed_nodes.answers.contract.Answerer`.

    Attributes:
        spec: The study.
        sums: For each block high and low word of its totals (`fedmed.analytics.cell_totals.totals`).
    """

    spec: StatisticsStudy
    sums: tuple[tuple[IntArray, IntArray], ...]

    def answer(self, stage: Stage, inputs: FloatArray) -> ClippedSum:
        """See `Answerer.answer`: whole numbers, or with noise each block times its scale."""
        del inputs
        found = blocks(self.spec)
        if stage.event is None:
            limit = stage.layout.limit
            parts = [
                _digits(*words, most=most_of(self.spec, block), limit=limit)
                for block, words in zip(found, self.sums, strict=True)
            ]
            return ClippedSum(values=np.concatenate(parts), clip_norm=stage.clip_norm)
        scaled = [_scaled(*words, block=block) for block, words in zip(found, self.sums, strict=True)]
        return ClippedSum(values=np.concatenate(scaled), clip_norm=stage.clip_norm)


def _counted_rows(rows: pa.Table, entries: Iterable[StatisticTable]) -> tuple[CountedRows, ...]:
    """What each statistic sees of a chunk; an axis that several have is looked up once."""
    known: dict[AxisTable, IntArray] = {}

    def level(axis: AxisTable) -> IntArray:
        if axis not in known:
            known[axis] = places(rows, axis)
        return known[axis]

    return tuple(_seen_by(entry, rows, {axis: level(axis) for axis in _all_axes(entry)}) for entry in entries)


def _all_axes(entry: StatisticTable) -> tuple[AxisTable, ...]:
    """Axes that a statistic looks up."""
    return (*entry.axes, *entry.where, *entry.event)


def _seen_by(entry: StatisticTable, rows: pa.Table, level: Mapping[AxisTable, IntArray]) -> CountedRows:
    """What one statistic sees."""
    cells = np.zeros(rows.num_rows, dtype=np.int64)
    for axis in entry.axes:
        cells = cells * axis.size + level[axis]
    counted = _hold(entry.where, level, rows.num_rows)
    values = []
    for value in (entry.value, entry.denominator):
        if value is not None:
            numbers, known = units(rows, value)
            values.append(numbers)
            counted &= known
    if entry.event:
        values.append(_hold(entry.event, level, rows.num_rows).astype(np.int64))
    stacked = np.array(values, dtype=np.int64).reshape(len(values), rows.num_rows)
    return CountedRows(counted=counted, cells=cells, values=stacked)


def _hold(conditions: Iterable[AxisTable], level: Mapping[AxisTable, IntArray], rows: int) -> _Flags:
    """Whether each row has a declared level of every axis."""
    holds = np.ones(rows, dtype=np.bool_)
    for axis in conditions:
        holds &= level[axis] < axis.size - 1
    return holds


def _contents(persons: _Words, seen: Iterable[CountedRows]) -> _Words:
    """A hash of each row's person and of all that any statistic sees of it."""
    found = mixed(persons[:, 0] ^ mixed(persons[:, 1]))
    for each in seen:
        for words in (each.counted.astype(np.int64), each.cells, *each.values):
            found = mixed(found ^ mixed(words.view(np.uint64)))
    return found


def _joined(parts: Iterable[CountedRows]) -> CountedRows:
    """The rows of all chunks."""
    chunks = list(parts)
    return CountedRows(
        counted=np.concatenate([part.counted for part in chunks]),
        cells=np.concatenate([part.cells for part in chunks]),
        values=np.concatenate([part.values for part in chunks], axis=1),
    )


def _sums(
    spec: StatisticsStudy, seen: list[CountedRows], order: PersonOrder
) -> tuple[tuple[IntArray, IntArray], ...]:
    """Totals of every block."""
    most = spec.data.max_rows_per_person
    chosen = [kept(rows.counted, order, max_rows_per_person=most) for rows in seen]
    found = []
    for block in blocks(spec):
        rows, entry, mine = seen[block.statistic], spec.statistics[block.statistic], chosen[block.statistic]
        at = order.order[mine]
        if block.moment is Moment.PERSONS:
            persons = distinct_in_cells(rows.cells[at], order.person[mine], size=block.cells)
            found.append((np.zeros_like(persons), persons))
        elif block.moment in OFF_BOUNDS:
            is_off = _off_bound(entry, block, rows, at)
            persons = distinct_in_cells(rows.cells[at][is_off], order.person[mine][is_off], size=block.cells)
            found.append((np.zeros_like(persons), persons))
        elif block.moment in CONCENTRATIONS:
            cells, parts = _coarse_parts(spec, block, rows, at)
            found.append(squares_of_persons(cells, order.person[mine], parts, size=block.cells))
        else:
            cells, values = _summands(entry, block, rows, at)
            found.append(totals(cells, values, size=block.cells))
    return tuple(found)


def _coarse_parts(
    spec: StatisticsStudy, block: Block, rows: CountedRows, at: IntArray
) -> tuple[IntArray, IntArray]:
    """Cell and value of each row, from its lower bound on and rounded up to the coarse unit."""
    entry, is_denominator = spec.statistics[block.statistic], block.moment in DENOMINATORS
    value = entry.denominator if is_denominator else entry.value
    if value is None:
        raise ConfigError(f"{entry.name} has no amount that one person could hold")
    start, unit = person_unit(value, spec.data.max_rows_per_person)
    return rows.cells[at], -(-(rows.values[1 if is_denominator else 0, at] - start) // unit)


def _off_bound(entry: StatisticTable, block: Block, rows: CountedRows, at: IntArray) -> _Flags:
    """Whether each row's value is above its lower bound, or below its upper one; an event is 1 of 0 and 1."""
    is_denominator = block.moment in DENOMINATORS
    value = entry.denominator if is_denominator else entry.value
    low, high = (0, 1) if value is None else value.units
    values = rows.values[1 if is_denominator else 0, at]
    return np.asarray(values > low if block.moment in OFF_LOWS else values < high, dtype=np.bool_)


def _summands(
    entry: StatisticTable, block: Block, rows: CountedRows, at: IntArray
) -> tuple[IntArray, IntArray]:
    """Cell and value of each row that is added up."""
    cells, moment = rows.cells[at], block.moment
    if moment is Moment.ROWS:
        if entry.kind is StatisticKind.QUANTILE:
            cells = _on_grid(entry, cells, rows.values[0, at])
        return cells, np.ones(len(at), dtype=np.int64)
    values = rows.values[1 if moment is Moment.DENOMINATOR else 0, at] - block.shift
    return cells, values**2 if moment is Moment.SQUARES else values


def _on_grid(entry: StatisticTable, cells: IntArray, values: IntArray) -> IntArray:
    """Cells of a quantile: each cell of the axes has the grid's intervals; the last holds its upper end."""
    edges = grid_edges(entry)
    return cells * (len(edges) - 1) + np.searchsorted(edges[1:-1], values, side="right")


def _digits(high: IntArray, low: IntArray, *, most: int, limit: int) -> IntArray:
    """Totals as fields: as they are, or the lowest digit of every cell, then the next one, and so on.

    The last digit has the sign.
    """
    count = digits_of(most, limit)
    whole = (high.astype(object) << HIGH_BITS) + low.astype(object)
    bits = digit_bits(limit)
    parts = [(whole >> (bits * i)) & ((1 << bits) - 1) for i in range(count - 1)]
    return np.concatenate([*parts, whole >> (bits * (count - 1))]).astype(np.int64)


def _scaled(high: IntArray, low: IntArray, *, block: Block) -> FloatArray:
    """Totals times the block's factor."""
    whole = high.astype(np.float64) * 2.0**HIGH_BITS + low.astype(np.float64)
    return whole * block.scale
