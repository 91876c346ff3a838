"""Remembers the replies of a study's phases, so that a study can be run again up to where it was killed.

The coordinator's half of the protocol is a pure generator and Ed25519 signs the same bytes the same way: with
the replies that it had it sends the very messages that it sent. A phase that was under way at the kill is
sent once more, byte for byte, and custodians answer it with the bytes they stored (PROTOCOL.md section 4),
so nobody spends twice.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from fedmed.protocol.steps import Phase, Replies, Steps
from fedmed.types import digest

T = TypeVar("T")


class Journal(Protocol):
    """Where replies are kept, in the order of the phases."""

    def recall(self, asked: bytes) -> Replies | None:
        """The replies of the next phase if it was finished before; None where the journal ends.

        Args:
            asked: `phase_digest` of the phase that is due.

        Raises:
            IntegrityError: another phase stands there.
        """
        ...

    def keep(self, asked: bytes, replies: Replies) -> None:
        """Keep the replies of a phase that is over; they are durable on return."""
        ...


def phase_digest(phase: Phase) -> bytes:
    """Digest of everything that a phase asks, and whom."""
    parts = [phase.name.encode(), phase.kind.value.encode()]
    for point, asked in sorted(phase.requests.items()):
        parts.append(digest("fedmed/phase-request", point.to_bytes(4, "little"), *asked))
    return digest("fedmed/phase", *parts)


def journaled(steps: Steps[T], journal: Journal) -> Steps[T]:
    """Run a generator with what the journal remembers, and pass on only the phases that it does not.

    Args:
        steps: Any of the coordinator's generators.
        journal: Replies of an earlier run of the same generator; grows as phases finish.

    Returns:
        What the generator returns; its errors pass through.

    Guarantees:
        A phase whose replies are in the journal is not sent again.
    """
    try:
        phase = next(steps)
        while True:
            asked = phase_digest(phase)
            replies = journal.recall(asked)
            if replies is None:
                replies = yield phase
                journal.keep(asked, replies)
            phase = steps.send(replies)
    except StopIteration as stop:
        result: T = stop.value
        return result
