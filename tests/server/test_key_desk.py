"""Keys, roster and certificates of a coordinator, drilled together with the homes of real nodes."""

from __future__ import annotations

import contextlib
import datetime
import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from fedmed import wire
from fedmed.cli.edge import run
from fedmed.crypto.card import card_text
from fedmed.crypto.identity import Identity
from fedmed.crypto.supernode_key import make_supernode_key
from fedmed.errors import ConfigError, RosterMismatch
from fedmed.messages import Roster
from fedmed_nodes.home import Home as NodeHome
from fedmed_nodes.home import create_home as create_node
from fedmed_nodes.home import seated
from fedmed_server.home import Home, NodeCard, create_home
from fedmed_server.key_desk import (
    begin_authority,
    certificates,
    member_of,
    remove_member,
    renew_server,
    replace_member,
    replace_supernode_key,
    retire_authority,
    set_owners,
)
from tests.node_home import me
from tests.server.test_home import ADDRESSES, NOW

# Together these take more than the fast part of the suite can spare.
pytestmark = pytest.mark.slow

NAMES = ("shanghai", "上海二", "jiangsu", "anhui")


@pytest.fixture
def nodes(tmp_path: Path) -> list[NodeHome]:
    for name in NAMES:
        create_node(tmp_path / name, name, user=me())
    return [NodeHome(tmp_path / name) for name in NAMES]


@pytest.fixture
def home(tmp_path: Path, nodes: list[NodeHome]) -> Home:
    line = make_supernode_key("node").public_key.decode()
    cards = [NodeCard(member=member_of(node.card()), supernode_key=line) for node in nodes]
    return create_home(tmp_path / "home", cards, addresses=ADDRESSES, now=NOW)


