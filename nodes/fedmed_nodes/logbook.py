"""The custodian's hand on its store: every change is one batch with one audit entry."""

from __future__ import annotations

from collections.abc import Mapping

from fedmed.crypto.identity import Identity
from fedmed.errors import StoreConflict
from fedmed.governance.audit_chain import EMPTY_CHAIN, AuditEntry, AuditEvent, AuditKind, ChainHead, append
from fedmed.governance.ledger_head import LedgerHead
from fedmed.governance.operators import SignedAct
from fedmed.privacy.ledger_record import LedgerRecord
from fedmed_nodes.clock import Clock
from fedmed_nodes.stores import Batch, CustodianStore


class Logbook:
    """Writes batches that carry an audit entry, and tells where the chain stands.

    The chain's end is remembered from the last write, not read again just before the next one: whatever
    was decided in between was decided on that end, so a second process that wrote meanwhile is noticed
    (`StoreConflict`) and two processes on one store can never answer two sets or spend one budget twice.
    """

    def __init__(self, store: CustodianStore, identity: Identity, clock: Clock) -> None:
        self._store = store
        self._identity = identity
        self._clock = clock
        self._last = self._read_end()
        self._charged = LedgerHead()

    def _read_end(self) -> AuditEntry | None:
        """Last entry in the store."""
        entries = self._store.audit(1)
        return entries[-1] if entries else None

    @property
    def position(self) -> ChainHead:
        """Head and counter of the audit chain; every signed message carries them."""
        return EMPTY_CHAIN if self._last is None else self._last.chain_head

    def get(self, key: str) -> bytes | None:
        """Read a value."""
        return self._store.get(key)

    def ledger(self) -> tuple[LedgerRecord, ...]:
        """All charges so far."""
        return self._store.ledger()

    def acts(self) -> tuple[SignedAct, ...]:
        """All acts of operators so far."""
        return self._store.acts()

    def now(self) -> str:
        """The present as ISO 8601 text with offset, whole seconds."""
        return self._clock.now().isoformat(timespec="seconds")

    def write(
        self,
        kind: AuditKind,
        *,
        study: bytes = b"",
        code: str = "",
        detail: str = "",
        puts: Mapping[str, bytes] | None = None,
        deletes: frozenset[str] = frozenset(),
        ledger: tuple[LedgerRecord, ...] = (),
        acts: tuple[SignedAct, ...] = (),
    ) -> None:
        """Commit one change with its audit entry; durable when this returns.

        Args:
            kind: What happened.
            study: Digest of the study, or empty.
            code: Stable error code, or empty.
            detail: Public words only: never a count, a value or a key.
            puts: Values to write.
            deletes: Keys to remove.
            ledger: Charges; the entry then states, behind its detail, where the ledger stands with them.
            acts: Acts of operators.

        Raises:
            StoreConflict: another process wrote; nothing was changed, and the next decision starts from
                what is there now.
            StoreFailed: nothing was changed.
        """
        charged = self._charged_now().after(ledger) if ledger else self._charged
        detail = charged.stated(detail) if ledger else detail
        event = AuditEvent(at=self.now(), kind=kind, study=study.hex(), code=code, detail=detail)
        entry = append(self._last, event, sign=self._identity.sign)
        try:
            self._store.commit(
                Batch(puts=puts or {}, deletes=deletes, ledger=ledger, audit=(entry,), acts=acts)
            )
        except StoreConflict:
            self._last = self._read_end()
            raise
        self._last, self._charged = entry, charged

    def _charged_now(self) -> LedgerHead:
        """Where the ledger stands; rows that were linked before cannot change, and are not linked again."""
        return self._charged.after(self._store.ledger()[self._charged.count :])
