"""From chunks of rows to the coded rows of a model, grouped by person, at most so many of each.

Rows come in any order and any cut. A person's rows are put into an order of their own contents, so which of
them count when there are too many depends on that person alone: taking somebody else away moves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedmed.analytics.bounded_scores import interval_of
from fedmed.analytics.cell_totals import distinct_persons
from fedmed.analytics.design import BoolArray, Design
from fedmed.analytics.families import Family
from fedmed.analytics.model import ModelRows
from fedmed.data.columns import as_numbers, as_text, column
from fedmed.study import StudySpec
from fedmed.study.terms import ExposureTable, OutcomeTable, TimeTable
from fedmed.types import FloatArray, IntArray
from fedmed_nodes.gathering import as_written, named_rows, person_keys
from fedmed_nodes.sources import RowSource, require_persons

_Words = npt.NDArray[np.uint64]
_Parts = Iterator[tuple[pa.Table, _Words]]
_Coded = Callable[[pa.Table], tuple[ModelRows, BoolArray]]


def read_rows(source: RowSource, spec: StudySpec, coded: _Coded, *, max_rows_per_person: int) -> ModelRows:
    """Read a node's rows once: coded chunk by chunk, then grouped by person.

    Args:
        source: The node's rows.
        spec: Names the columns and the pseudonym.
        coded: The usable rows of a chunk, each as if it were a person, and which of the chunk's they are.
        max_rows_per_person: See `grouped`.

    Raises:
        DataContractError: there are more persons than were declared.
    """
    seen: list[_Words] = []
    parts, keys = [], []
    with source.chunks(spec.columns) as chunks:
        for rows, whose in _named_parts(chunks, spec.data.person, seen):
            part, usable = coded(rows)
            parts.append(part)
            keys.append(whose[usable])
    require_persons(distinct_persons(np.concatenate(seen)), source.declared_persons)
    return grouped(parts, keys, max_rows_per_person=max_rows_per_person)


def _named_parts(chunks: Iterable[pa.Table], person: str, seen: list[_Words]) -> _Parts:
    """Rows of each chunk that name a person, with its key row by row; ``seen`` gets everybody's key."""
    for chunk in chunks:
        rows, pseudonyms, number = named_rows(chunk, person)
        keys = person_keys(pseudonyms)
        seen.append(keys)
        yield as_written(rows), keys[number]


def coded_terms(rows: pa.Table, design: Design) -> tuple[FloatArray, BoolArray]:
    """Rows as a design codes them, and which of them are usable; the others hold zeros.

    No value decides whether this succeeds.
    """
    columns: dict[str, FloatArray | list[str | None]] = {}
    for term in design.terms:
        values = column(rows, term.name)
        if term.levels:
            columns[term.name] = as_text(values, name=term.name).to_pylist()
        else:
            columns[term.name] = as_numbers(values, name=term.name, unfit="silence")
    usable = design.usable(columns)
    matrix = np.zeros((rows.num_rows, len(design.labels)))
    kept = {name: _picked(values, usable) for name, values in columns.items()}
    matrix[usable] = design.matrix(kept)
    return matrix, usable


def _picked(values: FloatArray | list[str | None], usable: BoolArray) -> FloatArray | list[str | None]:
    """The usable rows of a column."""
    if isinstance(values, list):
        return [value for value, kept in zip(values, usable.tolist(), strict=True) if kept]
    return values[usable]


def outcomes(rows: pa.Table, table: OutcomeTable, family: Family) -> tuple[FloatArray, BoolArray]:
    """The outcome within its public bounds, and which rows have one that the family can have."""
    numbers = as_numbers(column(rows, table.column), name=table.column, unfit="silence")
    if table.at_least is not None:
        return (numbers >= table.at_least).astype(np.float64), ~np.isnan(numbers)
    admitted = family.admits(numbers)
    low, high = table.low, table.high
    bounded = numbers if low is None and high is None else np.clip(numbers, low, high)
    return np.where(admitted, bounded, 0.0), admitted


def offsets(rows: pa.Table, table: ExposureTable | None) -> tuple[FloatArray, BoolArray]:
    """Log of the exposure within its public bounds, and which rows have one; zeros where none is declared."""
    if table is None:
        return np.zeros(rows.num_rows), np.ones(rows.num_rows, dtype=np.bool_)
    numbers = as_numbers(column(rows, table.column), name=table.column, unfit="silence")
    usable = np.isfinite(numbers) & (numbers > 0)
    return np.log(np.where(usable, np.clip(numbers, table.low, table.high), 1.0)), usable


def times(rows: pa.Table, table: TimeTable) -> tuple[IntArray, FloatArray, BoolArray]:
    """Place on the grid, 1 for an event and 0 for censoring, and which rows have both.

    Who leaves after the grid's end is censored in its last interval.
    """
    when = as_numbers(column(rows, table.column), name=table.column, unfit="silence")
    event = as_numbers(column(rows, table.event), name=table.event, unfit="silence")
    usable = np.isfinite(when) & (when >= table.start) & ((event == 0) | (event == 1))
    place = interval_of(
        np.where(usable, when, table.start),
        start=table.start,
        interval=table.interval,
        intervals=table.intervals,
    )
    is_beyond = place >= table.intervals
    had_event = np.where(usable & ~is_beyond, event, 0.0)
    return np.minimum(place, table.intervals - 1), had_event, usable


def grouped(parts: list[ModelRows], keys: list[_Words], *, max_rows_per_person: int) -> ModelRows:
    """The rows of all chunks by person, at most so many of each.

    Args:
        parts: Coded rows of each chunk.
        keys: Whose each row is, shape (rows, 2) for each chunk.
        max_rows_per_person: >= 1; of a person with more the first ones in the order of outcome, time and
            terms count.

    Guarantees:
        The same rows for every order of the input.
    """
    who = np.concatenate(keys)
    matrix, outcome = np.concatenate([p.matrix for p in parts]), np.concatenate([p.outcome for p in parts])
    places, offset = np.concatenate([p.places for p in parts]), np.concatenate([p.offset for p in parts])
    order = np.lexsort((*matrix.T[::-1], offset, outcome, places, who[:, 1], who[:, 0]))
    starts = _starts(who[order])
    within = np.arange(len(order)) - np.repeat(starts[:-1], np.diff(starts))
    kept = order[within < max_rows_per_person]
    return ModelRows(
        matrix=matrix[kept],
        outcome=outcome[kept],
        places=places[kept],
        offset=offset[kept],
        starts=_starts(who[kept]),
    )


def _starts(keys: _Words) -> IntArray:
    """Where each person's rows begin in sorted keys, and their number at the end."""
    changes = np.flatnonzero(np.any(keys[1:] != keys[:-1], axis=1)) + 1
    first = [0] if len(keys) else []
    return np.concatenate([first, changes, [len(keys)]]).astype(np.int64)