def test_study_owners_are_a_new_roster(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    before = home.roster()
    assert before.owners == ()
    listed = set_owners(home, ["上海市医保局", "NHSA", "NHSA"])
    assert (listed.version, listed.owners) == (before.version + 1, ("NHSA", "上海市医保局"))
    assert wire.roster_digest(listed) != wire.roster_digest(before)
    assert run(["server", "roster", "show", str(home.path)]) == 0
    assert "study owners: NHSA, 上海市医保局" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="already; nothing was changed"):
        set_owners(home, ["上海市医保局", "NHSA"])
    with pytest.raises(ConfigError, match="this makes no roster"):
        set_owners(home, ["two\nlines"])
    assert run(["server", "roster", "owners", str(home.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["owners"] == []


def pin(home: Home, node: NodeHome, *, code: int = 0) -> None:
    """What an operator types, with the digest as heard by telephone."""
    digest = wire.roster_digest(home.roster()).hex()
    words = ["node", "pin", str(node.path), digest, "--roster", str(home.path / "roster.bin"), "--json"]
    assert run(words) == code


def test_the_drill_of_every_key(
    home: Home, nodes: list[NodeHome], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for node in nodes:
        pin(home, node)

    # 1. A province changes its key: card, roster, pins.
    first, old = nodes[0], nodes[0].card()
    assert run(["node", "key", "rotate", str(first.path)]) == 0
    card = tmp_path / "card.toml"
    card.write_text(capsys.readouterr().out.partition("[card]")[2].join(["[card]", ""]))
    assert run(["server", "roster", "replace", str(home.path), str(card), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["version"], told["nodes"]) == (2, list(NAMES))
    for node in nodes:
        pin(home, node)
    assert first.card() != old
    assert seated(home.roster(), first.identity().public)
    assert run(["node", "log", str(first.path), "--offline", "--verify"]) == 0

    # 2. A key is stolen: revoked, replaced, and the roster tells everybody.
    assert run(["node", "key", "revoke", str(first.path), "--reason", "stolen", "--yes"]) == 0
    pin(home, first, code=2)
    assert run(["node", "key", "replace", str(first.path), "--yes"]) == 0
    pin(home, first, code=3)
    replace_member(home, first.card())
    for node in nodes:
        pin(home, node)

    # 3. A key is lost: the file is gone.
    (nodes[1].path / "identity.key").unlink()
    assert run(["node", "key", "replace", str(nodes[1].path), "--yes"]) == 0
    replace_member(home, nodes[1].card())

    # 4. The coordinator's key is lost too; a roster of before is not taken any more.
    former = home.identity().public
    (home.path / "identity.key").unlink()
    assert run(["server", "key", "rotate", str(home.path), "--json"]) == 0
    assert home.identity().public != former
    assert home.roster().coordinator == member_of(home.identity().public)
    for node in nodes:
        pin(home, node)
        assert run(["node", "log", str(node.path), "--offline", "--verify"]) == 0
    capsys.readouterr()
    (home.path / "roster.bin").write_bytes((home.path / "rosters" / "3.bin").read_bytes())
    pin(home, nodes[2], code=2)
    assert "roster 3 is not newer than roster 5" in capsys.readouterr().err
    kept = [wire.decode_roster((home.path / "rosters" / f"{v}.bin").read_bytes()) for v in (1, 2, 3, 4)]
    assert [roster.version for roster in kept] == [1, 2, 3, 4]


def test_a_node_is_taken_out_and_the_rest_stays_a_roster(home: Home) -> None:
    roster = remove_member(home, "上海二")
    assert [m.name for m in roster.members] == ["shanghai", "jiangsu", "anhui"]
    assert (roster.version, roster.threshold, roster.colluders) == (2, 3, 1)
    assert home.roster() == roster
    with pytest.raises(ConfigError, match="at least 3"):
        remove_member(home, "anhui")
    with pytest.raises(ConfigError, match="has no node 上海二"):
        remove_member(home, "上海二")
    assert home.roster() == roster


def test_a_card_that_makes_no_roster_changes_nothing(home: Home, nodes: list[NodeHome]) -> None:
    before: Roster = home.roster()
    with pytest.raises(ConfigError, match="this card of shanghai already"):
        replace_member(home, nodes[0].card())
    with pytest.raises(ConfigError, match="has no node elsewhere"):
        replace_member(home, Identity.create("elsewhere").public)
    private = nodes[1].identity().private_bytes()
    same_key = Identity("shanghai", signing_key=private[1:33], sealing_key=private[33:65])
    with pytest.raises(ConfigError, match="signing keys in a roster must differ"):
        replace_member(home, same_key.public)
    assert home.roster() == before
    with pytest.raises(RosterMismatch):
        seated(before, same_key.public)


def test_a_supernodes_key_is_replaced_and_registered_anew(home: Home) -> None:
    numbers = home.flower_home("cli").parent / "nodes.json"
    numbers.write_text(json.dumps({"shanghai": "11", "anhui": "12"}))
    numbers.chmod(0o600)
    line = make_supernode_key("new").public_key.decode()
    replace_supernode_key(home, "shanghai", line)
    assert home.supernode_keys()["shanghai"] == line.strip()
    assert list(home.supernode_keys()) == list(NAMES)
    assert json.loads(numbers.read_text()) == {"anhui": "12"}
    with pytest.raises(ConfigError, match="SuperNode's key"):
        replace_supernode_key(home, "shanghai", "ssh-ed25519 AAAA")


def issued_by(home: Home) -> str:
    """Which certificate in ``ca.crt`` issued the server's."""
    server = x509.load_pem_x509_certificate(home.server_certificate[0].read_bytes())
    data = home.authority_certificate.read_bytes()
    for word, authority in zip(("first", "second"), x509.load_pem_x509_certificates(data), strict=False):
        with contextlib.suppress(InvalidSignature):
            server.verify_directly_issued_by(authority)
            return word
    return "none"


def test_certificates_are_renewed_and_an_authority_is_changed_without_a_gap(home: Home) -> None:
    later = NOW + datetime.timedelta(days=300)
    renew_server(home, now=later)
    server, authority = certificates(home)
    assert (server.what, authority.what) == ("server", "authority")
    assert server.days_left(NOW) in (696, 697)
    assert issued_by(home) == "first"
    with pytest.raises(ConfigError, match="no former authority"):
        retire_authority(home)

    begin_authority(home, now=later)
    assert [line.what for line in certificates(home)] == ["server", "authority", "former authority"]
    assert issued_by(home) == "second", "nodes with the old file still find the front door"
    with pytest.raises(ConfigError, match="retire first"):
        begin_authority(home, now=later)
    with pytest.raises(ConfigError, match="renew first"):
        retire_authority(home)
    renew_server(home, now=later)
    assert issued_by(home) == "first"
    retire_authority(home)
    assert [line.what for line in certificates(home)] == ["server", "authority"]
    assert issued_by(home) == "first"
    for path in (home.path / "tls").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600


def test_an_authority_that_a_crash_left_half_made_still_issues(home: Home) -> None:
    key = (home.path / "tls" / "ca.key").read_bytes()
    begin_authority(home, now=NOW)
    (home.path / "tls" / "ca.key").write_bytes(key)  # the certificates were written, the key was not
    renew_server(home, now=NOW)
    assert issued_by(home) == "second"
    (home.path / "tls" / "ca.key").write_bytes((home.path / "tls" / "server.key").read_bytes())
    with pytest.raises(ConfigError, match="not the key of"):
        renew_server(home, now=NOW)


def test_the_commands_say_what_they_did(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = str(home.path)
    for words in (["roster", "show"], ["certificate", "show"], ["certificate", "renew"]):
        assert run(["server", *words, place]) == 0
    out = capsys.readouterr().out
    assert "roster 1: threshold 3, colluders 1" in out
    assert "in 39" in out, "days of a new server certificate"
    assert run(["server", "roster", "remove", place, "anhui", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == 2
    for words in (["certificate", "authority"], ["certificate", "renew"], ["certificate", "retire"]):
        assert run(["server", *words, place, "--json"]) == 0
    public = tmp_path / "new.pub"
    public.write_bytes(make_supernode_key("new").public_key)
    assert run(["server", "roster", "supernode", place, "shanghai", str(public)]) == 0
    (tmp_path / "card").write_text(card_text(Identity.create("shanghai").public))
    assert run(["server", "roster", "replace", place, str(tmp_path / "card")]) == 0
    assert run(["server", "roster", "replace", str(tmp_path), str(tmp_path / "card")]) == 2
