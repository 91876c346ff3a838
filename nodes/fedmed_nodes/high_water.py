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
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fedmed.errors import IntegrityError, StoreSetBack
from fedmed.governance.audit_chain import AuditEntry, ChainHead
from fedmed.governance.ledger_head import check_ledger, stated_head
from fedmed.types import DIGEST_BYTES, digest
from fedmed_nodes import private_folder
from fedmed_nodes.rollback import is_on_chain
from fedmed_nodes.stores import CustodianStore

MARK_FILE: Final = "newest-entry"
_HEAD: Final = struct.Struct("<QI")
_SLOT_BYTES: Final = 1 << 13
"""An entry takes at most about 3 kB: 1,024 bytes of detail, each written with at most two."""


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
        newest = max(self._slots(), default=None)
        return None if newest is None else AuditEntry.from_bytes(newest[1])

    def write(self, entry: AuditEntry) -> None:
        """Remember an entry that is on disk in the store; the caller holds `alone`.

        Two slots take turns and nothing is flushed: after a crash of the machine one of them is whole, and a
        mark that stays a little behind is still on the chain. For the same reason a full disk is no error:
        the commit has happened.
        """
        try:
            turn = max((number for number, _ in self._slots()), default=0) + 1
        except IntegrityError:  # the operator accepted the store in spite of it
            turn = 1
        data = entry.to_bytes()
        slot = _HEAD.pack(turn, len(data)) + data
        slot += digest("fedmed/newest-entry", slot)
        with contextlib.suppress(OSError), private_folder.open_folder(self._path, hidden=True) as folder:
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(MARK_FILE, flags, private_folder.FILE_MODE, dir_fd=folder)
            try:
                os.pwrite(descriptor, slot.ljust(_SLOT_BYTES, b"\0"), turn % 2 * _SLOT_BYTES)
            finally:
                os.close(descriptor)

    def _slots(self) -> list[tuple[int, bytes]]:
        """Turn and entry of each slot that is whole; raises `IntegrityError` if there is a file without."""
        if not self._path.is_dir():
            return []
        with private_folder.open_folder(self._path, hidden=True) as folder:
            data = private_folder.read_file(MARK_FILE, folder=folder, path=self._path, most=2 * _SLOT_BYTES)
        if data is None:
            return []
        found = [s for at in (0, _SLOT_BYTES) if (s := _whole(data[at : at + _SLOT_BYTES])) is not None]
        if not found:
            raise IntegrityError(f"{self.path} was altered or cut; {_REMEDY}")
        return found


def _whole(slot: bytes) -> tuple[int, bytes] | None:
    """Turn and entry of a slot; None for one that is empty, cut or half written."""
    if len(slot) < _HEAD.size:
        return None
    turn, size = _HEAD.unpack_from(slot)
    end = _HEAD.size + size
    if slot[end : end + DIGEST_BYTES] != digest("fedmed/newest-entry", slot[:end]):
        return None
    return turn, slot[_HEAD.size : end]


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


def require_whole_ledger(store: CustodianStore) -> None:
    """Raise `IntegrityError` unless the ledger holds every charge that the store's audit log tells of."""
    stated = stated_head(store.audit(_RECENT)) or stated_head(store.audit())
    check_ledger(store.ledger(), stated)


_RECENT: Final = 1_000
"""Entries among which the last charge is looked for, before sealed files are opened for it."""

_REMEDY: Final = "put the newest store back, or accept this one: fedmed node restore HOME --accept-store"


def chain_end(store: CustodianStore) -> ChainHead | None:
    """Where a store's chain ends; None for an empty one."""
    last = store.audit(1)
    return last[-1].chain_head if last else None
