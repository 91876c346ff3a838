"""What openers of scheme ``ckks`` answer: the sum under a fresh key, and a share of that key each.

One custodian could open a sum alone. If it answered with the numbers, a coordinator could ask one custodian
for S and another for S without v, and subtract: what keeps a study to one set of contributors is that any
two sets of ``threshold`` custodians share one that has answered already (PROTOCOL.md section 4), and it needs
all of them. So the numbers travel under a key that only all of T together give away, and that is another
one for every plan, S, T, list of headers and chunk. All that is not a share must be equal, byte for byte.

This binds a coordinator without a province, as all of this scheme; it also hides the sum from couriers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from fedmed.aggregation.contract import Opening
from fedmed.errors import OpeningOutOfBounds
from fedmed.types import DIGEST_BYTES, digest

SHARE_BYTES = 32
ANSWER_BYTES = SHARE_BYTES + DIGEST_BYTES
"""What an answer holds beside 8 bytes a value: the share, then what the key must hash to."""


def answer_tag(asked: Opening, chunk: int) -> bytes:
    """What the key of one chunk's answers is for: the same words as a zero mask's of scheme threshold."""
    sets = [
        b"".join(point.to_bytes(4, "little") for point in points)
        for points in (asked.contributors, asked.openers)
    ]
    number = chunk.to_bytes(4, "little")
    return digest("fedmed/ckks/answer", asked.plan_digest, *sets, asked.headers_digest, number)


def hidden(data: bytes, key: bytes) -> bytes:
    """Data under a key that is used once; the same again gives it back."""
    stream = hashlib.shake_256(b"fedmed/ckks/hidden" + key).digest(len(data))
    return (np.frombuffer(data, np.uint8) ^ np.frombuffer(stream, np.uint8)).tobytes()


def joined(shares: Sequence[bytes]) -> bytes:
    """The key from all its shares, or the one share that is missing from key and others."""
    total = np.zeros(SHARE_BYTES, np.uint8)
    for share in shares:
        total ^= np.frombuffer(share, np.uint8)
    return total.tobytes()


def write_answer(opened: bytes, *, key: bytes, share: bytes) -> bytes:
    """One chunk of an answer."""
    return share + _commitment(key) + hidden(opened, key)


def read_answers(chunks: Sequence[bytes]) -> bytes:
    """What all openers opened.

    Args:
        chunks: The same chunk of each opener's answer.

    Raises:
        OpeningOutOfBounds: they answered unlike, to another question, or one is missing.
    """
    if len({chunk[SHARE_BYTES:] for chunk in chunks}) != 1:
        raise OpeningOutOfBounds(
            "openers of scheme ckks gave different sums, or answered different questions"
        )
    key = joined([chunk[:SHARE_BYTES] for chunk in chunks])
    if chunks[0][SHARE_BYTES:ANSWER_BYTES] != _commitment(key):
        raise OpeningOutOfBounds("the openers' shares give no key: one is missing, twice there or false")
    return hidden(chunks[0][ANSWER_BYTES:], key)


def _commitment(key: bytes) -> bytes:
    """What tells the right key from others."""
    return digest("fedmed/ckks/commitment", key)
