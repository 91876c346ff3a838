"""A ledger against what the audit log says of it: a missing end shows, one more charge does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedmed.errors import IntegrityError
from fedmed.governance.audit_chain import AuditEntry, AuditEvent, AuditKind
from fedmed.governance.ledger_head import LedgerHead, check_ledger, stated_head
from tests.contracts.store_contract import RECORD

CHARGES = tuple(replace(RECORD, round_number=number) for number in (1, 2, 3))


def entry(detail: str, kind: AuditKind = AuditKind.ACCEPTED) -> AuditEntry:
    event = AuditEvent(at="2026-03-01T08:00:00+08:00", kind=kind, detail=detail)
    return AuditEntry(counter=1, previous_head=bytes(32), event=event, signature=bytes(64))


def test_the_last_statement_of_a_log_counts_and_only_where_a_charge_is_told_of() -> None:
    first, second = LedgerHead().after(CHARGES[:1]), LedgerHead().after(CHARGES[:2])
    log = [entry(first.stated("plan")), entry(second.stated("plan")), entry("study")]
    assert stated_head(log) == second
    assert stated_head([*log, entry(first.stated("x"), AuditKind.REFUSED)]) == second
    assert stated_head([entry("plan of round 1 attempt 1")]) is None


def test_charges_linked_in_parts_link_as_they_do_at_once() -> None:
    assert LedgerHead().after(CHARGES[:1]).after(CHARGES[1:]) == LedgerHead().after(CHARGES)


def test_a_whole_ledger_passes_and_so_does_one_that_grew_since() -> None:
    """`check_ledger` raises for any other."""
    check_ledger(CHARGES, None)
    check_ledger(CHARGES, LedgerHead().after(CHARGES))
    check_ledger(CHARGES, LedgerHead().after(CHARGES[:2]))


@pytest.mark.parametrize(
    "left", [(), CHARGES[:2], CHARGES[1:], (CHARGES[1], CHARGES[0], CHARGES[2]), (*CHARGES[:2], CHARGES[0])]
)
def test_a_ledger_that_was_cut_or_cut_and_continued_is_refused(left: tuple[object, ...]) -> None:
    with pytest.raises(IntegrityError, match="tells of 3 charges"):
        check_ledger(left, LedgerHead().after(CHARGES))  # type: ignore[arg-type]
