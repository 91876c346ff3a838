"""Values of the custodian's socket to protobuf bytes and back, as strict as `fedmed.wire`.

A refusal is a code in its own field: a reader raises the error that it names, and never sees a text.
"""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import Message as Proto

from fedmed.errors import MessageMalformed, error_from_code
from fedmed.proto.v1 import custodian_pb2 as pb
from fedmed.socket_messages import (
    Budget,
    Catalogue,
    DatasetBudget,
    DatasetCard,
    Piece,
    StudyBudget,
    StudyStanding,
)
from fedmed.types import DIGEST_BYTES
from fedmed.wire import build, parse, serialise

SOURCE = "the custodian"
M = TypeVar("M", bound=Proto)


def encode_piece(value: Piece) -> bytes:
    """Piece of a request to bytes."""
    return serialise(pb.Piece(data=value.data, ends_part=value.ends_part))


def decode_piece(data: bytes) -> Piece:
    """Bytes to a piece of a request; raises `MessageMalformed`."""
    return _piece(parse(pb.Piece, data))


def _piece(m: pb.Piece) -> Piece:
    return Piece(data=m.data, ends_part=m.ends_part)


def encode_reply_piece(value: Piece | str) -> bytes:
    """Piece of a reply, or the code of a refusal, to bytes."""
    if isinstance(value, str):
        return serialise(pb.ReplyPiece(code=value))
    return serialise(pb.ReplyPiece(piece=pb.Piece(data=value.data, ends_part=value.ends_part)))


def decode_reply_piece(data: bytes) -> Piece | str:
    """Bytes to a piece or a code; raises `MessageMalformed`."""
    m = parse(pb.ReplyPiece, data)
    if m.WhichOneof("content") == "piece":
        return _piece(m.piece)
    if not m.code:
        raise MessageMalformed("a reply holds pieces or a code")
    return str(m.code)


def encode_nothing() -> bytes:
    """The request that asks for nothing in particular."""
    return serialise(pb.Nothing())


def decode_nothing(data: bytes) -> None:
    """Refuse a request that says more than it should; raises `MessageMalformed`."""
    parse(pb.Nothing, data)


def encode_catalogue(value: Catalogue) -> bytes:
    """Catalogue to bytes."""
    cards = [
        pb.DatasetCard(name=d.name, declared_persons=d.declared_persons, data_year=d.data_year)
        for d in value.datasets
    ]
    return serialise(
        pb.Catalogue(
            node=value.node,
            signing_key=value.signing_key,
            sealing_key=value.sealing_key,
            roster_digest=value.roster_digest,
            datasets=cards,
        )
    )


def decode_catalogue(data: bytes) -> Catalogue:
    """Bytes to catalogue; raises the error that a code names, or `MessageMalformed`."""
    m = _accepted(parse(pb.Catalogue, data))
    return build(
        lambda: Catalogue(
            node=m.node,
            signing_key=m.signing_key,
            sealing_key=m.sealing_key,
            roster_digest=m.roster_digest,
            datasets=tuple(
                DatasetCard(name=d.name, declared_persons=d.declared_persons, data_year=d.data_year)
                for d in m.datasets
            ),
        )
    )


def encode_approve(study_digest: bytes) -> bytes:
    """Digest of the study to approve, to bytes."""
    return serialise(pb.ApproveRequest(study_digest=study_digest))


def decode_approve(data: bytes) -> bytes:
    """Bytes to a digest of 32 bytes; raises `MessageMalformed`."""
    value = bytes(parse(pb.ApproveRequest, data).study_digest)
    if len(value) != DIGEST_BYTES:
        raise MessageMalformed(f"study_digest must be {DIGEST_BYTES} bytes")
    return value


def encode_done() -> bytes:
    """The outcome of an act that succeeded."""
    return serialise(pb.Outcome())


def decode_done(data: bytes) -> None:
    """Raise the error that an outcome's code names, if it has one."""
    _accepted(parse(pb.Outcome, data))


def encode_budget(value: Budget) -> bytes:
    """Budget to bytes."""
    studies = [
        pb.StudyBudget(
            study_digest=s.study_digest,
            id=s.id,
            title=s.title,
            state=s.standing.value,
            reserved_epsilon=s.reserved_epsilon,
            spent_epsilon=s.spent_epsilon,
            delta=s.delta,
        )
        for s in value.studies
    ]
    datasets = [
        pb.DatasetBudget(
            name=d.name,
            data_year=d.data_year,
            cap_epsilon=d.cap_epsilon,
            committed_epsilon=d.committed_epsilon,
        )
        for d in value.datasets
    ]
    return serialise(pb.BudgetReply(studies=studies, datasets=datasets))


def decode_budget(data: bytes) -> Budget:
    """Bytes to budget; raises the error that a code names, or `MessageMalformed`."""
    m = _accepted(parse(pb.BudgetReply, data))
    return build(
        lambda: Budget(
            studies=tuple(_study_budget(s) for s in m.studies),
            datasets=tuple(
                DatasetBudget(
                    name=d.name,
                    data_year=d.data_year,
                    cap_epsilon=d.cap_epsilon,
                    committed_epsilon=d.committed_epsilon,
                )
                for d in m.datasets
            ),
        )
    )


def _study_budget(m: pb.StudyBudget) -> StudyBudget:
    return StudyBudget(
        study_digest=m.study_digest,
        id=m.id,
        title=m.title,
        standing=StudyStanding(m.state),
        reserved_epsilon=m.reserved_epsilon,
        spent_epsilon=m.spent_epsilon,
        delta=m.delta,
    )


def encode_audit_tail(last: int | None) -> bytes:
    """How many entries of the audit chain to send (>= 1), None for all, to bytes."""
    return serialise(pb.AuditTailRequest(last=last or 0))


def decode_audit_tail(data: bytes) -> int | None:
    """Bytes to a number of entries, None for all; raises `MessageMalformed`."""
    return int(parse(pb.AuditTailRequest, data).last) or None


def encode_audit_entry(entry: bytes) -> bytes:
    """One stored audit entry to bytes."""
    return serialise(pb.AuditReply(entry=entry))


def decode_audit_entry(data: bytes) -> bytes:
    """Bytes to one stored audit entry; raises the error that a code names, or `MessageMalformed`."""
    return bytes(_accepted(parse(pb.AuditReply, data)).entry)


def encode_refusal(method: str, code: str) -> bytes:
    """A refusal in the form that the method's caller reads.

    Args:
        method: ``Describe``, ``Approve``, ``Budget``, ``AuditTail``; any other is a phase.
        code: Stable code of the error.
    """
    return serialise(_REFUSALS.get(method, pb.ReplyPiece)(code=code))


_REFUSALS = {
    "Describe": pb.Catalogue,
    "Approve": pb.Outcome,
    "Budget": pb.BudgetReply,
    "AuditTail": pb.AuditReply,
}


def _accepted(message: M) -> M:
    """The message, unless it is a refusal; then the error that its code names."""
    code = str(getattr(message, "code", ""))
    if code:
        raise error_from_code(code, SOURCE)
    return message
