"""The store on disk: what a crash, a full disk, a second process or an altered file can do."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedmed.errors import ConfigError, IntegrityError, StoreConflict, StoreFailed, UnknownVersion
from fedmed.governance.audit_chain import verify_chain
from fedmed_nodes.sqlite_store import SqliteStore
from fedmed_nodes.stores import Batch
from tests.contracts.store_contract import NODE, RECORD, debit, entry_after, next_entry

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "node" / "custodian.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    yield store
    store.close()


def altered(path: Path, *statements: str) -> None:
    """Change a closed store behind its back, triggers taken off and put back."""
    db = sqlite3.connect(path, isolation_level=None)
    triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        db.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        db.execute(statement)
    for _, sql in triggers:
        db.execute(sql)
    db.close()


# --- what is on disk -------------------------------------------------------------------------------


def test_commits_are_flushed_to_a_write_ahead_log(store: SqliteStore) -> None:
    db = store._db
    assert db is not None
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA synchronous").fetchone() == (2,), "2 is FULL"


def test_only_the_custodians_user_may_read(path: Path) -> None:
    before = os.umask(0)
    try:
        store = SqliteStore(path)
        debit(store, 1)
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    store.close()
    assert modes == {"custodian.db": 0o600, "custodian.db-wal": 0o600, "custodian.db-shm": 0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_store_is_there_after_it_was_closed(path: Path) -> None:
    first = SqliteStore(path)
    debit(first, 1)
    whole = first.audit()
    first.close()
    assert not path.with_name("custodian.db-wal").exists()
    second = SqliteStore(path, create=False)
    debit(second, 2)
    assert second.audit()[:1] == whole
    assert [record.round_number for record in second.ledger()] == [1, 2]
    second.close()


@pytest.mark.parametrize("table", ["ledger", "audit"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {table} SET {number} = {number}",
        "UPDATE OR REPLACE {table} SET {number} = 1 WHERE {number} = 2",
        "DELETE FROM {table} WHERE {number} = 2",
        "DELETE FROM {table}",
        "INSERT OR REPLACE INTO {table} VALUES (1, x'00', x'00')",
        "INSERT OR REPLACE INTO {table} VALUES (2, x'00', x'00')",
        "INSERT OR IGNORE INTO {table} VALUES (4, x'00', x'00')",
        "INSERT INTO {table} VALUES (0, x'00', x'00')",
        "INSERT INTO {table} VALUES (-1, x'00', x'00')",
        "INSERT INTO {table} VALUES (NULL, x'00', x'00')",
        "INSERT INTO {table} VALUES (3, 'text', x'00')",
    ],
)
def test_ledger_and_audit_rows_cannot_be_changed_through_sql(
    store: SqliteStore, path: Path, table: str, statement: str
) -> None:
    debit(store, 1)
    debit(store, 2)
    before = (store.ledger(), store.audit())
    db = sqlite3.connect(path, isolation_level=None)
    number = {"ledger": "position", "audit": "counter"}[table]
    with pytest.raises(sqlite3.IntegrityError, match=r"append-only|CHECK"):
        db.execute(statement.format(table=table, number=number))
    db.close()
    fresh = SqliteStore(path)
    assert (fresh.ledger(), fresh.audit()) == before
    fresh.close()


# --- what is refused on opening --------------------------------------------------------------------


def test_a_store_of_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    SqliteStore(path).close()
    altered(path, "PRAGMA user_version = 3")
    before = path.read_bytes()
    with pytest.raises(UnknownVersion, match="schema 3"):
        SqliteStore(path)
    assert path.read_bytes() == before


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE ledger (a)")
    db.close()
    path.chmod(0o600)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="not a FedMed store"):
        SqliteStore(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TRIGGER ledger_delete",
        "DROP TRIGGER audit_order",
        "DROP TABLE ledger",
        "CREATE TRIGGER more AFTER INSERT ON item BEGIN DELETE FROM item; END",
        "CREATE VIEW more AS SELECT * FROM item",
        "ALTER TABLE item ADD COLUMN more",
    ],
)
def test_altered_tables_or_triggers_are_refused(path: Path, statement: str) -> None:
    SqliteStore(path).close()
    db = sqlite3.connect(path)
    db.execute(statement)
    db.close()
    with pytest.raises(IntegrityError, match="altered"):
        SqliteStore(path)


def test_a_file_that_is_no_database_is_refused_as_damaged(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"something else entirely" * 100)
    path.chmod(0o600)
    with pytest.raises(IntegrityError, match="damaged"):
        SqliteStore(path)


def test_a_lost_store_is_not_taken_for_an_unspent_one(path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no store"):
        SqliteStore(path, create=False)
    assert not path.exists()
    path.touch(mode=0o600)
    with pytest.raises(ConfigError, match="empty"):
        SqliteStore(path, create=False)
    SqliteStore(path).close()
    SqliteStore(path, create=False).close()


@pytest.mark.parametrize(
    "name", ["custodian.db", "custodian.db-wal", "custodian.db-shm", "custodian.db-journal"]
)
def test_a_link_in_the_place_of_a_file_is_refused(path: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    target.chmod(0o600)
    path.parent.mkdir(mode=0o700)
    (path.parent / name).symlink_to(target)
    with pytest.raises(ConfigError, match="no link"):
        SqliteStore(path)
    assert target.read_bytes() == b"precious"


def test_a_file_or_folder_open_to_others_is_refused(path: Path) -> None:
    SqliteStore(path).close()
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        SqliteStore(path)
    path.chmod(0o600)
    path.parent.chmod(0o770)
    with pytest.raises(ConfigError, match="chmod 700"):
        SqliteStore(path)
    path.parent.chmod(0o755)
    SqliteStore(path).close()


# --- damage is found on reading --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "position"),
    [
        ("UPDATE ledger SET record = replace(record, '23.59', '99.99') WHERE position = 2", 2),
        ("DELETE FROM ledger WHERE position = 2", 2),
        ("DELETE FROM ledger WHERE position = 1", 1),
        ("UPDATE ledger SET link = zeroblob(32) WHERE position = 3", 3),
        ("UPDATE ledger SET record = (SELECT record FROM ledger WHERE position = 1) WHERE position = 2", 2),
    ],
)
def test_a_damaged_ledger_row_is_named(path: Path, statement: str, position: int) -> None:
    store = SqliteStore(path)
    for number in (1, 2, 3):
        debit(store, number)
    store.close()
    altered(
        path,
        statement.replace("replace(record,", "CAST(replace(CAST(record AS TEXT),").replace(
            "'99.99')", "'99.99') AS BLOB)"
        ),
    )
    store = SqliteStore(path)
    for _ in range(2):
        with pytest.raises(IntegrityError, match=f"ledger row {position} "):
            store.ledger()
    store.close()


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("DELETE FROM audit WHERE counter = 1", "audit row 1 "),
        ("DELETE FROM audit WHERE counter = 2", "audit row 2 "),
        ("UPDATE audit SET head = zeroblob(32) WHERE counter = 3", "audit row 3 "),
        ("UPDATE audit SET entry = zeroblob(9) WHERE counter = 3", "audit record"),
        (
            "UPDATE audit SET entry = (SELECT entry FROM audit WHERE counter = 1) WHERE counter = 2",
            "audit row 2 ",
        ),
    ],
)
def test_a_damaged_audit_row_is_named(path: Path, statement: str, named: str) -> None:
    store = SqliteStore(path)
    for number in (1, 2, 3):
        debit(store, number)
    store.close()
    altered(path, statement)
    store = SqliteStore(path)
    with pytest.raises(IntegrityError, match=named):
        store.audit()
    store.close()


# --- disks that fail -------------------------------------------------------------------------------


def test_a_full_disk_gives_a_clear_error_and_changes_nothing(store: SqliteStore, path: Path) -> None:
    debit(store, 1)
    before = (store.audit(), store.ledger(), store.get("round"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (path.with_name("custodian.db-wal").stat().st_size + 9000, hard)
    )
    try:
        with pytest.raises(StoreFailed, match="nothing was changed"):
            store.commit(
                Batch(
                    puts={"large": bytes(1 << 20), "round": b"x"},
                    ledger=(RECORD,),
                    audit=(next_entry(store),),
                )
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (store.audit(), store.ledger(), store.get("round"), store.get("large")) == (*before, None)
    debit(store, 2)
    assert len(store.ledger()) == 2


def test_a_database_at_its_largest_gives_a_clear_error_and_changes_nothing(store: SqliteStore) -> None:
    assert store._db is not None
    store._db.execute("PRAGMA max_page_count = 20")
    with pytest.raises(StoreFailed, match="full"):
        store.commit(Batch(puts={"large": bytes(1 << 20)}, audit=(entry_after(None),)))
    assert store.audit() == ()
    debit(store, 1)


def test_a_read_only_store_gives_a_clear_error_and_changes_nothing(store: SqliteStore) -> None:
    debit(store, 1)
    assert store._db is not None
    store._db.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreFailed, match=r"read-?only"):
        debit(store, 2)
    assert len(store.ledger()) == len(store.audit()) == 1


def test_a_store_that_another_process_keeps_locked_gives_up(path: Path) -> None:
    store = SqliteStore(path, patience_s=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreFailed, match="locked"):
        debit(store, 1)
    assert store.ledger() == ()
    other.execute("ROLLBACK")
    other.close()
    debit(store, 1)
    store.close()


def test_an_interrupted_commit_leaves_no_transaction_open(store: SqliteStore, path: Path) -> None:
    debit(store, 1)
    with pytest.raises(StoreConflict):
        store.commit(Batch(audit=(entry_after(None),)))
    assert store._db is not None
    assert not store._db.in_transaction
    other = SqliteStore(path, patience_s=0.05)
    debit(other, 2)
    assert len(store.ledger()) == 2
    other.close()


# --- several processes, and processes that die -----------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from fedmed.errors import StoreConflict
from fedmed_nodes.sqlite_store import SqliteStore
from tests.contracts.store_contract import debit

store = SqliteStore(Path(sys.argv[1]), patience_s=60)
number = 0
while number < int(sys.argv[2]):
    try:
        debit(store, number + 1)
    except StoreConflict:
        continue
    number += 1
    print(number, flush=True)
"""


