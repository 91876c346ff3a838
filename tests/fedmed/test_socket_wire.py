"""What travels on the custodian's socket: inverses, strictness, and bytes that mean nothing."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed import socket_wire
from fedmed.errors import ActStale, BudgetExceeded, FedMedError, MessageMalformed, StudyUnknown
from fedmed.proto.v1 import custodian_pb2 as pb
from fedmed.socket_messages import (
    PIECE_BYTES,
    ActOutcome,
    Budget,
    BudgetRaise,
    Catalogue,
    DatasetBudget,
    DatasetCard,
    Piece,
    StudyBudget,
    StudyReview,
    StudyStanding,
)
from fedmed.types import ActPlace
from tests.examples import at_most

DIGESTS = st.binary(min_size=32, max_size=32)
TEXTS = st.text(max_size=20)
EPSILONS = st.floats(0, 100) | st.just(float("inf"))
PIECES = st.builds(Piece, data=st.binary(min_size=1, max_size=50), ends_part=st.booleans()) | st.just(
    Piece(data=b"", ends_part=True)
)
CATALOGUES = st.builds(
    Catalogue,
    node=TEXTS,
    signing_key=DIGESTS,
    sealing_key=DIGESTS,
    roster_digest=DIGESTS,
    datasets=st.lists(
        st.builds(
            DatasetCard,
            name=TEXTS,
            declared_persons=st.integers(0, 10**10),
            data_year=st.integers(1900, 9999),
            withheld=TEXTS,
        ),
        max_size=3,
    ).map(tuple),
)
NAMES = st.lists(TEXTS, max_size=3).map(tuple)
PLACES = st.builds(
    ActPlace,
    node=TEXTS,
    roster_digest=DIGESTS,
    policy_digest=DIGESTS,
    approvals_needed=st.integers(0, 64),
    counter=st.integers(0, 2**40),
    head=DIGESTS,
)
BUDGETS = st.builds(
    Budget,
    studies=st.lists(
        st.builds(
            StudyBudget,
            study_digest=DIGESTS,
            id=TEXTS,
            title=TEXTS,
            standing=st.sampled_from(StudyStanding),
            reserved_epsilon=EPSILONS,
            spent_epsilon=EPSILONS,
            delta=st.floats(1e-12, 0.5),
            dataset=TEXTS,
            data_year=st.integers(0, 9999),
        ),
        max_size=3,
    ).map(tuple),
    datasets=st.lists(
        st.builds(
            DatasetBudget,
            name=TEXTS,
            data_year=st.integers(1900, 9999),
            cap_epsilon=st.floats(0.01, 100),
            committed_epsilon=EPSILONS,
            spent_epsilon=EPSILONS,
            fingerprint=DIGESTS,
        ),
        max_size=3,
    ).map(tuple),
    raises=st.lists(
        st.builds(
            BudgetRaise,
            fingerprint=DIGESTS,
            data_year=st.integers(1900, 9999),
            cap_epsilon=st.floats(0.01, 100),
            signed_by=NAMES,
            needed=st.integers(1, 64),
            reason=TEXTS,
            signed_at=TEXTS,
        ),
        max_size=2,
    ).map(tuple),
    place=PLACES,
)
REVIEWS = st.builds(
    StudyReview,
    canonical=st.binary(max_size=50),
    place=PLACES,
    operators=NAMES,
    signed_by=NAMES,
    standing=st.sampled_from(StudyStanding),
    dataset=TEXTS,
    data_year=st.integers(0, 9999),
    cap_epsilon=EPSILONS,
    spent_epsilon=EPSILONS,
    committed_epsilon=EPSILONS,
    with_study_epsilon=EPSILONS,
    grades=st.lists(st.tuples(TEXTS, TEXTS), max_size=3).map(tuple),
    remarks=NAMES,
    refusal=TEXTS,
)
READERS: tuple[Callable[[bytes], object], ...] = (
    socket_wire.decode_piece,
    socket_wire.decode_reply_piece,
    socket_wire.decode_nothing,
    socket_wire.decode_catalogue,
    socket_wire.decode_study,
    socket_wire.decode_act,
    socket_wire.decode_act_outcome,
    socket_wire.decode_review,
    socket_wire.decode_done,
    socket_wire.decode_budget,
    socket_wire.decode_audit_tail,
    socket_wire.decode_audit_entry,
)


@given(piece=PIECES, catalogue=CATALOGUES, budget=BUDGETS, digest=DIGESTS)
@settings(deadline=None, max_examples=at_most(25))
def test_reading_undoes_writing(piece: Piece, catalogue: Catalogue, budget: Budget, digest: bytes) -> None:
    assert socket_wire.decode_piece(socket_wire.encode_piece(piece)) == piece
    assert socket_wire.decode_reply_piece(socket_wire.encode_reply_piece(piece)) == piece
    assert socket_wire.decode_catalogue(socket_wire.encode_catalogue(catalogue)) == catalogue
    assert socket_wire.decode_budget(socket_wire.encode_budget(budget)) == budget
    assert socket_wire.decode_study(socket_wire.encode_study(digest)) == digest
    assert socket_wire.decode_audit_entry(socket_wire.encode_audit_entry(digest)) == digest


@given(review=REVIEWS, names=NAMES, body=DIGESTS)
@settings(deadline=None, max_examples=at_most(15))
def test_reviews_and_acts_survive(review: StudyReview, names: tuple[str, ...], body: bytes) -> None:
    outcome = ActOutcome(signed_by=names, needed=2)
    assert socket_wire.decode_review(socket_wire.encode_review(review)) == review
    assert socket_wire.decode_act_outcome(socket_wire.encode_act_outcome(outcome)) == outcome
    assert socket_wire.decode_act(socket_wire.encode_act(body, body + body)) == (body, body + body)


@pytest.mark.parametrize("last", [None, 1, 2**40])
def test_a_number_of_entries_survives(last: int | None) -> None:
    assert socket_wire.decode_audit_tail(socket_wire.encode_audit_tail(last)) == last


def test_a_refusal_is_a_code_that_names_its_error() -> None:
    assert socket_wire.decode_reply_piece(socket_wire.encode_reply_piece("study_unknown")) == "study_unknown"
    assert socket_wire.decode_reply_piece(socket_wire.encode_refusal("Open", "set_changed")) == "set_changed"
    with pytest.raises(StudyUnknown):
        socket_wire.decode_done(socket_wire.encode_refusal("Approve", "study_unknown"))
    with pytest.raises(BudgetExceeded):
        socket_wire.decode_budget(socket_wire.encode_refusal("Budget", "budget_exceeded"))
    with pytest.raises(ActStale):
        socket_wire.decode_act_outcome(socket_wire.encode_refusal("Act", "act_stale"))
    with pytest.raises(StudyUnknown):
        socket_wire.decode_review(socket_wire.encode_refusal("Review", "study_unknown"))
    with pytest.raises(FedMedError):
        socket_wire.decode_audit_entry(socket_wire.encode_refusal("AuditTail", "store_failed"))
    with pytest.raises(FedMedError):
        socket_wire.decode_catalogue(socket_wire.encode_refusal("Describe", "fedmed_error"))
    socket_wire.decode_done(socket_wire.encode_done())


@pytest.mark.parametrize("reader", READERS)
def test_an_unknown_field_is_refused(reader: Callable[[bytes], object]) -> None:
    unknown = b"\xfa\x01\x03abc"  # field 31, three bytes
    with pytest.raises(MessageMalformed):
        reader(unknown)


def test_a_piece_that_could_go_on_for_ever_is_refused() -> None:
    with pytest.raises(MessageMalformed):
        socket_wire.decode_piece(pb.Piece().SerializeToString())
    with pytest.raises(MessageMalformed):
        Piece(data=bytes(PIECE_BYTES + 1), ends_part=True)
    with pytest.raises(MessageMalformed):
        socket_wire.decode_reply_piece(pb.ReplyPiece().SerializeToString())


@pytest.mark.slow
def test_a_hundred_thousand_malformed_messages_give_codes_and_nothing_else() -> None:
    dice = random.Random(20260302)
    seeds = [
        socket_wire.encode_piece(Piece(data=bytes(40), ends_part=True)),
        socket_wire.encode_reply_piece("study_unknown"),
        socket_wire.encode_study(bytes(32)),
        pb.BudgetReply(studies=[pb.StudyBudget(id="x", delta=0.1)]).SerializeToString(),
        pb.Catalogue(node="x", datasets=[pb.DatasetCard(name="y")]).SerializeToString(),
    ]
    refused = 0
    for number in range(100_000):
        data = bytearray(dice.choice(seeds)) if number % 2 else bytearray(dice.randbytes(dice.randrange(48)))
        for _ in range(dice.randrange(4)):
            if data:
                data[dice.randrange(len(data))] = dice.randrange(256)
        cut = bytes(data[: dice.randrange(len(data) + 1)])
        try:
            READERS[number % len(READERS)](cut)
        except FedMedError:
            refused += 1
    assert refused > 90_000, "what is still a message is rare"
