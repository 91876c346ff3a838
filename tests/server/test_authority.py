from __future__ import annotations

import datetime
import socket
import ssl
import threading
from pathlib import Path

import pytest

from fedmed.errors import ConfigError
from fedmed_server.authority import (
    Credentials,
    issue_server,
    make_authority,
)

NOW = datetime.datetime.now(tz=datetime.UTC)


@pytest.fixture(scope="module")
def authority() -> Credentials:
    return make_authority("test federation", now=NOW)


def server_context(folder: Path, credentials: Credentials) -> ssl.SSLContext:
    (folder / "server.pem").write_bytes(credentials.certificate)
    (folder / "server.key").write_bytes(credentials.private_key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return context


def shake_hands(folder: Path, server: Credentials, *, trusted: Credentials, name: str) -> str:
    """A real handshake over a socket pair; gives the protocol's version."""
    ours, theirs = socket.socketpair()
    context = ssl.create_default_context(cadata=trusted.certificate.decode())
    serving = server_context(folder, server)

    def serve() -> None:
        try:
            with serving.wrap_socket(theirs, server_side=True) as end:
                end.recv(1)
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with context.wrap_socket(ours, server_hostname=name) as client:
            client.send(b"x")
            return client.version() or ""
    finally:
        ours.close()
        thread.join(5)


@pytest.mark.parametrize("name", ["127.0.0.1", "coordinator.example"])
def test_a_client_that_trusts_the_authority_accepts_each_address(
    tmp_path: Path, authority: Credentials, name: str
) -> None:
    server = issue_server(authority, ["coordinator.example", "127.0.0.1"], now=NOW)
    assert shake_hands(tmp_path, server, trusted=authority, name=name) == "TLSv1.3"


def test_another_address_is_refused(tmp_path: Path, authority: Credentials) -> None:
    server = issue_server(authority, ["coordinator.example"], now=NOW)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake_hands(tmp_path, server, trusted=authority, name="other.example")


def test_another_authority_is_refused(tmp_path: Path, authority: Credentials) -> None:
    server = issue_server(make_authority("test federation", now=NOW), ["a.example"], now=NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(tmp_path, server, trusted=authority, name="a.example")


def test_an_expired_certificate_is_refused(tmp_path: Path, authority: Credentials) -> None:
    server = issue_server(authority, ["a.example"], now=NOW - datetime.timedelta(days=398))
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        shake_hands(tmp_path, server, trusted=authority, name="a.example")


@pytest.mark.parametrize("addresses", [[], ["no host"], ["ü.example"], [""]])
def test_an_address_that_is_none_is_refused(authority: Credentials, addresses: list[str]) -> None:
    with pytest.raises(ConfigError):
        issue_server(authority, addresses, now=NOW)


def test_a_key_of_another_authority_is_refused(authority: Credentials) -> None:
    other = make_authority("other", now=NOW)
    mixed = Credentials(certificate=authority.certificate, private_key=other.private_key)
    with pytest.raises(ConfigError, match="key is not its certificate's"):
        issue_server(mixed, ["a.example"], now=NOW)


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ConfigError, match="time zone"):
        make_authority("x", now=datetime.datetime(2026, 1, 1))


def test_private_keys_are_in_no_repr(authority: Credentials) -> None:
    assert "PRIVATE" not in repr(authority)
