"""What the opened sums are made of: which payloads a coordinator keeps of a study, and for how many sums.

A plan that follows a sum only shows that the coordinator said the same of it twice, and nothing follows the
last one. So a release carries the payloads whose digests headers and answers sign, and a reader adds them up
again (`fedmed.release.sums`). By scheme:

- ``threshold``: contributions and answers. A contribution stays sealed under its province's key; what all
  answers take off is the mask of the sum alone (PROTOCOL.md section 7: both may be published).
- ``ckks``: the answers, which give the sum and nothing else. No contribution: every province could open it.
- ``plain``: nothing, for a contribution hides nothing; the sums rest on the coordinator's word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

from fedmed import wire
from fedmed.protocol.binding import payload_digest
from fedmed.protocol.steps import Phase, PhaseKind, Replies, Steps
from fedmed.release.exchange import is_ceremony
from fedmed.types import Scheme

T = TypeVar("T")
S = TypeVar("S")

MOST_PAYLOAD_BYTES: Final = 256 << 20
"""More than this of payloads is in a release only where the last sum alone needs it."""

Payloads = Mapping[str, bytes]
"""Payloads by `payload_digest`, hexadecimal."""


def retained(steps: Steps[T], keep: Callable[[Payloads], None], *, scheme: Scheme) -> Steps[T]:
    """Run a generator and hand over what each sum is made of before the generator goes on.

    Args:
        steps: Any of the coordinator's generators.
        keep: Gets the payloads of a set after all its openers answered; again where another attempt of the
            same round has to follow.
        scheme: Of the study.

    Returns:
        What the generator returns; its errors pass through.
    """
    contributed: Replies = {}
    try:
        phase = next(steps)
        while True:
            replies = yield phase
            if phase.kind is PhaseKind.CONTRIBUTE:
                contributed = replies if scheme is Scheme.THRESHOLD else {}
            elif scheme.has_keys and _is_answered(phase, replies):
                keep(_payloads(_of_set(phase, contributed), replies))
            phase = steps.send(replies)
    except StopIteration as stop:
        result: T = stop.value
        return result


def _is_answered(phase: Phase, replies: Replies) -> bool:
    """Whether a phase opens a sum of the study, and nobody was lost in it."""
    opens = phase.kind is PhaseKind.OPEN and not is_ceremony(phase)
    return opens and not any(reply.is_refusal for reply in replies.values())


def _of_set(phase: Phase, contributed: Replies) -> Replies:
    """The contributions that an opening request is about."""
    signed, *_ = next(iter(phase.requests.values()))
    statement = wire.decode_statement(wire.decode_signed(signed).body)
    members = wire.decode_opening_request(statement.content).contributors
    return {point: contributed[point] for point in members if point in contributed}


def _payloads(*several: Replies) -> Payloads:
    """The payloads of replies; what stands before them is signed and in the exchanges."""
    parts = (p for replies in several for reply in replies.values() for p in reply.parts[1:])
    return {payload_digest(part).hex(): part for part in parts}


def fitting(newest_first: Iterable[S], size: Callable[[S], int]) -> list[S]:
    """The last sum, and as many before it as `MOST_PAYLOAD_BYTES` hold.

    Args:
        newest_first: One item a sum, the last sum first.
        size: Bytes of its payloads.

    Returns:
        Items of the sums that a release has payloads of, the last sum first.
    """
    found: list[S] = []
    total = 0
    for one in newest_first:
        total += size(one)
        if found and total > MOST_PAYLOAD_BYTES:
            break
        found.append(one)
    return found
