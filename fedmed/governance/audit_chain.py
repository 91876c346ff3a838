"""A node's audit log as a chain: every entry names the one before it and is signed by the node.

The chain shows edits, gaps and reordering to anybody who has the node's public key. That its end was cut,
or that a second chain was begun from an earlier entry, shows only against a head that somebody else kept:
every message carries its sender's head and counter for that purpose (PROTOCOL.md section 2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from fedmed.crypto.identity import SIGNATURE_BYTES, PublicIdentity, signed_bytes, verify
from fedmed.errors import ConfigError, IntegrityError, SignatureInvalid
from fedmed.governance.key_change import KeyChange
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
    SIGNED = "signed"
    BUDGET_RAISED = "budget_raised"
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
    STOPPED = "stopped"
    CALLER_REFUSED = "caller_refused"
    READ = "read"
    LOG_SEALED = "log_sealed"
    BACKED_UP = "backed_up"
    ROSTER_PINNED = "roster_pinned"
    KEY_MADE = "key_made"
    KEY_ROTATED = "key_rotated"
    KEY_REPLACED = "key_replaced"
    KEY_REVOKED = "key_revoked"


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
        public: The card of the node that signs now; keys that it had before are named by the chain itself.
        after: What the first entry follows; by default nothing, so the chain must be whole.
        expected_head: A head that somebody else kept, for instance from a message; it may be older than the
            last entry, but not older than ``after``.

    Returns:
        Where the chain stands at its end.

    Guarantees:
        Edited, left-out, doubled, reordered and foreign entries are refused. Entries cut off at the end and
        a chain begun anew are refused if ``expected_head`` lies in the part that is missing or replaced.
        Where the key changed, the new key signed that it follows the old one, and after that the old one
        signs nothing; a revoked key signs nothing either.

    Raises:
        IntegrityError: names the counter of the first entry that does not hold; `SignatureInvalid` if it is
            the signature.
    """
    links = tuple(entries)
    last, met = after, expected_head is None or expected_head == after
    signer = _Signer(card=_first_card(links, public))
    for entry in links:
        if (entry.counter, entry.previous_head) != (last.counter + 1, last.head):
            raise IntegrityError(f"audit entry {last.counter + 1} is missing, altered or out of order")
        last = entry.chain_head
        signer = signer.after(entry)
        if expected_head is not None and expected_head.counter == last.counter:
            if expected_head.head != last.head:
                raise IntegrityError(f"audit entry {last.counter} is not the one known elsewhere: a fork")
            met = True
    if signer.card.signing_key != public.signing_key:
        raise SignatureInvalid(
            f"audit entry {last.counter} is signed with another key than this card's: use the present card"
        )
    if expected_head is not None and not met:
        raise IntegrityError(f"audit entry {expected_head.counter} is known elsewhere and is missing here")
    return last


KEY_CHANGES: Final = frozenset({AuditKind.KEY_ROTATED, AuditKind.KEY_REPLACED})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signer:
    """Whose signature the next entry must carry."""

    card: PublicIdentity
    is_revoked: bool = False

    def after(self, entry: AuditEntry) -> _Signer:
        """Check an entry's signature; who signs the one behind it."""
        kind = entry.event.kind
        following = self._changed(entry) if kind in KEY_CHANGES else self
        # The old key signs its own end, unless it was lost or is in other hands.
        by = following if kind is AuditKind.KEY_REPLACED else self
        if by.is_revoked:
            raise SignatureInvalid(f"audit entry {entry.counter} was signed with a key that was revoked")
        try:
            verify(by.card, signed_bytes("audit_head", entry.head), entry.signature)
        except SignatureInvalid:
            raise SignatureInvalid(
                f"audit entry {entry.counter} was altered or is not {self.card.name}'s"
            ) from None
        return replace(following, is_revoked=kind is AuditKind.KEY_REVOKED)

    def _changed(self, entry: AuditEntry) -> _Signer:
        """The signer that a key change names."""
        change = _key_change(entry)
        try:
            card = change.check_proof(entry.previous_head, name=self.card.name)
        except SignatureInvalid:
            card = None
        if card is None or change.before != self.card.signing_key:
            raise SignatureInvalid(f"audit entry {entry.counter} changes a key that is not this chain's")
        return _Signer(card=card)


# Signatures need no sealing key; the base point is one that every card may have.
_ANY_SEALING_KEY: Final = bytes([9]) + bytes(31)


def _first_card(entries: tuple[AuditEntry, ...], present: PublicIdentity) -> PublicIdentity:
    """The card of the first entry: with the key that the first key change names, or the present one."""
    changes = (entry for entry in entries if entry.event.kind in KEY_CHANGES)
    first = next(changes, None)
    if first is None:
        return present
    try:
        return replace(present, signing_key=_key_change(first).before, sealing_key=_ANY_SEALING_KEY)
    except ConfigError:
        raise IntegrityError(f"audit entry {first.counter} names a key that cannot be") from None


def _key_change(entry: AuditEntry) -> KeyChange:
    """What the entry of a key change says; names the entry that says nothing."""
    try:
        return KeyChange.from_text(entry.event.detail)
    except (IntegrityError, ConfigError):
        raise IntegrityError(f"audit entry {entry.counter} names no keys: it was altered") from None


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
