"""Envelopes: who signed, what, for whom, about what; and bytes that are no message at all.

| refusal | code | check |
|---|---|---|
| longer than anybody honest sends | message_malformed | envelope.check_length |
| another type | message_malformed | envelope.check_type |
| signed by another key | signature_invalid | envelope.check_signature |
| names another sender than its signer | signature_invalid | envelope.check_sender |
| for another receiver | wrong_receiver | envelope.check_receiver |
| about another study or plan | wrong_receiver | envelope.check_context |
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed import wire
from fedmed.messages import EVERYONE, OpeningRequest
from fedmed.proto.v1 import messages_pb2 as pb
from fedmed.protocol import envelope
from fedmed.protocol.steps import PhaseKind
from fedmed.types import Scheme
from fedmed_nodes.stores import Batch
from tests.attacks import Attack, Case, assert_needed, assert_refused, forged
from tests.examples import at_most
from tests.federation import (
    COORDINATOR,
    DECLARED,
    NOW,
    Attempt,
    CopyableStore,
    Trial,
    make_trial,
)

POINT = 2
ALL = (1, 2, 3, 4)
T = (1, 2, 3)
ENVELOPE = "fedmed.protocol.envelope."


def plain_trial() -> Trial:
    return make_trial(scheme=Scheme.PLAIN)


# --- who, what, for whom -----------------------------------------------------------------------------


def plan_attack(make: Callable[[Trial], bytes]) -> Callable[[], Attack]:
    """A plan in another envelope than the honest one."""

    def arrange() -> Attack:
        trial = plain_trial()
        return Attack(
            trial=trial,
            point=POINT,
            kind=PhaseKind.CONTRIBUTE,
            hostile=(make(trial), trial.inputs),
            honest=lambda: (trial.plan(), trial.inputs),
        )

    return arrange


def plan_by(trial: Trial, *, signer: int = COORDINATOR, sender: int = COORDINATOR) -> bytes:
    content = wire.encode_plan(trial.honest_plan())
    return forged(
        envelope.PLAN, content, signer=signer, sender=sender, receiver=EVERYONE, context=trial.digest
    )


def signed_plan(trial: Trial, message_type: str = envelope.PLAN, **parts: Any) -> bytes:
    content = wire.encode_plan(trial.honest_plan())
    return trial.federation.sign(COORDINATOR, message_type, content, **{"context": trial.digest, **parts})


def nonce_request(*, receiver: int = POINT, content: bytes = b"") -> Attack:
    trial = plain_trial()

    def request(to: int, holding: bytes) -> tuple[bytes, ...]:
        return (
            trial.federation.sign(COORDINATOR, envelope.NONCE, holding, context=trial.digest, receiver=to),
        )

    return Attack(
        trial=trial,
        point=POINT,
        kind=PhaseKind.NONCE,
        hostile=request(receiver, content),
        honest=lambda: request(POINT, b""),
    )


def opening(*, receiver: int = POINT, other_plan: bool = False) -> Attack:
    """An opening request meant for another custodian, or for another plan of the same study."""
    trial = plain_trial()
    begun = trial.begin()
    named = Attempt(plan=trial.plan(3), contributions=begun.contributions) if other_plan else begun
    signed, _ = trial.request(named, receiver, contributors=ALL, openers=T)
    return Attack(
        trial=trial,
        point=POINT,
        kind=PhaseKind.OPEN,
        hostile=(signed, begun.plan),
        honest=lambda: trial.request(begun, POINT, contributors=ALL, openers=T),
    )


CASES = (
    Case(
        code="message_malformed",
        what="a message of 16 MiB and more",
        arrange=functools.partial(nonce_request, content=bytes(envelope.MAX_ENVELOPE_BYTES)),
        checks=(ENVELOPE + "check_length",),
    ),
    Case(
        code="message_malformed",
        what="a plan signed as an answer",
        arrange=plan_attack(functools.partial(signed_plan, message_type=envelope.ANSWER)),
        checks=(ENVELOPE + "check_type",),
    ),
    Case(
        code="signature_invalid",
        what="a plan in the coordinator's name by a province",
        arrange=plan_attack(functools.partial(plan_by, signer=3)),
        checks=(ENVELOPE + "check_signature",),
    ),
    Case(
        code="signature_invalid",
        what="a plan in a province's name by the coordinator",
        arrange=plan_attack(functools.partial(plan_by, sender=3)),
        checks=(ENVELOPE + "check_sender",),
    ),
    Case(
        code="wrong_receiver",
        what="a plan for one province only",
        arrange=plan_attack(functools.partial(signed_plan, receiver=POINT)),
        checks=(ENVELOPE + "check_receiver",),
    ),
    Case(
        code="wrong_receiver",
        what="a nonce request for another province",
        arrange=functools.partial(nonce_request, receiver=3),
        checks=(ENVELOPE + "check_receiver",),
    ),
    Case(
        code="wrong_receiver",
        what="an opening request for another province",
        arrange=functools.partial(opening, receiver=3),
        checks=(ENVELOPE + "check_receiver",),
    ),
    Case(
        code="wrong_receiver",
        what="a plan in the envelope of another study",
        arrange=plan_attack(functools.partial(signed_plan, context=bytes(32))),
        checks=(ENVELOPE + "check_context",),
    ),
    Case(
        code="wrong_receiver",
        what="an opening request for another plan",
        arrange=functools.partial(opening, other_plan=True),
        checks=(ENVELOPE + "check_context",),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_hostile_envelope_is_refused_with_its_own_code_and_changes_nothing(case: Case) -> None:
    assert_refused(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_without_its_check_the_hostile_envelope_is_accepted(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_needed(case, monkeypatch)


# --- flipped bytes -----------------------------------------------------------------------------------


def flipped(data: bytes, place: int) -> bytes:
    """One bit of one byte changed; which bit goes round with the place."""
    return data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :]


def assert_every_flip_is_refused(
    trial: Trial, kind: PhaseKind, data: bytes, parts: Callable[[bytes], Sequence[bytes]]
) -> None:
    """Flip each byte of ``data`` in turn; then the untouched message is accepted."""
    node = trial.federation.nodes[POINT]
    before = node.contents()
    codes = {
        trial.federation.ask(POINT, kind, *parts(flipped(data, place))).code for place in range(len(data))
    }
    assert codes <= {"signature_invalid", "message_malformed"}
    assert node.contents() == before
    assert not trial.federation.ask(POINT, kind, *parts(data)).is_refusal


def test_any_flipped_byte_of_a_plan_is_refused() -> None:
    trial = plain_trial()
    assert_every_flip_is_refused(trial, PhaseKind.CONTRIBUTE, trial.plan(), lambda plan: (plan, trial.inputs))


@pytest.mark.slow
def test_any_flipped_byte_of_a_proposal_is_refused() -> None:
    trial = plain_trial()
    assert_every_flip_is_refused(trial, PhaseKind.PROPOSE, trial.proposal(), lambda data: (data,))


@pytest.mark.slow
def test_any_flipped_byte_of_an_opening_request_is_refused() -> None:
    trial = plain_trial()
    signed, plan = trial.request(trial.begin(), POINT, contributors=ALL, openers=T)
    assert_every_flip_is_refused(trial, PhaseKind.OPEN, signed, lambda data: (data, plan))


@pytest.mark.slow
def test_any_flipped_byte_of_the_plan_beside_an_opening_request_is_refused() -> None:
    trial = plain_trial()
    signed, plan = trial.request(trial.begin(), POINT, contributors=ALL, openers=T)
    assert_every_flip_is_refused(trial, PhaseKind.OPEN, plan, lambda data: (signed, data))


@pytest.mark.slow
def test_any_flipped_byte_of_a_header_is_refused_although_the_coordinator_signs_the_request() -> None:
    trial = plain_trial()
    begun = trial.begin()
    headers = begun.headers(ALL)

    def parts(header: bytes) -> tuple[bytes, ...]:
        given = [*headers[:2], header, headers[3]]
        return trial.request(begun, POINT, contributors=ALL, openers=T, headers=given)

    assert_every_flip_is_refused(trial, PhaseKind.OPEN, headers[2], parts)


# --- bytes that are no message -----------------------------------------------------------------------


@functools.cache
def standing_trial() -> tuple[Trial, Attempt]:
    """One trial for all messages that are refused anyway."""
    trial = plain_trial()
    return trial, trial.begin()


def code_of(kind: PhaseKind, *parts: bytes) -> str:
    trial, _ = standing_trial()
    return trial.federation.ask(POINT, kind, *parts).code


NO_MESSAGE = {"message_malformed", "signature_invalid"}


@settings(deadline=None, max_examples=at_most(60))
@given(kind=st.sampled_from(PhaseKind), parts=st.lists(st.binary(max_size=200), max_size=4))
def test_arbitrary_bytes_are_refused_and_never_crash(kind: PhaseKind, parts: list[bytes]) -> None:
    assert code_of(kind, *parts) in NO_MESSAGE | {"ceremony_stopped"}


@settings(deadline=None, max_examples=at_most(60))
@given(
    message_type=st.sampled_from([envelope.PLAN, envelope.OPENING_REQUEST, envelope.STUDY]),
    content=st.binary(max_size=200),
)
def test_arbitrary_content_that_the_coordinator_signed_is_malformed(
    message_type: str, content: bytes
) -> None:
    trial, begun = standing_trial()
    context = begun.digest if message_type == envelope.OPENING_REQUEST else trial.digest
    receiver: int | str = POINT if message_type == envelope.OPENING_REQUEST else EVERYONE
    signed = trial.federation.sign(COORDINATOR, message_type, content, context=context, receiver=receiver)
    kind, parts = {
        envelope.PLAN: (PhaseKind.CONTRIBUTE, (signed, trial.inputs)),
        envelope.OPENING_REQUEST: (PhaseKind.OPEN, (signed, begun.plan)),
        envelope.STUDY: (PhaseKind.PROPOSE, (signed,)),
    }[message_type]
    expected = {"message_malformed"}
    if message_type == envelope.OPENING_REQUEST:
        expected |= {"set_malformed", "set_too_small"}  # bytes that happen to be a request, or an empty one
    assert code_of(kind, *parts) in expected


@settings(deadline=None, max_examples=at_most(40))
@given(cut=st.integers(min_value=0, max_value=10_000), extra=st.binary(max_size=20))
def test_a_truncated_or_lengthened_message_is_refused(cut: int, extra: bytes) -> None:
    trial, begun = standing_trial()
    signed, plan = trial.request(begun, POINT, contributors=ALL, openers=T)
    changed = signed[: cut % len(signed)] + extra
    assert code_of(PhaseKind.OPEN, changed, plan) in NO_MESSAGE


def with_unknown_field(message: Any, data: bytes, *, where: str) -> bytes:
    """The same message with a field that this version does not know, at the top or in a part."""
    unknown = b"\xfa\x3f\x01x"  # field 1023, bytes
    if where == "top":
        return data + unknown
    message.ParseFromString(data)
    part = getattr(message, where)
    inner = part[0] if hasattr(part, "add") else part
    inner.MergeFromString(unknown)
    return bytes(message.SerializeToString())


@pytest.mark.parametrize("where", ["top", "layout", "nonces"])
def test_a_plan_with_an_unknown_field_is_malformed_however_deep(where: str) -> None:
    trial, _ = standing_trial()
    content = with_unknown_field(pb.Plan(), wire.encode_plan(trial.honest_plan()), where=where)
    signed = trial.federation.sign(COORDINATOR, envelope.PLAN, content, context=trial.digest)
    assert code_of(PhaseKind.CONTRIBUTE, signed, trial.inputs) == "message_malformed"


def test_an_envelope_or_statement_with_an_unknown_field_is_malformed() -> None:
    trial, _ = standing_trial()
    assert code_of(PhaseKind.CONTRIBUTE, trial.plan() + b"\xfa\x3f\x01x", trial.inputs) == "message_malformed"


@pytest.mark.parametrize("header", [b"", b"no header", b"\xff" * 300])
def test_a_header_that_is_no_message_is_malformed(header: bytes) -> None:
    trial, begun = standing_trial()
    headers = [*begun.headers(ALL)[:2], header, begun.headers(ALL)[3]]
    content = OpeningRequest(contributors=ALL, openers=T, headers=tuple(headers))
    signed = trial.federation.sign(
        COORDINATOR,
        envelope.OPENING_REQUEST,
        wire.encode_opening_request(content),
        context=begun.digest,
        receiver=POINT,
    )
    assert code_of(PhaseKind.OPEN, signed, begun.plan) == "message_malformed"


@pytest.mark.parametrize("kind", PhaseKind)
@pytest.mark.parametrize("count", [0, 3, 9])
def test_a_wrong_number_of_parts_is_malformed(kind: PhaseKind, count: int) -> None:
    assert code_of(kind, *[b"part"] * count) == "message_malformed"


def test_nothing_that_was_no_message_changed_the_custodian() -> None:
    trial, begun = standing_trial()
    parts = trial.request(begun, POINT, contributors=ALL, openers=T)
    copy = trial.federation.nodes[POINT].contents()
    for kind in PhaseKind:
        trial.federation.ask(POINT, kind, b"garbage")
    assert trial.federation.nodes[POINT].contents() == copy
    assert not trial.federation.ask(POINT, PhaseKind.OPEN, *parts).is_refusal
    standing_trial.cache_clear()


# --- what nobody foresaw -----------------------------------------------------------------------------


class TalkativeSource:
    """Rows whose reading fails with a text that holds a patient's value."""

    declared_persons = DECLARED
    data_year = NOW.year
    fingerprint = bytes([3]) * 32
    person = "psn_no"
    withheld = ""

    def training_examples(self, spec: object) -> Any:
        raise RuntimeError("patient 4711 has a strange value")


