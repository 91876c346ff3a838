"""One form of bytes for the flat records that are kept: JSON, its format named first.

A record has one spelling only, so that its digest stands for it: readers write a record again and refuse
bytes that differ (another order, white space, a doubled key, another spelling of a number).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from fedmed.errors import IntegrityError, UnknownVersion
from fedmed.types import require

MAX_RECORD_BYTES: Final = 1 << 16

Scalar = str | int | float


def record_bytes(record_format: str, fields: Mapping[str, Scalar]) -> bytes:
    """Write a flat record.

    Args:
        record_format: Name and version, for instance ``fedmed/ledger/1``.
        fields: Text, whole and finite real numbers, in the order in which they are written.

    Returns:
        UTF-8 JSON without white space: ``{"format":...`` and then the fields.

    Raises:
        ConfigError: the record is longer than 64 KiB.
        ValueError: a number is not finite or a text has lone surrogates; a record refuses both before.
    """
    document = {"format": record_format, **fields}
    text = json.dumps(document, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    data = text.encode()
    require(
        len(data) <= MAX_RECORD_BYTES, f"a record takes at most {MAX_RECORD_BYTES} bytes, got {len(data)}"
    )
    return data


def read_record(record_format: str, data: bytes, *, fields: Mapping[str, type]) -> dict[str, Any]:
    """Read a flat record; the caller must write it again and compare.

    Args:
        record_format: What `record_bytes` was given.
        data: The bytes.
        fields: Type of every field: ``str``, ``int`` or ``float``, nothing else and none left out.

    Returns:
        Values by name; `Any` because the types are those that ``fields`` names.

    Raises:
        UnknownVersion: the format is another one.
        IntegrityError: not JSON, or a field is missing, unknown or of another type. No value is shown.
    """
    what = record_format.split("/")[1]
    try:
        document = json.loads(data) if len(data) <= MAX_RECORD_BYTES else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise IntegrityError(f"{what} record is not readable: its bytes were altered or cut")
    if document.pop("format", None) != record_format:
        raise UnknownVersion(f"{what} record is not of format {record_format}: update FedMed to read it")
    if {name: type(value) for name, value in document.items()} != dict(fields):
        raise IntegrityError(f"{what} record has fields that {record_format} does not have, or lacks some")
    return document


def require_time(argument: str, text: str) -> None:
    """Raise `ConfigError` unless ``text`` is an ISO 8601 time with its offset from UTC."""
    try:
        aware = datetime.fromisoformat(text).utcoffset() is not None
    except ValueError:
        aware = False
    require(aware, f"{argument} must be an ISO 8601 time with an offset, like 2026-01-31T08:00:00+00:00")
