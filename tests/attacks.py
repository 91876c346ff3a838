"""Rows of the tables of refusals: a hostile message, the honest one beside it, and the check between them.

A hostile message is validly signed by a member of the roster and differs from an honest one in exactly the
property under attack; where several checks stop one message, the row names them all and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from fedmed import wire
from fedmed.crypto.identity import signed_bytes
from fedmed.governance.audit_chain import EMPTY_CHAIN, ChainHead
from fedmed.messages import Header, Signed, Statement
from fedmed.protocol import envelope
from fedmed.protocol.binding import plan_digest
from fedmed.protocol.steps import PhaseKind
from tests.federation import COORDINATOR, Trial, identity_of, no_check


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One hostile message, ready to be sent, and the honest one that differs in nothing but the property.

    Attributes:
        trial: The study under attack.
        point: The custodian that gets the message.
        kind: Which phase.
        hostile: Parts of the hostile message.
        honest: Gives the parts of the honest message, asked for after the hostile one was refused; None where
            nothing honest can follow.
    """

    trial: Trial
    point: int
    kind: PhaseKind
    hostile: tuple[bytes, ...]
    honest: Callable[[], tuple[bytes, ...]] | None


@dataclass(frozen=True, kw_only=True)
class Case:
    """A row of the table of refusals.

    Attributes:
        code: The error code of this refusal and of no other.
        what: The property under attack.
        arrange: Makes the attack in a federation of its own.
        checks: Dotted names of the checks that stop it; more than one where the same property is checked
            twice on purpose (the reason stands beside the row).
    """

    code: str
    what: str
    arrange: Callable[[], Attack]
    checks: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.code}: {self.what}"


def assert_refused(case: Case) -> None:
    """The hostile message gets its own code and leaves nothing; the honest one is then still accepted."""
    attack = case.arrange()
    federation = attack.trial.federation
    assert federation.refused(attack.point, attack.kind, *attack.hostile) == case.code
    if attack.honest is not None:
        reply = federation.ask(attack.point, attack.kind, *attack.honest())
        assert not reply.is_refusal, f"the honest message was refused: {reply.code}"


def assert_needed(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the one check patched off, the hostile message is accepted."""
    attack = case.arrange()
    for check in case.checks:
        monkeypatch.setattr(check, no_check)
    reply = attack.trial.federation.ask(attack.point, attack.kind, *attack.hostile)
    assert not reply.is_refusal, f"something else stopped it: {reply.code}"


def forged(
    message_type: str, content: bytes, *, signer: int, sender: int, receiver: str, context: bytes
) -> bytes:
    """A message that one member signs in another's name."""
    statement = Statement(
        sender=identity_of(sender).name,
        receiver=receiver,
        context=context,
        audit_head=EMPTY_CHAIN.head,
        audit_counter=EMPTY_CHAIN.counter,
        content=content,
    )
    body = wire.encode_statement(statement)
    signature = identity_of(signer).sign(signed_bytes(message_type, body))
    return wire.encode_signed(Signed(type=message_type, body=body, signature=signature))


def header_by_hand(
    trial: Trial,
    point: int,
    plan: bytes,
    *,
    chunk_digests: Sequence[bytes] = (bytes(32),),
    position: ChainHead = EMPTY_CHAIN,
) -> bytes:
    """A header that a member signs for any plan, without its custodian."""
    header = Header(chunk_digests=tuple(chunk_digests), next_nonce=bytes(16))
    return trial.federation.sign(
        point,
        envelope.HEADER,
        wire.encode_header(header),
        context=plan_digest(plan),
        receiver=COORDINATOR,
        position=position,
    )
