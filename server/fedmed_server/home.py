"""The coordinator's home: the folder with its keys, certificates, roster and the runs of its studies.

::

    coordinator.toml   addresses and ports        roster.bin     what provinces pin by digest
    identity.key       signs plans (0600)         nodes.toml     each node's SuperNode key
    tls/               authority and server       superexec.secret (0600)
    bundle/            the app bundle, settings only
    flower/            Flower's own folders and the SuperLink's database
    rosters/           former rosters, for old signatures
    runs/<study>/      checkpoints, progress, outcome and model
    log/  run/         logs; the lock of the running coordinator
"""

from __future__ import annotations

import datetime
import json
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fedmed import wire
from fedmed.aggregation.allowance import default_allowance
from fedmed.crypto.card import read_card as read_public
from fedmed.crypto.identity import Identity
from fedmed.crypto.supernode_key import supernode_pem
from fedmed.errors import ConfigError, MessageMalformed
from fedmed.messages import Member, Roster
from fedmed.types import require
from fedmed_server.authority import issue_server, make_authority
from fedmed_server.files import create_private, private_folder, read_private

COORDINATOR: Final = "coordinator"
_VERSION: Final = 1
LOOPBACK: Final = ("localhost", "127.0.0.1")
_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCard:
    """What a province hands over.

    Attributes:
        member: Its name and public keys, as ``fedmed node init`` prints them.
        supernode_key: Public key of its SuperNode, one line in OpenSSH format.
    """

    member: Member
    supernode_key: str

    def __post_init__(self) -> None:
        supernode_pem(self.supernode_key.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the coordinator listens.

    Attributes:
        names: Host names and addresses by which SuperNodes reach the front door.
        host: Address that the front door listens on.
        port: Its port.
        superlink_port: The SuperLink's port, on loopback only.
    """

    names: tuple[str, ...]
    host: str
    port: int
    superlink_port: int

    def __post_init__(self) -> None:
        require(bool(self.names), "names must hold at least one host name or address")
        ports = (self.port, self.superlink_port)
        require(all(1 <= p <= 65535 for p in ports), f"ports must be in 1..65535, got {ports}")
        require(self.port != self.superlink_port, "the front door and the SuperLink need different ports")


@dataclass(frozen=True, slots=True)
class Home:
    """A coordinator's home folder; its files are read when they are asked for.

    Attributes:
        path: The folder, absolute, mode 0700.
    """

    path: Path

    def identity(self) -> Identity:
        """The coordinator's private keys; raises `ConfigError`, `IntegrityError`."""
        return Identity.from_private_bytes(read_private(self.path / "identity.key"))

    def roster(self) -> Roster:
        """The roster that provinces pin; raises `ConfigError`."""
        try:
            return wire.decode_roster(read_private(self.path / "roster.bin"))
        except MessageMalformed:
            raise ConfigError(f"{self.path / 'roster.bin'} is no roster; restore it") from None

    def addresses(self) -> Addresses:
        """``coordinator.toml``; raises `ConfigError`."""
        told = _read_toml(self.path / "coordinator.toml")
        try:
            return Addresses(
                names=tuple(told["names"]),
                host=told["host"],
                port=told["port"],
                superlink_port=told["superlink_port"],
            )
        except (KeyError, TypeError):
            raise ConfigError(
                "coordinator.toml must have names, host, port and superlink_port, as init wrote them"
            ) from None

    def supernode_keys(self) -> dict[str, str]:
        """Public key of each node's SuperNode, OpenSSH, by the node's name; raises `ConfigError`."""
        return {str(name): str(key) for name, key in _read_toml(self.path / "nodes.toml")["keys"].items()}

    @property
    def authority_certificate(self) -> Path:
        """Certificate that nodes verify the coordinator by."""
        return self.path / "tls" / "ca.crt"

    @property
    def server_certificate(self) -> tuple[Path, Path]:
        """Server certificate and its key."""
        return self.path / "tls" / "server.pem", self.path / "tls" / "server.key"

    @property
    def secret(self) -> Path:
        """What the coordinator's SuperExec proves itself with."""
        return self.path / "superexec.secret"

    def log(self, name: str) -> Path:
        """Log file of one of the processes."""
        return private_folder(self.path / "log") / f"{name}.log"

    def flower_home(self, name: str) -> Path:
        """Flower's own folder for one set of processes."""
        return private_folder(private_folder(self.path / "flower") / name)

    def run_folder(self, study: str) -> Path:
        """Folder of one study's run."""
        require(study.replace("-", "").replace("_", "").isalnum(), "a study's id must be one plain word")
        return self.path / "runs" / study


def open_home(path: Path) -> Home:
    """The home at a path; raises `ConfigError` when there is none."""
    if not (path / "coordinator.toml").exists():
        raise ConfigError(f"{path} is no coordinator's home; make one with fedmed server init")
    return Home(path.absolute())


def create_home(
    path: Path,
    cards: Sequence[NodeCard],
    *,
    addresses: Addresses,
    now: datetime.datetime,
    owners: Sequence[str] = (),
) -> Home:
    """Make a coordinator's home: keys, certificates and the roster of these nodes.

    Args:
        path: The folder; it must not be a home yet.
        cards: The nodes; the first gets point 1. A study must name them in this order.
        addresses: Where the coordinator listens.
        now: The time, for the certificates.
        owners: Who may own a study, by name; none: anybody.

    Returns:
        The home. Hand ``roster.bin`` and ``tls/ca.crt`` to the provinces, and tell them the roster's digest
        by another way.

    Raises:
        ConfigError: there is a home already, or cards that no roster can have.
        StoreFailed: the folder cannot be written.

    Guarantees:
        The folder has mode 0700 and every file in it 0600 from its first moment; nothing is overwritten.
    """
    identity = Identity.create(COORDINATOR)
    roster = _roster(cards, identity, owners=owners)
    if (path / "identity.key").exists():
        raise ConfigError(
            f"{path} is a coordinator's home already; nothing was changed. Name another folder; to change a "
            "node, a key or a certificate: fedmed server roster, key or certificate"
        )
    home = Home(private_folder(path).absolute())
    create_private(home.path / "identity.key", identity.private_bytes())
    create_private(home.path / "roster.bin", wire.encode_roster(roster))
    keys = "".join(f"{json.dumps(c.member.name)} = {json.dumps(c.supernode_key.strip())}\n" for c in cards)
    create_private(home.path / "nodes.toml", f"[keys]\n{keys}".encode())
    create_private(home.path / "coordinator.toml", _settings_text(addresses).encode())
    create_private(home.secret, os.urandom(_SECRET_BYTES))
    authority = make_authority("FedMed federation", now=now)
    names = (*addresses.names, *LOOPBACK)
    server = issue_server(authority, names, now=now)
    private_folder(home.path / "tls")
    create_private(home.path / "tls" / "ca.key", authority.private_key)
    create_private(home.authority_certificate, authority.certificate)
    for place, data in zip(home.server_certificate, (server.certificate, server.private_key), strict=True):
        create_private(place, data)
    return home


def read_card(card: str, supernode_key: str) -> NodeCard:
    """Read a province's card.

    Args:
        card: What ``fedmed node init`` printed, TOML or JSON.
        supernode_key: Its SuperNode's public key, one line in OpenSSH format.

    Raises:
        ConfigError: one of them is not what it should be.
    """
    public = read_public(card)
    member = Member(name=public.name, signing_key=public.signing_key, sealing_key=public.sealing_key)
    return NodeCard(member=member, supernode_key=supernode_key)


def _roster(cards: Sequence[NodeCard], identity: Identity, *, owners: Sequence[str]) -> Roster:
    """The roster of these nodes, with the protocol's own threshold and colluders."""
    allowance = default_allowance(len(cards))
    public = identity.public
    try:
        return Roster(
            version=1,
            members=tuple(c.member for c in cards),
            threshold=allowance.threshold,
            colluders=allowance.colluders,
            coordinator=Member(
                name=public.name, signing_key=public.signing_key, sealing_key=public.sealing_key
            ),
            owners=tuple(sorted(set(owners))),
        )
    except MessageMalformed as fault:
        raise ConfigError(f"these cards make no roster: {fault}") from None


def _settings_text(addresses: Addresses) -> str:
    """``coordinator.toml``."""
    return (
        "# Where this coordinator listens: SuperNodes reach the front door only.\n"
        f"version = {_VERSION}\n"
        f"names = {json.dumps(list(addresses.names))}\n"
        f"host = {json.dumps(addresses.host)}\n"
        f"port = {addresses.port}\n"
        f"superlink_port = {addresses.superlink_port}\n"
    )


def _read_toml(path: Path) -> dict[str, Any]:  # Any: what TOML can say
    """A TOML file of the home."""
    try:
        return tomllib.loads(read_private(path).decode())
    except ValueError:
        raise ConfigError(f"{path} is not TOML; restore it") from None
