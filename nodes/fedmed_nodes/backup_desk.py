"""What the backup and restore commands need around `fedmed_nodes.backup`: locks, users, a new folder."""

from __future__ import annotations

import contextlib
import os
import pwd
from pathlib import Path

from fedmed.errors import ConfigError, StoreFailed
from fedmed.governance.audit_chain import AuditKind
from fedmed_nodes import private_folder
from fedmed_nodes.backup import Manifest, write_backup
from fedmed_nodes.books import open_books, operators_home
from fedmed_nodes.clock import Clock, SystemClock
from fedmed_nodes.home import Home, account, become
from fedmed_nodes.key_desk import present_identity
from fedmed_nodes.node_config import NODE_FILE


def back_up(home: Home, path: Path, *, clock: Clock | None = None) -> Manifest:
    """Back a home up; where no custodian runs, the log says so.

    A running custodian is not disturbed: a second writer would cost it a message.

    Args:
        home: The home; the process must be its user.
        path: The new file.
        clock: By default the machine's.

    Raises:
        FedMedError: as `write_backup` says.
    """
    at = (clock or SystemClock()).now().isoformat(timespec="seconds")
    if not is_running(home):
        with open_books(home, clock=clock) as books:
            books.logbook.write(AuditKind.BACKED_UP)
            return write_backup(home, books.store, path, identity=books.identity, at=at)
    with contextlib.closing(home.store()) as store:
        return write_backup(home, store, path, identity=present_identity(home, store), at=at)


def is_running(home: Home) -> bool:
    """Whether a custodian, or another command, holds the home."""
    try:
        with home.locked():
            return False
    except StoreFailed:
        return True


def home_to_restore(path: Path, *, user: str | None) -> Home:
    """The home that a backup goes into, with root given up for its user; a new folder is made.

    Args:
        path: A home, or a folder that is not there or has no settings yet.
        user: Owner of a new one; by default the present user, which must not be root.

    Raises:
        ConfigError: root names no user, or the folder is another user's.
    """
    if (path / NODE_FILE).exists():
        return operators_home(path)
    if user is None and os.geteuid() == 0:
        raise ConfigError("--user is missing: the custodian should run as a user of its own, not as root")
    owner = pwd.getpwuid(os.geteuid()) if user is None else account(user)
    if not path.exists():
        private_folder.prepare_folder(path, hidden=True)
        os.chown(path, owner.pw_uid, owner.pw_gid)
    become(owner, home=path)
    return Home(path.absolute())
