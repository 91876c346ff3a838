"""Key epochs as the operator sees and ends them."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from fedmed.errors import ConfigError
from fedmed.governance.audit_chain import AuditKind
from fedmed.types import Scheme
from fedmed_nodes.books import open_books
from fedmed_nodes.ceremony_desk import EpochRecord, epoch_key
from fedmed_nodes.epoch_desk import end_chosen, epoch_document, epoch_lines, held_epochs
from fedmed_nodes.home import Home, create_home
from tests.node_home import me

DAY = datetime.date(2026, 5, 1)
FIRST, SECOND, CRASHED = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32


@pytest.mark.slow
def test_epochs_are_listed_and_ended_for_good(tmp_path: Path) -> None:
    create_home(tmp_path / "home", "node1", user=me())
    home = Home(tmp_path / "home")
    assert epoch_lines(held_epochs(home)) == "no key shares lie here"
    with open_books(home) as books:
        for number, epoch in enumerate((FIRST, SECOND)):
            scheme = (Scheme.THRESHOLD, Scheme.CKKS)[number]
            record = EpochRecord(last_day=DAY, is_active=True, polynomials_opened=number, scheme=scheme)
            books.logbook.write(AuditKind.CEREMONY, puts={epoch_key(epoch): record.to_bytes()})
        for epoch in (FIRST, SECOND, CRASHED):
            books.secrets.put(epoch, b"share")
    found = held_epochs(home)
    assert [epoch.id[:2] for epoch in found] == ["03", "01", "02"]
    assert "of a ceremony that was stopped" in epoch_lines(found)
    assert epoch_document(found)["epochs"][2]["polynomials_opened"] == 1
    assert [one["scheme"] for one in epoch_document(found)["epochs"]] == ["threshold", "threshold", "ckks"]
    assert epoch_lines(found).count("the key that every province holds") == 1
    with open_books(home) as books:
        with pytest.raises(ConfigError, match="or give --all"):
            end_chosen(books, [], everything=False)
        with pytest.raises(ConfigError, match="no shares of epoch ff"):
            end_chosen(books, [FIRST.hex(), "ff"], everything=False)
        assert len(books.secrets.epochs()) == 3, "nothing was changed"
        assert end_chosen(books, [FIRST.hex()], everything=False) == (FIRST.hex(),)
        data = books.store.get(epoch_key(FIRST))
        assert data is not None
        assert not EpochRecord.from_bytes(data).is_active
        assert books.store.audit(1)[0].event.kind is AuditKind.EPOCH_DESTROYED
        assert end_chosen(books, [], everything=True) == (SECOND.hex(), CRASHED.hex())
        assert end_chosen(books, [], everything=True) == ()
        assert books.secrets.epochs() == frozenset()
