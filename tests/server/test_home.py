from __future__ import annotations

import datetime
import stat
from pathlib import Path

import pytest

from fedmed import wire
from fedmed.crypto.identity import Identity
from fedmed.crypto.supernode_key import make_supernode_key
from fedmed.errors import ConfigError
from fedmed_server.deployed_study import expected_nodes
from fedmed_server.home import Addresses, Home, NodeCard, create_home, read_card

NOW = datetime.datetime.now(tz=datetime.UTC)
NAMES = ("shanghai", "上海二", "jiangsu", "anhui")
ADDRESSES = Addresses(names=("fedmed.example",), host="192.0.2.1", port=8443, superlink_port=8000)


def card_text(name: str) -> str:
    public = Identity.create(name).public
    return (
        f'[card]\nname = "{name}"\nsigning_key = "{public.signing_key.hex()}"\n'
        f'sealing_key = "{public.sealing_key.hex()}"\n'
    )


def make_card(name: str) -> NodeCard:
    return read_card(card_text(name), make_supernode_key("node").public_key.decode())


@pytest.fixture(scope="module")
def cards() -> list[NodeCard]:
    return [make_card(name) for name in NAMES]


def test_a_home_comes_back_as_it_was_made(tmp_path: Path, cards: list[NodeCard]) -> None:
    home = create_home(tmp_path / "home", cards, addresses=ADDRESSES, now=NOW)
    again = Home(tmp_path / "home")
    roster = again.roster()
    assert roster.members == tuple(c.member for c in cards)
    assert (roster.threshold, roster.colluders) == (3, 1), "the protocol's defaults for four nodes"
    assert again.identity().public.signing_key == roster.coordinator.signing_key
    assert again.addresses() == ADDRESSES
    assert again.supernode_keys() == {c.member.name: c.supernode_key.strip() for c in cards}
    assert list(expected_nodes(home).values()) == [1, 2, 3, 4]


def test_everything_in_a_home_is_closed_to_others(tmp_path: Path, cards: list[NodeCard]) -> None:
    home = create_home(tmp_path / "home", cards, addresses=ADDRESSES, now=NOW)
    for path in [home.path, *home.path.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    (home.path / "identity.key").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        home.identity()


def test_a_second_init_overwrites_nothing(tmp_path: Path, cards: list[NodeCard]) -> None:
    home = create_home(tmp_path / "home", cards, addresses=ADDRESSES, now=NOW)
    before = {p: p.read_bytes() for p in home.path.rglob("*") if p.is_file()}
    with pytest.raises(ConfigError, match="home already"):
        create_home(tmp_path / "home", cards, addresses=ADDRESSES, now=NOW)
    assert {p: p.read_bytes() for p in home.path.rglob("*") if p.is_file()} == before


def test_a_card_twice_makes_no_roster(tmp_path: Path, cards: list[NodeCard]) -> None:
    with pytest.raises(ConfigError, match="must differ"):
        create_home(tmp_path / "home", [*cards, cards[0]], addresses=ADDRESSES, now=NOW)


@pytest.mark.parametrize(
    "text", ["", "[card]\nname = 'x'", '{"card": 1}', "[card]\nname='x'\nsigning_key='zz'\nsealing_key=''"]
)
def test_what_is_no_card_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="fedmed node init"):
        read_card(text, make_supernode_key("x").public_key.decode())


def test_a_card_with_another_kind_of_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="SuperNode's key"):
        read_card(card_text("x"), "ssh-ed25519 AAAA")


def test_an_altered_roster_is_refused(tmp_path: Path, cards: list[NodeCard]) -> None:
    home = create_home(tmp_path / "home", cards, addresses=ADDRESSES, now=NOW)
    (home.path / "roster.bin").write_bytes(wire.encode_roster(home.roster())[:-3])
    with pytest.raises(ConfigError, match="no roster"):
        home.roster()


@pytest.mark.parametrize("study", ["../x", "a/b", "", ".", "a.b"])
def test_a_run_stays_in_its_folder(tmp_path: Path, study: str) -> None:
    with pytest.raises(ConfigError, match="plain word"):
        Home(tmp_path).run_folder(study)


def test_ports_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="different ports"):
        Addresses(names=("a",), host="127.0.0.1", port=8000, superlink_port=8000)
    with pytest.raises(ConfigError, match="65535"):
        Addresses(names=("a",), host="127.0.0.1", port=0, superlink_port=8000)


def test_flowers_folders_are_closed_to_others(tmp_path: Path, cards: list[NodeCard]) -> None:
    home = create_home(tmp_path / "home", cards, addresses=ADDRESSES, now=NOW)
    folder = home.flower_home("superlink")
    assert [path.stat().st_mode & 0o777 for path in (folder, folder.parent)] == [0o700, 0o700]
