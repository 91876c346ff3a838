"""What a release shows of each custodian so far, and how the next message of it must follow.

Verification walks through the exchanges once and keeps, for every roster point, what an honest custodian
would remember: the very rules by which custodians accept (`fedmed.protocol.node_round`) then say whether a
plan or an opening was one that they could accept.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from fedmed import wire
from fedmed.errors import FedMedError, ReleaseBroken
from fedmed.governance.audit_chain import EMPTY_CHAIN, ChainHead
from fedmed.messages import EVERYONE, Member, Roster, Statement
from fedmed.protocol import envelope
from fedmed.protocol.node_round import StudyState
from fedmed.release.exchange import Exchange, Part, Said


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One custodian, as its messages show it.

    Attributes:
        state: What it must remember of the study that is followed.
        nonce: Its open nonce; empty when it gave none, or a plan used it up.
        polynomials: Polynomials that it opened in the epoch.
        head: Its audit chain, as its last message carried it.
        messages: Signed messages of it that hold.
        fault: Why its last answer did not hold; None when it did.
    """

    state: StudyState = field(default_factory=StudyState)
    nonce: bytes = b""
    polynomials: int = 0
    head: ChainHead = EMPTY_CHAIN
    messages: int = 0
    fault: FedMedError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """All custodians, and the day that expiry is judged by.

    Attributes:
        roster: The roster of the release.
        custodians: By roster point.
        today: When the release says that the study ended.
    """

    roster: Roster
    custodians: Mapping[int, Watched]
    today: datetime.date

    @classmethod
    def begin(cls, roster: Roster, *, today: datetime.date) -> Trail:
        """Nothing was said yet."""
        return cls(roster=roster, custodians={p: Watched() for p in roster.points}, today=today)

    def at(self, point: int, watched: Watched) -> Trail:
        """The trail with one custodian known better."""
        return replace(self, custodians={**self.custodians, point: watched})

    def for_next_study(self) -> Trail:
        """Nonces and states belong to a study; audit heads and opened polynomials stay."""
        return replace(
            self,
            custodians={
                p: replace(w, state=StudyState(), nonce=b"", fault=None) for p, w in self.custodians.items()
            },
        )

    def hear(
        self, point: int, part: Part, message_type: str, *, context: bytes, receiver: str = EVERYONE
    ) -> tuple[Trail, Statement]:
        """Take in one signed message of a province.

        Args:
            point: Whose it must be.
            part: The message.
            message_type: Its type.
            context: What it must belong to.
            receiver: Whom it must name.

        Returns:
            The trail with the sender's audit head, and what the message says.

        Raises:
            FedMedError: it does not hold, or its audit head does not follow the sender's last one.
        """
        member, watched = self.roster.member(point), self.custodians[point]
        statement = _opened(part, message_type, member, context=context, receiver=receiver)
        head = ChainHead(counter=statement.audit_counter, head=statement.audit_head)
        check_head(member.name, watched.head, head)
        return self.at(point, replace(watched, head=head, messages=watched.messages + 1)), statement

    def hear_coordinator(
        self, part: Part, message_type: str, *, context: bytes, receiver: str = EVERYONE
    ) -> Statement:
        """Check one signed message of the coordinator; raises `FedMedError`."""
        return _opened(part, message_type, self.roster.coordinator, context=context, receiver=receiver)


def check_head(name: str, last: ChainHead, head: ChainHead) -> None:
    """A sender's audit chain only grows; two heads at one counter prove a fork.

    Raises:
        ReleaseBroken: it was set back, or it forked.
    """
    if head.counter == last.counter and head.head != last.head:
        raise ReleaseBroken(
            f"{name} signed two different audit heads at counter {head.counter}: its audit log forked"
        )
    if head.counter < last.counter:
        raise ReleaseBroken(
            f"the audit counter of {name} goes back from {last.counter} to {head.counter}: messages are out "
            "of order, or its audit log was set back"
        )


@contextlib.contextmanager
def named(place: str) -> Iterator[None]:
    """Say where something does not hold: every error becomes a `ReleaseBroken` that opens with the place."""
    try:
        yield
    except ReleaseBroken as fault:
        raise ReleaseBroken(f"{place}: {fault}") from fault
    except FedMedError as fault:
        raise ReleaseBroken(f"{place}: {fault.code}: {fault}") from fault


def need(condition: bool, message: str) -> None:
    """Raise `ReleaseBroken` unless ``condition`` holds."""
    if not condition:
        raise ReleaseBroken(message)


def asked_of_all(roster: Roster, exchange: Exchange, parts: int) -> tuple[Part, ...]:
    """The parts that were sent to every custodian alike.

    Raises:
        ReleaseBroken: somebody was not asked or was asked something else, or the parts are not that many.
    """
    need(set(exchange.asked) == set(roster.points), "not every custodian of the roster was asked")
    different = set(exchange.asked.values())
    need(len(different) == 1, "custodians were asked different things")
    (asked,) = different
    need(len(asked) == parts, f"{parts} parts were to be sent, not {len(asked)}")
    return asked


def answers_of_all(roster: Roster, exchange: Exchange, parts: int) -> dict[int, tuple[Part, ...]]:
    """What every custodian answered, in the order of points.

    Raises:
        ReleaseBroken: somebody refused or was silent, or answered another number of parts.
    """
    found = {}
    for point in roster.points:
        said = exchange.answered.get(point, Said(code="node_lost"))
        name = roster.member(point).name
        need(not said.code, f"{name} did not answer: {said.code}")
        need(len(said.parts) == parts, f"{name} answered {len(said.parts)} parts, not {parts}")
        found[point] = said.parts
    return found


def _opened(part: Part, message_type: str, member: Member, *, context: bytes, receiver: str) -> Statement:
    """Check one envelope completely."""
    need(bool(part.kept), f"a message of type {message_type} is named but not in the release")
    return envelope.open_message(part.kept, message_type, member, context=context, receiver=receiver)


def take_nonce(trail: Trail, point: int, part: Part, *, context: bytes) -> Trail:
    """Take in a nonce that a custodian gave; raises `FedMedError`."""
    receiver = trail.roster.coordinator.name
    trail, statement = trail.hear(point, part, envelope.NONCE, context=context, receiver=receiver)
    nonce = wire.decode_nonce(statement.content)
    return trail.at(point, replace(trail.custodians[point], nonce=nonce, fault=None))
