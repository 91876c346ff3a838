"""What a custodian keeps: the contracts of its two stores, and both of them in memory.

`CustodianStore` holds values, the privacy ledger, operators' acts and the audit chain, changed by one
all-or-nothing commit. `SecretStore` holds key shares, which must not come back from a backup. On disk:
`fedmed_nodes.sqlite_store` and `fedmed_nodes.secret_store`. All implementations pass
``tests/contracts/store_contract.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NoReturn, Protocol

from fedmed.errors import StoreConflict, StoreFailed
from fedmed.governance.audit_chain import EMPTY_CHAIN, AuditEntry, ChainHead
from fedmed.governance.operators import SignedAct, act_head
from fedmed.privacy.ledger_record import LedgerRecord
from fedmed.types import require

MAX_KEY_BYTES: Final = 256
MAX_VALUE_BYTES: Final = 1 << 28
MAX_EPOCH_ID_BYTES: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One all-or-nothing change.

    Attributes:
        puts: Values to write, by key; an older value is replaced.
        deletes: Keys to remove; keys that are not there are no error.
        ledger: Records to append.
        audit: Entries to append; the first must follow the last one in the store.
        acts: Operators' acts to append; the first must follow the last one in the store.

    Guarantees:
        A batch with ledger records or acts has an audit entry: the entry's place in the chain is what shows
        a writer that decided on an old ledger, and two such writers could spend one budget twice.

    Raises:
        ConfigError: a key or a value is not usable, or a debit or act comes without an audit entry.
    """

    puts: Mapping[str, bytes] = field(default_factory=dict)
    deletes: frozenset[str] = frozenset()
    ledger: tuple[LedgerRecord, ...] = ()
    audit: tuple[AuditEntry, ...] = ()
    acts: tuple[SignedAct, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "puts", MappingProxyType(dict(self.puts)))
        for key in (*self.puts, *self.deletes):
            require_key(key)
        for key, value in self.puts.items():
            require(isinstance(value, bytes), f"value of {key} must be bytes, got {type(value).__name__}")
            require(len(value) <= MAX_VALUE_BYTES, f"value of {key} must be at most {MAX_VALUE_BYTES} bytes")
        both = sorted(self.deletes & set(self.puts))
        require(not both, f"keys are both put and deleted: {both[:3]}")
        unseen = bool(self.ledger or self.acts) and not self.audit
        require(not unseen, "ledger records and acts need an audit entry in the same batch")


class CustodianStore(Protocol):
    """Values, ledger, acts and audit chain of one custodian; safe to call from several threads.

    A caller that decides on what it read must read the end of the audit chain first, then the rest, and
    commit an entry that follows that end: if anybody else wrote in between, the commit is refused.
    """

    def get(self, key: str) -> bytes | None:
        """Return the value of ``key``, None if there is none."""
        ...

    def commit(self, batch: Batch) -> None:
        """Apply a batch, all or nothing, and on disk (where there is one) before this returns.

        Raises:
            StoreConflict: the audit entries or acts do not follow the last one in the store: somebody else
                wrote.
            StoreFailed: the store cannot be written or is closed.

        In both cases nothing has changed.
        """
        ...

    def ledger(self) -> tuple[LedgerRecord, ...]:
        """Return all records in the order in which they were appended."""
        ...

    def acts(self) -> tuple[SignedAct, ...]:
        """Return all acts of operators in the order in which they were appended."""
        ...

    def audit(self, last: int | None = None) -> tuple[AuditEntry, ...]:
        """Return the audit chain in order, or its ``last`` entries (>= 0)."""
        ...

    def close(self) -> None:
        """Release what the store holds; a second call does nothing, any other call then fails."""
        ...


class SecretStore(Protocol):
    """Key shares by epoch. What is destroyed is gone; what is backed up is not destroyed: exclude it."""

    def put(self, epoch_id: bytes, secret: bytes) -> None:
        """Keep ``secret`` for an epoch (1 to 64 bytes of id); replaces the one before, durably."""
        ...

    def get(self, epoch_id: bytes) -> bytes | None:
        """Return the epoch's secret, None if there is none or it was destroyed."""
        ...

    def destroy(self, epoch_id: bytes) -> None:
        """Make the epoch's secret unreadable, durably; an epoch that is not there is no error."""
        ...

    def epochs(self) -> frozenset[bytes]:
        """Ids of the epochs whose secret is there."""
        ...


