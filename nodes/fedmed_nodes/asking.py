"""How an operator's command reaches the custodian that runs on a home."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fedmed_nodes.custodian_client import SocketCustodian
from fedmed_nodes.node_config import NODE_FILE, load_node, socket_of

_PATIENCE_S: Final = 5.0
_ANSWERS_WITHIN_S: Final = 30.0


def custodian_at(place: Path) -> SocketCustodian:
    """The running custodian of a home, or behind a socket: an operator may have no way into the home.

    Args:
        place: The home folder, or the socket itself.

    Raises:
        ConfigError: the home's settings cannot be read. Nothing connects before the first call.
    """
    path = place if place.is_socket() else socket_of(load_node(place / NODE_FILE), place)
    return SocketCustodian(path, patience_s=_PATIENCE_S, deadline_s=_ANSWERS_WITHIN_S)
