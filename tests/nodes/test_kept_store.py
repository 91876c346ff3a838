"""The store of a home: sealed files continue the chain, and an old copy put back is noticed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedmed.errors import IntegrityError, SignatureInvalid, StoreSetBack
from fedmed.governance.audit_chain import AuditKind, verify_chain
from fedmed_nodes.audit_archive import AuditArchive
from fedmed_nodes.clock import SystemClock
from fedmed_nodes.high_water import HighWater
from fedmed_nodes.kept_store import KeptStore
from fedmed_nodes.logbook import Logbook
from fedmed_nodes.rollback import is_on_chain
from fedmed_nodes.sqlite_store import SqliteStore
from tests.contracts.store_contract import NODE, CustodianStoreContract, Open, debit


def open_store(folder: Path) -> KeptStore:
    (folder / "secrets").mkdir(mode=0o700, exist_ok=True)
    return KeptStore(
        SqliteStore(folder / "store" / "custodian.db"),
        archive=AuditArchive(folder / "audit"),
        mark=HighWater(folder / "secrets"),
    )


class TestKeptStore(CustodianStoreContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Iterator[Open]:
        stores: list[KeptStore] = []

        def opened() -> KeptStore:
            stores.append(open_store(tmp_path))
            return stores[-1]

        yield opened
        for store in stores:
            store.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeptStore]:
    store = open_store(tmp_path)
    yield store
    store.close()


def filled(store: KeptStore, entries: int) -> Logbook:
    logbook = Logbook(store, NODE, SystemClock())
    for number in range(entries):
        logbook.write(AuditKind.ACCEPTED, detail=f"round {number + 1}")
    return logbook


def test_sealing_keeps_the_chain_and_every_entry_of_it(store: KeptStore) -> None:
    logbook = filled(store, 8)
    before = store.audit()
    file = store.seal(logbook, keep=3)
    assert file is not None
    assert file.name == "audit-00000001-00000005.jsonl"
    assert store.archive.files() == (file,)
    assert (store.archive.path / file.name).stat().st_mode & 0o777 == 0o400
    assert store.audit()[:8] == before
    assert store.audit()[8].event.kind is AuditKind.LOG_SEALED
    assert store.live_entries() == 4
    logbook.write(AuditKind.ACCEPTED)
    second = store.seal(logbook, keep=1)
    assert second is not None
    assert (second.first, second.last) == (6, 9)
    assert verify_chain(store.audit(), NODE.public).counter == 11
    assert [entry.counter for entry in store.audit(4)] == [8, 9, 10, 11]
    assert all(is_on_chain(store, counter=e.counter, head=e.head) for e in before)
    assert not is_on_chain(store, counter=2, head=before[0].head)


def test_nothing_older_seals_nothing(store: KeptStore) -> None:
    assert store.seal(filled(store, 3), keep=3) is None
    assert store.archive.files() == ()


def test_a_seal_that_a_crash_stopped_is_done_again(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    logbook = filled(store, 6)
    store.archive.seal(store.audit()[:2])  # the file was written, its entry was not
    assert [entry.counter for entry in store.audit()] == list(range(1, 7))
    store.seal(logbook, keep=1)
    assert [file.name for file in store.archive.files()] == ["audit-00000001-00000005.jsonl"]
    assert verify_chain(store.audit(), NODE.public).counter == 7
    store.close()


def edited(path: Path, at: int, line: bytes | None) -> None:
    """Write another line into a sealed file, or take one out."""
    lines = path.read_bytes().split(b"\n")
    lines[at : at + 1] = [] if line is None else [line]
    path.chmod(0o600)
    path.write_bytes(b"\n".join(lines))
    path.chmod(0o400)


def test_any_change_of_a_sealed_file_names_the_first_entry_that_does_not_hold(store: KeptStore) -> None:
    logbook = filled(store, 9)
    store.seal(logbook, keep=5)
    store.seal(logbook, keep=1)
    first, second = (store.archive.path / file.name for file in store.archive.files())
    lines, whole = first.read_bytes().split(b"\n"), first.read_bytes()
    changes = {
        "edit": (lambda: edited(first, 1, lines[1].replace(b"round 2", b"round 3")), "entry 2 was altered"),
        "cut": (lambda: edited(first, 3, None), "entry 4 is missing"),
        "order": (lambda: edited(first, 2, lines[1]), "entry 3 is missing or altered"),
        "more": (lambda: edited(first, 4, lines[3] + b"\n"), "holds more"),
        "gone": (first.unlink, "entry 1 is missing: no sealed file"),
    }
    for change, words in changes.values():
        change()
        with pytest.raises(IntegrityError, match=words) as caught:
            verify_chain(store.audit(), NODE.public)
        assert isinstance(caught.value, SignatureInvalid) == ("was altered" in words)
        first.unlink(missing_ok=True)
        first.write_bytes(whole)
        first.chmod(0o400)
    second.unlink()
    with pytest.raises(IntegrityError, match="entry 5 is missing"):
        verify_chain(store.audit(), NODE.public)


# --- set back --------------------------------------------------------------------------------------


def test_an_old_copy_put_back_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    filled(store, 2)
    store.close()
    shutil.copytree(tmp_path / "store", tmp_path / "old")
    store = open_store(tmp_path)
    debit(store, 1)
    store.close()
    shutil.rmtree(tmp_path / "store")
    shutil.copytree(tmp_path / "old", tmp_path / "store")
    store = open_store(tmp_path)
    with pytest.raises(StoreSetBack, match="wrote audit entry 3; the store ends at 2"):
        filled(store, 1)
    assert len(store.audit()) == 2
    store.accept()
    filled(store, 1)
    store.close()
    store = open_store(tmp_path)
    filled(store, 1)
    assert store.ledger() == ()
    store.close()


def test_a_chain_begun_anew_and_a_missing_mark_are_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    filled(store, 2)
    store.close()
    shutil.rmtree(tmp_path / "store")
    anew = open_store(tmp_path)
    with pytest.raises(StoreSetBack, match="ends at 0"):
        filled(anew, 1)
    anew.close()
    (tmp_path / "secrets" / "newest-entry").unlink()
    shutil.rmtree(tmp_path / "store")
    store = open_store(tmp_path)
    filled(store, 1)
    store.mark.path.unlink()
    store.close()
    store = open_store(tmp_path)
    with pytest.raises(StoreSetBack, match="is missing"):
        filled(store, 1)
    store.close()


def test_a_half_written_slot_leaves_the_one_before(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    filled(store, 3)
    store.close()
    mark = store.mark.path
    assert mark.stat().st_mode & 0o777 == 0o600
    slots = bytearray(mark.read_bytes())
    slots[8192 + 100] ^= 1  # the third write went into the second slot
    mark.write_bytes(slots)
    newest = store.mark.read()
    assert newest is not None
    assert newest.counter == 2
    slots[100] ^= 1
    mark.write_bytes(slots)
    store = open_store(tmp_path)
    with pytest.raises(IntegrityError, match="newest-entry was altered or cut"):
        filled(store, 1)
    store.accept()
    filled(store, 1)
    newest = store.mark.read()
    assert newest is not None
    assert newest.counter == 4
    store.close()


def test_a_mark_that_stays_behind_is_no_fault(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    filled(store, 1)
    early = store.mark.path.read_bytes()
    filled(store, 2)
    store.mark.path.write_bytes(early)  # as after a crash between the commit and the mark
    store.close()
    store = open_store(tmp_path)
    filled(store, 1)
    newest = store.mark.read()
    assert newest is not None
    assert newest.counter == 4
    store.close()
