"""Noticing that this custodian's store was set back: somebody holds a later message of its own.

Every signed message carries the sender's audit counter and head. A message signed by this custodian whose
(counter, head) is not on its own chain was sent from a state that the store has forgotten: it was restored
from a backup, or a copy of it runs elsewhere. A custodian that forgot what it answered would answer another
set, so it must answer nothing in studies begun before (PROTOCOL.md section 6). A rollback of which nobody
shows such a message stays unnoticed and counts as one more colluder (section 7).
"""

from __future__ import annotations

from fedmed.errors import IntegrityError, ProtocolError
from fedmed.governance.audit_chain import EMPTY_CHAIN, ChainHead
from fedmed.messages import Roster, Statement
from fedmed.protocol import envelope
from fedmed_nodes.stores import CustodianStore


def proves_rollback(store: CustodianStore, roster: Roster, *, point: int, header: bytes) -> bool:
    """Whether a header was signed by this custodian in a state that its store does not know.

    Args:
        store: This custodian's store.
        roster: The pinned roster.
        point: This custodian's point.
        header: An envelope that is said to be this custodian's header.

    Returns:
        False also when the header is not validly signed: then it proves nothing, and the checks of the
        opening say what is wrong with it.
    """
    statement = _own_statement(roster, point, header)
    if statement is None:
        return False
    return not is_on_chain(store, counter=statement.audit_counter, head=statement.audit_head)


def _own_statement(roster: Roster, point: int, header: bytes) -> Statement | None:
    """What the header says, None unless this custodian signed it."""
    try:
        return envelope.open_message(
            header, envelope.HEADER, roster.member(point), context=None, receiver=roster.coordinator.name
        )
    except (ProtocolError, IntegrityError):
        return None


def is_on_chain(store: CustodianStore, *, counter: int, head: bytes) -> bool:
    """Whether the store's audit chain had this head at this counter."""
    if counter == EMPTY_CHAIN.counter:
        return head == EMPTY_CHAIN.head
    last = store.audit(1)
    reached = last[-1].counter if last else EMPTY_CHAIN.counter
    if counter > reached:
        return False
    (entry, *_) = store.audit(reached - counter + 1)
    return entry.chain_head == ChainHead(counter=counter, head=head)
