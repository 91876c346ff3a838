"""A node's home: modes, the pinned roster, one custodian at a time, a ledger that cannot be lost unseen."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fedmed import wire
from fedmed.errors import ConfigError, RosterMismatch, StoreFailed
from fedmed_nodes.home import Home, create_home, seated
from tests.node_home import make_home, me


def test_a_new_home_is_closed_to_others(tmp_path: Path) -> None:
    create_home(tmp_path / "home", "node1", user=me())
    for path in (tmp_path / "home").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "home" / "identity.key").stat().st_mode & 0o777 == 0o600


def test_a_home_is_made_once_and_a_bad_name_leaves_no_folder(tmp_path: Path) -> None:
    public = create_home(tmp_path / "home", "node1", user=me())
    with pytest.raises(ConfigError, match="already"):
        create_home(tmp_path / "home", "node2", user=me())
    assert Home(tmp_path / "home").identity().public == public
    with pytest.raises(ConfigError):
        create_home(tmp_path / "other", "two\nlines", user=me())
    for name in ("Shang Hai", "a/b", "..", "-x", ""):
        with pytest.raises(ConfigError, match="one word without a slash"):
            create_home(tmp_path / "other", name, user=me())
    assert not (tmp_path / "other").exists()


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    create_home(tmp_path / "home", "node1", user=me())
    (tmp_path / "home" / "identity.key").chmod(0o640)
    with pytest.raises(ConfigError, match="closed to group"):
        Home(tmp_path / "home").identity()


def test_only_the_pinned_roster_is_taken(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    roster = make_home(home.path)
    pinned = wire.roster_digest(roster).hex()
    assert home.roster(pinned) == roster
    with pytest.raises(ConfigError, match=pinned):
        home.roster("")
    (home.path / "roster.bin").write_bytes(wire.encode_roster(replace(roster, version=2)))
    with pytest.raises(RosterMismatch, match=pinned):
        home.roster(pinned)


def test_a_roster_must_have_this_node_with_these_keys(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    roster = make_home(home.path)
    own = home.identity().public
    assert seated(roster, own) == roster
    with pytest.raises(RosterMismatch, match="has no"):
        seated(roster, replace(own, name="elsewhere"))
    with pytest.raises(RosterMismatch, match="other keys"):
        seated(roster, replace(own, name="node2"))


def test_a_lost_ledger_is_not_taken_for_an_unspent_one(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    make_home(home.path)
    (home.path / "store" / "custodian.db").unlink()
    with pytest.raises(ConfigError, match="no store"):
        home.store()


def test_one_custodian_at_a_time(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    make_home(home.path)
    with home.locked(), pytest.raises(StoreFailed, match="already runs"), home.locked():
        pass
    with home.locked():
        pass


@pytest.mark.slow
def test_making_a_home_and_registering_load_no_torch() -> None:
    code = (
        "import sys; import fedmed_nodes.cli, fedmed_nodes.home, fedmed_nodes.register_desk\n"
        "print('torch' in sys.modules, 'tenseal' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
