from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedmed.errors import ConfigError
from fedmed_nodes.courier import Courier, CourierFile, create_courier
from fedmed_nodes.home import Home, create_home
from fedmed_nodes.units import node_services
from tests.node_home import me

# Each makes a home with keys and stores: together more than the fast part of the suite can spare.
pytestmark = pytest.mark.slow

RUN_SOCKET = '[socket]\npath = "/run/fedmed/custodian.sock"\ngroup = "fedmed-relay"'
DATABASE = """
[[dataset]]
name = "settlements"
kind = "postgresql"
connection_file = "settlements.conn"
table = "settlement"
declared_persons = 1000
data_year = 2025
"""


@dataclass(frozen=True)
class Place:
    home: Home
    courier: Courier


def make(folder: Path, *, socket: str = "", more: str = "", listens: str | None = None) -> Place:
    home = folder / "home"
    create_home(home, "shanghai", user=me())
    text = (home / "node.toml").read_text()
    (home / "node.toml").write_text(text.replace("[socket]", socket or "[socket]", 1) + more)
    place = listens or str(home / "run" / "custodian.sock")
    settings = CourierFile(version=1, front_door="fedmed.example.cn:443", socket=place)
    create_courier(home / "courier", "shanghai", settings=settings, authority=None, user=me())
    return Place(Home(home), Courier(home / "courier"))


def test_the_custodian_has_no_network_and_writes_to_its_home_only(tmp_path: Path) -> None:
    place = make(tmp_path, socket=RUN_SOCKET, listens="/run/fedmed/custodian.sock")
    custodian, courier = node_services(place.home, place.courier)
    assert custodian.is_offline
    assert custodian.writable == (str(place.home.path),)
    assert custodian.command[1:] == ("node", "serve", str(place.home.path))
    assert (custodian.runtime_folder, custodian.groups) == ("fedmed", ("fedmed-relay",))
    assert courier.command[1:] == ("node", "up", str(place.courier.path))
    assert courier.writable == (str(place.courier.path),)
    assert courier.is_notifying


def test_a_database_opens_the_network_to_named_addresses_only(tmp_path: Path) -> None:
    place = make(tmp_path, more=DATABASE)
    custodian, _ = node_services(place.home, place.courier)
    assert not custodian.is_offline
    assert "IPAddressDeny=any" in custodian.network_lines


def test_a_courier_that_asks_elsewhere_is_found(tmp_path: Path) -> None:
    place = make(tmp_path, listens="/run/other.sock")
    with pytest.raises(ConfigError, match=r"courier\.toml must name the custodian's socket"):
        node_services(place.home, place.courier)


@pytest.mark.skipif(os.geteuid() != 0, reason="run as root: it takes a second user")
def test_another_users_courier_sees_nothing_of_the_home_and_needs_a_shared_socket(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    shared = make(first, socket=RUN_SOCKET, listens="/run/fedmed/custodian.sock")
    apart = shared.courier.path.rename(first / "courier")
    os.chown(apart, 65534, 65534)
    _, courier = node_services(shared.home, Courier(apart))
    assert courier.hidden == (str(shared.home.path),)
    assert courier.groups == ("fedmed-relay",)
    closed = make(second)
    os.chown(closed.courier.path, 65534, 65534)
    with pytest.raises(ConfigError, match=r"set path and group of \[socket\]"):
        node_services(closed.home, closed.courier)
