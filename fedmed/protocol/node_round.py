"""A custodian's rules for one round: which plan it accepts and which set it answers.

Pure: state and message in, next state or a refusal out; the custodian writes the state before it acts.
Threat model: the coordinator and up to ``colluders`` provinces lie, replay, reorder and equivocate. They
hold valid keys, so every check here is about a validly signed message. Each check is a function of its
own with an error code of its own: the hostile tests take one away and show that the attack then works.

Source: PROTOCOL.md sections 4 and 6.
"""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass, replace

from fedmed.crypto.parameters import MAX_POLYNOMIALS_PER_EPOCH
from fedmed.errors import (
    EpochExhausted,
    EpochMismatch,
    HeaderMissing,
    HeaderNotMine,
    LayoutMismatch,
    NoLongerContributing,
    NonceMismatch,
    OpenersMiscounted,
    PlanNotAccepted,
    PlanNotNewer,
    PlanOutOfRange,
    PlansExhausted,
    RestoredFromBackup,
    RosterMismatch,
    SecondContribution,
    SecondOpening,
    SetChanged,
    SetMalformed,
    SetTooSmall,
    StudyExpired,
    UnknownVersion,
)
from fedmed.messages import OpeningRequest, Plan
from fedmed.protocol.binding import check_header, headers_digest
from fedmed.protocol.schedule import Terms, chunk_count

STATE_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The one set that was answered for the last plan."""

    contributors: tuple[int, ...]
    openers: tuple[int, ...]
    headers_digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyState:
    """What a custodian must remember of a study, across restarts and key epochs.

    Attributes:
        plans_accepted: Plans accepted so far, answers without a contribution included, and one for each
            round that was passed over: what was not asked of one stage is not free for another.
        last: (round, attempt) of the last accepted plan; all earlier ones will never be answered.
        plan_digest: The last accepted plan; empty before the first.
        header: This custodian's signed header for that plan, exact bytes; empty if it did not contribute.
        first_set: The first S answered in this study; empty before.
        last_set: The last S answered.
        answered: The set answered for the last accepted plan, if any.
    """

    plans_accepted: int = 0
    last: tuple[int, int] = (0, 0)
    plan_digest: bytes = b""
    header: bytes = b""
    first_set: tuple[int, ...] = ()
    last_set: tuple[int, ...] = ()
    answered: Answered | None = None

    def to_bytes(self) -> bytes:
        """Versioned bytes for the store."""
        a = self.answered
        return json.dumps(
            {
                "version": STATE_VERSION,
                "plans_accepted": self.plans_accepted,
                "last": self.last,
                "plan_digest": self.plan_digest.hex(),
                "header": self.header.hex(),
                "first_set": self.first_set,
                "last_set": self.last_set,
                "answered": None if a is None else [a.contributors, a.openers, a.headers_digest.hex()],
            }
        ).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> StudyState:
        """Read stored bytes; raises `UnknownVersion` for a format this code does not know."""
        d = json.loads(data)
        if d.get("version") != STATE_VERSION:
            raise UnknownVersion("this study's stored state was written by another version of FedMed")
        a = d["answered"]
        return cls(
            plans_accepted=d["plans_accepted"],
            last=(d["last"][0], d["last"][1]),
            plan_digest=bytes.fromhex(d["plan_digest"]),
            header=bytes.fromhex(d["header"]),
            first_set=tuple(d["first_set"]),
            last_set=tuple(d["last_set"]),
            answered=None
            if a is None
            else Answered(contributors=tuple(a[0]), openers=tuple(a[1]), headers_digest=bytes.fromhex(a[2])),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedPlan:
    """A plan whose signature was checked, with the digest of its exact bytes."""

    plan: Plan
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What the custodian knows besides the study's state.

    Attributes:
        point: Its own point.
        nonce: Its open nonce for this study; empty when there is none.
        today: Its own date.
        restored: It was restored from a backup after the study had begun.
        accepted_here: Digests of plans accepted by this very process.
        polynomials_opened: Polynomials opened so far in the study's epoch.
    """

    point: int
    nonce: bytes
    today: datetime.date
    restored: bool
    accepted_here: frozenset[bytes]
    polynomials_opened: int


# --- Plan --------------------------------------------------------------------------------------------


def check_expiry(terms: Terms, now: Circumstances) -> None:
    """The study's last day has not passed."""
    if now.today > terms.expires:
        raise StudyExpired(f"the study expired on {terms.expires}; its owner must propose a new one")


def check_restored(now: Circumstances) -> None:
    """This custodian's memory of the study is whole."""
    if now.restored:
        raise RestoredFromBackup("restored from a backup: studies begun before need a new proposal")


