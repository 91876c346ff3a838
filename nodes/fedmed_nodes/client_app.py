"""Flower's ClientApp at a province: a relay of bytes between Flower and the custodian.

It imports neither keys nor data nor torch: a hostile bundle in this process can send the custodian
messages, which it may refuse, and nothing else.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedmed.errors import ConfigError, FedMedError
from fedmed.flower_parts import from_content, reply_to_content
from fedmed.protocol.steps import PhaseKind, Reply
from fedmed_nodes.custodian_client import SocketCustodian
from fedmed_nodes.pieces import SOCKET, SOCKET_KEY

HOME_KEY: Final = "fedmed-home"


class CustodianPort(Protocol):
    """A custodian as the relay sees it, in process or behind a socket."""

    def answer(self, kind: PhaseKind, parts: Sequence[bytes]) -> Reply:
        """Answer one message; never raises."""
        ...


Connect = Callable[[Context], CustodianPort]


def build_client_app(connect: Connect) -> ClientApp:
    """Make a ClientApp that relays every phase to a custodian.

    Args:
        connect: Finds the custodian of the node that a Flower context belongs to.

    Returns:
        An app that answers every `PhaseKind`; what fails becomes a code, never a text.
    """
    app = ClientApp()

    def relay(kind: PhaseKind) -> Callable[[Message, Context], Message]:
        def answer(message: Message, context: Context) -> Message:
            try:
                reply = connect(context).answer(kind, from_content(message.content))
            except FedMedError as error:
                reply = Reply(code=error.code)
            except Exception:  # Flower would send the text to the coordinator
                reply = Reply(code=FedMedError.code)
            return Message(reply_to_content(reply), reply_to=message)

        return answer

    for kind in PhaseKind:
        category, _, action = kind.value.partition(".")
        register = app.train if category == "train" else app.query
        register(action or "default")(relay(kind))
    return app


def connect_by_socket(context: Context) -> CustodianPort:
    """Find the custodian through the SuperNode's own settings, which the coordinator cannot set.

    Args:
        context: Its ``node_config`` names the node's home (``fedmed-home``), or the socket itself
            (``fedmed-socket``) where the settings of the node move it out of the home.

    Raises:
        ConfigError: it names neither.
    """
    settings = context.node_config
    if socket := settings.get(SOCKET_KEY):
        return _custodian_at(Path(str(socket)))
    if home := settings.get(HOME_KEY):
        return _custodian_at(Path(str(home)) / SOCKET)
    raise ConfigError(f"start the SuperNode with --node-config '{HOME_KEY}=\"...\"' or {SOCKET_KEY}")


@functools.cache
def _custodian_at(path: Path) -> SocketCustodian:
    """One connection a process and socket."""
    return SocketCustodian(path)


app = build_client_app(connect_by_socket)
"""What a deployment's bundle names: ``fedmed_nodes.client_app:app``."""
