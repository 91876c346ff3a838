"""The custodian's store on disk: one SQLite file with values, privacy ledger and audit chain.

The file is three while it is open (``-wal`` and ``-shm`` beside it): a copy of the first alone is an old
state. Back it up while no custodian runs, or with SQLite's own ``.backup``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fedmed.errors import ConfigError, IntegrityError, StoreFailed
from fedmed.governance.audit_chain import EMPTY_CHAIN, AuditEntry, ChainHead
from fedmed.governance.ledger_head import ledger_link
from fedmed.governance.operators import NO_ACT_HEAD, SignedAct
from fedmed.privacy.ledger_record import LedgerRecord
from fedmed.types import DIGEST_BYTES
from fedmed_nodes import private_folder
from fedmed_nodes.store_schema import SCHEMA, prepare_schema, transaction
from fedmed_nodes.stores import Batch, require_following, require_following_act, require_key, require_last

SEALED_KEY: Final = "audit/sealed"
"""Value that says up to where the audit chain lies in sealed files; `sealed_value` writes it."""

_FIRST_LINK: Final = bytes(DIGEST_BYTES)
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class SqliteStore:
    """A `fedmed_nodes.stores.CustodianStore` in one SQLite file.

    Guarantees:
        `commit` is one transaction in a write-ahead log that is flushed before it returns (``synchronous``
        is FULL): a crash loses nothing that was acknowledged and leaves nothing half done. Several processes
        may use one file; a writer whose audit entries do not follow the file's last one is refused inside
        the transaction. Ledger and audit rows cannot be changed or removed through SQL as long as the
        triggers stand, and opening checks that they do. Ledger rows are linked by a digest, so damage,
        gaps and reordering are found on reading. The file has mode 0600.
    """

    def __init__(self, path: Path, *, create: bool = True, patience_s: float = 5.0) -> None:
        """Open the store, or make it.

        Args:
            path: The file; its folder must be closed to other writers, since they could swap it.
            create: Make a missing store. A daemon that ran before gives False: a lost ledger must not be
                mistaken for an unspent one.
            patience_s: Seconds to wait for another process's transaction.

        Raises:
            ConfigError: there is no store to open, it is another program's file, a link, or open to others.
            UnknownVersion: its schema is a newer version's; an older one is migrated (`store_schema`).
            IntegrityError: its tables or triggers were altered, or the file is damaged.
            StoreFailed: it cannot be made, opened or locked.
        """
        self._path = path
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._known: tuple[LedgerRecord, ...] = ()
        self._known_link = _FIRST_LINK
        private_folder.prepare_folder(path.parent, hidden=False)
        with self._translated(), _opening_alone(path.parent) as folder:
            _prepare_file(path, folder, create=create)
            db = _connect(path, patience_s)
            try:
                prepare_schema(db, path, folder=folder, create=create)
            except BaseException:
                db.close()
                raise
            self._db = db

    def get(self, key: str) -> bytes | None:
        """See `CustodianStore.get`."""
        require_key(key)
        with self._using() as db:
            row = db.execute("SELECT value FROM item WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def commit(self, batch: Batch) -> None:
        """See `CustodianStore.commit`."""
        with self._using() as db, transaction(db):
            require_following(_chain_head(db), batch.audit)
            db.executemany("DELETE FROM item WHERE key = ?", [(key,) for key in batch.deletes])
            db.executemany("INSERT OR REPLACE INTO item VALUES (?, ?)", list(batch.puts.items()))
            db.executemany("INSERT INTO ledger VALUES (?, ?, ?)", _ledger_rows(db, batch.ledger))
            entries = [(entry.counter, entry.head, entry.to_bytes()) for entry in batch.audit]
            db.executemany("INSERT INTO audit VALUES (?, ?, ?)", entries)
            db.executemany("INSERT INTO act VALUES (?, ?, ?, ?)", _act_rows(db, batch.acts))

    def ledger(self) -> tuple[LedgerRecord, ...]:
        """See `CustodianStore.ledger`; rows read before are kept, since they cannot change.

        Raises:
            IntegrityError: a row was altered, removed or moved; names its position.
        """
        with self._using() as db:
            known, link = list(self._known), self._known_link
            query = "SELECT position, link, record FROM ledger WHERE position > ? ORDER BY position"
            for position, stored, record in db.execute(query, (len(known),)):
                link = ledger_link(link, record)
                if position != len(known) + 1 or link != stored:
                    raise IntegrityError(
                        f"ledger row {len(known) + 1} of {self._path} is missing or was altered"
                    )
                known.append(LedgerRecord.from_bytes(record))
            self._known, self._known_link = tuple(known), link
            return self._known

    def acts(self) -> tuple[SignedAct, ...]:
        """See `CustodianStore.acts`.

        Raises:
            IntegrityError: a row was altered, removed or moved; names its position.
        """
        with self._using() as db:
            rows = db.execute("SELECT position, head, body, signature FROM act ORDER BY position").fetchall()
        found: list[SignedAct] = []
        head = NO_ACT_HEAD
        for position, stored, body, signature in rows:
            act = SignedAct(body=body, signature=signature)
            head = act.head(head)
            if (position, stored) != (len(found) + 1, head):
                raise IntegrityError(f"act {len(found) + 1} of {self._path} is missing or was altered")
            found.append(act)
        return tuple(found)

    def audit(self, last: int | None = None) -> tuple[AuditEntry, ...]:
        """See `CustodianStore.audit`; entries that were sealed (`drop_sealed_audit`) are not among them.

        Raises:
            IntegrityError: a row was altered, removed or moved. Signatures are checked by `verify_chain`.
        """
        require_last(last)
        with self._using() as db:
            sealed = _sealed_until(db)
            query = "SELECT counter, head, entry FROM audit WHERE counter > ? ORDER BY counter DESC LIMIT ?"
            most = sys.maxsize if last is None else min(last, sys.maxsize)
            rows = db.execute(query, (sealed.counter, most)).fetchall()
        entries = [self._entry(*row) for row in reversed(rows)]
        whole = last is None or len(entries) < last
        before = sealed if whole or not entries else _before(entries[0])
        for entry in entries:
            if (entry.counter, entry.previous_head) != (before.counter + 1, before.head):
                raise IntegrityError(f"audit row {before.counter + 1} of {self._path} is missing or altered")
            before = entry.chain_head
        return tuple(entries)

    def copy_to(self, path: Path) -> None:
        """Write a consistent copy into an empty private file, also while a custodian writes here."""
        with self._using() as db, contextlib.closing(_connect(path, 0.0)) as copy:
            db.backup(copy)

    def sealed_until(self) -> ChainHead:
        """Last audit entry that lies in a sealed file and no longer here; `EMPTY_CHAIN` for none."""
        with self._using() as db:
            return _sealed_until(db)

    def drop_sealed_audit(self) -> None:
        """Remove the audit rows that `SEALED_KEY` says lie in a sealed file; doing it again does nothing.

        Guarantees:
            The last row always stays, and with it the place that the next entry must follow.
        """
        with self._using() as db, transaction(db):
            until = min(_sealed_until(db).counter, _chain_head(db).counter - 1)
            # The trigger stands again when the transaction ends, also when it fails.
            db.execute("DROP TRIGGER audit_delete")
            db.execute("DELETE FROM audit WHERE counter <= ?", (until,))
            db.execute(SCHEMA["audit_delete"])

    def close(self) -> None:
        """See `CustodianStore.close`."""
        with self._lock, self._translated():
            db, self._db = self._db, None
            if db is not None:
                db.close()

    def _entry(self, counter: int, head: bytes, data: bytes) -> AuditEntry:
        """Read one audit row and compare it with its columns."""
        entry = AuditEntry.from_bytes(data)
        if (entry.counter, entry.head) != (counter, head):
            raise IntegrityError(f"audit row {counter} of {self._path} was altered")
        return entry

    @contextlib.contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to one thread at a time, with its errors translated."""
        with self._lock, self._translated():
            if self._db is None:
                raise StoreFailed(f"the store {self._path} is closed; open it again")
            yield self._db

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn SQLite's and the system's errors into ours; their texts hold no values."""
        try:
            yield
        except sqlite3.Error as error:
            # The low byte is the primary code; a constraint means a row that is out of order.
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:
                raise IntegrityError(f"the store {self._path} is damaged: {error}; restore it") from error
            raise StoreFailed(
                f"the store {self._path} refused: {error}; nothing was changed. Look for a full or read-only"
                " disk or another process"
            ) from error
        except OSError as error:
            raise StoreFailed(f"the store {self._path} cannot be opened: {error.strerror}") from error


@contextlib.contextmanager
def _opening_alone(folder: Path) -> Iterator[int]:
    """Let one process at a time make or check a store in this folder."""
    # The lock is the folder's: opening and closing the database file itself would drop SQLite's locks.
    with private_folder.open_folder(folder, hidden=False) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor


def _prepare_file(path: Path, folder: int, *, create: bool) -> None:
    """Make the file with its mode, so that SQLite gives its neighbours the same; or check what is there."""
    for name in (path.name, *(path.name + ending for ending in ("-wal", "-shm", "-journal"))):
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            if name == path.name:
                if not create:
                    raise ConfigError(
                        f"there is no store {path}; restore it, or create one on purpose"
                    ) from None
                private_folder.create_file(name, b"", folder=folder)
            continue
        private_folder.require_private_file(path.with_name(name), status)


def _connect(path: Path, patience_s: float) -> sqlite3.Connection:
    """Open a connection that begins no transaction by itself and takes no code from the file."""
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=patience_s,
        isolation_level=None,
        check_same_thread=False,
    )
    db.execute("PRAGMA trusted_schema = OFF")
    return db


def _chain_head(db: sqlite3.Connection) -> ChainHead:
    """Where the stored audit chain ends."""
    row = db.execute("SELECT counter, head FROM audit ORDER BY counter DESC LIMIT 1").fetchone()
    return EMPTY_CHAIN if row is None else ChainHead(counter=row[0], head=row[1])


def sealed_value(until: ChainHead) -> bytes:
    """What the store keeps under `SEALED_KEY`: counter and head of the last sealed audit entry."""
    return until.counter.to_bytes(8, "big") + until.head


def _sealed_until(db: sqlite3.Connection) -> ChainHead:
    """The last audit entry that was sealed."""
    row = db.execute("SELECT value FROM item WHERE key = ?", (SEALED_KEY,)).fetchone()
    if row is None:
        return EMPTY_CHAIN
    if len(row[0]) != 8 + DIGEST_BYTES:
        raise IntegrityError("what the store says of sealed audit entries was altered; restore it")
    return ChainHead(counter=int.from_bytes(row[0][:8], "big"), head=bytes(row[0][8:]))


def _before(entry: AuditEntry) -> ChainHead:
    """What an entry says that it follows."""
    return ChainHead(counter=entry.counter - 1, head=entry.previous_head)


def _ledger_rows(db: sqlite3.Connection, records: tuple[LedgerRecord, ...]) -> list[tuple[int, bytes, bytes]]:
    """Number and link new records after the last row."""
    row = db.execute("SELECT position, link FROM ledger ORDER BY position DESC LIMIT 1").fetchone()
    position, link = (0, _FIRST_LINK) if row is None else row
    rows = []
    for record in records:
        data = record.to_bytes()
        position, link = position + 1, ledger_link(link, data)
        rows.append((position, link, data))
    return rows


def _act_rows(db: sqlite3.Connection, acts: tuple[SignedAct, ...]) -> list[tuple[int, bytes, bytes, bytes]]:
    """Number and link new acts after the last row; they must follow it."""
    row = db.execute("SELECT position, head FROM act ORDER BY position DESC LIMIT 1").fetchone()
    position, head = (0, NO_ACT_HEAD) if row is None else row
    rows = []
    for act in acts:
        require_following_act(position, head, act)
        position, head = position + 1, act.head(head)
        rows.append((position, head, act.body, act.signature))
    return rows
