"""The front door through the doctor's eyes: each fault is made, found, and comes with what mends it."""

from __future__ import annotations

import datetime
import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedmed.doctor.door import _clock, examine_door
from fedmed.doctor.finding import Finding, Level
from fedmed.errors import ConfigError
from fedmed.supervision.processes import free_ports
from fedmed_server.authority import Credentials, issue_server, make_authority

NOW = datetime.datetime.now(tz=datetime.UTC)
DAY = datetime.timedelta(days=1)
Open = Callable[..., str]


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answers as the front door does to a stranger, with its time."""

    def do_GET(self) -> None:
        self.send_error(403)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def federation() -> Credentials:
    return make_authority("federation", now=NOW - 400 * DAY)


@pytest.fixture
def authority(federation: Credentials, tmp_path: Path) -> Path:
    path = tmp_path / "ca.crt"
    path.write_bytes(federation.certificate)
    return path


@pytest.fixture
def door(federation: Credentials, tmp_path: Path) -> Iterator[Open]:
    """Opens doors whose certificate was issued for ``names`` at a time."""
    opened = []

    def open_door(*names: str, issued: datetime.datetime = NOW, signer: Credentials = federation) -> str:
        made = issue_server(signer, names, now=issued)
        (tmp_path / "s.pem").write_bytes(made.certificate)
        (tmp_path / "s.key").write_bytes(made.private_key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "s.pem", tmp_path / "s.key")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        opened.append(server)
        return f"127.0.0.1:{server.server_address[1]}"

    yield open_door
    for server in opened:
        server.shutdown()
        server.server_close()


def found(
    address: str, authority: Path | None, *, now: datetime.datetime | None = None
) -> dict[str, Finding]:
    """Findings by name."""
    at = now or datetime.datetime.now(tz=datetime.UTC)
    return {one.name: one for one in examine_door(address, authority, now=at)}


def test_a_door_that_is_well(door: Open, authority: Path) -> None:
    told = found(door("127.0.0.1"), authority)
    assert {name: one.level for name, one in told.items()} == {
        "front door": Level.OK,
        "server certificate": Level.OK,
        "clock": Level.OK,
    }


def test_a_name_that_the_certificate_lacks_is_found_with_those_that_it_has(
    door: Open, authority: Path
) -> None:
    one = found(door("fedmed.example.cn", "10.1.2.3"), authority)["front door"]
    assert one.level is Level.BAD
    assert one.detail == "its certificate is not for 127.0.0.1 but for fedmed.example.cn, 10.1.2.3"
    assert "fedmed server certificate renew" in one.mend


def test_an_expired_certificate_is_found(door: Open, authority: Path) -> None:
    told = found(door("127.0.0.1", issued=NOW - 398 * DAY), authority)
    assert told["front door"].level is told["server certificate"].level is Level.BAD
    assert "not now" in told["front door"].detail
    assert told["clock"].ok, "the clock is compared all the same"


def test_a_certificate_that_ends_soon_is_noted(door: Open, authority: Path) -> None:
    one = found(door("127.0.0.1", issued=NOW - 380 * DAY), authority)["server certificate"]
    assert (one.level, one.ok) == (Level.NOTE, True)
    assert one.detail.startswith("16 days left")


def test_somebody_elses_certificate_is_found(door: Open, authority: Path) -> None:
    stranger = make_authority("stranger", now=NOW)
    one = found(door("127.0.0.1", signer=stranger), authority)["front door"]
    assert one.level is Level.BAD
    assert "not from the authority" in one.detail


@pytest.mark.parametrize(
    ("minutes", "level", "word"),
    [(10, Level.BAD, "ahead of"), (-10, Level.BAD, "behind"), (-1, Level.NOTE, "behind")],
)
def test_a_clock_that_is_off_is_found(
    door: Open, authority: Path, minutes: int, level: Level, word: str
) -> None:
    now = datetime.datetime.now(tz=datetime.UTC) + datetime.timedelta(minutes=minutes)
    one = found(door("127.0.0.1"), authority, now=now)["clock"]
    assert one.level is level
    assert word in one.detail


@pytest.mark.parametrize(
    ("door_s", "level", "told"),
    [
        (0, Level.OK, "agrees"),
        (20, Level.OK, "agrees"),
        (-7, Level.BAD, "7 s ahead of"),
        (50, Level.NOTE, "30 s behind"),
    ],
)
def test_a_slow_answer_is_no_fault_of_a_clock(door_s: int, level: Level, told: str) -> None:
    """The door was asked at second 0 and had answered at second 20."""
    answered = NOW + datetime.timedelta(seconds=20)
    one = _clock(NOW + datetime.timedelta(seconds=door_s), asked=NOW, answered=answered)
    assert (one.level, told in one.detail) == (level, True)


def test_a_door_that_nobody_opened_is_found() -> None:
    one = found(f"127.0.0.1:{free_ports(1)[0]}", None)["front door"]
    assert one.level is Level.BAD
    assert "Connection refused" in one.detail
    assert "fedmed server up" in one.mend


def test_a_missing_authority_is_found(door: Open, tmp_path: Path) -> None:
    one = found(door("127.0.0.1"), tmp_path / "none.crt")["front door"]
    assert (one.level, "none.crt" in one.detail) == (Level.BAD, True)


@pytest.mark.parametrize("address", ["", "localhost", "localhost:", ":443", "localhost:99999", "a:b"])
def test_an_address_must_be_a_host_and_a_port(address: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        found(address, None)
