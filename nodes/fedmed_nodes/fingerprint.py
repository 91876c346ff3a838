"""What a dataset's contents are, as 32 bytes: the same for CSV, Parquet and a database with equal contents.

Rows may come in any order and in chunks of any size, so nothing is sorted and memory stays that of a chunk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fedmed.data.columns import as_text, column
from fedmed.errors import DataContractError

_LABEL = b"fedmed/dataset-fingerprint/v1\x00"
_MODULUS = 1 << 256
_LANES = 8


def content_fingerprint(chunks: Iterable[pa.Table], columns: Sequence[str]) -> tuple[bytes, int]:
    """Digest the named columns of all rows.

    Each row is written as its values in plain text, hashed with SHA-256, and the hashes are added modulo
    2^256. An added, removed or altered row changes the sum; the order of rows and columns does not. Whoever
    searches for rows with a wanted sum (generalised birthdays, Wagner 2002) could find some: this guards
    against change unnoticed, not against the data holder, who needs no such search.

    Args:
        chunks: Tables that hold at least ``columns``.
        columns: What was registered; at least one.

    Returns:
        The fingerprint, 32 bytes, and the number of rows.

    Guarantees:
        Values that `fedmed.data` reads alike give one fingerprint: 1, 1.0, ``1.00`` and true; ``NA`` and
        missing; a list of codes and the same numbers with blanks between them.

    Raises:
        DataContractError: a column is missing or holds nested values other than lists of integers.
    """
    names = sorted(columns)
    total, rows = 0, 0
    for chunk in chunks:
        total = (total + _sum_of_rows(chunk, names)) % _MODULUS
        rows += chunk.num_rows
    digest = hashlib.sha256(_LABEL)
    for name in names:
        digest.update(b"%d:%s" % (len(name.encode()), name.encode()))
    digest.update(b"/" + rows.to_bytes(8, "big") + total.to_bytes(32, "big"))
    return digest.digest(), rows


def _sum_of_rows(chunk: pa.Table, names: list[str]) -> int:
    """Sum of the rows' SHA-256 digests as whole numbers."""
    if chunk.num_rows == 0:
        return 0
    fields = [_delimited(canonical_text(column(chunk, name), name=name)) for name in names]
    rows = pc.binary_join_element_wise(*fields, "").cast(pa.binary())
    digests = b"".join(hashlib.sha256(row).digest() for row in rows.to_pylist())
    lanes = np.frombuffer(digests, dtype=">u4").reshape(-1, _LANES).sum(axis=0, dtype=np.uint64)
    return sum(int(lane) << (32 * (_LANES - 1 - i)) for i, lane in enumerate(lanes))


def canonical_text(values: pa.Array, *, name: str) -> pa.Array:
    """Values as text that does not depend on how they were stored; missing stays missing.

    Raises:
        DataContractError: the values are bytes, or nested and no lists of integers.
    """
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        values = _joined(values, name=name)
    elif pa.types.is_nested(values.type):
        raise DataContractError(
            f"column {name} has type {values.type}; leave it out of the registered columns"
        )
    if pa.types.is_integer(values.type):
        return values.cast(pa.string())
    if pa.types.is_floating(values.type):
        return _shortened(pc.if_else(pc.is_nan(values), None, values).cast(pa.string()))
    return _shortened(as_text(values, name=name))


def _shortened(texts: pa.Array) -> pa.Array:
    """Numbers without the zeros at the end of their decimals; regular expressions see only such texts."""
    padded = pc.fill_null(pc.and_(pc.ends_with(texts, "0"), pc.match_substring(texts, ".")), False)
    if not pc.any(padded).as_py():
        return texts
    short = pc.replace_substring_regex(texts.filter(padded), r"^(-?[0-9]+)\.0+$", r"\1")
    short = pc.replace_substring_regex(short, r"^(-?[0-9]+\.[0-9]*[1-9])0+$", r"\1")
    return pc.replace_with_mask(texts, padded, short)


def _joined(lists: pa.Array, *, name: str) -> pa.Array:
    """Lists of integers as numbers with blanks between them."""
    if not pa.types.is_integer(lists.type.value_type):
        raise DataContractError(
            f"column {name} has type {lists.type}; leave it out of the registered columns"
        )
    texts = pc.fill_null(lists.flatten().cast(pa.string()), "null")
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(starts), texts), " ")


def _delimited(texts: pa.Array) -> pa.Array:
    """Each text behind its length, so that two rows are written alike only if they are alike."""
    lengths = pc.binary_length(texts).cast(pa.string())
    return pc.fill_null(pc.binary_join_element_wise(lengths, texts, ":"), "-")
