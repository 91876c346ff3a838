"""The newest entry that this node knows it wrote, kept where no backup looks.

After every commit the signed entry itself is written into one small file beside the key shares, which
backups leave out. A store that does not hold that entry any more is an old copy: somebody put it back by
hand, or the disk was restored without the operator saying so.

Threat model. Noticed: an old ``store/`` copied over the present one, a restored backup, a chain that was cut
or begun anew, also by root, as long as this file is not set back with it. Not noticed here: a snapshot of
the whole disk or machine, which sets both back, and anybody who removes or replaces this file together with
the store with the custodian's own rights and key. Against those stand the heads that other provinces and
the coordinator hold (`fedmed_nodes.rollback`), and the operators, who are told never to restore a snapshot.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fedmed.errors import StoreSetBack
from fedmed.governance.audit_chain import AuditEntry, ChainHead
from fedmed_nodes import private_folder
from fedmed_nodes.rollback import is_on_chain
from fedmed_nodes.stores import CustodianStore

MARK_FILE: Final = "newest-entry"
_MOST_BYTES: Final = 1 << 16


class HighWater:
    """One file with the newest audit entry of this node, in a folder of mode 0700."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; it must not be one that backups hold."""
        self._path = folder

    @property
    def path(self) -> Path:
        """The file."""
        return self._path / MARK_FILE

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Let one writer at a time commit and mark; raises `StoreFailed` where the folder cannot be used."""
        private_folder.prepare_folder(self._path, hidden=True)
        with private_folder.open_folder(self._path, hidden=True) as folder:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield

    def read(self) -> AuditEntry | None:
        """The newest entry; None if none was ever written here.

        Raises:
            IntegrityError: the file is cut or altered.
        """
        if not self._path.is_dir():
            return None
        with private_folder.open_folder(self._path, hidden=True) as folder:
            data = private_folder.read_file(MARK_FILE, folder=folder, path=self._path, most=_MOST_BYTES)
        return None if data is None else AuditEntry.from_bytes(data)

    def write(self, entry: AuditEntry) -> None:
        """Remember an entry that is on disk in the store.

        A full disk is no error: the commit has happened, and a mark that stays behind is still on the
        chain. It then notices a little less.
        """
        with contextlib.suppress(OSError), private_folder.open_folder(self._path, hidden=True) as folder:
            private_folder.replace_file(MARK_FILE, entry.to_bytes(), folder=folder)


def require_not_set_back(store: CustodianStore, mark: HighWater) -> None:
    """Raise unless the store still holds the newest entry that this node wrote.

    Raises:
        StoreSetBack: it does not, or the mark is gone although the store has entries: what it forgot cannot
            be known. Names the counters.
        IntegrityError: the mark or the chain was altered.
    """
    newest, end = mark.read(), chain_end(store)
    if newest is None and end is not None:
        raise StoreSetBack(
            f"{mark.path} is missing, so nobody can say whether the store is the newest: {_REMEDY}"
        )
    if newest is not None and not is_on_chain(store, counter=newest.counter, head=newest.head):
        reached = 0 if end is None else end.counter
        raise StoreSetBack(
            f"this node wrote audit entry {newest.counter}; the store ends at {reached} or has another one "
            f"there: it is an old copy. {_REMEDY}"
        )


_REMEDY: Final = "put the newest store back, or accept this one: fedmed node restore HOME --accept-store"


def chain_end(store: CustodianStore) -> ChainHead | None:
    """Where a store's chain ends; None for an empty one."""
    last = store.audit(1)
    return last[-1].chain_head if last else None
