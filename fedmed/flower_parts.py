"""How a message's parts lie in a Flower message: the one place where both ends agree on it.

Bytes travel as uint8 arrays in an ArrayRecord, which Flower sends in chunks and stores once however many
nodes receive them; as bytes in a ConfigRecord the same payload takes four times as long (FLOWER.md 9).
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
from collections.abc import Sequence

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, RecordDict

from fedmed.errors import MessageMalformed
from fedmed.protocol.steps import Reply

_PARTS, _CODE, _VERSION = "parts", "code", "version"
_A_CODE = re.compile(r"[a-z][a-z_]{0,63}")
_A_VERSION = re.compile(r"[0-9][0-9A-Za-z.+]{0,31}")


def to_content(parts: Sequence[bytes]) -> RecordDict:
    """Parts as the content of a Flower message; empty parts are kept."""
    # A byte in front keeps an empty part from being an empty array, which Flower would drop.
    arrays = [np.frombuffer(b"\0" + part, dtype=np.uint8) for part in parts]
    return RecordDict({_PARTS: ArrayRecord(arrays)})


def from_content(content: RecordDict) -> tuple[bytes, ...]:
    """Parts from the content of a Flower message.

    Raises:
        MessageMalformed: the content was not made by `to_content`.
    """
    record = content.get(_PARTS)
    if not isinstance(record, ArrayRecord):
        raise MessageMalformed("a message without parts")
    parts = []
    for array in record.to_numpy_ndarrays():
        if array.dtype != np.uint8 or array.ndim != 1 or array.size < 1:
            raise MessageMalformed("a part must be bytes")
        parts.append(array[1:].tobytes())
    return tuple(parts)


def reply_to_content(reply: Reply) -> RecordDict:
    """A custodian's reply as the content of a Flower message, with the version of FedMed that relays it."""
    if reply.is_refusal:
        content = RecordDict({_CODE: ConfigRecord({_CODE: reply.code})})
    else:
        content = to_content(reply.parts)
    content[_VERSION] = ConfigRecord({_VERSION: _own_version()})
    return content


@functools.cache
def _own_version() -> str:
    """Version of the FedMed that is installed here: public, so that a mixture shows before it hurts."""
    return importlib.metadata.version("fedmed")


def version_in(content: RecordDict) -> str:
    """The version that a reply names; empty where it names none. Nobody signs it: it serves people only."""
    record = content.get(_VERSION)
    told = record.get(_VERSION) if isinstance(record, ConfigRecord) else None
    return told if isinstance(told, str) and _A_VERSION.fullmatch(told) else ""


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
