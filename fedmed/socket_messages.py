"""Frozen values that travel on the custodian's unix socket; each checks its form on arrival and departure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Final

from fedmed.messages import require_form
from fedmed.types import DIGEST_BYTES

PIECE_BYTES: Final = 1 << 20
"""Longest piece of a part: what either side must hold besides the parts themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some bytes of a part, and whether they are its last.

    Raises:
        MessageMalformed: more than `PIECE_BYTES`, or nothing at all: a stream of nothings has no end.
    """

    data: bytes
    ends_part: bool

    def __post_init__(self) -> None:
        require_form(len(self.data) <= PIECE_BYTES, f"a piece holds at most {PIECE_BYTES} bytes")
        require_form(bool(self.data) or self.ends_part, "a piece holds bytes or ends a part")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetCard:
    """A registered dataset as the province's catalogue says it publicly."""

    name: str
    declared_persons: int
    data_year: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """What a custodian says of itself to anybody on the socket: no rows, no counts of them.

    Attributes:
        node: Its name in the roster.
        signing_key: Its public key for signatures, 32 bytes.
        sealing_key: Its public key for sealing, 32 bytes.
        roster_digest: The roster that it pinned.
        datasets: What it registered.
    """

    node: str
    signing_key: bytes
    sealing_key: bytes
    roster_digest: bytes
    datasets: tuple[DatasetCard, ...]

    def __post_init__(self) -> None:
        require_form(len(self.roster_digest) == DIGEST_BYTES, f"roster_digest must be {DIGEST_BYTES} bytes")


class StudyStanding(Enum):
    """How far a study got at this node."""

    WAITING = "waiting for approval"
    APPROVED = "approved, to be proposed again"
    RESERVED = "approved, budget reserved"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyBudget:
    """What one study may spend and has spent at this node.

    Attributes:
        study_digest: 32 bytes.
        id: The study's own name.
        title: Its title.
        standing: How far it got here.
        reserved_epsilon: Epsilon of all its planned releases; 0 without a reservation.
        spent_epsilon: Epsilon of the attempts that were charged; infinite above 5,000.
        delta: At which both are counted.
    """

    study_digest: bytes
    id: str
    title: str
    standing: StudyStanding
    reserved_epsilon: float
    spent_epsilon: float
    delta: float

    def __post_init__(self) -> None:
        require_form(len(self.study_digest) == DIGEST_BYTES, f"study_digest must be {DIGEST_BYTES} bytes")
        sums = (self.reserved_epsilon, self.spent_epsilon)
        require_form(all(e >= 0 for e in sums), "epsilons must be >= 0")
        require_form(0 < self.delta < 1, "delta must be in (0, 1)")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetBudget:
    """One dataset's year: the cap of the policy, and what reservations and charges together come to.

    Attributes:
        name: The dataset's name.
        data_year: Year that its rows describe.
        cap_epsilon: The policy's ``max_epsilon_per_year``.
        committed_epsilon: Of everything reserved and charged, composed, as the custodian counts it.
    """

    name: str
    data_year: int
    cap_epsilon: float
    committed_epsilon: float

    def __post_init__(self) -> None:
        require_form(self.committed_epsilon >= 0, "committed_epsilon must be >= 0")
        require_form(math.isfinite(self.cap_epsilon) and self.cap_epsilon > 0, "cap_epsilon must be > 0")

    @property
    def left_epsilon(self) -> float:
        """What a further study may still spend, at most: composing is not adding, so it may be a bit more."""
        return max(0.0, self.cap_epsilon - self.committed_epsilon)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The operator's view of the ledger."""

    studies: tuple[StudyBudget, ...]
    datasets: tuple[DatasetBudget, ...]
