"""Stores in memory and on disk keep one contract; batches check themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedmed.errors import ConfigError
from fedmed_nodes.secret_store import FileSecretStore
from fedmed_nodes.sqlite_store import SqliteStore
from fedmed_nodes.stores import (
    MAX_VALUE_BYTES,
    Batch,
    CustodianStore,
    MemorySecretStore,
    MemoryStore,
    SecretStore,
)
from tests.contracts.store_contract import (
    CustodianStoreContract,
    Open,
    SecretStoreContract,
    entry_after,
)
from tests.ledger_record import RECORD


class TestMemoryStore(CustodianStoreContract):
    @pytest.fixture
    def opened(self) -> Open:
        store = MemoryStore()
        return lambda: store


class TestSqliteStore(CustodianStoreContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Iterator[Open]:
        stores: list[SqliteStore] = []

        def another() -> CustodianStore:
            stores.append(SqliteStore(tmp_path / "node" / "custodian.db"))
            return stores[-1]

        yield another
        for store in stores:
            store.close()


class TestMemorySecretStore(SecretStoreContract):
    @pytest.fixture
    def opened(self) -> object:
        store = MemorySecretStore()
        return lambda: store


class TestFileSecretStore(SecretStoreContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> object:
        def another() -> SecretStore:
            return FileSecretStore(tmp_path / "node" / "shares")

        return another


def test_a_batch_keeps_what_it_was_given() -> None:
    values = {"a": b"1"}
    batch = Batch(puts=values)
    values["a"] = b"2"
    assert batch.puts["a"] == b"1"
    with pytest.raises(TypeError):
        batch.puts["a"] = b"3"  # type: ignore[index]


def test_a_debit_without_an_audit_entry_is_refused() -> None:
    with pytest.raises(ConfigError, match="audit entry"):
        Batch(ledger=(RECORD,))
    Batch(ledger=(RECORD,), audit=(entry_after(None),))


def test_a_batch_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match="both put and deleted"):
        Batch(puts={"a": b"1"}, deletes=frozenset({"a"}))


def test_values_are_bytes_of_a_bounded_length() -> None:
    with pytest.raises(ConfigError, match="must be bytes"):
        Batch(puts={"a": bytearray(b"1")})  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match="at most"):
        Batch(puts={"a": bytes(MAX_VALUE_BYTES + 1)})
    with pytest.raises(ConfigError, match="at most"):
        MemorySecretStore().put(b"e", bytes(MAX_VALUE_BYTES + 1))
