"""Backup and restore of a home: what is in the file, what is refused, what is written down."""

from __future__ import annotations

import io
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from fedmed.errors import ConfigError, IntegrityError, StoreFailed, StoreSetBack
from fedmed.governance.audit_chain import AuditKind, verify_chain
from fedmed_nodes.backup import Manifest, write_backup
from fedmed_nodes.books import open_books
from fedmed_nodes.home import Home, create_home
from fedmed_nodes.restore import accept_store, restore_backup
from fedmed_nodes.study_keys import RESTORED
from tests.contracts.store_contract import AT
from tests.node_home import me

# Together these take more than the fast part of the suite can spare.
pytestmark = pytest.mark.slow


def written(home: Home, entries: int, *, keep: int = 0) -> None:
    with open_books(home) as books:
        for _ in range(entries):
            books.logbook.write(AuditKind.STARTED)
        if keep:
            books.store.seal(books.logbook, keep=keep)


def backed_up(home: Home, path: Path) -> Manifest:
    with open_books(home) as books:
        return write_backup(home, books.store, path, identity=books.identity, at=AT)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A node that has written ten entries, some of them sealed."""
    create_home(tmp_path / "home", "node1", user=me())
    made = Home(tmp_path / "home")
    written(made, 9, keep=4)
    return made


def chain(home: Home) -> list[AuditKind]:
    store = home.store()
    entries = store.audit()
    store.close()
    verify_chain(entries, home.card())
    return [entry.event.kind for entry in entries]


def test_a_backup_holds_books_and_settings_and_no_key(home: Home, tmp_path: Path) -> None:
    home.secrets().put(b"epoch", b"a share that no backup may hold")
    manifest = backed_up(home, tmp_path / "backup")
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o600
    with tarfile.open(tmp_path / "backup") as bundle:
        assert sorted(bundle.getnames()) == [
            "audit/audit-00000001-00000005.jsonl",
            "card.toml",
            "manifest.json",
            "manifest.sig",
            "node.toml",
            "policy.toml",
            "store/custodian.db",
        ]
    assert manifest.head.counter == 10
    data = (tmp_path / "backup").read_bytes()
    identity = home.identity().private_bytes()
    secrets = [p.read_bytes() for p in (home.path / "secrets").glob("*.key")]
    assert secrets
    for secret in (identity[1:33], identity[33:65], *secrets):
        assert secret not in data
    with pytest.raises(ConfigError, match="is there already"):
        backed_up(home, tmp_path / "backup")


def test_a_lost_store_comes_back_and_says_so(home: Home, tmp_path: Path) -> None:
    backed_up(home, tmp_path / "backup")
    written(home, 3)
    home.secrets().put(b"epoch", b"share")
    shutil.rmtree(home.path / "store")
    done = restore_backup(home, tmp_path / "backup")
    assert (done.from_entry, done.known_entry, done.new_card) == (10, 13, None)
    assert "entries 11 to 13 are lost, and their charges" in done.words
    assert chain(home)[-1] is AuditKind.RESTORED
    store = home.store()
    assert store.get(RESTORED) == done.words.encode() == store.audit(1)[0].event.detail.encode()
    store.close()
    assert home.secrets().epochs() == frozenset()
    written(home, 1)
    assert len(chain(home)) == 12


def test_a_good_newer_store_is_not_forgotten_by_mistake(home: Home, tmp_path: Path) -> None:
    backed_up(home, tmp_path / "backup")
    written(home, 1)
    with pytest.raises(ConfigError, match=r"good and newer \(entry 11\)"):
        restore_backup(home, tmp_path / "backup")
    assert len(chain(home)) == 11
    done = restore_backup(home, tmp_path / "backup", forget_newer=True)
    assert done.put_aside is not None
    assert (done.put_aside / "store" / "custodian.db").exists()
    assert "entries 11 to 11 are lost" in done.words


def test_a_backup_comes_back_on_a_new_machine(home: Home, tmp_path: Path) -> None:
    backed_up(home, tmp_path / "backup")
    new = Home(tmp_path / "new")
    with pytest.raises(ConfigError, match=r"is not there.*--lost-key"):
        restore_backup(new, tmp_path / "backup")
    shutil.copy2(home.path / "identity.key", new.path / "identity.key")
    done = restore_backup(new, tmp_path / "backup")
    assert (done.known_entry, done.new_card) == (0, None)
    assert "what was written after it is lost" in done.words
    assert chain(new)[-1] is AuditKind.RESTORED
    assert new.card() == home.card()
    assert (new.path / "policy.toml").read_bytes() == (home.path / "policy.toml").read_bytes()
    written(new, 1)


def test_with_the_key_lost_a_new_one_goes_on_with_the_chain(home: Home, tmp_path: Path) -> None:
    backed_up(home, tmp_path / "backup")
    new = Home(tmp_path / "new")
    done = restore_backup(new, tmp_path / "backup", lost_key=True)
    assert done.new_card is not None
    assert done.new_card == new.card() == new.identity().public
    assert chain(new)[-2:] == [AuditKind.KEY_REPLACED, AuditKind.RESTORED]


def test_an_old_store_copied_back_by_hand_is_refused_until_the_operator_says_so(
    home: Home, tmp_path: Path
) -> None:
    shutil.copytree(home.path / "store", tmp_path / "old")
    written(home, 2)
    shutil.rmtree(home.path / "store")
    shutil.copytree(tmp_path / "old", home.path / "store")
    with pytest.raises(StoreSetBack, match="wrote audit entry 12; the store ends at 10"):
        written(home, 1)
    done = accept_store(home)
    assert "the store as it lay there, up to entry 10; entries 11 to 12 are lost" in done.words
    assert chain(home)[-1] is AuditKind.RESTORED
    written(home, 1)


def rewritten(path: Path, name: str, change: bytes | None) -> None:
    """Write the bundle again with one member changed or left out."""
    with tarfile.open(path) as bundle:
        parts = {m.name: bundle.extractfile(m).read() for m in bundle}  # type: ignore[union-attr]
    if change is None:
        del parts[name]
    else:
        parts[name] = change
    with tarfile.open(path, "w:") as bundle:
        for member, data in parts.items():
            told = tarfile.TarInfo(member)
            told.size = len(data)
            bundle.addfile(told, io.BytesIO(data))


def test_an_altered_backup_changes_nothing(home: Home, tmp_path: Path) -> None:
    backed_up(home, tmp_path / "backup")
    with tarfile.open(tmp_path / "backup") as bundle:
        manifest = bundle.extractfile("manifest.json").read()  # type: ignore[union-attr]
    before = {p: p.read_bytes() for p in home.path.rglob("*") if p.is_file()}
    changes: dict[str, tuple[str, bytes | None]] = {
        "policy": ("policy.toml", b"version = 1\nmax_epsilon_per_year = 99.0\n"),
        "ledger": ("store/custodian.db", b""),
        "log": ("audit/audit-00000001-00000005.jsonl", None),
        "counter": ("manifest.json", manifest.replace(b'"counter": 10', b'"counter": 11')),
        "path": ("manifest.json", manifest.replace(b'"policy.toml"', b'"../policy.toml"')),
        "signature": ("manifest.sig", bytes(64)),
        "no manifest": ("manifest.json", b"{}"),
    }
    for what, (name, change) in changes.items():
        shutil.copy2(tmp_path / "backup", tmp_path / what)
        rewritten(tmp_path / what, name, change)
        with pytest.raises(IntegrityError):
            restore_backup(home, tmp_path / what, forget_newer=True)
    (tmp_path / "text").write_text("no backup")
    with pytest.raises(ConfigError, match="is no backup"):
        restore_backup(home, tmp_path / "text")
    with pytest.raises(StoreFailed, match="cannot be unpacked"):
        restore_backup(home, tmp_path / "missing")
    assert {p: p.read_bytes() for p in home.path.rglob("*") if p.is_file()} == before


def test_a_manifest_says_nothing_but_what_was_signed(home: Home, tmp_path: Path) -> None:
    manifest = backed_up(home, tmp_path / "backup")
    with pytest.raises(IntegrityError):
        Manifest.from_bytes(replace(manifest, charges=1).to_bytes(), bytes(64))