class MemoryStore:
    """A `CustodianStore` in memory, for simulations: it ends with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, bytes] = {}
        self._ledger: tuple[LedgerRecord, ...] = ()
        self._audit: tuple[AuditEntry, ...] = ()
        self._acts: tuple[SignedAct, ...] = ()
        self._closed = False

    def get(self, key: str) -> bytes | None:
        """See `CustodianStore.get`."""
        require_key(key)
        with self._lock:
            self._require_open()
            return self._values.get(key)

    def commit(self, batch: Batch) -> None:
        """See `CustodianStore.commit`."""
        with self._lock:
            self._require_open()
            last = self._audit[-1].chain_head if self._audit else EMPTY_CHAIN
            require_following(last, batch.audit)
            acts = self._acts
            for act in batch.acts:
                require_following_act(len(acts), act_head(acts), act)
                acts += (act,)
            kept = {key: value for key, value in self._values.items() if key not in batch.deletes}
            self._values = kept | dict(batch.puts)
            self._ledger += batch.ledger
            self._audit += batch.audit
            self._acts = acts

    def ledger(self) -> tuple[LedgerRecord, ...]:
        """See `CustodianStore.ledger`."""
        with self._lock:
            self._require_open()
            return self._ledger

    def acts(self) -> tuple[SignedAct, ...]:
        """See `CustodianStore.acts`."""
        with self._lock:
            self._require_open()
            return self._acts

    def audit(self, last: int | None = None) -> tuple[AuditEntry, ...]:
        """See `CustodianStore.audit`."""
        require_last(last)
        with self._lock:
            self._require_open()
            return self._audit if last is None else self._audit[max(0, len(self._audit) - last) :]

    def close(self) -> None:
        """See `CustodianStore.close`."""
        with self._lock:
            self._closed = True

    def _require_open(self) -> None:
        """Refuse to work after `close`, as a store on disk does."""
        if self._closed:
            raise StoreFailed("the store is closed; open it again")


class MemorySecretStore:
    """A `SecretStore` in memory, for simulations. Not pickled, and its repr shows no secret."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._secrets: dict[bytes, bytes] = {}

    def put(self, epoch_id: bytes, secret: bytes) -> None:
        """See `SecretStore.put`."""
        require_secret(epoch_id, secret)
        with self._lock:
            self._secrets[epoch_id] = secret

    def get(self, epoch_id: bytes) -> bytes | None:
        """See `SecretStore.get`."""
        require_epoch_id(epoch_id)
        with self._lock:
            return self._secrets.get(epoch_id)

    def destroy(self, epoch_id: bytes) -> None:
        """See `SecretStore.destroy`; Python cannot wipe the memory itself."""
        require_epoch_id(epoch_id)
        with self._lock:
            self._secrets.pop(epoch_id, None)

    def epochs(self) -> frozenset[bytes]:
        """See `SecretStore.epochs`."""
        with self._lock:
            return frozenset(self._secrets)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a MemorySecretStore holds key shares and is neither pickled nor copied")


def require_following(last: ChainHead, entries: tuple[AuditEntry, ...]) -> None:
    """Raise `StoreConflict` unless the entries follow ``last`` and each other."""
    for entry in entries:
        if (entry.counter, entry.previous_head) != (last.counter + 1, last.head):
            raise StoreConflict(
                f"audit entry {entry.counter} does not follow entry {last.counter} of the store:"
                " somebody else wrote to it; read it again and decide anew"
            )
        last = entry.chain_head


def require_following_act(counter: int, head: bytes, signed: SignedAct) -> None:
    """Raise `StoreConflict` unless an act follows ``counter`` acts that end with ``head``."""
    act = signed.act
    if (act.counter, act.previous) != (counter + 1, head):
        raise StoreConflict(
            f"act {act.counter} does not follow act {counter} of the store: read it again and decide anew"
        )


def require_key(key: str) -> None:
    """Raise `ConfigError` unless ``key`` is 1 to 256 bytes of printable text."""
    size = len(key.encode()) if key.isprintable() else 0
    require(1 <= size <= MAX_KEY_BYTES, f"a key must be 1 to {MAX_KEY_BYTES} bytes of printable text")


def require_last(last: int | None) -> None:
    """Raise `ConfigError` unless ``last`` is None or >= 0."""
    require(last is None or last >= 0, f"last must be >= 0 or None, got {last}")


def require_epoch_id(epoch_id: bytes) -> None:
    """Raise `ConfigError` unless an epoch id is 1 to 64 bytes."""
    good = 1 <= len(epoch_id) <= MAX_EPOCH_ID_BYTES
    require(good, f"epoch_id must be 1 to {MAX_EPOCH_ID_BYTES} bytes, got {len(epoch_id)}")


def require_secret(epoch_id: bytes, secret: bytes) -> None:
    """Raise `ConfigError` unless an epoch's secret can be kept."""
    require_epoch_id(epoch_id)
    require(isinstance(secret, bytes), f"secret must be bytes, got {type(secret).__name__}")
    length = len(secret)
    require(length <= MAX_VALUE_BYTES, f"secret must be at most {MAX_VALUE_BYTES} bytes, got {length}")
