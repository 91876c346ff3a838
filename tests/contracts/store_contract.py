"""What every custodian store and every secret store must do; inherited by the tests of each.

The `opened` fixtures give a function, so that a test can open a second store (for one in memory that is the
same object: nothing else shares its values).
"""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from fedmed.crypto.identity import Identity
from fedmed.errors import ConfigError, StoreConflict, StoreFailed
from fedmed.governance.audit_chain import AuditEntry, AuditEvent, AuditKind, append, verify_chain
from fedmed.governance.operators import ActKind
from fedmed.privacy.ledger_record import LedgerRecord
from fedmed_nodes.stores import Batch, CustodianStore, SecretStore
from tests.ledger_record import RECORD
from tests.operator_acts import PLACE, act_at, after, signed

NODE = Identity("shanghai", signing_key=bytes([1]) * 32, sealing_key=bytes([2]) * 32)
AT = "2026-01-31T08:00:00+00:00"


def entry_after(previous: AuditEntry | None, detail: str = "") -> AuditEntry:
    return append(previous, AuditEvent(at=AT, kind=AuditKind.ACCEPTED, detail=detail), sign=NODE.sign)


def next_entry(store: CustodianStore, detail: str = "") -> AuditEntry:
    last = store.audit(1)
    return entry_after(last[-1] if last else None, detail)


def debit(store: CustodianStore, round_number: int) -> None:
    record = replace(RECORD, round_number=round_number)
    store.commit(Batch(ledger=(record,), audit=(next_entry(store),), puts={"round": b"%d" % round_number}))


Open = Callable[[], CustodianStore]


