"""An old ledger under today's code: what it spent, and what a crash or a full disk may do to it.

``data/custodian_schema_1.db`` is a store that schema 1 wrote: a study of 4 planned releases that was charged
3 times, and a second one that was only reserved.
"""

from __future__ import annotations

import resource
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from fedmed.errors import IntegrityError, StoreFailed, UnknownVersion
from fedmed.governance.audit_chain import verify_chain
from fedmed_nodes import store_schema
from fedmed_nodes.budget_desk import read_book
from fedmed_nodes.sqlite_store import SqliteStore
from fedmed_nodes.store_schema import SCHEMA, SCHEMA_VERSION, schema_of
from fedmed_nodes.stores import Batch
from tests.contracts.store_contract import entry_after
from tests.federation import identity_of, small_source

OLD = Path(__file__).parent / "data" / "custodian_schema_1.db"
CHARGED = bytes.fromhex("46138a872fb8ccfdc0651af756b995c05326c837583cb8d16590dbed1cbedb98")
POINT = 2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir(mode=0o700)
    made = folder / "custodian.db"
    shutil.copyfile(OLD, made)
    made.chmod(0o600)
    return made


def version_of(path: Path) -> int:
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        return int(db.execute("PRAGMA user_version").fetchone()[0])
    finally:
        db.close()


def rows_of(path: Path) -> list[list[tuple[object, ...]]]:
    """Every value, charge and audit entry, byte for byte."""
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        tables = ("item", "ledger", "audit")
        return [db.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables]  # noqa: S608
    finally:
        db.close()


def test_a_migrated_ledger_spends_what_it_spent(path: Path) -> None:
    store = SqliteStore(path, create=False)
    book = read_book(store)
    # As the code that wrote the file computed them from it.
    assert book.spent(CHARGED, book.reservations[CHARGED.hex()].delta) == pytest.approx(0.8540602723647556)
    assert book.reserved(CHARGED) == pytest.approx(0.9999968881886463)
    assert book.committed(small_source(POINT), cap=2.0) == pytest.approx(1.4651090814151178)
    assert len(store.ledger()) == 3
    verify_chain(store.audit(), identity_of(POINT).public)
    store.commit(Batch(audit=(entry_after(store.audit(1)[-1]),)))
    assert store.acts() == ()
    store.close()


def test_a_migration_keeps_every_byte_and_leaves_the_old_file_beside(path: Path) -> None:
    SqliteStore(path, create=False).close()
    beside = path.with_name("custodian.db.schema1")
    assert (version_of(path), version_of(beside)) == (SCHEMA_VERSION, 1)
    assert stat.S_IMODE(beside.stat().st_mode) == 0o600
    assert rows_of(path) == rows_of(beside) == rows_of(OLD)
    kept = beside.read_bytes()
    SqliteStore(path, create=False).close()
    assert beside.read_bytes() == kept, "a second start migrates nothing"


def test_what_lies_in_the_old_log_is_migrated_too(path: Path) -> None:
    """The old program was killed: its last charge is only in the write-ahead log."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute("INSERT INTO item VALUES ('late', x'01')")
    for name in ("custodian.db", "custodian.db-wal"):
        shutil.copyfile(path.with_name(name), path.with_name(f"{name}.killed"))
    db.close()
    for name in ("custodian.db", "custodian.db-wal"):
        path.with_name(f"{name}.killed").rename(path.with_name(name))
        path.with_name(name).chmod(0o600)
    store = SqliteStore(path, create=False)
    assert store.get("late") == b"\x01"
    store.close()
    assert rows_of(path.with_name("custodian.db.schema1")) == rows_of(path)


def test_a_disk_without_room_for_the_copy_leaves_the_old_file_alone(path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        with pytest.raises(StoreFailed):
            SqliteStore(path, create=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (version_of(path), rows_of(path)) == (1, rows_of(OLD))
    SqliteStore(path, create=False).close()
    assert version_of(path) == SCHEMA_VERSION


def test_a_migration_that_dies_halfway_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last statement of the transaction fails, as a killed process would leave it."""
    broken = {**store_schema._ADDED[2], "more": "CREATE TABLE act (again)"}
    with monkeypatch.context() as patch:
        patch.setattr(store_schema, "_ADDED", {**store_schema._ADDED, 2: broken})
        with pytest.raises(StoreFailed, match="nothing was changed"):
            SqliteStore(path, create=False)
    assert (version_of(path), rows_of(path)) == (1, rows_of(OLD))
    SqliteStore(path, create=False).close()


def test_an_altered_old_file_is_refused_and_not_copied(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("DROP TRIGGER ledger_delete")
    db.close()
    with pytest.raises(IntegrityError, match="altered"):
        SqliteStore(path, create=False)
    assert not path.with_name("custodian.db.schema1").exists()


def test_a_newer_schema_is_refused_with_what_to_do(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    with pytest.raises(UnknownVersion, match=r"knows 1 to 2: install the FedMed that wrote it"):
        SqliteStore(path, create=False)


def test_a_migrated_store_is_a_new_one(path: Path, tmp_path: Path) -> None:
    SqliteStore(path, create=False).close()
    SqliteStore(tmp_path / "new" / "custodian.db").close()
    found = []
    for each in (path, tmp_path / "new" / "custodian.db"):
        db = sqlite3.connect(each)
        made = db.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
        found.append(dict(made.fetchall()))
        db.close()
    assert found[0] == found[1] == SCHEMA == schema_of(SCHEMA_VERSION)