def check_roster(terms: Terms, plan: Plan) -> None:
    """The plan names the pinned roster."""
    if plan.roster_digest != terms.roster_digest:
        raise RosterMismatch("the plan names another roster than the pinned one")


def check_epoch(terms: Terms, plan: Plan) -> None:
    """The plan names the study's key epoch."""
    if plan.epoch_id != terms.epoch_id:
        raise EpochMismatch("the plan names another key epoch than the study's")


def check_newer(state: StudyState, plan: Plan) -> None:
    """(round, attempt) only grows; one attempt has one contribution."""
    position = (plan.round_number, plan.attempt)
    if position == state.last and state.header:
        raise SecondContribution(f"round {position[0]} attempt {position[1]} already has a contribution")
    if position <= state.last:
        raise PlanNotNewer(f"plan {position} is not above the last accepted {state.last}")


def check_range(terms: Terms, plan: Plan) -> None:
    """Round and attempt are ones that the study declares."""
    if not 1 <= plan.round_number <= terms.aggregations:
        raise PlanOutOfRange(f"round must be in 1..{terms.aggregations}, got {plan.round_number}")
    if not 1 <= plan.attempt <= 1 + terms.spare_attempts:
        raise PlanOutOfRange(f"attempt must be in 1..{1 + terms.spare_attempts}, got {plan.attempt}")


def plans_before(state: StudyState, plan: Plan) -> int:
    """Plans used up before this one: the accepted ones and one for each round that it passes over."""
    return state.plans_accepted + max(0, plan.round_number - state.last[0] - 1)


def check_count(terms: Terms, state: StudyState, plan: Plan) -> None:
    """The study has attempts left to repeat rounds with.

    Every stage is reserved and calibrated for its rounds and all spare attempts. The rounds of another stage
    must not become further attempts of this one: the spare attempts are all that may come on top.
    """
    if plans_before(state, plan) >= plan.round_number + terms.spare_attempts:
        raise PlansExhausted(
            f"all {terms.spare_attempts} spare attempts of the study are used; propose a new study"
        )


def check_nonce(plan: Plan, now: Circumstances) -> None:
    """The plan carries this custodian's open nonce, so no public polynomial can return."""
    if not now.nonce or dict(plan.nonces).get(now.point) != now.nonce:
        raise NonceMismatch("the plan does not carry this custodian's open nonce; ask for a new one")


def check_points(terms: Terms, plan: Plan) -> None:
    """The nonce list names roster points only."""
    if not set(plan.points) <= set(terms.roster.points):
        raise SetMalformed("the plan's nonce list names a point outside the roster")


def check_layout(terms: Terms, plan: Plan) -> None:
    """Kind, layout and noise are those that this custodian computes from the study for this round."""
    stage = terms.stage(plan.round_number)
    expected = (
        stage.kind,
        stage.layout,
        terms.allowance.planned_contributors,
        terms.allowance.dropouts,
        terms.allowance.colluders,
    )
    given = (plan.kind, plan.layout, plan.planned_contributors, plan.dropouts, plan.colluders)
    if given != expected:
        raise LayoutMismatch("layout or noise differ from what the approved study gives")


def accept_plan(terms: Terms, state: StudyState, signed: SignedPlan, *, now: Circumstances) -> StudyState:
    """Check a signed plan completely and return the state in which it is accepted.

    Args:
        terms: The approved study.
        state: What this custodian remembers of it.
        signed: The plan; its signature was checked by the caller.
        now: Circumstances.

    Returns:
        The state to write before anything is computed; earlier attempts can no longer be answered.

    Raises:
        ProtocolError: a subclass for each rule; the state is unchanged.
    """
    plan = signed.plan
    check_expiry(terms, now)
    check_restored(now)
    check_roster(terms, plan)
    check_epoch(terms, plan)
    check_range(terms, plan)
    check_newer(state, plan)
    check_count(terms, state, plan)
    check_points(terms, plan)
    check_nonce(plan, now)
    check_layout(terms, plan)
    return replace(
        state,
        plans_accepted=plans_before(state, plan) + 1,
        last=(plan.round_number, plan.attempt),
        plan_digest=signed.digest,
        header=b"",
        answered=None,
    )


def check_contributing(state: StudyState, now: Circumstances) -> None:
    """A custodian whose answered set lacked itself contributes no more (and is not debited)."""
    if state.last_set and now.point not in state.last_set:
        raise NoLongerContributing("the set answered in this study lacks this node")


# --- Opening -----------------------------------------------------------------------------------------


def check_accepted(state: StudyState, this_digest: bytes, now: Circumstances) -> None:
    """The plan is the current one and was accepted by this process."""
    if this_digest != state.plan_digest or this_digest not in now.accepted_here:
        raise PlanNotAccepted("the plan is not the current one, or was accepted before a restart")


