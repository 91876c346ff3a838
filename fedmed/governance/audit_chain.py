"""A node's audit log as a chain: every entry names the one before it and is signed by the node.

The chain shows edits, gaps and reordering to anybody who has the node's public key. That its end was cut,
or that a second chain was begun from an earlier entry, shows only against a head that somebody else kept:
every message carries its sender's head and counter for that purpose (PROTOCOL.md section 2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from fedmed.crypto.identity import SIGNATURE_BYTES, PublicIdentity, signed_bytes, verify
from fedmed.errors import ConfigError, IntegrityError, SignatureInvalid
from fedmed.privacy.record_format import read_record, record_bytes, require_time
from fedmed.types import DIGEST_BYTES, digest, require

FORMAT: Final = "fedmed/audit/1"
MAX_DETAIL_BYTES: Final = 1024

_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}|")
_STUDY: Final = re.compile(r"[0-9a-f]{64}|")


class AuditKind(Enum):
    """What happened; closed, so that a reader knows every kind."""

    STARTED = "started"
    PROPOSED = "proposed"
    APPROVED = "approved"
    REVOKED = "revoked"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    CONTRIBUTED = "contributed"
    OPENED = "opened"
    RESENT = "resent"
    CEREMONY = "ceremony"
    EPOCH_DESTROYED = "epoch_destroyed"
    RESTORED = "restored"
    POLICY = "policy"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """What one entry says.

    Attributes:
        at: ISO 8601 time with offset, given by the caller.
        kind: What happened.
        study: Digest of the study in lower-case hexadecimal, or empty.
        code: Stable code of an error, or empty.
        detail: Public words for the operator, at most 1,024 bytes, no control characters: studies, rounds
            and names; never a row, a count below the cohort minimum or a key.
    """

    at: str
    kind: AuditKind
    study: str = ""
    code: str = ""
    detail: str = ""

    def __post_init__(self) -> None:
        require_time("at", self.at)
        require(_STUDY.fullmatch(self.study) is not None, "study must be 64 hexadecimal digits or empty")
        require(_CODE.fullmatch(self.code) is not None, "code must be a stable error code or empty")
        require(self.detail.isprintable(), "detail must have no control characters")
        size = len(self.detail.encode())
        require(size <= MAX_DETAIL_BYTES, f"detail must be at most {MAX_DETAIL_BYTES} bytes, got {size}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainHead:
    """Where a chain stands: the counter of its last entry and that entry's head."""

    counter: int
    head: bytes

    def __post_init__(self) -> None:
        require(self.counter >= 0, f"counter must be >= 0, got {self.counter}")
        require(len(self.head) == DIGEST_BYTES, f"head must be {DIGEST_BYTES} bytes, got {len(self.head)}")


