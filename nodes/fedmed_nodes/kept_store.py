"""The store of a home: the database, the sealed part of its audit chain, and the mark of its newest entry.

Everybody who asks for the chain gets the whole of it, wherever its parts lie.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fedmed.errors import IntegrityError
from fedmed.governance.audit_chain import AuditEntry, AuditKind
from fedmed.governance.operators import SignedAct
from fedmed.privacy.ledger_record import LedgerRecord
from fedmed.types import require
from fedmed_nodes.audit_archive import AuditArchive, SealedFile
from fedmed_nodes.high_water import HighWater, require_not_set_back, require_whole_ledger
from fedmed_nodes.logbook import Logbook
from fedmed_nodes.sqlite_store import SEALED_KEY, SqliteStore, sealed_value
from fedmed_nodes.stores import Batch, require_last

SEAL_ABOVE: Final = 20_000
"""Entries in the store above which the custodian seals the older part; at 450 bytes each, 9 MB."""
KEEP: Final = 1_000
"""Entries that stay in the store when it seals: the studies under way look into these."""


class KeptStore:
    """A `fedmed_nodes.stores.CustodianStore` on disk, with archive and mark.

    Guarantees:
        The first commit of a process is refused if the store was set back (`StoreSetBack`), so nothing is
        ever written on top of an old copy, and likewise (`IntegrityError`) if its ledger lacks a charge that
        the log tells of. After a commit the mark names its last entry.
    """

    def __init__(self, database: SqliteStore, *, archive: AuditArchive, mark: HighWater) -> None:
        """Put the parts together; the store closes the database."""
        self._database = database
        self._archive = archive
        self._mark = mark
        self._is_newest = False

    @property
    def archive(self) -> AuditArchive:
        """The sealed files."""
        return self._archive

    @property
    def mark(self) -> HighWater:
        """The newest entry that is known outside the database."""
        return self._mark

    def accept(self) -> None:
        """Write on this store from now on although it was set back: the operator said so."""
        self._is_newest = True

    def get(self, key: str) -> bytes | None:
        """See `CustodianStore.get`."""
        return self._database.get(key)

    def commit(self, batch: Batch) -> None:
        """See `CustodianStore.commit`; raises `StoreSetBack` and `IntegrityError` as the class says."""
        with self._mark.alone():
            if not self._is_newest:
                require_not_set_back(self, self._mark)
                require_whole_ledger(self)
                self._is_newest = True
            self._database.commit(batch)
            if batch.audit:
                self._mark.write(batch.audit[-1])

    def ledger(self) -> tuple[LedgerRecord, ...]:
        """See `CustodianStore.ledger`."""
        return self._database.ledger()

    def acts(self) -> tuple[SignedAct, ...]:
        """See `CustodianStore.acts`."""
        return self._database.acts()

    def audit(self, last: int | None = None) -> tuple[AuditEntry, ...]:
        """See `CustodianStore.audit`; sealed entries are read from their files where they are asked for.

        Raises:
            IntegrityError: names the first entry that is missing or altered.
        """
        require_last(last)
        live, sealed = self._database.audit(last), self._database.sealed_until()
        missing = sealed.counter if last is None else min(sealed.counter, last - len(live))
        if missing <= 0:
            return live
        older = self._archive.entries(sealed.counter - missing + 1, sealed.counter)
        if older[-1].chain_head != sealed:
            raise IntegrityError(f"audit entry {sealed.counter} is not the one that was sealed: a fork")
        return older + live

    def copy_to(self, path: Path) -> None:
        """Copy the database; see `SqliteStore.copy_to`."""
        self._database.copy_to(path)

    def live_entries(self) -> int:
        """Entries that are not sealed."""
        (last,) = self._database.audit(1) or (None,)
        return 0 if last is None else last.counter - self._database.sealed_until().counter

    def close(self) -> None:
        """See `CustodianStore.close`."""
        self._database.close()

    def seal(self, logbook: Logbook, *, keep: int = KEEP) -> SealedFile | None:
        """Seal the older part of the chain; its place in the chain is an entry of its own.

        A crash at any point loses nothing: until the entry is written the file counts for nothing and is
        replaced by the next try, and rows that are left behind are removed by it.

        Args:
            logbook: Writes on this store.
            keep: Entries that stay, >= 1.

        Returns:
            The new file; None if there is nothing older.
        """
        require(keep >= 1, f"keep must be >= 1, got {keep}")
        live = self._database.audit()
        older = live[: max(0, len(live) - keep)]
        if not older:
            self._database.drop_sealed_audit()
            return None
        file = self._archive.seal(older)
        logbook.write(
            AuditKind.LOG_SEALED,
            detail=f"entries {file.first} to {file.last} in {file.name}",
            puts={SEALED_KEY: sealed_value(older[-1].chain_head)},
        )
        self._database.drop_sealed_audit()
        return file
