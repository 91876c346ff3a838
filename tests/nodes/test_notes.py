"""Notes for the log: written at once, counted for an hour, bounded."""

from __future__ import annotations

from fedmed.governance.audit_chain import AuditKind
from fedmed_nodes.notes import MOST_NOTES, QUIET_S, Notes


def taken(notes: Notes, now_s: float) -> list[tuple[str, str]]:
    found = notes.due(now_s)
    for due in found:
        notes.written(due, now_s)
    return [(due.note.code, due.detail) for due in found]


def test_the_first_is_due_at_once_and_the_rest_of_the_hour_is_one_entry() -> None:
    notes = Notes()
    notes.add(AuditKind.CALLER_REFUSED, detail="user 1003")
    assert taken(notes, 0.0) == [("", "user 1003")]
    for _ in range(17):
        notes.add(AuditKind.CALLER_REFUSED, detail="user 1003")
    notes.add(AuditKind.CALLER_REFUSED, detail="user 1004")
    assert taken(notes, 1.0) == [("", "user 1004")]
    assert taken(notes, QUIET_S - 1) == []
    assert taken(notes, QUIET_S) == [("", "user 1003 (17 times)")]
    assert taken(notes, 3 * QUIET_S) == []
    notes.add(AuditKind.CALLER_REFUSED, detail="user 1003")
    assert taken(notes, 3 * QUIET_S) == [("", "user 1003")]


def test_what_could_not_be_written_stays_due() -> None:
    notes = Notes()
    notes.add(AuditKind.ERROR, code="message_malformed", detail="Propose")
    assert notes.due(0.0) == notes.due(1.0)
    notes.add(AuditKind.ERROR, code="message_malformed", detail="Propose")
    assert taken(notes, 2.0) == [("message_malformed", "Propose (2 times)")]


def test_no_flood_fills_memory_or_log() -> None:
    notes = Notes()
    for number in range(10 * MOST_NOTES):
        notes.add(AuditKind.CALLER_REFUSED, detail=f"user {number}")
    found = taken(notes, 0.0)
    assert len(found) == MOST_NOTES + 1
    assert found[-1][1] == f"more kinds of faults than are written down ({9 * MOST_NOTES} times)"
    assert taken(notes, 1.0) == []