class FullDisk(CopyableStore):
    """A store whose writes fail with an error of the system once ``full`` is set."""

    full = False

    def commit(self, batch: Batch) -> None:
        if self.full:
            raise OSError("no space left for patient 4711")
        super().commit(batch)


def test_an_unexpected_exception_gives_the_generic_code_and_no_text() -> None:
    trial = plain_trial()
    node = trial.federation.nodes[POINT]
    node.with_source(TalkativeSource())
    trial.ask_nonce(POINT)
    reply = trial.federation.ask(POINT, PhaseKind.CONTRIBUTE, trial.plan(), trial.inputs)
    assert (reply.code, reply.parts) == ("fedmed_error", ())
    assert "4711" not in "".join(entry.event.detail for entry in node.audit)


def test_a_store_that_cannot_even_record_the_refusal_still_gives_a_code() -> None:
    stores = {point: FullDisk() for point in ALL}
    trial = make_trial(scheme=Scheme.PLAIN, store=stores.__getitem__)
    stores[POINT].full = True
    reply = trial.federation.ask(POINT, PhaseKind.CONTRIBUTE, trial.plan(), trial.inputs)
    assert (reply.code, reply.parts) == ("fedmed_error", ())
    stores[POINT].full = False
    assert trial.federation.nodes[POINT].effects.store.ledger() == ()