class CustodianStoreContract:
    """The contract of `CustodianStore`."""

    @pytest.fixture
    def store(self, opened: Open) -> CustodianStore:
        return opened()

    def test_a_new_store_is_empty(self, store: CustodianStore) -> None:
        assert store.get("a") is None
        assert store.ledger() == ()
        assert store.acts() == ()
        assert store.audit() == ()
        assert store.audit(3) == ()

    def test_a_batch_is_there_when_commit_returns(self, store: CustodianStore, opened: Open) -> None:
        first = entry_after(None, "first")
        second = entry_after(first, "上海")
        store.commit(
            Batch(
                puts={"a": b"1", "计划": b"\x00\xff", "empty": b""},
                ledger=(RECORD, RECORD),
                audit=(first, second),
            )
        )
        for seen in (store, opened()):
            assert (seen.get("a"), seen.get("计划"), seen.get("empty")) == (b"1", b"\x00\xff", b"")
            assert seen.ledger() == (RECORD, RECORD)
            assert seen.audit() == (first, second)

    def test_acts_are_kept_in_their_chain_and_never_twice(self, store: CustodianStore, opened: Open) -> None:
        first = signed(act_at(PLACE, ActKind.APPROVE))
        second = signed(act_at(after(PLACE, first), ActKind.RAISE, by="wang.fang"))
        store.commit(Batch(acts=(first,), audit=(next_entry(store),)))
        for stale in (first, signed(act_at(PLACE, ActKind.REVOKE))):
            with pytest.raises(StoreConflict, match="act 1 does not follow"):
                store.commit(Batch(acts=(stale,), audit=(next_entry(store),), puts={"a": b"1"}))
        store.commit(Batch(acts=(second,), audit=(next_entry(store),)))
        for seen in (store, opened()):
            assert (seen.acts(), seen.get("a")) == ((first, second), None)
        with pytest.raises(ConfigError, match="need an audit entry"):
            Batch(acts=(first,))

    def test_values_are_replaced_and_deleted(self, store: CustodianStore) -> None:
        store.commit(Batch(puts={"a": b"1", "b": b"2", "c": b"3"}))
        store.commit(Batch(puts={"a": b"x"}, deletes=frozenset({"b", "never there"})))
        assert [store.get(key) for key in "abc"] == [b"x", None, b"3"]
        store.commit(Batch())
        assert [store.get(key) for key in "abc"] == [b"x", None, b"3"]

    def test_the_last_entries_of_the_audit_chain_are_given(self, store: CustodianStore) -> None:
        for number in range(1, 6):
            debit(store, number)
        whole = store.audit()
        assert [entry.counter for entry in whole] == [1, 2, 3, 4, 5]
        assert [store.audit(last) for last in (0, 2, 5, 9, 10**30)] == [(), whole[3:], *[whole] * 3]
        verify_chain(whole, NODE.public)
        with pytest.raises(ConfigError, match="last"):
            store.audit(-1)

    def test_ledger_and_audit_chain_only_grow(self, store: CustodianStore, opened: Open) -> None:
        seen: tuple[LedgerRecord, ...] = ()
        for number in range(1, 6):
            debit(store, number)
            now = store.ledger()
            assert now[:-1] == seen
            assert now[-1].round_number == number
            seen = now
        assert opened().ledger() == seen

    @pytest.mark.parametrize("wrong", ["same again", "gap", "other past", "gap inside", "first again"])
    def test_a_stale_writer_is_refused_and_changes_nothing(self, store: CustodianStore, wrong: str) -> None:
        debit(store, 1)
        debit(store, 2)
        before = (store.audit(), store.ledger(), store.get("round"))
        first, second = store.audit()
        good = entry_after(second)
        entries = {
            "same again": (second,),
            "gap": (entry_after(good),),
            "other past": (replace(good, previous_head=first.head),),
            "gap inside": (good, entry_after(entry_after(good))),
            "first again": (entry_after(None),),
        }[wrong]
        with pytest.raises(StoreConflict, match="read it again"):
            store.commit(
                Batch(puts={"round": b"stale"}, deletes=frozenset({"x"}), ledger=(RECORD,), audit=entries)
            )
        assert (store.audit(), store.ledger(), store.get("round")) == before
        store.commit(Batch(audit=(good,)))

    def test_one_of_several_writers_wins_each_place(self, opened: Open) -> None:
        """Every thread writes until it has written five times; none of the refused ones leaves a trace."""
        stores = [opened() for _ in range(3)]
        refused: list[int] = []

        def work(store: CustodianStore) -> None:
            written = 0
            while written < 5:
                try:
                    debit(store, 1)
                    written += 1
                except StoreConflict:
                    refused.append(1)

        threads = [threading.Thread(target=work, args=(store,)) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for store in stores:
            assert len(store.ledger()) == 15
            assert verify_chain(store.audit(), NODE.public).counter == 15

    def test_a_closed_store_refuses(self, store: CustodianStore) -> None:
        store.close()
        store.close()
        calls: list[Callable[[], object]] = [
            lambda: store.get("a"),
            lambda: store.commit(Batch(puts={"a": b"1"})),
            store.ledger,
            store.audit,
        ]
        for call in calls:
            with pytest.raises(StoreFailed, match="closed"):
                call()

    @pytest.mark.parametrize("key", ["", "a\nb", "\0", "x" * 257, "\udc80"])
    def test_an_unusable_key_is_refused(self, store: CustodianStore, key: str) -> None:
        with pytest.raises(ConfigError, match="key"):
            store.get(key)
        with pytest.raises(ConfigError, match="key"):
            Batch(puts={key: b""})
        with pytest.raises(ConfigError, match="key"):
            Batch(deletes=frozenset({key}))


class SecretStoreContract:
    """The contract of `SecretStore`."""

    @pytest.fixture
    def secrets(self, opened: Callable[[], SecretStore]) -> SecretStore:
        return opened()

    def test_a_secret_is_kept_by_epoch(self, secrets: SecretStore, opened: Callable[[], SecretStore]) -> None:
        assert secrets.epochs() == frozenset()
        for epoch_id, secret in ((b"\x01" * 32, b"one"), (b"\x02" * 32, b""), (b"\x03", bytes(100_000))):
            secrets.put(epoch_id, secret)
            assert secrets.get(epoch_id) == opened().get(epoch_id) == secret
        assert opened().epochs() == {b"\x01" * 32, b"\x02" * 32, b"\x03"}
        assert secrets.get(b"\x04" * 32) is None

    def test_a_second_put_replaces_the_first(self, secrets: SecretStore) -> None:
        secrets.put(b"e", b"one")
        secrets.put(b"e", b"a longer one")
        assert secrets.get(b"e") == b"a longer one"
        assert secrets.epochs() == {b"e"}

    def test_what_is_destroyed_is_gone_and_the_rest_stays(
        self, secrets: SecretStore, opened: Callable[[], SecretStore]
    ) -> None:
        secrets.put(b"old", b"1")
        secrets.put(b"new", b"2")
        secrets.destroy(b"old")
        secrets.destroy(b"old")
        secrets.destroy(b"never there")
        for store in (secrets, opened()):
            assert store.get(b"old") is None
            assert store.get(b"new") == b"2"
            assert store.epochs() == {b"new"}

    def test_no_repr_shows_a_secret_and_no_copy_is_made(self, secrets: SecretStore) -> None:
        secrets.put(b"e", b"SECRET")
        assert "SECRET" not in repr(secrets)
        for make in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="key shares"):
                make(secrets)

    @pytest.mark.parametrize("epoch_id", [b"", b"x" * 65])
    def test_an_unusable_epoch_id_is_refused(self, secrets: SecretStore, epoch_id: bytes) -> None:
        calls: list[Callable[[], object]] = [
            lambda: secrets.put(epoch_id, b""),
            lambda: secrets.get(epoch_id),
            lambda: secrets.destroy(epoch_id),
        ]
        for call in calls:
            with pytest.raises(ConfigError, match="epoch_id"):
                call()
