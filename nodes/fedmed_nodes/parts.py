"""Several byte strings as one, for the store: count, then length and bytes of each."""

from __future__ import annotations

from collections.abc import Sequence

from fedmed.errors import IntegrityError


def pack_parts(parts: Sequence[bytes]) -> bytes:
    """Join parts so that `unpack_parts` gives exactly them back."""
    joined = [len(parts).to_bytes(4, "little")]
    for part in parts:
        joined += [len(part).to_bytes(8, "little"), part]
    return b"".join(joined)


def unpack_parts(data: bytes) -> tuple[bytes, ...]:
    """Split what `pack_parts` joined.

    Raises:
        IntegrityError: the bytes are cut or have something after their end.
    """
    count, at, parts = int.from_bytes(data[:4], "little"), 4, []
    for _ in range(count):
        size = int.from_bytes(data[at : at + 8], "little")
        part = data[at + 8 : at + 8 + size]
        if len(part) != size:
            raise IntegrityError("stored parts are cut short")
        parts.append(part)
        at += 8 + size
    if at != len(data):
        raise IntegrityError("stored parts have bytes after their end")
    return tuple(parts)
