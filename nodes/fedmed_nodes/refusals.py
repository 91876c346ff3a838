"""What the operator of a node reads of a refusal: which study, which rule, and what the rule says.

All of it stays at this node: across the wire goes the code alone. A rule's own words go into the audit log
for proposals only, where nothing but the study, the policy and what this node declares has been looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from fedmed import wire
from fedmed.errors import FedMedError, StudyExpired, StudyRefused
from fedmed.governance.audit_chain import MAX_DETAIL_BYTES
from fedmed.messages import Member
from fedmed.protocol import envelope
from fedmed.protocol.steps import PhaseKind
from fedmed.study import from_canonical_bytes

_OF_A_STUDY: Final[Mapping[PhaseKind, str]] = {
    PhaseKind.PROPOSE: envelope.STUDY,
    PhaseKind.NONCE: envelope.NONCE,
    PhaseKind.CONTRIBUTE: envelope.PLAN,
}
"""Messages of the coordinator that belong to a study by its digest."""


def refused_study(kind: PhaseKind, parts: Sequence[bytes], coordinator: Member) -> bytes:
    """The digest of the study that a refused message belongs to; empty where nobody signed that it does.

    Args:
        kind: Which phase.
        parts: The message's parts, from anybody.
        coordinator: Who signs such messages.
    """
    if kind not in _OF_A_STUDY or not parts:
        return b""
    try:
        signed = wire.decode_signed(parts[0])
        envelope.check_type(signed, _OF_A_STUDY[kind])
        envelope.check_signature(signed, coordinator)
        return wire.decode_statement(signed.body).context
    except FedMedError:
        return b""


def refusal_words(kind: PhaseKind, parts: Sequence[bytes], refusal: FedMedError) -> str:
    """Public words on a refusal, for the audit log.

    Args:
        kind: Which phase.
        parts: The message's parts.
        refusal: Why it was refused.

    Returns:
        The phase and the rule that refused; of a proposal also what the rule says, then id and title of the
        study. At most `MAX_DETAIL_BYTES`, printable.

    Guarantees:
        Of an error that is no rule on studies only the phase is told: its text may have seen rows.
    """
    if kind is not PhaseKind.PROPOSE:
        rule = refusal.rule if isinstance(refusal, StudyRefused) else ""
        return f"{kind.value}: rule {rule}" if rule else kind.value
    said = f": rule {refusal}" if isinstance(refusal, StudyRefused | StudyExpired) else ""
    return _fitted(f"{kind.value}{said}{_named_study(parts)}")


def _named_study(parts: Sequence[bytes]) -> str:
    """Id and title of a proposed study; nothing of what is no study."""
    try:
        statement = wire.decode_statement(wire.decode_signed(parts[0]).body)
        spec = from_canonical_bytes(wire.decode_proposal(statement.content).canonical)
    except (FedMedError, IndexError):
        return ""
    return f" [study {spec.id}: {spec.title}]"


def _fitted(text: str) -> str:
    """Text as an audit entry takes it."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return printable.encode()[:MAX_DETAIL_BYTES].decode(errors="ignore")
