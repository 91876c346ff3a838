"""Single columns of a table as arrays: text, numbers, code lists, with errors that show no value.

A reader of CSV gives text; Parquet gives types. Both end here, so that a study means the same for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fedmed.errors import DataContractError
from fedmed.types import FloatArray, IntArray

MISSING_TEXT = ("", "?", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "#N/A")
"""Text that counts as missing in a number or category column."""

Unfit = Literal["refuse", "silence"]
"""What a cell that does not fit does: ``refuse`` raises and is for the steward, who sees the rows anyway;
``silence`` makes it count as missing and is for a custodian, whose refusals the coordinator sees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeLists:
    """Lists of codes, one a row.

    Attributes:
        starts: Shape (rows + 1,), int64: the codes of row r are ``values[starts[r]:starts[r + 1]]``.
        values: Shape (codes in all,), int64, in the order of the table; may repeat within a row.
    """

    starts: IntArray
    values: IntArray


def column(table: pa.Table, name: str) -> pa.Array:
    """One column in one piece; its name must be there (`checks` says so with more words)."""
    if name not in table.column_names:
        raise DataContractError(f"column {name} is missing; add it or correct its name in the study file")
    found = table.column(name).combine_chunks()
    if isinstance(found, pa.ChunkedArray):  # what combine_chunks gives for a table without chunks
        found = pa.concat_arrays(found.chunks) if found.num_chunks else pa.array([], found.type)
    if pa.types.is_dictionary(found.type):
        found = found.dictionary_decode()
    return found


def as_text(values: pa.Array, *, name: str = "") -> pa.Array:
    """Values as text, so that ``1``, ``1.0`` and true-as-1 in three files are one category.

    Args:
        values: Text, numbers, truth values, dates: anything with one text a value.
        name: The column's name, for the message.

    Returns:
        A string array; missing stays missing, surrounding blanks and a decimal ``.0`` are taken off.

    Raises:
        DataContractError: the type is nested or holds bytes; it is the type that decides, never a value.
    """
    kind = values.type
    # Bytes are refused even where they happen to be UTF-8: that would depend on every single row.
    if pa.types.is_nested(kind) or "binary" in str(kind):
        raise DataContractError(f"column {name} has type {kind}; it must hold plain text, numbers or dates")
    if pa.types.is_boolean(kind):
        values = values.cast(pa.int8())
    text = pc.utf8_trim_whitespace(values.cast(pa.string()))
    text = pc.replace_substring_regex(text, r"^(-?[0-9]+)\.0*$", r"\1")
    return pc.if_else(pc.is_in(text, value_set=pa.array(MISSING_TEXT)), None, text)


def as_numbers(values: pa.Array, *, name: str, unfit: Unfit = "refuse") -> FloatArray:
    """Values as float64, NaN where missing.

    Args:
        values: Numbers, truth values or text.
        name: The column's name, for the message.
        unfit: With ``silence`` text that is no number is NaN and infinite values stay.

    Returns:
        Shape (rows,), float64.

    Raises:
        DataContractError: the type is another one; with ``refuse`` also: some values are no numbers, or
            infinite; the message counts them.
    """
    if pa.types.is_floating(values.type) or pa.types.is_integer(values.type):
        numbers = values.cast(pa.float64(), safe=False)
    elif any(kind(values.type) for kind in (pa.types.is_decimal, pa.types.is_boolean, pa.types.is_null)):
        numbers = values.cast(pa.float64())
    elif pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        numbers = _parsed(values, name=name, unfit=unfit)
    else:
        raise DataContractError(f"column {name} has type {values.type}; it must hold numbers")
    found: FloatArray = np.array(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)
    infinite = int(np.isinf(found).sum())
    if infinite and unfit == "refuse":
        raise DataContractError(
            f"column {name}: {infinite} of {found.size} values are infinite; leave them empty or correct them"
        )
    return found


