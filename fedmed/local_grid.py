"""Flower's grid inside one process: real ClientApps, no network, with switches for faults.

Flower's own simulation always starts Ray; this runs the very apps of a deployment in milliseconds, so
that a study can be rehearsed, and a driver's recovery tested, without a network (FLOWER.md section 10).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import Any

from flwr.app import Context, Error, Message, Metadata, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

NODE_UNAVAILABLE = 5
COORDINATOR_ID = 1

Fault = Callable[[int, str], bool]
"""Whether a message of this type to this node is lost, with the node or before it."""


Delay = Callable[[int, str], int]
"""How often a reply to a message of this type from this node is looked for in vain first."""

NEVER = 1 << 62


def no_faults(node_id: int, message_type: str) -> bool:
    """Nothing is lost."""
    del node_id, message_type
    return False


def no_delay(node_id: int, message_type: str) -> int:
    """Every reply is there at once."""
    del node_id, message_type
    return 0


class LocalGrid(Grid):
    """Runs each message at once in the ClientApp of its node.

    Args:
        apps: ClientApp of each node id.
        contexts: Flower context of each node id.
        loses: Whether the request is lost before the node sees it.
        loses_reply: Whether the reply is lost after the node worked.
        delays: How long replies are held back, so that they come late, out of order or (`NEVER`) not at all.
    """

    run = None  # type: ignore[assignment]  # abstract in Grid; nothing here needs a Flower run

    def __init__(
        self,
        apps: Mapping[int, ClientApp],
        contexts: Mapping[int, Context],
        *,
        loses: Fault = no_faults,
        loses_reply: Fault = no_faults,
        delays: Delay = no_delay,
    ) -> None:
        self._apps = apps
        self._contexts = contexts
        self._loses = loses
        self._loses_reply = loses_reply
        self._delays = delays
        self._replies: dict[str, Message] = {}
        self._held_back: dict[str, int] = {}
        self._ids = count(1)

    def set_run(self, run: Any) -> None:
        """Nothing to set; part of Flower's interface, whose type is private to Flower."""

    def get_node_ids(self) -> Iterable[int]:
        """Ids of all nodes, sorted."""
        return sorted(self._apps)

    def get_nodes(self) -> Any:
        """Not offered: an in-process grid has no keys to tell nodes by."""
        raise NotImplementedError("a local grid knows its nodes by id; give the driver a directory")

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Make a message that has an id, without Flower's private task identity."""
        metadata = Metadata(
            run_id=1,
            message_id=f"m{next(self._ids)}",
            src_node_id=COORDINATOR_ID,
            dst_node_id=dst_node_id,
            reply_to_message_id="",
            group_id=group_id,
            created_at=time.time(),
            ttl=ttl or 3600.0,
            message_type=message_type,
        )
        # Documented as internal; the contract test against the installed Flower covers it.
        return Message(content, metadata=metadata)  # type: ignore[call-overload,no-any-return]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Deliver messages and keep the replies; as in Flower, an exception becomes an error reply."""
        return [self._deliver(message) for message in messages]

    def _deliver(self, message: Message) -> str:
        node, kind = message.metadata.dst_node_id, message.metadata.message_type
        key = message.metadata.message_id
        self._held_back[key] = self._delays(node, kind)
        if self._loses(node, kind):
            self._replies[key] = _unavailable(message)
            return key
        try:
            reply = self._apps[node](message, self._contexts[node])
        except Exception as error:
            reply = Message(Error(code=2, reason=type(error).__name__), reply_to=message)
        self._replies[key] = _unavailable(message) if self._loses_reply(node, kind) else reply
        return key

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies to these messages that are there."""
        return [self._replies.pop(key) for key in list(message_ids) if self._is_there(key)]

    def _is_there(self, key: str) -> bool:
        """Whether a reply can be taken now; looking once brings a held one nearer."""
        if key not in self._replies:
            return False
        self._held_back[key] -= 1
        return self._held_back[key] < 0

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Push and pull at once; nothing here takes time."""
        del timeout
        return self.pull_messages(list(self.push_messages(messages)))


def _unavailable(message: Message) -> Message:
    """What Flower sends for a lost node: code 5, and the coordinator's own id as the sender."""
    asked = message.metadata
    metadata = Metadata(
        run_id=asked.run_id,
        message_id=f"{asked.message_id}-lost",
        src_node_id=COORDINATOR_ID,
        dst_node_id=COORDINATOR_ID,
        reply_to_message_id=asked.message_id,
        group_id=asked.group_id,
        created_at=time.time(),
        ttl=asked.ttl,
        message_type=asked.message_type,
    )
    error = Error(code=NODE_UNAVAILABLE, reason="node unavailable")
    return Message(error, metadata=metadata)  # type: ignore[call-overload,no-any-return]  # as in create_message