def writer(path: Path, commits: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(commits)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.slow
def test_two_processes_open_and_write_one_store_at_once(path: Path) -> None:
    processes = [writer(path, 30) for _ in range(2)]
    for process in processes:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        assert out.split()[-1] == "30"
    store = SqliteStore(path)
    assert len(store.ledger()) == 60
    assert verify_chain(store.audit(), NODE.public).counter == 60
    store.close()


@pytest.mark.slow
def test_a_killed_process_loses_no_acknowledged_commit(path: Path) -> None:
    """Each round kills a process that has acknowledged 20 commits more than the one before."""
    before = 0
    for round_of_kills in range(1, 4):
        process = writer(path, 1_000_000)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(20 * round_of_kills)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
        process.wait()
        process.stdout.close()
        store = SqliteStore(path)
        ledger, acknowledged = store.ledger(), int(lines[-1])
        assert before + acknowledged <= len(ledger) <= before + acknowledged + 1
        assert verify_chain(store.audit(), NODE.public).counter == len(ledger)
        assert store.get("round") == b"%d" % ledger[-1].round_number
        store.close()
        before = len(ledger)


def test_a_copy_taken_before_the_checkpoint_needs_the_log(
    store: SqliteStore, path: Path, tmp_path: Path
) -> None:
    """Why the module says to copy all files: the first one alone is an old state."""
    debit(store, 1)
    copies = tmp_path / "copies"
    for number, names in enumerate([["custodian.db", "custodian.db-wal"], ["custodian.db"]]):
        folder = copies / str(number)
        folder.mkdir(parents=True, mode=0o700)
        for name in names:
            (folder / name).write_bytes(path.with_name(name).read_bytes())
            (folder / name).chmod(0o600)
    restored = SqliteStore(copies / "0" / "custodian.db")
    assert restored.ledger() == store.ledger()
    restored.close()


def test_a_torn_end_of_the_log_is_cut_at_the_last_whole_commit(path: Path, tmp_path: Path) -> None:
    store = SqliteStore(path)
    for number in (1, 2, 3):
        debit(store, number)
    database, log = path.read_bytes(), path.with_name("custodian.db-wal").read_bytes()
    store.close()
    found = set()
    for number, size in enumerate(range(0, len(log) + 1, 1999)):
        folder = tmp_path / f"torn{number}"
        folder.mkdir(mode=0o700)
        for name, data in (("custodian.db", database), ("custodian.db-wal", log[:size])):
            (folder / name).write_bytes(data)
            (folder / name).chmod(0o600)
        torn = SqliteStore(folder / "custodian.db")
        ledger, audit = torn.ledger(), torn.audit()
        torn.close()
        assert len(ledger) == len(audit) == verify_chain(audit, NODE.public).counter
        found.add(len(ledger))
    assert len(found) > 1, "the cuts fell before and after commits"