def _parsed(values: pa.Array, *, name: str, unfit: Unfit) -> pa.Array:
    """Read text as numbers; text that says missing is missing."""
    text = as_text(values, name=name)
    number = pc.match_substring_regex(text, r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$")
    infinite = pc.match_substring_regex(text, r"^[+-]?(?i:inf|infinity)$")
    readable = pc.or_(number, infinite)
    bad = pc.sum(pc.invert(readable)).as_py() or 0
    if bad and unfit == "refuse":
        raise DataContractError(
            f"column {name}: {bad} of {len(values)} values are not numbers; correct them, leave them empty, "
            "or declare the feature as a category"
        )
    known = pc.if_else(readable, text, None)
    return pc.replace_substring_regex(known, r"^\+", "").cast(pa.float64())


def as_code_lists(values: pa.Array, *, name: str, vocabulary_size: int, unfit: Unfit = "refuse") -> CodeLists:
    """Values as lists of code numbers; a missing list is an empty one.

    Args:
        values: Lists of integers, or text with integers set apart by blanks, commas or semicolons.
        name: The column's name, for the message.
        vocabulary_size: Codes must lie in [0, vocabulary_size).
        unfit: With ``silence`` codes outside the vocabulary and unreadable lists are left out.

    Returns:
        The lists in the order of the rows.

    Raises:
        DataContractError: the type is another one; with ``refuse`` also: the column holds no code lists, or
            codes outside the vocabulary.
    """
    lists = values
    if pa.types.is_string(lists.type) or pa.types.is_large_string(lists.type):
        lists = _split(lists, name=name, unfit=unfit)
    if not (pa.types.is_list(lists.type) or pa.types.is_large_list(lists.type)):
        raise DataContractError(f"column {name} has type {values.type}; it must hold lists of code numbers")
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    flat = pc.list_flatten(lists)
    whole = pa.types.is_integer(flat.type) or pa.types.is_null(flat.type)
    if not whole or (flat.null_count and unfit == "refuse"):
        raise DataContractError(f"column {name}: some codes are empty or no integers; correct them")
    # Codes of 64 bits without sign become negative, and so lie outside; Arrow's own refusal quotes one.
    codes = pc.fill_null(flat.cast(pa.int64(), safe=False), -1).to_numpy(zero_copy_only=False)
    inside = (codes >= 0) & (codes < vocabulary_size)
    outside = int(codes.size - inside.sum())
    if outside and unfit == "refuse":
        raise DataContractError(
            f"column {name}: {outside} codes lie outside 0..{vocabulary_size - 1}; "
            "map them to the study's vocabulary or enlarge vocabulary_size"
        )
    owner = np.repeat(np.arange(lengths.shape[0]), lengths)[inside]
    kept = np.bincount(owner, minlength=lengths.shape[0])
    starts = np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])
    return CodeLists(starts=starts, values=codes[inside])


def _split(text: pa.Array, *, name: str, unfit: Unfit) -> pa.Array:
    """Split text into lists of integers."""
    cleaned = pc.utf8_trim(pc.replace_substring_regex(text, r"[\s,;|\[\]]+", " "), characters=" ")
    readable = pc.match_substring_regex(cleaned, r"^([0-9]{1,9}( [0-9]{1,9})*)?$")
    bad = pc.sum(pc.invert(readable)).as_py() or 0
    if bad and unfit == "refuse":
        raise DataContractError(
            f"column {name}: {bad} of {len(text)} values are not lists of code numbers; "
            "write the numbers with blanks between them"
        )
    known = pc.and_(readable, pc.not_equal(cleaned, ""))
    return pc.split_pattern(pc.if_else(known, cleaned, None), " ").cast(pa.list_(pa.int64()))


def person_groups(ids: pa.Array) -> npt.NDArray[np.int64]:
    """Number the persons 0, 1, ... in the order of their first row; shape (rows,)."""
    encoded = ids.dictionary_encode()
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)
