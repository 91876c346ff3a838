"""Keys of a province: the next one, the change, a stolen and a lost one, and a crash in the middle."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fedmed import wire
from fedmed.crypto.card import read_card
from fedmed.crypto.identity import PublicIdentity
from fedmed.errors import ConfigError, KeyNotUsable, RosterMismatch, SignatureInvalid, StoreFailed
from fedmed.governance.audit_chain import AuditKind, verify_chain
from fedmed.messages import Member, Roster
from fedmed_nodes.books import open_books
from fedmed_nodes.clock import SystemClock
from fedmed_nodes.home import Home, create_home
from fedmed_nodes.key_desk import (
    NEXT_KEY_FILE,
    PRESENT,
    make_next_key,
    replace_key,
    revoke_key,
)
from fedmed_nodes.roster_pin import pin_roster, with_pin
from tests.federation import roster_of
from tests.node_home import me

# Together these take more than the fast part of the suite can spare.
pytestmark = pytest.mark.slow

CLOCK = SystemClock()


def member(card: PublicIdentity) -> Member:
    return Member(name=card.name, signing_key=card.signing_key, sealing_key=card.sealing_key)


def roster_with(card: PublicIdentity, *, version: int) -> Roster:
    others = roster_of(3, threshold=3, colluders=1)
    return replace(others, version=version, members=(member(card), *others.members[1:]))


def pin(home: Home, roster: Roster) -> bool:
    with open_books(home) as books:
        return pin_roster(books, wire.encode_roster(roster), wire.roster_digest(roster).hex())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A node that pinned its first roster and has written a little."""
    card = create_home(tmp_path / "home", "node1", user=me())
    made = Home(tmp_path / "home")
    assert not pin(made, roster_with(card, version=1))
    return made


def kinds(home: Home) -> list[AuditKind]:
    store = home.store()
    entries = store.audit()
    store.close()
    verify_chain(entries, home.card())
    return [entry.event.kind for entry in entries]


def test_a_key_is_changed_when_the_new_roster_is_pinned(home: Home) -> None:
    old = home.identity()
    with open_books(home) as books:
        new = make_next_key(home, books.logbook, name="node1")
        assert make_next_key(home, books.logbook, name="node1") == new, "asked again, the same card"
        books.secrets.put(b"epoch", b"share")
    assert home.identity().public == old.public, "the node works on with the old key"
    assert pin(home, roster_with(new, version=2))
    assert home.identity().public == new == home.card()
    assert not (home.path / NEXT_KEY_FILE).exists()
    assert home.secrets().epochs() == frozenset(), "epochs end with the keys that they were dealt among"
    assert kinds(home)[-3:] == [AuditKind.KEY_MADE, AuditKind.ROSTER_PINNED, AuditKind.KEY_ROTATED]
    assert home.roster(home.node().roster_digest).version == 2
    keys = (old.private_bytes()[1:33], old.private_bytes()[33:65])
    for path in home.path.rglob("*"):
        assert not path.is_file() or not any(key in path.read_bytes() for key in keys), path
    with open_books(home) as books:
        books.logbook.write(AuditKind.STARTED)
    assert kinds(home)[-1] is AuditKind.STARTED


def test_a_change_that_a_crash_stopped_is_finished(home: Home, tmp_path: Path) -> None:
    with open_books(home) as books:
        new = make_next_key(home, books.logbook, name="node1")
    shutil.copytree(home.path, tmp_path / "before")
    pin(home, roster_with(new, version=2))
    for name in ("identity.key", NEXT_KEY_FILE, "card.toml"):  # the entry is on disk, no file was changed
        shutil.copy2(tmp_path / "before" / name, home.path / name)
    with open_books(home) as books:
        assert books.identity.public == new
    assert kinds(home)[-1] is AuditKind.KEY_ROTATED


def test_another_key_file_than_the_logs_is_refused(home: Home, tmp_path: Path) -> None:
    old = (home.path / "identity.key").read_bytes()
    with open_books(home) as books:
        new = make_next_key(home, books.logbook, name="node1")
    pin(home, roster_with(new, version=2))
    (home.path / "identity.key").write_bytes(old)
    with pytest.raises(KeyNotUsable, match="not the key that this node's log names"), open_books(home):
        pass


