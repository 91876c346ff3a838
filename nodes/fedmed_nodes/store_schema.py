"""The schema of the custodian's store, its versions, and how an older file becomes one of today.

Threat model: a newer FedMed wrote the file and this one would misread it; a migration dies halfway, or the
disk is full, and a ledger is lost, which would read as an unspent budget. So a newer schema is refused; an
older one is copied to a file beside first, then changed in one transaction, and never changed back. Records
keep their bytes: a migration adds tables, it does not rewrite what was signed or charged.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from fedmed.errors import ConfigError, IntegrityError, StoreFailed, UnknownVersion
from fedmed_nodes import private_folder

SCHEMA_VERSION: Final = 2
APPLICATION_ID: Final = 0x46654D44
"""``FeMD`` in the file's header tells a FedMed store from any other database."""

Statements = Mapping[str, str]
"""SQL by the name of what it makes."""


def _append_only(table: str, number: str) -> dict[str, str]:
    """Triggers that refuse changes, removals and rows out of order.

    The last one also stops INSERT OR REPLACE, which removes a row without firing a delete trigger.
    """
    following = f"(SELECT coalesce(max({number}), 0) + 1 FROM {table})"  # noqa: S608 - names of this module
    occasions = {
        f"{table}_update": f"BEFORE UPDATE ON {table}",
        f"{table}_delete": f"BEFORE DELETE ON {table}",
        f"{table}_order": f"BEFORE INSERT ON {table} WHEN NEW.{number} IS NOT {following}",
    }
    refusal = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    return {name: f"CREATE TRIGGER {name} {occasion} {refusal}" for name, occasion in occasions.items()}


def _blob(column: str) -> str:
    """A column that holds bytes; SQLite itself would take any type."""
    return f"{column} BLOB NOT NULL CHECK (typeof({column}) = 'blob')"


def _table(name: str, number: str, *columns: str) -> str:
    """A table of numbered rows of bytes."""
    return f"CREATE TABLE {name} ({number} INTEGER PRIMARY KEY, {', '.join(map(_blob, columns))})"


# What each version added to the one before: 1 values, ledger and audit chain; 2 operators' acts.
_ADDED: Final[Mapping[int, Statements]] = MappingProxyType(
    {
        1: {
            "item": f"CREATE TABLE item (key TEXT PRIMARY KEY NOT NULL, {_blob('value')})",
            "ledger": _table("ledger", "position", "link", "record"),
            "audit": _table("audit", "counter", "head", "entry"),
            **_append_only("ledger", "position"),
            **_append_only("audit", "counter"),
        },
        2: {
            "act": _table("act", "position", "head", "body", "signature"),
            **_append_only("act", "position"),
        },
    }
)


def schema_of(version: int) -> Statements:
    """All tables and triggers of a version, 1 to `SCHEMA_VERSION`."""
    return {name: sql for at in range(1, version + 1) for name, sql in _ADDED[at].items()}


SCHEMA: Final = schema_of(SCHEMA_VERSION)


def prepare_schema(db: sqlite3.Connection, path: Path, *, folder: int, create: bool) -> None:
    """Refuse what is not our schema, before anything is written; make it, or bring it up to date.

    Args:
        db: A connection that begins no transaction by itself; nobody else opens the file meanwhile.
        path: The file.
        folder: Descriptor of its folder.
        create: Make the schema in an empty file.

    Guarantees:
        A file of an older version is first copied whole to ``NAME.schemaVERSION`` beside it, with mode
        0600, then changed in one transaction: a crash leaves the old file or the new one. Values, charges
        and audit entries keep their bytes.

    Raises:
        ConfigError: another program's file, or an empty one that was not to be made.
        UnknownVersion: a newer version's.
        IntegrityError: tables or triggers were altered.
        StoreFailed: its file system has no write-ahead logs, or the copy cannot be written.
    """
    found = dict(db.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall())
    application, version = _number(db, "application_id"), _number(db, "user_version")
    empty = not found and application == version == 0
    if not empty:
        _require_ours(found, path, application=application, version=version)
    elif not create:
        raise ConfigError(f"the store {path} is empty; restore it, or create one on purpose")
    if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise StoreFailed(f"{path} lies on a file system without write-ahead logs; use a local disk")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA journal_size_limit = {1 << 26}")
    if not empty and version < SCHEMA_VERSION:
        _copy_beside(db, path, folder=folder, version=version)
    if version < SCHEMA_VERSION:
        _add(db, since=version)


def _require_ours(found: Statements, path: Path, *, application: int, version: int) -> None:
    """The file is a FedMed store of a version that is known, as that version made it."""
    if application != APPLICATION_ID:
        raise ConfigError(f"{path} is not a FedMed store; name another file")
    if not 1 <= version <= SCHEMA_VERSION:
        raise UnknownVersion(
            f"{path} has schema {version}, this FedMed knows 1 to {SCHEMA_VERSION}: install the FedMed that "
            "wrote it, or a newer one; nothing was changed"
        )
    if found != schema_of(version):
        raise IntegrityError(f"the tables or triggers of {path} were altered; restore it from a backup")


def _add(db: sqlite3.Connection, *, since: int) -> None:
    """Make what the versions after ``since`` have; 0 = everything."""
    with transaction(db):
        for version in range(since + 1, SCHEMA_VERSION + 1):
            for statement in _ADDED[version].values():
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _copy_beside(db: sqlite3.Connection, path: Path, *, folder: int, version: int) -> None:
    """Copy the whole store, what lies in its log included, to a file that is there whole or not at all."""
    name = f"{path.name}.schema{version}"
    waiting = f"{name}.new"
    with contextlib.suppress(FileNotFoundError):  # left by a crash
        os.unlink(waiting, dir_fd=folder)
    private_folder.create_file(waiting, b"", folder=folder)
    copy = sqlite3.connect(path.with_name(waiting), isolation_level=None)
    try:
        db.backup(copy)
        # One file, which can be read where folders are closed to writing.
        copy.execute("PRAGMA journal_mode = DELETE")
    finally:
        copy.close()
    os.rename(waiting, name, src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Hold the write lock from the first read on, so what was checked still holds when it is written."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # A full disk ends the transaction by itself; a second error must not hide the first.
        if db.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
        raise


def _number(db: sqlite3.Connection, pragma: str) -> int:
    """A number in the file's header."""
    return int(db.execute(f"PRAGMA {pragma}").fetchone()[0])
