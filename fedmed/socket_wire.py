"""Values of the custodian's socket to protobuf bytes and back, as strict as `fedmed.wire`.

A refusal is a code in its own field: a reader raises the error that it names, and never sees a text.
"""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import Message as Proto

from fedmed.errors import MessageMalformed, error_from_code
from fedmed.proto.v1 import custodian_pb2 as pb
from fedmed.socket_messages import (
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
from fedmed.types import DIGEST_BYTES, ActPlace
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
        pb.DatasetCard(
            name=d.name,
            declared_persons=d.declared_persons,
            data_year=d.data_year,
            withheld=d.withheld,
        )
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
                DatasetCard(
                    name=d.name,
                    declared_persons=d.declared_persons,
                    data_year=d.data_year,
                    withheld=d.withheld,
                )
                for d in m.datasets
            ),
        )
    )


def encode_study(study_digest: bytes) -> bytes:
    """Digest of the study to review, approve or revoke, to bytes."""
    return serialise(pb.StudyRequest(study_digest=study_digest))


def decode_study(data: bytes) -> bytes:
    """Bytes to a digest of 32 bytes; raises `MessageMalformed`."""
    value = bytes(parse(pb.StudyRequest, data).study_digest)
    if len(value) != DIGEST_BYTES:
        raise MessageMalformed(f"study_digest must be {DIGEST_BYTES} bytes")
    return value


def encode_done() -> bytes:
    """The outcome of an act that succeeded."""
    return serialise(pb.Outcome())


def decode_done(data: bytes) -> None:
    """Raise the error that an outcome's code names, if it has one."""
    _accepted(parse(pb.Outcome, data))


def encode_act(body: bytes, signature: bytes) -> bytes:
    """An act as it was signed to bytes."""
    return serialise(pb.ActRequest(body=body, signature=signature))


def decode_act(data: bytes) -> tuple[bytes, bytes]:
    """Bytes to an act's exact bytes and its signature; raises `MessageMalformed`."""
    m = parse(pb.ActRequest, data)
    return bytes(m.body), bytes(m.signature)


def encode_act_outcome(value: ActOutcome) -> bytes:
    """What became of an act, to bytes."""
    return serialise(pb.ActReply(signed_by=value.signed_by, needed=value.needed))


def decode_act_outcome(data: bytes) -> ActOutcome:
    """Bytes to what became of an act; raises the error that a code names, or `MessageMalformed`."""
    m = _accepted(parse(pb.ActReply, data))
    return build(lambda: ActOutcome(signed_by=tuple(m.signed_by), needed=m.needed))


def encode_review(value: StudyReview) -> bytes:
    """Review to bytes."""
    return serialise(
        pb.ReviewReply(
            canonical=value.canonical,
            place=_place_message(value.place),
            operators=value.operators,
            signed_by=value.signed_by,
            state=value.standing.value,
            dataset=value.dataset,
            data_year=value.data_year,
            cap_epsilon=value.cap_epsilon,
            spent_epsilon=value.spent_epsilon,
            committed_epsilon=value.committed_epsilon,
            with_study_epsilon=value.with_study_epsilon,
            grades=[pb.ColumnGrade(column=column, grade=grade) for column, grade in value.grades],
            remarks=value.remarks,
            refusal=value.refusal,
        )
    )


def decode_review(data: bytes) -> StudyReview:
    """Bytes to review; raises the error that a code names, or `MessageMalformed`."""
    m = _accepted(parse(pb.ReviewReply, data))
    return build(
        lambda: StudyReview(
            canonical=m.canonical,
            place=_place(m.place),
            operators=tuple(m.operators),
            signed_by=tuple(m.signed_by),
            standing=StudyStanding(m.state),
            dataset=m.dataset,
            data_year=m.data_year,
            cap_epsilon=m.cap_epsilon,
            spent_epsilon=m.spent_epsilon,
            committed_epsilon=m.committed_epsilon,
            with_study_epsilon=m.with_study_epsilon,
            grades=tuple((g.column, g.grade) for g in m.grades),
            remarks=tuple(m.remarks),
            refusal=m.refusal,
        )
    )


def _place_message(value: ActPlace) -> pb.ActPlace:
    return pb.ActPlace(
        node=value.node,
        roster_digest=value.roster_digest,
        policy_digest=value.policy_digest,
        approvals_needed=value.approvals_needed,
        counter=value.counter,
        head=value.head,
    )


def _place(m: pb.ActPlace) -> ActPlace:
    return ActPlace(
        node=m.node,
        roster_digest=m.roster_digest,
        policy_digest=m.policy_digest,
        approvals_needed=m.approvals_needed,
        counter=m.counter,
        head=m.head,
    )


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
            dataset=s.dataset,
            data_year=s.data_year,
        )
        for s in value.studies
    ]
    datasets = [
        pb.DatasetBudget(
            name=d.name,
            data_year=d.data_year,
            cap_epsilon=d.cap_epsilon,
            committed_epsilon=d.committed_epsilon,
            spent_epsilon=d.spent_epsilon,
            fingerprint=d.fingerprint,
        )
        for d in value.datasets
    ]
    raises = [_raise_message(r) for r in value.raises]
    place = _place_message(value.place)
    reply = pb.BudgetReply(studies=studies, datasets=datasets, raises=raises, place=place)
    reply.restored = value.restored
    return serialise(reply)


def _raise_message(r: BudgetRaise) -> pb.BudgetRaise:
    return pb.BudgetRaise(
        fingerprint=r.fingerprint,
        data_year=r.data_year,
        cap_epsilon=r.cap_epsilon,
        signed_by=r.signed_by,
        needed=r.needed,
        reason=r.reason,
        signed_at=r.signed_at,
    )


def decode_budget(data: bytes) -> Budget:
    """Bytes to budget; raises the error that a code names, or `MessageMalformed`."""
    m = _accepted(parse(pb.BudgetReply, data))
    return build(
        lambda: Budget(
            studies=tuple(_study_budget(s) for s in m.studies),
            datasets=tuple(_dataset_budget(d) for d in m.datasets),
            raises=tuple(_raise(r) for r in m.raises),
            place=_place(m.place),
            restored=m.restored,
        )
    )


def _dataset_budget(m: pb.DatasetBudget) -> DatasetBudget:
    return DatasetBudget(
        name=m.name,
        data_year=m.data_year,
        cap_epsilon=m.cap_epsilon,
        committed_epsilon=m.committed_epsilon,
        spent_epsilon=m.spent_epsilon,
        fingerprint=m.fingerprint,
    )


def _raise(m: pb.BudgetRaise) -> BudgetRaise:
    return BudgetRaise(
        fingerprint=m.fingerprint,
        data_year=m.data_year,
        cap_epsilon=m.cap_epsilon,
        signed_by=tuple(m.signed_by),
        needed=m.needed,
        reason=m.reason,
        signed_at=m.signed_at,
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
        dataset=m.dataset,
        data_year=m.data_year,
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
        method: A method of the operator's service or ``Describe``; any other is a phase.
        code: Stable code of the error.
    """
    return serialise(_REFUSALS.get(method, pb.ReplyPiece)(code=code))


_REFUSALS = {
    "Describe": pb.Catalogue,
    "Review": pb.ReviewReply,
    "Approve": pb.Outcome,
    "Revoke": pb.Outcome,
    "Act": pb.ActReply,
    "Budget": pb.BudgetReply,
    "AuditTail": pb.AuditReply,
}


def _accepted(message: M) -> M:
    """The message, unless it is a refusal; then the error that its code names."""
    code = str(getattr(message, "code", ""))
    if code:
        raise error_from_code(code, SOURCE)
    return message
