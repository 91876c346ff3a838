from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed import wire
from fedmed.errors import MessageMalformed, SignatureInvalid, WrongReceiver
from fedmed.governance.audit_chain import ChainHead
from fedmed.messages import EVERYONE
from fedmed.protocol import envelope
from tests.attacks import forged
from tests.examples import at_most
from tests.federation import (
    identity_of,
    roster_of,
)

ROSTER = roster_of(3, threshold=3, colluders=1)
CONTEXT = bytes([4]) * 32
TYPES = sorted(
    {value for name, value in vars(envelope).items() if name.isupper() and isinstance(value, str)}
    - {EVERYONE}
)


def signed(
    content: bytes = b"content", *, message_type: str = envelope.NONCE, receiver: str = "node2"
) -> bytes:
    return envelope.sign_message(identity_of(1), message_type, content, context=CONTEXT, receiver=receiver)


@settings(deadline=None, max_examples=at_most(30))
@given(
    content=st.binary(max_size=500),
    message_type=st.sampled_from(TYPES),
    receiver=st.sampled_from(["node2", "coordinator", EVERYONE]),
    counter=st.integers(0, 2**63),
)
def test_what_is_signed_opens_for_who_it_is_meant_for(
    content: bytes, message_type: str, receiver: str, counter: int
) -> None:
    position = ChainHead(counter=counter, head=bytes([8]) * 32)
    data = envelope.sign_message(
        identity_of(1), message_type, content, context=CONTEXT, receiver=receiver, position=position
    )
    opened = envelope.open_message(data, message_type, ROSTER.member(1), context=CONTEXT, receiver=receiver)
    assert opened.content == content
    assert (opened.sender, opened.receiver, opened.context) == ("node1", receiver, CONTEXT)
    assert (opened.audit_counter, opened.audit_head) == (counter, position.head)


def test_no_type_passes_for_another() -> None:
    assert len(TYPES) == 17
    for message_type in TYPES:
        for other in set(TYPES) - {message_type}:
            data = signed(message_type=message_type)
            with pytest.raises(MessageMalformed, match="type"):
                envelope.open_message(data, other, ROSTER.member(1), context=CONTEXT, receiver="node2")


def test_another_member_receiver_or_context_is_refused() -> None:
    data = signed()
    with pytest.raises(SignatureInvalid):
        envelope.open_message(data, envelope.NONCE, ROSTER.member(3), context=CONTEXT, receiver="node2")
    with pytest.raises(WrongReceiver):
        envelope.open_message(data, envelope.NONCE, ROSTER.member(1), context=CONTEXT, receiver="node3")
    with pytest.raises(WrongReceiver):
        envelope.open_message(data, envelope.NONCE, ROSTER.member(1), context=bytes(32), receiver="node2")


def test_without_a_context_the_caller_checks_it() -> None:
    opened = envelope.open_message(signed(), envelope.NONCE, ROSTER.member(1), context=None, receiver="node2")
    assert opened.context == CONTEXT


def test_a_member_cannot_sign_in_anothers_name() -> None:
    for signer, sender in ((2, 1), (1, 2)):
        data = forged(envelope.NONCE, b"", signer=signer, sender=sender, receiver="node2", context=CONTEXT)
        with pytest.raises(SignatureInvalid):
            envelope.open_message(data, envelope.NONCE, ROSTER.member(1), context=CONTEXT, receiver="node2")


@settings(deadline=None, max_examples=at_most(60))
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_any_flipped_bit_is_refused(place: int, bit: int) -> None:
    data = bytearray(signed())
    data[place % len(data)] ^= 1 << bit
    with pytest.raises((SignatureInvalid, MessageMalformed)):
        envelope.open_message(
            bytes(data), envelope.NONCE, ROSTER.member(1), context=CONTEXT, receiver="node2"
        )


def test_a_message_that_nobody_honest_sends_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(MessageMalformed, match="at most"):
        envelope.check_length(bytes(envelope.MAX_ENVELOPE_BYTES + 1))
    envelope.check_length(bytes(envelope.MAX_ENVELOPE_BYTES))


def test_the_type_is_part_of_what_is_signed() -> None:
    first = wire.decode_signed(signed(message_type=envelope.NONCE))
    second = wire.decode_signed(signed(message_type=envelope.PLAN))
    assert first.body == second.body
    assert first.signature != second.signature
