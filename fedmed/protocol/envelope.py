"""Signing and checking the envelope that every message travels in (PROTOCOL.md section 2)."""

from __future__ import annotations

from fedmed import wire
from fedmed.crypto.identity import Identity, PublicIdentity, signed_bytes, verify
from fedmed.errors import MessageMalformed, SignatureInvalid, WrongReceiver
from fedmed.governance.audit_chain import EMPTY_CHAIN, ChainHead
from fedmed.messages import EVERYONE, Member, Signed, Statement

# Types of messages, as they are signed: "fedmed/v1/<type>".
CEREMONY_START = "ceremony-start"
CEREMONY_NONCE = "ceremony-nonce"
DEALING = "dealing"
TRANSCRIPT = "transcript"
REHEARSALS = "rehearsals"
EPOCH_ACTIVE = "epoch-active"
EPOCH_END = "epoch-end"
STUDY = "study"
NONCE = "nonce"
PLAN = "plan"
HEADER = "header"
OPENING_REQUEST = "opening-request"
ANSWER = "answer"
STUDY_END = "study-end"
AUDIT_SEAL = "audit-seal"
AUDIT_COINS = "audit-coins"
RELEASE = "release"

MESSAGE_TYPES = frozenset(
    {
        *(CEREMONY_START, CEREMONY_NONCE, DEALING, TRANSCRIPT, REHEARSALS, EPOCH_ACTIVE, EPOCH_END),
        *(STUDY, NONCE, PLAN, HEADER, OPENING_REQUEST, ANSWER, STUDY_END, RELEASE),
        *(AUDIT_SEAL, AUDIT_COINS),
    }
)

MAX_ENVELOPE_BYTES = 1 << 24


def public_identity(member: Member) -> PublicIdentity:
    """The keys of a roster member in the form that `fedmed.crypto.identity` takes."""
    return PublicIdentity(name=member.name, signing_key=member.signing_key, sealing_key=member.sealing_key)


def sign_message(
    identity: Identity,
    message_type: str,
    content: bytes,
    *,
    context: bytes,
    receiver: str = EVERYONE,
    position: ChainHead = EMPTY_CHAIN,
) -> bytes:
    """Sign one message.

    Args:
        identity: The sender's private keys.
        message_type: One of this module's types.
        content: Bytes of the message proper.
        context: Digest of the plan, ceremony, study or roster, 32 bytes.
        receiver: Name in the roster or `EVERYONE`.
        position: The sender's audit chain.

    Returns:
        The envelope as bytes; keep and resend these, never make them again.
    """
    statement = Statement(
        sender=identity.public.name,
        receiver=receiver,
        context=context,
        audit_head=position.head,
        audit_counter=position.counter,
        content=content,
    )
    body = wire.encode_statement(statement)
    signature = identity.sign(signed_bytes(message_type, body))
    return wire.encode_signed(Signed(type=message_type, body=body, signature=signature))


def check_length(data: bytes) -> None:
    """Raise `MessageMalformed` for an envelope that nobody honest would send, before it is parsed."""
    if len(data) > MAX_ENVELOPE_BYTES:
        raise MessageMalformed(f"a message must be at most {MAX_ENVELOPE_BYTES} bytes")


def check_signature(signed: Signed, member: Member) -> None:
    """Raise `SignatureInvalid` unless ``member`` signed exactly these bytes."""
    verify(public_identity(member), signed_bytes(signed.type, signed.body), signed.signature)


def check_type(signed: Signed, message_type: str) -> None:
    """Raise `MessageMalformed` unless the message is of this type."""
    if signed.type != message_type:
        raise MessageMalformed(f"expected a message of type {message_type}")


def check_sender(statement: Statement, member: Member) -> None:
    """Raise `SignatureInvalid` unless the statement names the member whose key signed it."""
    if statement.sender != member.name:
        raise SignatureInvalid(f"the message names another sender than {member.name}")


def check_receiver(statement: Statement, receiver: str) -> None:
    """Raise `WrongReceiver` unless the message is for this receiver."""
    if statement.receiver != receiver:
        raise WrongReceiver(f"the message is not for {receiver}")


def check_context(statement: Statement, context: bytes) -> None:
    """Raise `WrongReceiver` unless the message belongs to this plan, ceremony or study."""
    if statement.context != context:
        raise WrongReceiver("the message belongs to another plan, ceremony or study")


def open_message(
    data: bytes, message_type: str, member: Member, *, context: bytes | None, receiver: str = EVERYONE
) -> Statement:
    """Check an envelope completely and return what it says.

    Args:
        data: The envelope.
        message_type: The type expected.
        member: Who must have signed.
        context: Digest that the message must name; None when the caller checks it.
        receiver: Whom it must name.

    Raises:
        MessageMalformed: wrong type, length or encoding.
        SignatureInvalid: the signature or the sender does not hold.
        WrongReceiver: another receiver or context.
    """
    check_length(data)
    signed = wire.decode_signed(data)
    check_type(signed, message_type)
    check_signature(signed, member)
    statement = wire.decode_statement(signed.body)
    check_sender(statement, member)
    check_receiver(statement, receiver)
    if context is not None:
        check_context(statement, context)
    return statement
