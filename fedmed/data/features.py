"""From a node's table to model inputs, by public bounds only.

No mean, no vocabulary and no maximum is ever taken from the data: each would be a release. So a row gives
the same inputs whatever other rows stand beside it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fedmed.data.columns import (
    CodeLists,
    Unfit,
    as_code_lists,
    as_numbers,
    as_text,
    column,
    person_groups,
)
from fedmed.data.examples import Examples, Float32Array
from fedmed.data.split import is_held_out
from fedmed.errors import DataContractError
from fedmed.types import DatasetSpec, Feature, FeatureKind, FloatArray, IntArray, Label, require

Part = Literal["train", "test", "all"]
BoolArray = npt.NDArray[np.bool_]

_SHARP = 2.0**53  # below, a float64 names every whole number


def examples(table: pa.Table, spec: DatasetSpec, *, part: Part, unfit: Unfit = "refuse") -> Examples:
    """Turn a node's table into grouped, scaled examples.

    Args:
        table: The node's rows; further columns are ignored.
        spec: Person column, outcome, features with public bounds, held-out share.
        part: ``train`` (persons not held out), ``test`` (persons held out) or ``all``.
        unfit: What rows that do not fit do. ``refuse`` raises, for whoever may see the rows. With
            ``silence`` no value decides whether the call succeeds: a cell that does not fit is missing, a
            row without a pseudonym is left out, and a label that does not fit is NaN, which makes the
            person contribute zero (`fedmed.models.gradients`). A refusal that a coordinator sees would
            otherwise answer "does anybody here have a code above 17?" exactly and free of charge.

    Returns:
        Rows sorted by person (in the order of a person's first row, a person's rows in the table's
        order), numbers in [-1, 1] with 0 for missing, categories and codes as 0/1.

    Guarantees:
        A row's inputs depend on that row and the spec alone. ``train`` and ``test`` share no person and
        together are ``all``. Values outside the public bounds count as the bound. Tables without faults
        give the same examples either way.

    Raises:
        DataContractError: a column is missing or of an unfit type; with ``refuse`` also: it does not hold
            what the spec says, a pseudonym is missing, or a label is missing or neither 0 nor 1 where no
            threshold is declared.
        ConfigError: ``part`` or ``unfit`` is unknown.
    """
    require(part in ("train", "test", "all"), f"part must be train, test or all, got {part}")
    require(unfit in ("refuse", "silence"), f"unfit must be refuse or silence, got {unfit}")
    ids = person_ids(table, spec.person, unfit=unfit)
    if ids.null_count:
        table, ids = table.filter(ids.is_valid()), ids.drop_null()
    person = person_groups(ids)
    rows = np.argsort(person, kind="stable")
    if part != "all":
        held_out = is_held_out(ids.dictionary_encode().dictionary.to_pylist(), spec.held_out)
        rows = rows[held_out[person[rows]] == (part == "test")]
    dense = [f for f in spec.features if f.kind is not FeatureKind.CODES]
    coded = [f for f in spec.features if f.kind is FeatureKind.CODES]
    lists = _code_inputs(table, coded, unfit)
    starts, codes = _take_lists(lists, rows)
    return Examples(
        dense=_dense_inputs(table, dense, unfit)[rows],
        code_starts=starts,
        codes=codes,
        code_inputs=sum(f.inputs for f in coded),
        labels=labels(table, spec.label, unfit=unfit)[rows],
        person_starts=_person_starts(person[rows]),
    )


def person_ids(table: pa.Table, name: str, *, unfit: Unfit = "refuse") -> pa.Array:
    """The pseudonyms as text.

    Floating-point pseudonyms from 2^53 on count as missing: there several persons share one number, and
    two persons under one pseudonym are protected no better than one who counts twice.

    Raises:
        DataContractError: the column is missing or no plain text or number; with ``refuse`` also: some rows
            have no pseudonym; the message counts them.
    """
    values = column(table, name)
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.less(pc.abs(values.cast(pa.float64())), _SHARP), values, None)
    ids = as_text(values, name=name)
    if ids.null_count and unfit == "refuse":
        raise DataContractError(
            f"column {name}: {ids.null_count} of {len(ids)} rows have no pseudonym (or one in floating point "
            "too long to be exact); every row must name its person, because privacy is counted by person"
        )
    return ids


def labels(table: pa.Table, label: Label, *, unfit: Unfit = "refuse") -> Float32Array:
    """The outcome of each row, shape (rows,), float32, 0 or 1; with ``silence`` NaN where it is neither.

    Raises:
        DataContractError: the column is missing or not numeric; with ``refuse`` also: values are missing, or
            neither 0 nor 1 where no threshold is declared.
    """
    values = as_numbers(column(table, label.column), name=label.column, unfit=unfit)
    known = ~np.isnan(values)
    if label.at_least is not None:
        outcome = np.where(known, values >= label.at_least, np.nan)
    else:
        outcome = np.where((values == 0) | (values == 1), values, np.nan)
    if unfit == "refuse":
        _refuse_labels(label, missing=~known, strange=known & np.isnan(outcome))
    return outcome.astype(np.float32)


def _refuse_labels(label: Label, *, missing: BoolArray, strange: BoolArray) -> None:
    """Say how many labels do not fit, if any."""
    if missing.any():
        raise DataContractError(
            f"label {label.column}: {missing.sum()} of {missing.size} rows have no value; "
            "leave those rows out"
        )
    if strange.any():
        raise DataContractError(
            f"label {label.column}: {strange.sum()} of {strange.size} values are neither 0 nor 1; "
            "recode them or declare at_least in the study file"
        )


def scaled(values: FloatArray, feature: Feature) -> FloatArray:
    """Map numbers from their public bounds to [-1, 1].

    Args:
        values: Shape (rows,), in the column's unit; NaN is missing.
        feature: A number with ``low`` < ``high``; with ``log``, log(1 + x - low) is what is scaled.

    Returns:
        Shape (rows,), in [-1, 1]; ``low`` gives -1, ``high`` gives 1, missing gives 0.
    """
    inside = np.clip(values, feature.low, feature.high) - feature.low
    width = feature.high - feature.low
    if feature.log:
        inside, width = np.log1p(inside), float(np.log1p(width))
    return np.nan_to_num(np.clip(2 * (inside / width) - 1, -1, 1), nan=0.0)


def _dense_inputs(table: pa.Table, features: list[Feature], unfit: Unfit) -> Float32Array:
    """Numbers and categories side by side, shape (rows, inputs)."""
    out = np.zeros((table.num_rows, sum(f.inputs for f in features)), dtype=np.float32)
    at = 0
    for feature in features:
        if feature.kind is FeatureKind.NUMBER:
            values = as_numbers(column(table, feature.name), name=feature.name, unfit=unfit)
            out[:, at] = scaled(values, feature)
        else:
            _set_categories(out[:, at : at + feature.inputs], table, feature)
        at += feature.inputs
    return out


def _set_categories(out: Float32Array, table: pa.Table, feature: Feature) -> None:
    """Write a category's 0/1 inputs into ``out``, a fresh view of the caller's own array."""
    listed = as_text(pa.array(feature.categories))
    found = pc.index_in(as_text(column(table, feature.name), name=feature.name), value_set=listed)
    position = pc.fill_null(found, -1).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(position >= 0)
    out[rows, position[rows]] = 1.0


def _code_inputs(table: pa.Table, features: list[Feature], unfit: Unfit) -> CodeLists:
    """All code columns as one list a row: sorted, distinct, each column after the one before."""
    width = sum(f.vocabulary_size for f in features)
    keys, offset = [np.zeros(0, dtype=np.int64)], 0
    for feature in features:
        values = column(table, feature.name)
        lists = as_code_lists(values, name=feature.name, vocabulary_size=feature.vocabulary_size, unfit=unfit)
        owner = np.repeat(np.arange(table.num_rows), np.diff(lists.starts))
        keys.append(owner * width + offset + lists.values)
        offset += feature.vocabulary_size
    distinct = np.unique(np.concatenate(keys))
    starts = np.searchsorted(distinct, np.arange(table.num_rows + 1) * width)
    return CodeLists(starts=starts, values=distinct % max(width, 1))


def _take_lists(lists: CodeLists, rows: IntArray) -> tuple[IntArray, npt.NDArray[np.int32]]:
    """The lists of the given rows, in their order: starts and values."""
    lengths = np.diff(lists.starts)[rows]
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    within = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)
    picked = lists.values[np.repeat(lists.starts[rows], lengths) + within]
    return starts, picked.astype(np.int32)


def _person_starts(person: IntArray) -> IntArray:
    """Where each person's rows begin, and the number of rows at the end."""
    changes = np.flatnonzero(np.diff(person)) + 1
    first = np.zeros(1 if person.size else 0, dtype=np.int64)
    return np.concatenate([first, changes, np.array([person.size], dtype=np.int64)])
