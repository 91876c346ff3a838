"""From chunks of rows in any order to the examples of a study, the same for every kind of storage.

Databases sort by rules of their own (collations) and put rows on disk to do so. Here nothing is sorted but
the finished inputs, in memory, by a hash of the pseudonym: no row is written anywhere, and equal contents
give equal bytes whatever held them. Memory beside a chunk grows with the examples: about six times
their size while they are put in order (`benchmarks/micro/sources.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedmed.data.examples import Examples, concatenate
from fedmed.data.features import examples, person_ids
from fedmed.data.split import is_held_out
from fedmed.errors import DataContractError
from fedmed.types import DatasetSpec, IntArray

CHUNK_ROWS = 65_536
"""Rows that a source reads at a time."""

_PERSON = b"fedmed/person-order/v1\x00"
_Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a dataset holds, for the operator's eyes only.

    Attributes:
        rows: Number of rows.
        persons: Number of persons, held out or not.
    """

    rows: int
    persons: int


def columns_of(spec: DatasetSpec) -> tuple[str, ...]:
    """The columns that a study reads, each once: person, outcome, features."""
    return tuple(dict.fromkeys([spec.person, spec.label.column, *(f.name for f in spec.features)]))


def gather(
    chunks: Iterable[pa.Table], spec: DatasetSpec, *, part: Literal["train", "test"] = "train"
) -> Examples:
    """The rows of one part of a dataset, grouped by person.

    Args:
        chunks: Tables with the columns of the study; a person's rows may lie in several.
        spec: What the study reads.
        part: ``train`` (persons not held out) or ``test`` (persons held out).

    Returns:
        Persons in the order of a hash of their pseudonyms; a person's rows in the order of a hash of their
        inputs and outcome.

    Guarantees:
        The same bytes for every order of the rows and every cut into chunks. Person by person the same rows
        as `fedmed.data.features.examples` gives for the whole table.

        No value decides whether the call succeeds (``unfit="silence"`` there): the coordinator sees refusals.

    Raises:
        DataContractError: a column is missing or of an unfit type.
        ConfigError: there is no chunk at all; a source gives an empty one for an empty table.
    """
    parts, keys = [], []
    for chunk in chunks:
        known, pseudonyms, number = named_rows(chunk, spec.person)
        kept = np.flatnonzero(is_held_out(pseudonyms, spec.held_out)[number] == (part == "test"))
        parts.append(_row_by_row(known.take(pa.array(kept)), spec))
        keys.append(person_keys(pseudonyms)[number[kept]])
    rows = concatenate(parts)
    parts.clear()  # half of the peak
    return _grouped(rows, np.concatenate(keys))


def survey(chunks: Iterable[pa.Table], spec: DatasetSpec) -> Survey:
    """Check a whole dataset against a study, chunk by chunk, and count it.

    Raises:
        DataContractError: values do not fit; there are fewer than two persons, or one class of outcome only.
    """
    rows, classes = 0, set[float]()
    persons = np.zeros((0, 2), dtype=np.uint64)
    for chunk in chunks:
        found = examples(as_written(chunk), spec, part="all")
        rows, classes = rows + found.rows, classes | set(np.unique(found.labels).tolist())
        pseudonyms = person_ids(chunk, spec.person).unique().to_pylist()
        persons = np.unique(np.concatenate([persons, person_keys(pseudonyms)]), axis=0)
    if len(persons) < 2:
        raise DataContractError(
            f"column {spec.person} names fewer than two persons; a sum over one is that person's record"
        )
    if len(classes) < 2:
        raise DataContractError(
            f"label {spec.label.column} has one class only here; check the column and the threshold at_least"
        )
    return Survey(rows=rows, persons=len(persons))


def named_rows(chunk: pa.Table, person: str) -> tuple[pa.Table, list[str], IntArray]:
    """The rows that name a person, the distinct pseudonyms, and each row's place among these."""
    ids = person_ids(chunk, person, unfit="silence")
    known = chunk.filter(ids.is_valid()) if ids.null_count else chunk
    encoded = ids.drop_null().dictionary_encode()
    number = np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)
    return known, encoded.dictionary.to_pylist(), number


def _row_by_row(rows: pa.Table, spec: DatasetSpec) -> Examples:
    """Examples in the order of the rows, each as if it were a person: who it is comes later, over all chunks.

    The column that numbers the rows gets a name that no other column has, because a pseudonym may also be
    an input of the study.
    """
    mark = "/".join(["row", *rows.column_names])
    numbered = as_written(rows).append_column(mark, pa.array(np.arange(rows.num_rows)))
    return examples(numbered, replace(spec, person=mark), part="all", unfit="silence")


def as_written(rows: pa.Table) -> pa.Table:
    """Short floats and decimals as their text, so that 0.1 is the same number in every kind of storage."""
    for at, field in enumerate(rows.schema):
        if pa.types.is_float32(field.type) or pa.types.is_decimal(field.type):
            rows = rows.set_column(at, field.name, rows.column(at).cast(pa.string()))
    return rows


def person_keys(pseudonyms: list[str]) -> _Words:
    """Half of SHA-256 of each pseudonym, shape (ids, 2): two persons of a nation never share one."""
    digests = b"".join([hashlib.sha256(_PERSON + person.encode()).digest() for person in pseudonyms])
    return np.frombuffer(digests, dtype=">u8").reshape(-1, 4)[:, :2].astype(np.uint64)


def _grouped(rows: Examples, keys: _Words) -> Examples:
    """Sort rows by person, then by contents, and mark where persons begin."""
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    starts = _starts(keys[order])
    lengths = np.repeat(np.diff(starts), np.diff(starts))
    several = order[lengths > 1]
    if several.size:
        contents = np.zeros(rows.rows, dtype=np.uint64)
        contents[several] = _content_keys(rows, several)
        order = np.lexsort((contents, keys[:, 1], keys[:, 0]))
    return _ordered(rows, order, starts)


def _starts(keys: _Words) -> IntArray:
    """Where each person's rows begin in sorted keys, and their number at the end."""
    changes = np.flatnonzero(np.any(keys[1:] != keys[:-1], axis=1)) + 1
    first = [0] if len(keys) else []
    return np.concatenate([first, changes, [len(keys)]]).astype(np.int64)


def _content_keys(rows: Examples, chosen: IntArray) -> _Words:
    """A hash of inputs and outcome of the chosen rows: a sum over cells, each mixed with its place.

    It decides an order and nothing else, so it need not withstand an attack.
    """
    total = np.zeros(chosen.size, dtype=np.uint64)
    columns = [*(rows.dense[chosen, i] for i in range(rows.dense.shape[1])), rows.labels[chosen]]
    for place, cells in enumerate(columns):
        total += mixed(cells.view(np.uint32).astype(np.uint64) + np.uint64(place << 32))
    codes = mixed(rows.codes.astype(np.uint64) + np.uint64(1 << 63))
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(codes, dtype=np.uint64)])
    total += sums[rows.code_starts[chosen + 1]] - sums[rows.code_starts[chosen]]
    return total


def mixed(words: _Words) -> _Words:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014): a bijection that spreads every bit."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _ordered(rows: Examples, order: IntArray, person_starts: IntArray) -> Examples:
    """The rows in another order, with persons marked."""
    lengths = np.diff(rows.code_starts)[order]
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    within = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)
    return Examples(
        dense=rows.dense[order],
        code_starts=starts,
        codes=rows.codes[np.repeat(rows.code_starts[order], lengths) + within],
        code_inputs=rows.code_inputs,
        labels=rows.labels[order],
        person_starts=person_starts,
    )
