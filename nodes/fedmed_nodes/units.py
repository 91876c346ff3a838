"""A node's systemd units: the custodian without a network, the courier without the custodian's files."""

from __future__ import annotations

import pwd
import sys
from pathlib import Path
from typing import Final

from fedmed.errors import ConfigError
from fedmed.supervision.units import Service
from fedmed_nodes.courier import Courier
from fedmed_nodes.home import Home
from fedmed_nodes.node_config import NodeFile, socket_of
from fedmed_nodes.registration import SourceKind

CUSTODIAN_UNIT: Final = "fedmed-custodian"
COURIER_UNIT: Final = "fedmed-courier"
_RUN: Final = Path("/run")


def node_services(home: Home, courier: Courier) -> tuple[Service, Service]:
    """The services of a node, rendered from its home.

    Args:
        home: The custodian's home.
        courier: The courier's folder, best another user's.

    Returns:
        The custodian, and the courier with its SuperNode, SuperExec and warm relays.

    Raises:
        ConfigError: the courier runs as another user, who could not reach the custodian's socket.
    """
    node = home.node()
    user = pwd.getpwuid(courier.path.stat().st_uid).pw_name
    socket = socket_of(node, home.path)
    if user != node.user and not (node.socket.path and node.socket.group):
        raise ConfigError(
            f"{user} could not reach the custodian's socket: set path and group of [socket] in node.toml, as "
            f"/run/fedmed/custodian.sock, and add {user} to the group"
        )
    if courier.settings().socket != str(socket):
        raise ConfigError(f"courier.toml must name the custodian's socket: socket = {str(socket)!r}")
    return _custodian(home, node, socket), _courier(home, node, courier, user)


def _custodian(home: Home, node: NodeFile, socket: Path) -> Service:
    """The custodian's service."""
    databases = [d.name for d in node.dataset if d.kind is SourceKind.POSTGRESQL]
    runtime = socket.parent.name if socket.parent.parent == _RUN else ""
    return Service(
        name=CUSTODIAN_UNIT,
        description="FedMed custodian: rows, keys and privacy budget of this province",
        command=(_fedmed(), "node", "serve", str(home.path)),
        user=node.user,
        groups=tuple(sorted({g for g in (node.socket.group,) if g})),
        writable=_writable(home.path, socket, runtime),
        runtime_folder=runtime,
        is_offline=not databases,
        network_lines=(
            f"# PostgreSQL serves {', '.join(databases)}: name its address (none for a unix socket).",
            "IPAddressDeny=any",
            "IPAddressAllow=localhost",
        )
        if databases
        else (),
        uses_home=_below_a_users_home(home.path),
        threads=2,
    )


def _courier(home: Home, node: NodeFile, courier: Courier, user: str) -> Service:
    """The courier's service."""
    is_apart = user != node.user
    return Service(
        name=COURIER_UNIT,
        description="FedMed courier: carries encrypted messages between front door and custodian",
        command=(_fedmed(), "node", "up", str(courier.path)),
        user=user,
        groups=(node.socket.group,) if is_apart else (),
        writable=(str(courier.path),),
        # A courier inside the home, or one that needs a socket there, cannot do without seeing it.
        hidden=(str(home.path),) if is_apart and home.path not in courier.path.parents else (),
        after=(f"{CUSTODIAN_UNIT}.service",),
        network_lines=("# Only the front door is called: close the rest in the firewall (network sheet).",),
        is_notifying=True,
        uses_home=_below_a_users_home(courier.path),
    )


def _writable(home: Path, socket: Path, runtime: str) -> tuple[str, ...]:
    """What the custodian writes to: its home, and the socket's folder where systemd does not make it."""
    inside = home in socket.parents
    return (str(home),) if inside or runtime else (str(home), str(socket.parent))


def _below_a_users_home(path: Path) -> bool:
    """Whether ``ProtectHome`` would hide a folder."""
    return any(Path(top) in (path, *path.parents) for top in ("/home", "/root", "/run/user"))


def _fedmed() -> str:
    """The program beside this Python."""
    return str(Path(sys.executable).parent / "fedmed")