EMPTY_CHAIN: Final = ChainHead(counter=0, head=bytes(DIGEST_BYTES))


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One signed link.

    Attributes:
        counter: From 1, without gaps.
        previous_head: Head of the entry before, 32 bytes; zeros for the first.
        event: What happened.
        signature: The node's, over ``signed_bytes("audit_head", head)``.
    """

    counter: int
    previous_head: bytes
    event: AuditEvent
    signature: bytes

    def __post_init__(self) -> None:
        require(self.counter >= 1, f"counter must be >= 1, got {self.counter}")
        require(len(self.previous_head) == DIGEST_BYTES, f"previous_head must be {DIGEST_BYTES} bytes")
        require(len(self.signature) == SIGNATURE_BYTES, f"signature must be {SIGNATURE_BYTES} bytes")

    @property
    def head(self) -> bytes:
        """Digest of the entry before and of this one without its signature, 32 bytes."""
        return _head(self.counter, self.previous_head, self.event)

    @property
    def chain_head(self) -> ChainHead:
        """Counter and head together: what the next entry follows and what messages carry."""
        return ChainHead(counter=self.counter, head=self.head)

    def to_bytes(self) -> bytes:
        """Write the entry in its one canonical form."""
        fields = _unsigned_fields(self.counter, self.previous_head, self.event)
        return record_bytes(FORMAT, {**fields, "signature": self.signature.hex()})

    @classmethod
    def from_bytes(cls, data: bytes) -> AuditEntry:
        """Read what `to_bytes` wrote, byte for byte; says nothing about the signature.

        Raises:
            UnknownVersion: the format is another one.
            IntegrityError: a field is unknown, missing or impossible, or the form is not the canonical one.
        """
        values = read_record(FORMAT, data, fields=_STORED)
        try:
            entry = cls(
                counter=values.pop("counter"),
                previous_head=bytes.fromhex(values.pop("previous_head")),
                signature=bytes.fromhex(values.pop("signature")),
                event=AuditEvent(kind=AuditKind(values.pop("kind")), **values),
            )
        except (ValueError, ConfigError):
            raise IntegrityError("audit entry has a value that cannot be: its bytes were altered") from None
        if entry.to_bytes() != data:
            raise IntegrityError("audit entry is not in canonical form: its bytes were altered")
        return entry


_STORED: Final = {
    "counter": int,
    "previous_head": str,
    "at": str,
    "kind": str,
    "study": str,
    "code": str,
    "detail": str,
    "signature": str,
}


def append(previous: AuditEntry | None, event: AuditEvent, *, sign: Callable[[bytes], bytes]) -> AuditEntry:
    """Make the entry that follows ``previous``.

    Args:
        previous: Last entry of the chain; None begins a chain.
        event: What happened.
        sign: The node's `Identity.sign`.

    Returns:
        The signed entry, to be stored in the same commit as the change that it tells of.
    """
    last = EMPTY_CHAIN if previous is None else previous.chain_head
    counter = last.counter + 1
    signature = sign(signed_bytes("audit_head", _head(counter, last.head, event)))
    return AuditEntry(counter=counter, previous_head=last.head, event=event, signature=signature)


def verify_chain(
    entries: Iterable[AuditEntry],
    public: PublicIdentity,
    *,
    after: ChainHead = EMPTY_CHAIN,
    expected_head: ChainHead | None = None,
) -> ChainHead:
    """Check a chain, or the part of one that follows a known head.

    Args:
        entries: In order.
        public: The node that signed.
        after: What the first entry follows; by default nothing, so the chain must be whole.
        expected_head: A head that somebody else kept, for instance from a message; it may be older than the
            last entry, but not older than ``after``.

    Returns:
        Where the chain stands at its end.

    Guarantees:
        Edited, left-out, doubled, reordered and foreign entries are refused. Entries cut off at the end and
        a chain begun anew are refused if ``expected_head`` lies in the part that is missing or replaced.

    Raises:
        IntegrityError: names the counter of the first entry that does not hold; `SignatureInvalid` if it is
            the signature.
    """
    last, met = after, expected_head is None or expected_head == after
    for entry in entries:
        if (entry.counter, entry.previous_head) != (last.counter + 1, last.head):
            raise IntegrityError(f"audit entry {last.counter + 1} is missing, altered or out of order")
        last = entry.chain_head
        try:
            verify(public, signed_bytes("audit_head", last.head), entry.signature)
        except SignatureInvalid:
            raise SignatureInvalid(
                f"audit entry {last.counter} was altered or is not {public.name}'s"
            ) from None
        if expected_head is not None and expected_head.counter == last.counter:
            if expected_head.head != last.head:
                raise IntegrityError(f"audit entry {last.counter} is not the one known elsewhere: a fork")
            met = True
    if expected_head is not None and not met:
        raise IntegrityError(f"audit entry {expected_head.counter} is known elsewhere and is missing here")
    return last


def _head(counter: int, previous_head: bytes, event: AuditEvent) -> bytes:
    """Hash what an entry says, without its signature."""
    fields = _unsigned_fields(counter, previous_head, event)
    return digest("fedmed/audit", previous_head, record_bytes(FORMAT, fields))


def _unsigned_fields(counter: int, previous_head: bytes, event: AuditEvent) -> dict[str, str | int]:
    """Everything of an entry but the signature, in the order in which it is written."""
    return {
        "counter": counter,
        "previous_head": previous_head.hex(),
        "at": event.at,
        "kind": event.kind.value,
        "study": event.study,
        "code": event.code,
        "detail": event.detail,
    }
