"""Values to protobuf bytes and back; with `fedmed.socket_wire` the only importer of `fedmed.proto`.

Unknown fields, wrong types and misshapen values are refused with `MessageMalformed`; nothing here
decides whether a message is allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import DecodeError
from google.protobuf.message import Message as Proto

from fedmed.errors import ConfigError, MessageMalformed
from fedmed.messages import (
    Answer,
    Dealing,
    Header,
    Member,
    OpeningRequest,
    Plan,
    Rehearsals,
    Roster,
    Signed,
    Statement,
    StudyProposal,
)
from fedmed.proto.v1 import messages_pb2 as pb
from fedmed.types import Layout, RoundKind, digest

P = TypeVar("P", bound=Proto)
V = TypeVar("V")


def serialise(message: Proto) -> bytes:
    """Serialise once; the result is what gets signed and kept."""
    return bytes(message.SerializeToString(deterministic=True))


def parse(kind: type[P], data: bytes) -> P:
    """Parse and refuse anything that this version does not know; raises `MessageMalformed`."""
    message = kind()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise MessageMalformed(f"bytes are not a {kind.__name__}") from error
    size = message.ByteSize()
    message.DiscardUnknownFields()  # type: ignore[attr-defined]  # missing in the stubs; nested ones too
    if message.ByteSize() != size:
        raise MessageMalformed(f"{kind.__name__} has a field that this version does not know")
    return message


def build(make: Callable[[], V]) -> V:
    """Construct a value; a form fault becomes `MessageMalformed`."""
    try:
        return make()
    except (ConfigError, ValueError) as error:
        raise MessageMalformed("a message holds a value of the wrong form") from error


def encode_signed(value: Signed) -> bytes:
    """Envelope to bytes."""
    return serialise(pb.Signed(type=value.type, body=value.body, signature=value.signature))


def decode_signed(data: bytes) -> Signed:
    """Bytes to envelope; raises `MessageMalformed`. The signature is not checked here."""
    m = parse(pb.Signed, data)
    return Signed(type=m.type, body=m.body, signature=m.signature)


def encode_statement(value: Statement) -> bytes:
    """Statement to the bytes that are signed."""
    return serialise(
        pb.Statement(
            sender=value.sender,
            receiver=value.receiver,
            context=value.context,
            audit_head=value.audit_head,
            audit_counter=value.audit_counter,
            content=value.content,
        )
    )


def decode_statement(data: bytes) -> Statement:
    """Signed bytes to statement; raises `MessageMalformed`."""
    m = parse(pb.Statement, data)
    return build(
        lambda: Statement(
            sender=m.sender,
            receiver=m.receiver,
            context=m.context,
            audit_head=m.audit_head,
            audit_counter=m.audit_counter,
            content=m.content,
        )
    )


def _member(value: Member) -> pb.Member:
    return pb.Member(name=value.name, signing_key=value.signing_key, sealing_key=value.sealing_key)


def _from_member(m: pb.Member) -> Member:
    return Member(name=m.name, signing_key=m.signing_key, sealing_key=m.sealing_key)


def encode_roster(value: Roster) -> bytes:
    """Roster to bytes; these bytes are what an operator pins by digest."""
    return serialise(
        pb.Roster(
            version=value.version,
            members=[_member(m) for m in value.members],
            threshold=value.threshold,
            colluders=value.colluders,
            coordinator=_member(value.coordinator),
            owners=value.owners,
        )
    )


def decode_roster(data: bytes) -> Roster:
    """Bytes to roster; raises `MessageMalformed`."""
    m = parse(pb.Roster, data)
    return build(
        lambda: Roster(
            version=m.version,
            members=tuple(_from_member(x) for x in m.members),
            threshold=m.threshold,
            colluders=m.colluders,
            coordinator=_from_member(m.coordinator),
            owners=tuple(m.owners),
        )
    )


def roster_digest(roster: Roster) -> bytes:
    """The 32 bytes by which a roster is pinned."""
    return digest("fedmed/roster", encode_roster(roster))


def encode_proposal(value: StudyProposal) -> bytes:
    """Study proposal to bytes."""
    return serialise(
        pb.Study(canonical=value.canonical, roster_digest=value.roster_digest, epoch_id=value.epoch_id)
    )


def decode_proposal(data: bytes) -> StudyProposal:
    """Bytes to study proposal; raises `MessageMalformed`."""
    m = parse(pb.Study, data)
    return build(
        lambda: StudyProposal(canonical=m.canonical, roster_digest=m.roster_digest, epoch_id=m.epoch_id)
    )


def encode_nonce(nonce: bytes) -> bytes:
    """Nonce to bytes."""
    return serialise(pb.Nonce(nonce=nonce))


def decode_nonce(data: bytes) -> bytes:
    """Bytes to a nonce of 16 bytes; raises `MessageMalformed`."""
    nonce = bytes(parse(pb.Nonce, data).nonce)
    if len(nonce) != 16:
        raise MessageMalformed("a nonce must be 16 bytes")
    return nonce


def encode_dealing(value: Dealing) -> bytes:
    """Dealing to bytes."""
    return serialise(pb.Dealing(blob_digests=value.blob_digests))


def decode_dealing(data: bytes) -> Dealing:
    """Bytes to dealing; raises `MessageMalformed`."""
    m = parse(pb.Dealing, data)
    return build(lambda: Dealing(blob_digests=tuple(m.blob_digests)))


def encode_transcript(transcript_digest: bytes) -> bytes:
    """Transcript digest to bytes."""
    return serialise(pb.Transcript(digest=transcript_digest))


def decode_transcript(data: bytes) -> bytes:
    """Bytes to a digest of 32 bytes; raises `MessageMalformed`."""
    value = bytes(parse(pb.Transcript, data).digest)
    if len(value) != 32:
        raise MessageMalformed("a transcript digest must be 32 bytes")
    return value


def encode_rehearsals(value: Rehearsals) -> bytes:
    """Rehearsal results to bytes."""
    return serialise(pb.Rehearsals(plan_digests=value.plan_digests, header_digests=value.header_digests))


def decode_rehearsals(data: bytes) -> Rehearsals:
    """Bytes to rehearsal results; raises `MessageMalformed`."""
    m = parse(pb.Rehearsals, data)
    return build(
        lambda: Rehearsals(plan_digests=tuple(m.plan_digests), header_digests=tuple(m.header_digests))
    )


def encode_plan(value: Plan) -> bytes:
    """Plan to bytes."""
    layout = value.layout
    return serialise(
        pb.Plan(
            study_digest=value.study_digest,
            epoch_id=value.epoch_id,
            roster_digest=value.roster_digest,
            kind=value.kind.value,
            round_number=value.round_number,
            attempt=value.attempt,
            nonces=[pb.PointNonce(point=p, nonce=n) for p, n in value.nonces],
            inputs_digest=value.inputs_digest,
            layout=pb.Layout(
                grid=layout.grid,
                limit=layout.limit,
                tail=layout.tail,
                values=layout.values,
                field_bits=layout.field_bits,
                fields=layout.fields,
                parameter_set=layout.parameter_set,
                noise_scale=layout.noise_scale,
            ),
            planned_contributors=value.planned_contributors,
            dropouts=value.dropouts,
            colluders=value.colluders,
        )
    )


def _from_layout(m: pb.Layout) -> Layout:
    return Layout(
        grid=m.grid,
        limit=m.limit,
        tail=m.tail,
        values=m.values,
        field_bits=m.field_bits,
        fields=m.fields,
        parameter_set=m.parameter_set,
        noise_scale=m.noise_scale,
    )


def decode_plan(data: bytes) -> Plan:
    """Bytes to plan; raises `MessageMalformed`."""
    m = parse(pb.Plan, data)
    return build(
        lambda: Plan(
            study_digest=m.study_digest,
            epoch_id=m.epoch_id,
            roster_digest=m.roster_digest,
            kind=RoundKind(m.kind),
            round_number=m.round_number,
            attempt=m.attempt,
            nonces=tuple((x.point, x.nonce) for x in m.nonces),
            inputs_digest=m.inputs_digest,
            layout=_from_layout(m.layout),
            planned_contributors=m.planned_contributors,
            dropouts=m.dropouts,
            colluders=m.colluders,
        )
    )


def encode_header(value: Header) -> bytes:
    """Header to bytes."""
    return serialise(pb.Header(chunk_digests=value.chunk_digests, next_nonce=value.next_nonce))


def decode_header(data: bytes) -> Header:
    """Bytes to header; raises `MessageMalformed`."""
    m = parse(pb.Header, data)
    return build(lambda: Header(chunk_digests=tuple(m.chunk_digests), next_nonce=m.next_nonce))


def encode_opening_request(value: OpeningRequest) -> bytes:
    """Opening request to bytes."""
    return serialise(
        pb.OpeningRequest(contributors=value.contributors, openers=value.openers, headers=value.headers)
    )


def decode_opening_request(data: bytes) -> OpeningRequest:
    """Bytes to opening request; raises `MessageMalformed`."""
    m = parse(pb.OpeningRequest, data)
    return OpeningRequest(
        contributors=tuple(m.contributors), openers=tuple(m.openers), headers=tuple(m.headers)
    )


def encode_answer(value: Answer) -> bytes:
    """Answer to bytes."""
    return serialise(
        pb.Answer(
            contributors=value.contributors,
            openers=value.openers,
            chunk_digests=value.chunk_digests,
            next_nonce=value.next_nonce,
        )
    )


def decode_answer(data: bytes) -> Answer:
    """Bytes to answer; raises `MessageMalformed`."""
    m = parse(pb.Answer, data)
    return build(
        lambda: Answer(
            contributors=tuple(m.contributors),
            openers=tuple(m.openers),
            chunk_digests=tuple(m.chunk_digests),
            next_nonce=m.next_nonce,
        )
    )
