"""``fedmed doctor`` on a coordinator's home: each fault is made on a real home, and found with its remedy."""

from __future__ import annotations

import datetime
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedmed.crypto.supernode_key import make_supernode_key
from fedmed.doctor.finding import Finding, Level, Question
from fedmed.study import StudySpec
from fedmed.supervision.processes import children, free_ports, is_listening, wait_until
from fedmed.wire import encode_roster
from fedmed_server.authority import issue_server, make_authority
from fedmed_server.coordinator import run_folder
from fedmed_server.files import private_folder, replace_private
from fedmed_server.home import Addresses, Home, NodeCard, create_home
from fedmed_server.home_checks import examine
from fedmed_server.launcher import front_door_program
from fedmed_server.node_versions import keep_versions, known_versions, version_keeper
from tests.federation import roster_of, small_study

NOW = datetime.datetime.now(tz=datetime.UTC)
ROSTER = roster_of(3, threshold=3, colluders=1)


@pytest.fixture(scope="module")
def cards() -> list[NodeCard]:
    return [
        NodeCard(member=m, supernode_key=make_supernode_key(m.name).public_key.decode())
        for m in ROSTER.members
    ]


@pytest.fixture
def home(cards: list[NodeCard], tmp_path: Path) -> Home:
    port, inner = free_ports(2)
    addresses = Addresses(names=("fedmed.example.cn",), host="127.0.0.1", port=port, superlink_port=inner)
    return create_home(tmp_path / "home", cards, addresses=addresses, now=NOW)


def found(
    home: Home, *, study: StudySpec | None = None, now: datetime.datetime = NOW, front_door: str = ""
) -> dict[str, Finding]:
    """Findings by name; the worse one where two have a name."""
    question = Question(home=home.path, now=now, study=study, front_door=front_door)
    told = sorted(examine(question), key=lambda one: one.level is Level.BAD)
    return {one.name: one for one in told}


def bad(home: Home, **more: object) -> dict[str, Finding]:
    return {name: one for name, one in found(home, **more).items() if not one.ok}  # type: ignore[arg-type]


def test_a_home_that_is_well(home: Home) -> None:
    told = found(home)
    assert not [one for one in told.values() if not one.ok]
    assert told["coordinator"].level is Level.NOTE
    assert {"permissions", "settings", "server certificate", "versions of nodes"} <= set(told)


def test_a_folder_of_another_kind_is_not_ours(tmp_path: Path) -> None:
    assert list(examine(Question(home=tmp_path, now=NOW))) == []


@pytest.mark.parametrize("name", ["", "identity.key", "tls/ca.key", "superexec.secret"])
def test_wrong_permissions_are_found_and_the_command_mends_them(home: Home, name: str) -> None:
    path = home.path / name
    path.chmod(path.stat().st_mode | 0o040)
    one = bad(home)["permissions"]
    assert str(path) in one.detail
    subprocess.run(one.mend.split(), check=True)
    assert "permissions" not in bad(home)


def test_a_name_that_the_certificate_lacks_is_found(home: Home) -> None:
    text = (home.path / "coordinator.toml").read_text()
    replace_private(home.path / "coordinator.toml", text.replace("fedmed.example", "other.example").encode())
    one = bad(home)["server certificate"]
    assert "it is not for other.example.cn but for fedmed.example.cn" in one.detail
    assert one.mend == f"fedmed server certificate renew {home.path}"


def test_a_certificate_with_another_key_is_found(home: Home) -> None:
    other = issue_server(make_authority("x", now=NOW), ("localhost",), now=NOW)
    replace_private(home.server_certificate[1], other.private_key)
    assert "is not the key of" in bad(home)["server certificate"].detail


@pytest.mark.parametrize(("days", "level"), [(380, Level.NOTE), (398, Level.BAD)])
def test_a_certificate_near_or_past_its_end_is_found(home: Home, days: int, level: Level) -> None:
    told = found(home, now=NOW + datetime.timedelta(days=days))
    assert told["server certificate"].level is level


def test_a_roster_of_another_coordinator_is_found(home: Home) -> None:
    replace_private(home.path / "roster.bin", encode_roster(ROSTER))
    assert "not the key of the coordinator" in bad(home)["settings"].detail


def test_a_node_without_a_supernode_key_is_found(home: Home) -> None:
    lines = (home.path / "nodes.toml").read_text().splitlines()
    replace_private(home.path / "nodes.toml", "\n".join(lines[:-1]).encode())
    assert "no SuperNode key of node3" in bad(home)["settings"].detail


def test_provinces_on_different_versions_are_found(home: Home) -> None:
    keep_versions(home, {"node1": "0.0.9"})
    hear = version_keeper(home)
    hear(2, "0.1.0")
    hear(2, "0.1.0")
    hear(3, "")
    assert known_versions(home) == {"node1": "0.0.9", "node2": "0.1.0"}
    one = bad(home)["versions of nodes"]
    assert one.detail == "this coordinator runs 0.1.0; node1 runs 0.0.9"
    assert "pip install fedmed==0.1.0" in one.mend


def test_a_node_that_pinned_a_stale_roster_is_found(home: Home) -> None:
    folder = private_folder(private_folder(home.path / "runs") / "small")
    told = {"code": "roster_mismatch", "cause": "node2 refused the study: roster_mismatch"}
    replace_private(folder / "failure.json", json.dumps(told).encode())
    one = bad(home)["roster"]
    assert "node2 refused" in one.detail
    assert "hand roster.bin out again" in one.mend


@pytest.mark.slow
def test_a_study_that_does_not_fit_is_found(home: Home) -> None:
    assert found(home, study=small_study(3))["study small"].ok
    assert "study small" in bad(home, study=small_study(4))
    one = bad(home, study=small_study(3, data__min_cohort=100))["study small"]
    assert "cohort_too_small: min_cohort is 100" in one.detail


@pytest.fixture
def door(home: Home) -> Iterator[Home]:
    """The real front door, in front of a SuperLink that is away."""
    private_folder(home.path / "run")
    with run_folder(home).locked(), children() as running:
        running.start(front_door_program(home))
        wait_until(
            lambda: is_listening("127.0.0.1", home.addresses().port),
            timeout_s=60.0,
            what="the front door listens",
            while_waiting=running.require_alive,
        )
        yield home


@pytest.mark.slow
def test_the_real_front_door_is_examined(door: Home) -> None:
    # Not `NOW`: a long run of all tests imports this module minutes before.
    now = datetime.datetime.now(tz=datetime.UTC)
    told = found(door, front_door=f"localhost:{door.addresses().port}", now=now)
    assert told["front door"].level is told["clock"].level is Level.OK
    assert told["SuperLink"].level is Level.BAD, "nobody listens behind the door"
