"""The log as the operator checks it, from files alone and against what others kept."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from fedmed.crypto.identity import Identity
from fedmed.errors import ConfigError, IntegrityError, SignatureInvalid, StoreSetBack
from fedmed.governance.audit_chain import AuditKind
from fedmed_nodes.books import open_books
from fedmed_nodes.high_water import require_whole_ledger
from fedmed_nodes.home import Home, create_home
from fedmed_nodes.log_views import Check, log_document, log_lines, read_expected, stored_log
from tests.contracts.store_contract import RECORD
from tests.node_home import me

# Together these take more than the fast part of the suite can spare.
pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path: Path) -> Home:
    create_home(tmp_path / "home", "node1", user=me())
    made = Home(tmp_path / "home")
    with open_books(made) as books:
        for _ in range(6):
            books.logbook.write(AuditKind.STARTED)
        books.store.seal(books.logbook, keep=2)
    return made


def test_store_and_sealed_files_are_checked_from_files_alone(home: Home) -> None:
    log = stored_log(home, last=None, check=Check())
    assert log.head is not None
    assert (log.head.counter, log.sealed) == (7, 4)
    assert "the chain holds: 7 entries, 4 of them in sealed files" in log_lines(log, log.entries[-1:])
    assert log_document(log, log.entries)["verified"]["head"] == log.head.head.hex()
    assert len(stored_log(home, last=5).entries) == 5
    expected = read_expected(f"{log.head.counter}:{log.head.head.hex()}")
    assert stored_log(home, last=None, check=Check(expected=expected)).head == expected


def test_a_cut_at_the_end_shows_against_the_mark_and_against_what_others_kept(
    home: Home, tmp_path: Path
) -> None:
    shutil.copytree(home.path / "store", tmp_path / "old")
    with open_books(home) as books:
        books.logbook.write(AuditKind.STARTED)
    log = stored_log(home, last=None, check=Check())
    shutil.rmtree(home.path / "store")
    shutil.copytree(tmp_path / "old", home.path / "store")
    with pytest.raises(StoreSetBack, match="wrote audit entry 8; the store ends at 7"):
        stored_log(home, last=None, check=Check())
    with pytest.raises(IntegrityError, match="entry 8 is known elsewhere and is missing"):
        stored_log(home, last=None, check=Check(expected=log.head))


def cut_last_charge(home: Home) -> None:
    """What who may write the file can do: the trigger stands again, so the schema looks untouched."""
    with contextlib.closing(sqlite3.connect(home.path / "store" / "custodian.db")) as db, db:
        (trigger,) = db.execute("SELECT sql FROM sqlite_master WHERE name = 'ledger_delete'").fetchone()
        db.execute("DROP TRIGGER ledger_delete")
        db.execute("DELETE FROM ledger WHERE position = (SELECT max(position) FROM ledger)")
        db.execute(trigger)


def test_a_charge_that_was_cut_off_is_missed_by_verify_and_by_the_first_write(home: Home) -> None:
    with open_books(home) as books:
        for number in (1, 2):
            books.logbook.write(
                AuditKind.ACCEPTED, detail="plan", ledger=(replace(RECORD, round_number=number),)
            )
        books.logbook.write(AuditKind.STARTED)
    assert stored_log(home, last=None, check=Check()).head is not None
    with contextlib.closing(home.store()) as store:
        require_whole_ledger(store)
    cut_last_charge(home)
    with pytest.raises(IntegrityError, match="tells of 2 charges, the ledger holds 1"):
        stored_log(home, last=None, check=Check())
    with contextlib.closing(home.store()) as store:
        assert len(store.ledger()) == 1, "the rows' own links show nothing"
        with pytest.raises(IntegrityError, match="tells of 2 charges"):
            require_whole_ledger(store)
    with open_books(home) as books, pytest.raises(IntegrityError, match="tells of 2 charges"):
        books.logbook.write(AuditKind.STARTED)


def test_sealed_files_alone_are_checked_with_the_card(home: Home, tmp_path: Path) -> None:
    copy = Home(tmp_path / "copy")
    copy.path.mkdir(mode=0o700)
    shutil.copytree(home.path / "audit", copy.path / "audit")
    log = stored_log(copy, last=None, check=Check(card=home.card()))
    assert log.head is not None
    assert log.head.counter == 4
    unknown = "later entries may have been cut off"
    assert unknown in log_lines(log, log.entries)
    against = Check(card=home.card(), expected=log.head)
    assert unknown not in log_lines(stored_log(copy, last=None, check=against), ())
    assert unknown not in log_lines(stored_log(home, last=None, check=Check()), ()), "its mark tells"
    with pytest.raises(ConfigError, match="--card"):
        stored_log(copy, last=None, check=Check())
    with pytest.raises(SignatureInvalid, match="entry 1"):
        stored_log(copy, last=None, check=Check(card=Identity.create("node1").public))
    shutil.rmtree(copy.path / "audit")
    with pytest.raises(ConfigError, match="name a home"):
        stored_log(copy, last=1)


@pytest.mark.parametrize("text", ["", "5", "0:" + "ab" * 32, "5:ab", "x:" + "ab" * 32])
def test_a_head_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="COUNTER:HEAD"):
        read_expected(text)
