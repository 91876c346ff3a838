"""The audit chain: whatever is changed in it shows, and where."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.crypto.identity import Identity, signed_bytes
from fedmed.errors import ConfigError, IntegrityError, SignatureInvalid, UnknownVersion
from fedmed.governance.audit_chain import (
    EMPTY_CHAIN,
    KEY_CHANGES,
    AuditEntry,
    AuditEvent,
    AuditKind,
    ChainHead,
    append,
    verify_chain,
)
from fedmed.governance.key_change import change_key
from fedmed.types import digest
from tests.examples import at_most

NODE = Identity("shanghai", signing_key=bytes([1]) * 32, sealing_key=bytes([2]) * 32)
OTHER = Identity("jiangsu", signing_key=bytes([3]) * 32, sealing_key=bytes([4]) * 32)
AT = "2026-01-31T08:00:00+00:00"


def event(number: int, kind: AuditKind = AuditKind.ACCEPTED) -> AuditEvent:
    return AuditEvent(at=AT, kind=kind, study="ab" * 32, detail=f"round {number}")


def chain(length: int, identity: Identity = NODE) -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    for number in range(1, length + 1):
        entries.append(append(entries[-1] if entries else None, event(number), sign=identity.sign))
    return entries


def test_a_chain_holds_and_tells_where_it_stands() -> None:
    entries = chain(5)
    assert [entry.counter for entry in entries] == [1, 2, 3, 4, 5]
    assert verify_chain(entries, NODE.public) == ChainHead(counter=5, head=entries[-1].head)
    assert verify_chain([], NODE.public) == EMPTY_CHAIN


def test_a_head_is_the_digest_of_the_head_before_and_the_canonical_bytes() -> None:
    first, second = chain(2)
    unsigned = second.to_bytes().replace(b',"signature":"' + second.signature.hex().encode() + b'"', b"")
    assert second.head == digest("fedmed/audit", first.head, unsigned)
    assert second.signature == NODE.sign(signed_bytes("audit_head", second.head))


@settings(deadline=None, max_examples=at_most(40))
@given(
    kind=st.sampled_from(sorted(set(AuditKind) - KEY_CHANGES, key=str)),
    study=st.sampled_from(["", "0f" * 32]),
    code=st.sampled_from(["", "budget_exceeded"]),
    detail=st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=60),
)
def test_an_entry_is_read_as_it_was_written(kind: AuditKind, study: str, code: str, detail: str) -> None:
    said = AuditEvent(at=AT, kind=kind, study=study, code=code, detail=detail)
    entry = append(None, said, sign=NODE.sign)
    assert AuditEntry.from_bytes(entry.to_bytes()) == entry
    verify_chain([entry], NODE.public)


EDITS = {
    "kind": replace(event(3), kind=AuditKind.REFUSED),
    "time": replace(event(3), at="2026-01-31T08:00:01+00:00"),
    "study": replace(event(3), study=""),
    "code": replace(event(3), code="budget_exceeded"),
    "detail": replace(event(3), detail="round 4"),
}


@pytest.mark.parametrize("edited", EDITS.values(), ids=EDITS.keys())
def test_an_edited_entry_is_named(edited: AuditEvent) -> None:
    entries = chain(5)
    entries[2] = replace(entries[2], event=edited)
    with pytest.raises(SignatureInvalid, match="audit entry 3"):
        verify_chain(entries, NODE.public)


def test_an_edit_that_the_node_itself_signed_breaks_the_next_link() -> None:
    entries = chain(5)
    entries[2] = append(entries[1], event(99), sign=NODE.sign)
    with pytest.raises(IntegrityError, match="audit entry 4"):
        verify_chain(entries, NODE.public)


@pytest.mark.parametrize("at", range(5))
def test_an_entry_left_out_or_doubled_is_named(at: int) -> None:
    entries = chain(6)
    with pytest.raises(IntegrityError, match=f"audit entry {at + 1} is missing"):
        verify_chain(entries[:at] + entries[at + 1 :], NODE.public)
    with pytest.raises(IntegrityError, match=f"audit entry {at + 2} is missing"):
        verify_chain(entries[: at + 1] + entries[at:], NODE.public)


@pytest.mark.parametrize("at", range(4))
def test_swapped_entries_are_named(at: int) -> None:
    entries = chain(5)
    entries[at], entries[at + 1] = entries[at + 1], entries[at]
    with pytest.raises(IntegrityError, match=f"audit entry {at + 1} is missing"):
        verify_chain(entries, NODE.public)


def test_a_foreign_or_altered_signature_is_named() -> None:
    entries = chain(3)
    foreign = append(entries[2], event(4), sign=OTHER.sign)
    altered = replace(chain(4)[3], signature=bytes(64))
    for last in (foreign, altered):
        with pytest.raises(SignatureInvalid, match=r"audit entry 4 .* shanghai"):
            verify_chain([*entries, last], NODE.public)
    with pytest.raises(SignatureInvalid, match="audit entry 1"):
        verify_chain(chain(3, OTHER), NODE.public)


def test_a_head_signed_as_another_message_is_refused() -> None:
    entry = append(None, event(1), sign=lambda data: NODE.sign(data[len(b"fedmed/v1/audit_head") + 8 :]))
    with pytest.raises(SignatureInvalid, match="audit entry 1"):
        verify_chain([entry], NODE.public)


def test_a_cut_end_shows_against_a_known_head() -> None:
    entries = chain(5)
    known = entries[-1].chain_head
    verify_chain(entries[:3], NODE.public)
    for kept in range(5):
        with pytest.raises(IntegrityError, match="audit entry 5 is known elsewhere and is missing"):
            verify_chain(entries[:kept], NODE.public, expected_head=known)
    assert verify_chain(entries, NODE.public, expected_head=known) == known


def test_a_fork_shows_against_a_known_head_in_its_middle() -> None:
    entries = chain(5)
    fork = entries[:2]
    for number in (30, 40, 50):
        fork.append(append(fork[-1], event(number), sign=NODE.sign))
    verify_chain(fork, NODE.public)
    with pytest.raises(IntegrityError, match="audit entry 3 is not the one known elsewhere"):
        verify_chain(fork, NODE.public, expected_head=entries[2].chain_head)
    verify_chain(fork, NODE.public, expected_head=entries[1].chain_head)


def test_the_end_of_a_chain_is_checked_from_a_known_head() -> None:
    entries = chain(6)
    after = entries[2].chain_head
    assert verify_chain(entries[3:], NODE.public, after=after) == entries[-1].chain_head
    assert verify_chain([], NODE.public, after=after, expected_head=after) == after
    with pytest.raises(IntegrityError, match="audit entry 4"):
        verify_chain(entries[4:], NODE.public, after=after)
    with pytest.raises(IntegrityError, match="audit entry 2 is known elsewhere"):
        verify_chain(entries[3:], NODE.public, after=after, expected_head=entries[1].chain_head)


def test_every_altered_byte_of_a_stored_entry_is_refused() -> None:
    entries = chain(2)
    data = entries[1].to_bytes()
    for at in range(len(data)):
        altered = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(IntegrityError):
            verify_chain([entries[0], AuditEntry.from_bytes(altered)], NODE.public)


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        (b'"counter":1', b'"counter": 1'),
        (b'"counter":1', b'"counter":2,"counter":1'),
        (b'"code":"","detail":"round 1"', b'"detail":"round 1","code":""'),
        (b'"round 1"', b'"\\u0072ound 1"'),
        (b"00" * 32, b"00 " * 32),
    ],
)
def test_a_second_spelling_of_an_entry_is_refused(written: bytes, instead: bytes) -> None:
    data = chain(1)[0].to_bytes()
    assert written in data
    with pytest.raises(IntegrityError, match="canonical"):
        AuditEntry.from_bytes(data.replace(written, instead))


def test_an_entry_of_another_version_is_refused() -> None:
    data = chain(1)[0].to_bytes()
    with pytest.raises(UnknownVersion):
        AuditEntry.from_bytes(data.replace(b"audit/1", b"audit/2"))
    with pytest.raises(IntegrityError):
        AuditEntry.from_bytes(data.replace(b'"code"', b'"note":"","code"'))


@pytest.mark.parametrize(
    "fault",
    [
        {"at": "2026-01-31"},
        {"study": "AB" * 32},
        {"study": "ab"},
        {"code": "Budget exceeded"},
        {"code": "x" * 65},
        {"detail": "one\ntwo"},
        {"detail": "\x1b[31m"},
        {"detail": "x" * 1025},
    ],
)
def test_an_event_that_cannot_stand_in_a_log_line_is_refused(fault: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        replace(event(1), **fault)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fault", [{"counter": 0}, {"previous_head": bytes(31)}, {"signature": bytes(63)}, {"signature": b""}]
)
def test_an_entry_of_the_wrong_shape_is_refused(fault: dict[str, int | bytes]) -> None:
    with pytest.raises(ConfigError):
        replace(chain(1)[0], **fault)  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        ChainHead(counter=-1, head=bytes(32))
    with pytest.raises(ConfigError):
        ChainHead(counter=0, head=bytes(3))


# --- Keys that change ---------------------------------------------------------------------------------


def changed(entries: list[AuditEntry], new: Identity, *, old: Identity = NODE, lost: bool = False) -> None:
    """Append the change to a new key, signed by the old one unless it was lost."""
    change = change_key(new, before=old.public.signing_key, previous_head=entries[-1].head)
    kind = AuditKind.KEY_REPLACED if lost else AuditKind.KEY_ROTATED
    said = AuditEvent(at=AT, kind=kind, detail=change.to_text())
    entries.append(append(entries[-1], said, sign=(new if lost else old).sign))


def second_key(number: int = 9) -> Identity:
    return Identity("shanghai", signing_key=bytes([number]) * 32, sealing_key=bytes([number + 1]) * 32)


@pytest.mark.parametrize("lost", [False, True])
def test_the_present_card_checks_a_chain_over_a_change_of_its_key(lost: bool) -> None:
    entries, new = chain(3), second_key()
    changed(entries, new, lost=lost)
    entries.append(append(entries[-1], event(5), sign=new.sign))
    assert verify_chain(entries, new.public).counter == 5
    with pytest.raises(SignatureInvalid, match="another key than this card"):
        verify_chain(entries, NODE.public)
    assert verify_chain(entries[:3], NODE.public).counter == 3


def test_an_old_key_signs_nothing_after_its_end() -> None:
    entries, new = chain(3), second_key()
    changed(entries, new)
    entries.append(append(entries[-1], event(5), sign=NODE.sign))
    with pytest.raises(SignatureInvalid, match="entry 5"):
        verify_chain(entries, new.public)


def test_a_revoked_key_signs_nothing_and_only_a_replacement_follows() -> None:
    entries, new = chain(2), second_key()
    entries.append(append(entries[-1], event(3, AuditKind.KEY_REVOKED), sign=NODE.sign))
    for later in (event(4), event(4, AuditKind.REFUSED)):
        with pytest.raises(SignatureInvalid, match="entry 4 was signed with a key that was revoked"):
            verify_chain([*entries, append(entries[-1], later, sign=NODE.sign)], NODE.public)
    rotated = list(entries)
    changed(rotated, new)
    with pytest.raises(SignatureInvalid, match="revoked"):
        verify_chain(rotated, new.public)
    changed(entries, new, lost=True)
    assert verify_chain(entries, new.public).counter == 4


def test_nobody_can_name_somebody_elses_key_as_the_successor() -> None:
    entries, new = chain(2), second_key()
    change = change_key(new, before=NODE.public.signing_key, previous_head=bytes(32))
    said = AuditEvent(at=AT, kind=AuditKind.KEY_ROTATED, detail=change.to_text())
    with pytest.raises(SignatureInvalid, match="entry 3"):
        verify_chain([*entries, append(entries[-1], said, sign=NODE.sign)], new.public)
    silent = AuditEvent(at=AT, kind=AuditKind.KEY_ROTATED, detail="no keys")
    with pytest.raises(IntegrityError, match="entry 3 names no keys"):
        verify_chain([*entries, append(entries[-1], silent, sign=NODE.sign)], NODE.public)
