from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed import wire
from fedmed.errors import (
    ChunkOutsidePlan,
    DigestMismatch,
    HeaderPlanMismatch,
    MessageMalformed,
    SignatureInvalid,
    WrongReceiver,
)
from fedmed.messages import Header, Signed
from fedmed.protocol import envelope
from fedmed.protocol.binding import (
    check_digests,
    check_header,
    headers_digest,
    inputs_digest,
    payload_digest,
    plan_digest,
)
from tests.examples import at_most
from tests.federation import COORDINATOR, identity_of, roster_of

ROSTER = roster_of(3, threshold=3, colluders=1)
PLAN = bytes([6]) * 32
HEADER = Header(chunk_digests=(bytes(32), bytes([1]) * 32), next_nonce=bytes(16))


def header(
    point: int = 2, *, context: bytes = PLAN, receiver: int = COORDINATOR, content: bytes = b""
) -> bytes:
    return envelope.sign_message(
        identity_of(point),
        envelope.HEADER,
        content or wire.encode_header(HEADER),
        context=context,
        receiver=identity_of(receiver).name,
    )


def test_an_honest_header_is_read() -> None:
    assert check_header(ROSTER, header(), point=2, this_digest=PLAN, chunks=2) == HEADER


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (header(3), SignatureInvalid),
        (header(context=bytes(32)), HeaderPlanMismatch),
        (header(receiver=3), WrongReceiver),
        (header(content=b"\xff"), MessageMalformed),
        (b"", MessageMalformed),
    ],
    ids=["another member", "another plan", "another receiver", "no header", "no message"],
)
def test_a_header_that_does_not_hold_is_refused(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_header(ROSTER, data, point=2, this_digest=PLAN, chunks=2)


@pytest.mark.parametrize("chunks", [0, 1, 3])
def test_a_header_names_as_many_chunks_as_the_layout_has(chunks: int) -> None:
    with pytest.raises(ChunkOutsidePlan):
        check_header(ROSTER, header(), point=2, this_digest=PLAN, chunks=chunks)


@settings(deadline=None, max_examples=at_most(40))
@given(first=st.lists(st.binary(max_size=8), max_size=4), second=st.lists(st.binary(max_size=8), max_size=4))
def test_headers_and_payloads_are_bound_in_order_and_by_length(
    first: list[bytes], second: list[bytes]
) -> None:
    assert (headers_digest(first) == headers_digest(second)) == (first == second)
    digests = [payload_digest(chunk) for chunk in first]
    check_digests(first, digests)
    if first != second:
        with pytest.raises(DigestMismatch):
            check_digests(second, digests)


def test_the_domains_do_not_mix() -> None:
    assert len({inputs_digest(b"x"), payload_digest(b"x"), headers_digest([b"x"])}) == 3


def test_a_plans_digest_covers_the_signed_body_and_not_the_signature() -> None:
    body = b"exact body bytes"
    digests = {
        plan_digest(wire.encode_signed(Signed(type="plan", body=body, signature=signature)))
        for signature in (bytes(64), bytes([1]) * 64)
    }
    other = plan_digest(wire.encode_signed(Signed(type="plan", body=body + b".", signature=bytes(64))))
    assert len(digests) == 1
    assert other not in digests
    with pytest.raises(MessageMalformed):
        plan_digest(b"\xff")
