"""What the daemon writes between messages, around a real custodian on a real disk."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from fedmed.errors import StoreSetBack
from fedmed.governance.audit_chain import AuditKind, verify_chain
from fedmed_nodes.daemon import open_office
from fedmed_nodes.home import Home
from fedmed_nodes.housekeeping import Housekeeper
from fedmed_nodes.kept_store import KeptStore
from fedmed_nodes.notes import Notes
from fedmed_nodes.office import Office
from tests.node_home import make_home

# Together these take more than the fast part of the suite can spare.
pytestmark = pytest.mark.slow


def opened(home: Home, notes: Notes, said: list[str]) -> tuple[Housekeeper, Office, KeptStore]:
    store = home.store()
    office = open_office(home, home.node(), store=store)
    return Housekeeper(office, store, notes, say=said.append), office, store


def test_the_log_tells_of_start_notes_seals_and_stop(tmp_path: Path) -> None:
    home, notes, said = Home(tmp_path / "home"), Notes(), list[str]()
    make_home(home.path)
    keeper, office, store = opened(home, notes, said)
    keeper.started(roster_digest=home.node().roster_digest, policy_digest=home.policy().digest.hex())
    notes.add(AuditKind.CALLER_REFUSED, detail="user 1003")
    keeper.tidy()
    with office._turn:  # a message is under way
        notes.add(AuditKind.READ, detail="budget")
        thread = threading.Thread(target=keeper.tidy)
        thread.start()
        thread.join(timeout=10)
        assert not thread.is_alive(), "it waits a second, not for the end of a message"
    keeper.tidy(seal_above=0)
    for _ in range(3):
        office.write(lambda logbook: logbook.write(AuditKind.STARTED))
    keeper.stopped()
    entries = store.audit()
    verify_chain(entries, home.card())
    kinds = [entry.event.kind for entry in entries]
    assert kinds[:3] == [AuditKind.STARTED, AuditKind.CALLER_REFUSED, AuditKind.READ]
    assert kinds[-1] is AuditKind.STOPPED
    assert home.policy().digest.hex() in entries[0].event.detail
    assert said == []
    store.close()


def test_a_disk_that_refuses_is_told_once_and_tried_again(tmp_path: Path) -> None:
    home, notes, said = Home(tmp_path / "home"), Notes(), list[str]()
    make_home(home.path)
    keeper, _, store = opened(home, notes, said)
    store.close()
    notes.add(AuditKind.READ, detail="log")
    keeper.stopped()
    keeper.stopped()
    assert len(said) == 1
    assert "closed" in said[0]
    assert len(notes.due(0.0)) == 1


def test_an_old_store_stops_the_start(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    make_home(home.path)
    keeper, _, store = opened(home, Notes(), [])
    shutil.copytree(home.path / "store", tmp_path / "old")
    keeper.started(roster_digest="", policy_digest="")
    store.close()
    shutil.rmtree(home.path / "store")
    shutil.copytree(tmp_path / "old", home.path / "store")
    keeper, _, store = opened(home, Notes(), [])
    with pytest.raises(StoreSetBack):
        keeper.started(roster_digest="", policy_digest="")
    store.close()
