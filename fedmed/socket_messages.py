"""Frozen values that travel on the custodian's unix socket; each checks its form on arrival and departure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Final

from fedmed.messages import require_form
from fedmed.types import DIGEST_BYTES, ActPlace

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
    """A registered dataset as the province's catalogue says it publicly.

    Attributes:
        name: As studies call it.
        declared_persons: Insured persons.
        data_year: Year that its rows describe.
        withheld: Why every study on it is refused, beginning with the rule; empty = none is for that.
    """

    name: str
    declared_persons: int
    data_year: int
    withheld: str = ""


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
    REVOKED = "revoked"


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
        dataset: Name of the dataset that it reads.
        data_year: Year whose budget it uses; 0 where neither reservation nor registration says.
    """

    study_digest: bytes
    id: str
    title: str
    standing: StudyStanding
    reserved_epsilon: float
    spent_epsilon: float
    delta: float
    dataset: str = ""
    data_year: int = 0

    def __post_init__(self) -> None:
        require_form(len(self.study_digest) == DIGEST_BYTES, f"study_digest must be {DIGEST_BYTES} bytes")
        sums = (self.reserved_epsilon, self.spent_epsilon)
        require_form(all(e >= 0 for e in sums), "epsilons must be >= 0")
        require_form(0 < self.delta < 1, "delta must be in (0, 1)")

    @property
    def left_epsilon(self) -> float:
        """What is left of its reservation, at least: composing is not adding."""
        return max(0.0, self.reserved_epsilon - self.spent_epsilon)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetBudget:
    """One dataset's year: the cap of the policy, and what reservations and charges together come to.

    Attributes:
        name: The dataset's name.
        data_year: Year that its rows describe.
        cap_epsilon: The policy's ``max_epsilon_per_year``, or what operators raised it to.
        committed_epsilon: Of everything reserved and charged, composed, as the custodian counts it.
        spent_epsilon: Of the charges alone.
        fingerprint: Of the dataset version that the budget belongs to, 32 bytes.
    """

    name: str
    data_year: int
    cap_epsilon: float
    committed_epsilon: float
    spent_epsilon: float
    fingerprint: bytes

    def __post_init__(self) -> None:
        sums = (self.committed_epsilon, self.spent_epsilon)
        require_form(all(e >= 0 for e in sums), "epsilons must be >= 0")
        require_form(len(self.fingerprint) == DIGEST_BYTES, f"fingerprint must be {DIGEST_BYTES} bytes")
        require_form(math.isfinite(self.cap_epsilon) and self.cap_epsilon > 0, "cap_epsilon must be > 0")

    @property
    def left_epsilon(self) -> float:
        """What a further study may still spend, at most: composing is not adding, so it may be a bit more."""
        return max(0.0, self.cap_epsilon - self.committed_epsilon)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRaise:
    """A raise that operators signed, or some of those whom it takes.

    Attributes:
        fingerprint: The dataset version, 32 bytes.
        data_year: Year that its rows describe.
        cap_epsilon: The new cap.
        signed_by: Operators who signed so far.
        needed: Signatures that it takes.
        reason: The first signer's words.
        signed_at: When the last one signed, by the signer's clock.
    """

    fingerprint: bytes
    data_year: int
    cap_epsilon: float
    signed_by: tuple[str, ...]
    needed: int
    reason: str
    signed_at: str

    @property
    def is_agreed(self) -> bool:
        """Whether it holds."""
        return len(self.signed_by) >= self.needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The operator's view of the ledger.

    Attributes:
        studies: Every study ever proposed.
        datasets: Every registered dataset.
        raises: Every raise, in the order of its first signature.
        place: What an operator's next act must name.
        restored: Which backup came back here, in words; charges made after it are not in the ledger. Empty
            for none.
    """

    studies: tuple[StudyBudget, ...]
    datasets: tuple[DatasetBudget, ...]
    raises: tuple[BudgetRaise, ...]
    place: ActPlace
    restored: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyReview:
    """A study as an operator should see it before a yes.

    Attributes:
        canonical: The study's canonical bytes: whoever signs works their digest out again.
        place: What the operator's act must name.
        operators: Those whom the policy lists.
        signed_by: Those who approved already, under the policy in force.
        standing: How far the study got.
        dataset: Name of the dataset.
        data_year: Year whose budget it would use; 0 where the dataset is not registered.
        cap_epsilon: The year's cap.
        spent_epsilon: Of what was charged in that year.
        committed_epsilon: Of everything reserved and charged in it, as the study stands now.
        with_study_epsilon: The same once the study has its reservation.
        grades: (column, grade) of the columns that carry one.
        remarks: What is allowed and yet worth a thought.
        refusal: What the policy or the budget says against it today: a code, and the rule in words; empty
            where they allow the study.
    """

    canonical: bytes
    place: ActPlace
    operators: tuple[str, ...]
    signed_by: tuple[str, ...]
    standing: StudyStanding
    dataset: str
    data_year: int
    cap_epsilon: float
    spent_epsilon: float
    committed_epsilon: float
    with_study_epsilon: float
    grades: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]
    refusal: str

    @property
    def left_after_epsilon(self) -> float:
        """What further studies of the year may still spend, at most, once this one is reserved."""
        return max(0.0, self.cap_epsilon - self.with_study_epsilon)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActOutcome:
    """What became of an operator's act: who signed the same so far, and how many it takes."""

    signed_by: tuple[str, ...]
    needed: int

    @property
    def is_agreed(self) -> bool:
        """Whether it was carried out."""
        return len(self.signed_by) >= self.needed
