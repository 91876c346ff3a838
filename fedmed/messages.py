"""Frozen values that travel between a province and the coordinator (PROTOCOL.md section 2).

Each checks its form once, on arrival as well as on departure; whether it is *allowed* is decided in
`fedmed.protocol`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fedmed.errors import MessageMalformed
from fedmed.types import DIGEST_BYTES, NONCE_BYTES, Layout, RoundKind

EVERYONE = "roster"
NO_EPOCH = bytes(DIGEST_BYTES)


def require_form(condition: bool, message: str) -> None:
    """Raise `MessageMalformed` unless ``condition`` holds."""
    if not condition:
        raise MessageMalformed(message)


def _require_digests(digests: tuple[bytes, ...], what: str) -> None:
    """Every digest has its size."""
    require_form(all(len(d) == DIGEST_BYTES for d in digests), f"{what} must be {DIGEST_BYTES} bytes each")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A message as it travels: exact body bytes, their type, and the sender's signature."""

    type: str
    body: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """The body of every signed message.

    Attributes:
        sender: Name of the sender in the roster.
        receiver: Name of the receiver, or `EVERYONE`.
        context: Digest of the plan, ceremony, study or roster that this belongs to.
        audit_head: Head of the sender's audit chain; two heads at one counter prove a fork.
        audit_counter: Number of entries in that chain.
        content: Bytes of the message proper.
    """

    sender: str
    receiver: str
    context: bytes
    audit_head: bytes
    audit_counter: int
    content: bytes

    def __post_init__(self) -> None:
        _require_digests((self.context, self.audit_head), "context and audit_head")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One party's public card: its name and its two public keys of 32 bytes."""

    name: str
    signing_key: bytes
    sealing_key: bytes

    def __post_init__(self) -> None:
        require_form(bool(self.name) and self.name != EVERYONE, "a member needs a name")
        require_form(len(self.signing_key) == len(self.sealing_key) == 32, "keys must be 32 bytes")


MOST_OWNER_CHARACTERS: Final = 200
"""As long as a study's ``owner`` may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """Who takes part; pinned by its digest at every province.

    Attributes:
        version: Grows with every change.
        members: The provinces; the first has point 1.
        threshold: Opening shares needed.
        colluders: Provinces that the protocol withstands in league with the coordinator, at most
            min(2 threshold - members - 1, members - 2).
        coordinator: The coordinator's card.
        owners: Who may own a study, by name, in order; empty: anybody. Names without keys: the coordinator
            signs every study, so it is trusted for naming the owner, but not for adding one.
    """

    version: int
    members: tuple[Member, ...]
    threshold: int
    colluders: int
    coordinator: Member
    owners: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [m.name for m in (*self.members, self.coordinator)]
        keys = [m.signing_key for m in (*self.members, self.coordinator)]
        require_form(len(set(names)) == len(names), "names in a roster must differ")
        require_form(len(set(keys)) == len(keys), "signing keys in a roster must differ")
        require_form(3 <= len(self.members) <= 400, "a roster has 3 to 400 members")
        require_form(2 <= self.threshold <= len(self.members), "threshold must be in 2..members")
        # Two opening sets share 2 t - n members, one of them must be honest; and two contributors must be.
        most = min(2 * self.threshold - len(self.members) - 1, len(self.members) - 2)
        require_form(0 <= self.colluders <= most, f"colluders must be in 0..{most}: raise threshold")
        require_form(list(self.owners) == sorted(set(self.owners)), "owners in a roster differ, in order")
        fit = all(0 < len(name) <= MOST_OWNER_CHARACTERS and name.isprintable() for name in self.owners)
        require_form(fit, f"an owner's name has 1 to {MOST_OWNER_CHARACTERS} printable characters")

    @property
    def points(self) -> tuple[int, ...]:
        """Shamir points of the members, 1..n."""
        return tuple(range(1, len(self.members) + 1))

    def member(self, point: int) -> Member:
        """The member at a point; `MessageMalformed` outside 1..n."""
        require_form(1 <= point <= len(self.members), f"point {point} is not in the roster")
        return self.members[point - 1]

    def point_of(self, name: str) -> int:
        """The point of a member's name; `MessageMalformed` when unknown."""
        for point, member in enumerate(self.members, start=1):
            if member.name == name:
                return point
        raise MessageMalformed(f"{name} is not in the roster")


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyProposal:
    """A study under one key epoch: canonical study bytes, roster digest and epoch id."""

    canonical: bytes
    roster_digest: bytes
    epoch_id: bytes

    def __post_init__(self) -> None:
        _require_digests((self.roster_digest, self.epoch_id), "roster_digest and epoch_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that fixes one attempt of one round; all contributors work on the same bytes.

    Attributes:
        study_digest: The study, or the ceremony's transcript for a rehearsal.
        epoch_id: The key epoch.
        roster_digest: The roster.
        kind: What is computed.
        round_number: From 1.
        attempt: From 1.
        nonces: (point, nonce) of every custodian that may contribute or answer, by point.
        inputs_digest: Digest of the model parameters and every other input.
        layout: How values are encoded.
        planned_contributors: n_plan.
        dropouts: d.
        colluders: c.
    """

    study_digest: bytes
    epoch_id: bytes
    roster_digest: bytes
    kind: RoundKind
    round_number: int
    attempt: int
    nonces: tuple[tuple[int, bytes], ...]
    inputs_digest: bytes
    layout: Layout
    planned_contributors: int
    dropouts: int
    colluders: int

    def __post_init__(self) -> None:
        _require_digests(
            (self.study_digest, self.epoch_id, self.roster_digest, self.inputs_digest), "a plan's digests"
        )
        points = [p for p, _ in self.nonces]
        require_form(points == sorted(set(points)), "nonces must be in strictly increasing order of points")
        require_form(all(len(n) == NONCE_BYTES for _, n in self.nonces), "nonces must be 16 bytes")

    @property
    def points(self) -> tuple[int, ...]:
        """Points that gave a nonce."""
        return tuple(p for p, _ in self.nonces)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a contributor signs: the digest of each chunk of its payload, and its next nonce."""

    chunk_digests: tuple[bytes, ...]
    next_nonce: bytes

    def __post_init__(self) -> None:
        _require_digests(self.chunk_digests, "chunk digests")
        require_form(len(self.next_nonce) == NONCE_BYTES, "next_nonce must be 16 bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningRequest:
    """The set that the coordinator fixed: contributors S, openers T, and the signed headers of S."""

    contributors: tuple[int, ...]
    openers: tuple[int, ...]
    headers: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an opener signs: the set that it answered and the digest of each chunk of its share."""

    contributors: tuple[int, ...]
    openers: tuple[int, ...]
    chunk_digests: tuple[bytes, ...]
    next_nonce: bytes

    def __post_init__(self) -> None:
        _require_digests(self.chunk_digests, "chunk digests")
        require_form(len(self.next_nonce) == NONCE_BYTES, "next_nonce must be 16 bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dealing:
    """What a dealer signs in a ceremony: the digest of the sealed share for each custodian, by point."""

    blob_digests: tuple[bytes, ...]

    def __post_init__(self) -> None:
        _require_digests(self.blob_digests, "blob digests")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsals:
    """The rehearsals that decoded to zero: digests of their plans and of their headers."""

    plan_digests: tuple[bytes, ...]
    header_digests: tuple[bytes, ...]

    def __post_init__(self) -> None:
        _require_digests(self.plan_digests + self.header_digests, "rehearsal digests")
        require_form(len(self.plan_digests) == len(self.header_digests) > 0, "rehearsals must be paired")
