"""How a message's parts lie in a Flower message: the one place where both ends agree on it.

Flower stores a message as a tree of objects, and asks for each of them in a request of its own at each of
three hops. A small message is therefore one ConfigRecord, the least there is. Large parts travel as uint8
arrays in an ArrayRecord, which Flower sends in chunks; 200 MB in a ConfigRecord take four times as long
(FLOWER.md 9). Either way Flower stores equal contents once, however many nodes receive them.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, RecordDict

from fedmed.errors import MessageMalformed
from fedmed.protocol.steps import Reply

SMALL_BYTES: Final = 1 << 17
"""Parts of at most so many bytes together are one object; an array for each part would be two more a part."""
_PARTS, _CODE, _VERSION = "parts", "code", "version"
_A_CODE = re.compile(r"[a-z][a-z_]{0,63}")
_A_VERSION = re.compile(r"[0-9][0-9A-Za-z.+]{0,31}")


def to_content(parts: Sequence[bytes]) -> RecordDict:
    """Parts as the content of a Flower message; empty parts are kept."""
    if _is_small(parts):
        return RecordDict({_PARTS: ConfigRecord({_PARTS: list(parts)})})
    return RecordDict({_PARTS: _arrays(parts)})


def _is_small(parts: Sequence[bytes]) -> bool:
    """Whether parts travel as one object; an empty list would not say of what it is one."""
    return len(parts) > 0 and sum(map(len, parts)) <= SMALL_BYTES


def _arrays(parts: Sequence[bytes]) -> ArrayRecord:
    """Parts as arrays; a byte in front keeps an empty part from being an empty array, which Flower drops."""
    return ArrayRecord([np.frombuffer(b"\0" + part, dtype=np.uint8) for part in parts])


def from_content(content: RecordDict) -> tuple[bytes, ...]:
    """Parts from the content of a Flower message.

    Raises:
        MessageMalformed: the content was not made by `to_content`.
    """
    record = content.get(_PARTS)
    if isinstance(record, ConfigRecord):
        return _parts_of(record)
    if not isinstance(record, ArrayRecord):
        raise MessageMalformed("a message without parts")
    parts = []
    for array in record.to_numpy_ndarrays():
        if array.dtype != np.uint8 or array.ndim != 1 or array.size < 1:
            raise MessageMalformed("a part must be bytes")
        parts.append(array[1:].tobytes())
    return tuple(parts)


def _parts_of(record: ConfigRecord) -> tuple[bytes, ...]:
    """The parts of a small message."""
    told = record.get(_PARTS)
    parts = [part for part in told if isinstance(part, bytes)] if isinstance(told, list) else []
    if not isinstance(told, list) or not parts or len(parts) != len(told):
        raise MessageMalformed("a message without parts, or with parts that are not bytes")
    return tuple(parts)


def reply_to_content(reply: Reply) -> RecordDict:
    """A custodian's reply as the content of a Flower message, with the version of FedMed that relays it."""
    version = _own_version()
    if reply.is_refusal:
        return RecordDict({_CODE: ConfigRecord({_CODE: reply.code, _VERSION: version})})
    if _is_small(reply.parts):
        return RecordDict({_PARTS: ConfigRecord({_PARTS: list(reply.parts), _VERSION: version})})
    return RecordDict({_PARTS: _arrays(reply.parts), _VERSION: ConfigRecord({_VERSION: version})})


@functools.cache
def _own_version() -> str:
    """Version of the FedMed that is installed here: public, so that a mixture shows before it hurts."""
    return importlib.metadata.version("fedmed")


def version_in(content: RecordDict) -> str:
    """The version that a reply names; empty where it names none. Nobody signs it: it serves people only."""
    for record in content.config_records.values():
        told = record.get(_VERSION)
        if isinstance(told, str) and _A_VERSION.fullmatch(told):
            return told
    return ""


def reply_from_content(content: RecordDict) -> Reply:
    """A custodian's reply from the content of a Flower message; what is not one counts as malformed."""
    record = content.get(_CODE)
    try:
        if isinstance(record, ConfigRecord):
            return Reply(code=_checked_code(record[_CODE]))
        return Reply(parts=from_content(content))
    except Exception:  # whatever a hostile relay put there, it is one malformed reply
        return Reply(code=MessageMalformed.code)


def _checked_code(value: object) -> str:
    """A code as ours look; anything else would carry a stranger's text into reports and terminals."""
    if not isinstance(value, str) or _A_CODE.fullmatch(value) is None:
        raise MessageMalformed("a reply's code is not a code")
    return value