def test_a_roster_without_this_nodes_keys_or_an_older_one_is_not_pinned(home: Home) -> None:
    stranger = create_home(home.path.parent / "other", "node1", user=me())
    before = {p: p.read_bytes() for p in home.path.iterdir() if p.is_file()}
    with pytest.raises(RosterMismatch, match="other keys"):
        pin(home, roster_with(stranger, version=2))
    with pytest.raises(ConfigError, match="not newer"):
        pin(home, replace(roster_with(home.card(), version=1), colluders=0))
    roster = roster_with(home.card(), version=2)
    with open_books(home) as books, pytest.raises(RosterMismatch, match="you were told"):
        pin_roster(books, wire.encode_roster(roster), "0" * 64)
    with open_books(home) as books, pytest.raises(ConfigError, match="no roster"):
        pin_roster(books, b"?", "0" * 64)
    with open_books(home) as books, pytest.raises(ConfigError, match="64 hexadecimal"):
        pin_roster(books, wire.encode_roster(roster), "DIGEST")
    assert {p: p.read_bytes() for p in home.path.iterdir() if p.is_file()} == before


def test_an_older_roster_is_refused_although_the_pinned_file_was_written_over(home: Home) -> None:
    assert not pin(home, roster_with(home.card(), version=5))
    old = roster_with(home.card(), version=4)
    (home.path / "roster.bin").write_bytes(wire.encode_roster(old))
    with pytest.raises(ConfigError, match="roster 4 is not newer than roster 5"):
        pin(home, old)


def test_the_pin_is_the_only_change_of_the_settings() -> None:
    text = '# hello\nversion = 1\nroster_digest = ""   # by telephone\n[socket]\n'
    assert with_pin(text, "ab" * 32) == text.replace('""', f'"{"ab" * 32}"')
    assert with_pin("version = 1\n", "ab" * 32) == f'roster_digest = "{"ab" * 32}"\nversion = 1\n'
    with pytest.raises(ConfigError, match="yourself"):
        with_pin("roster_digest = '''\n'''\n", "ab" * 32)


def test_a_stolen_key_signs_its_end_and_nothing_more(home: Home) -> None:
    stolen = home.identity()
    with open_books(home) as books:
        books.secrets.put(b"epoch", b"share")
        revoke_key(books.logbook, books.secrets, public=stolen.public, reason="laptop stolen")
    assert home.secrets().epochs() == frozenset()
    assert kinds(home)[-1] is AuditKind.KEY_REVOKED
    with pytest.raises(KeyNotUsable, match="revoked"), open_books(home):
        pass
    with open_books(home, usable=False) as books:
        new = replace_key(home, books.store, clock=CLOCK)
    assert new != stolen.public
    assert kinds(home)[-1] is AuditKind.KEY_REPLACED
    assert not pin(home, roster_with(new, version=2))
    with open_books(home, usable=False) as books, pytest.raises(ConfigError, match="there and good"):
        replace_key(home, books.store, clock=CLOCK)


def test_a_lost_key_is_replaced_and_old_entries_still_hold(home: Home) -> None:
    old = home.card()
    (home.path / "identity.key").unlink()
    with pytest.raises(ConfigError, match="fedmed node key replace"), open_books(home):
        pass
    store = home.store()
    with home.locked():
        new = replace_key(home, store, clock=CLOCK)
    assert store.get(PRESENT) == new.signing_key
    store.close()
    assert read_card((home.path / "card.toml").read_text()) == new == home.identity().public
    assert kinds(home)[-1] is AuditKind.KEY_REPLACED
    store = home.store()
    with pytest.raises(SignatureInvalid, match="another key"):
        verify_chain(store.audit(), old)
    store.close()


def test_a_card_that_did_not_sign_the_log_replaces_nothing(home: Home, tmp_path: Path) -> None:
    create_home(tmp_path / "other", "node1", user=me())
    (home.path / "identity.key").unlink()
    shutil.copy2(tmp_path / "other" / "card.toml", home.path / "card.toml")
    store = home.store()
    with pytest.raises(ConfigError, match="put that card back"):
        replace_key(home, store, clock=CLOCK)
    store.close()


def test_a_home_that_never_wrote_just_gets_a_key(tmp_path: Path) -> None:
    create_home(tmp_path / "home", "node1", user=me())
    home = Home(tmp_path / "home")
    (home.path / "identity.key").unlink()
    store = home.store()
    new = replace_key(home, store, clock=CLOCK)
    assert store.audit() == ()
    store.close()
    assert home.identity().public == new


def test_no_command_writes_while_a_custodian_runs(home: Home) -> None:
    with home.locked(), pytest.raises(StoreFailed, match="already runs"), open_books(home):
        pass
