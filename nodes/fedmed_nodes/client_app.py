"""Flower's ClientApp at a province: a relay of bytes between Flower and the custodian.

It imports neither keys nor data nor torch: a hostile bundle in this process can send the custodian
messages, which it may refuse, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedmed.errors import FedMedError
from fedmed.flower_parts import from_content, reply_to_content
from fedmed.protocol.steps import PhaseKind, Reply


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
