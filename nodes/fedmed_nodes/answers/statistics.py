"""A node's half of a statistics study: rows to cells and whole units, then bounded totals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fedmed.analytics.cell_totals import CellRows, cell_totals, distinct_persons, kept_rows
from fedmed.data.columns import as_numbers, as_text, column
from fedmed.plans.stage import Stage
from fedmed.plans.statistics import measure_bounds
from fedmed.privacy.clipping import ClippedSum
from fedmed.study.statistics import CategoriesTable, MeasureTable, StatisticsStudy
from fedmed.types import FloatArray, IntArray
from fedmed_nodes.gathering import as_written, named_rows, person_keys
from fedmed_nodes.sources import RowSource, require_persons


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsHalf:
    """A `fedmed_nodes.answers.contract.NodeHalf`."""

    spec: StatisticsStudy

    def prove(self) -> None:
        """See `NodeHalf.prove`: integers are added, so there is nothing to prove of a machine."""

    def check_inputs(self, stage: Stage, inputs: FloatArray) -> None:
        """See `NodeHalf.check_inputs`: there are none."""

    def read(self, source: RowSource) -> StatisticsAnswerer:
        """See `NodeHalf.read`: totals are all that is kept of the rows."""
        table = self.spec.statistics
        persons: list[npt.NDArray[np.uint64]] = [np.zeros((0, 2), dtype=np.uint64)]
        parts: list[CellRows] = []
        with source.chunks(self.spec.columns) as chunks:
            for chunk in chunks:
                part, seen = _cell_rows(chunk, self.spec)
                parts.append(part)
                persons.append(seen)
        require_persons(distinct_persons(np.concatenate(persons)), source.declared_persons)
        kept = kept_rows(_joined(parts), max_rows_per_person=table.max_rows_per_person)
        return StatisticsAnswerer(spec=self.spec, totals=cell_totals(kept, cells=table.cells))


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsAnswerer:
    """A `fedmed_nodes.answers.contract.Answerer`.

    Attributes:
        spec: The study.
        totals: Shape (measures, cells), int64, in units of the last decimal of each measure.
    """

    spec: StatisticsStudy
    totals: IntArray

    def answer(self, stage: Stage, inputs: FloatArray) -> ClippedSum:
        """See `Answerer.answer`; with noise each measure is divided by its bound."""
        del inputs
        if stage.event is None:
            return ClippedSum(values=self.totals.ravel().copy(), clip_norm=stage.clip_norm)
        bounds = np.array(measure_bounds(self.spec), dtype=np.float64)
        return ClippedSum(values=(self.totals / bounds[:, None]).ravel(), clip_norm=stage.clip_norm)


def _cell_rows(chunk: pa.Table, spec: StatisticsStudy) -> tuple[CellRows, npt.NDArray[np.uint64]]:
    """Rows of a chunk that fall into a cell, and everybody who is in the chunk.

    No value decides whether this succeeds: a row without a pseudonym or with another category falls out, one
    without a number adds nothing to that sum.
    """
    table = spec.statistics
    rows, pseudonyms, number = named_rows(chunk, spec.data.person)
    rows, seen = as_written(rows), person_keys(pseudonyms)
    cells, known = _cells(rows, table.by)
    values = np.zeros((len(table.measures), rows.num_rows), dtype=np.int64)
    for place, measure in enumerate(table.measures):
        values[place] = _units(rows, measure)
    kept = np.flatnonzero(known)
    return CellRows(persons=seen[number[kept]], cells=cells[kept], values=values[:, kept]), seen


def _cells(rows: pa.Table, by: Iterable[CategoriesTable]) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """Each row's cell, and whether it has one."""
    cells = np.zeros(rows.num_rows, dtype=np.int64)
    known = np.ones(rows.num_rows, dtype=np.bool_)
    for entry in by:
        text = as_text(column(rows, entry.column), name=entry.column)
        place = pc.fill_null(pc.index_in(text, value_set=pa.array(entry.categories, pa.string())), -1)
        found = np.asarray(place.to_numpy(zero_copy_only=False), dtype=np.int64)
        known &= found >= 0
        cells = cells * len(entry.categories) + np.maximum(found, 0)
    return cells, known


def _units(rows: pa.Table, measure: MeasureTable) -> IntArray:
    """Each row's value in units of the last decimal, within the public bounds; 0 where there is none."""
    if measure.column is None:
        return np.ones(rows.num_rows, dtype=np.int64)
    numbers = as_numbers(column(rows, measure.column), name=measure.column, unfit="silence")
    known = ~np.isnan(numbers)
    low, high = measure.units
    with np.errstate(over="ignore"):  # an infinite product is clamped below
        units = np.rint(np.where(known, numbers, 0.0) * 10.0**measure.decimals)
    clamped = np.clip(units, float(low), float(high)).astype(np.int64)
    # A float bound may lie above the integer one; both hold.
    return np.where(known, np.clip(clamped, low, high), 0)


def _joined(parts: list[CellRows]) -> CellRows:
    """The rows of all chunks."""
    return CellRows(
        persons=np.concatenate([part.persons for part in parts]),
        cells=np.concatenate([part.cells for part in parts]),
        values=np.concatenate([part.values for part in parts], axis=1),
    )