def check_sets(plan: Plan, request: OpeningRequest) -> None:
    """S and T are strictly increasing lists of points inside the nonce list."""
    for points in (request.contributors, request.openers):
        if list(points) != sorted(set(points)) or not set(points) <= set(plan.points):
            raise SetMalformed("S and T must be strictly increasing points of the plan's nonce list")


def check_set_size(terms: Terms, request: OpeningRequest) -> None:
    """S is large enough for the noise, the colluders and the study."""
    if len(request.contributors) < terms.allowance.least_set:
        raise SetTooSmall(f"a sum needs {terms.allowance.least_set} contributors or more")


def check_openers(terms: Terms, request: OpeningRequest, now: Circumstances) -> None:
    """T has exactly ``threshold`` members, this custodian among them."""
    if len(request.openers) != terms.allowance.threshold or now.point not in request.openers:
        raise OpenersMiscounted(f"T must name exactly {terms.allowance.threshold} custodians, me included")


def check_header_count(request: OpeningRequest) -> None:
    """There is one header for each member of S."""
    if len(request.headers) != len(request.contributors):
        raise HeaderMissing("there must be exactly one header for each contributor")


def check_headers(terms: Terms, request: OpeningRequest, signed: SignedPlan) -> None:
    """Every member of S has a valid header for this plan."""
    chunks = chunk_count(terms.stage(signed.plan.round_number).layout)
    for point, data in zip(request.contributors, request.headers, strict=False):
        check_header(terms.roster, data, point=point, this_digest=signed.digest, chunks=chunks)


def check_own_header(state: StudyState, request: OpeningRequest, now: Circumstances) -> None:
    """The header given for this custodian is byte for byte the one that it sent."""
    given = dict(zip(request.contributors, request.headers, strict=False)).get(now.point)
    if given is not None and given != state.header:
        raise HeaderNotMine("the header given for this custodian is not the one that it sent")


def check_same_set(terms: Terms, state: StudyState, request: OpeningRequest) -> None:
    """One S per study; with ``on_dropout = continue`` each S lies inside the last one answered."""
    if not state.first_set:
        return
    if terms.may_shrink:
        if not set(request.contributors) <= set(state.last_set):
            raise SetChanged("S must be a subset of the last set answered in this study")
    elif request.contributors != state.first_set:
        raise SetChanged("S differs from the first set answered in this study")


def check_single_opening(state: StudyState) -> None:
    """One attempt opens once."""
    if state.answered is not None:
        raise SecondOpening("this attempt was answered for another set")


def check_polynomials(terms: Terms, plan: Plan, now: Circumstances) -> None:
    """The epoch's smudging margin covers the polynomials of this opening (2^-40.6 in total)."""
    if (
        now.polynomials_opened + chunk_count(terms.stage(plan.round_number).layout)
        > MAX_POLYNOMIALS_PER_EPOCH
    ):
        raise EpochExhausted(f"the epoch may open {MAX_POLYNOMIALS_PER_EPOCH} polynomials; run a ceremony")


def accept_opening(
    terms: Terms, state: StudyState, signed: SignedPlan, request: OpeningRequest, *, now: Circumstances
) -> StudyState:
    """Check an opening request completely and return the state in which it is answered.

    Args:
        terms: The approved study.
        state: State in which the plan is the accepted one.
        signed: The plan.
        request: S, T and the headers of S; the coordinator's signature was checked by the caller.
        now: Circumstances.

    Returns:
        The state to write, with the answer, before the answer leaves.

    Raises:
        ProtocolError: a subclass for each rule; the state is unchanged.
        SignatureInvalid: a header is not signed by the member that it stands for.
    """
    check_expiry(terms, now)
    check_restored(now)
    check_epoch(terms, signed.plan)  # the study may have moved to another epoch since the plan was accepted
    check_accepted(state, signed.digest, now)
    check_sets(signed.plan, request)
    check_set_size(terms, request)
    check_openers(terms, request, now)
    check_header_count(request)
    check_headers(terms, request, signed)
    check_own_header(state, request, now)
    check_single_opening(state)
    check_same_set(terms, state, request)
    check_polynomials(terms, signed.plan, now)
    return replace(
        state,
        first_set=state.first_set or request.contributors,
        last_set=request.contributors,
        answered=Answered(
            contributors=request.contributors,
            openers=request.openers,
            headers_digest=headers_digest(request.headers),
        ),
    )


def is_repeat(state: StudyState, request: OpeningRequest, this_digest: bytes) -> bool:
    """Whether this exact question was answered: then the stored bytes are sent again."""
    return (
        this_digest == state.plan_digest
        and state.answered is not None
        and state.answered
        == Answered(
            contributors=request.contributors,
            openers=request.openers,
            headers_digest=headers_digest(request.headers),
        )
    )
