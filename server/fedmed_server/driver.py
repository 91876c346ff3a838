"""Moves the bytes of the protocol's phases over Flower's grid, with a deadline for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedmed.flower_parts import reply_from_content, to_content
from fedmed.phase_record import DONE, PhaseRecord
from fedmed.protocol.steps import LOST, Phase, Replies, Reply, Steps
from fedmed.types import require

T = TypeVar("T")


class MessageFactory(Protocol):
    """Makes a Flower message; a local grid and a deployment do it differently (FLOWER.md section 10)."""

    def __call__(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Make a message to one node."""
        ...


def ignore_phase(record: PhaseRecord) -> None:
    """Tell nobody."""
    del record


class GridDriver:
    """Runs the coordinator's generators on a grid.

    Args:
        grid: Flower's grid.
        directory: Flower node id of each roster point.
        make_message: Makes messages for this grid.
        deadline_s: How long a phase may take; a node that is silent then counts as lost. Messages carry it
            as their time to live, so that no node spends budget on a question nobody waits for.
        poll_s: Pause between two looks for replies.
        on_phase: Called with the record of each phase.
    """

    def __init__(
        self,
        grid: Grid,
        directory: Mapping[int, int],
        *,
        make_message: MessageFactory,
        deadline_s: float = 600.0,
        poll_s: float = 0.1,
        on_phase: Callable[[PhaseRecord], None] = ignore_phase,
    ) -> None:
        require(deadline_s > 0, f"deadline_s must be > 0, got {deadline_s}")
        self._grid = grid
        self._directory = directory
        self._make_message = make_message
        self._deadline_s = deadline_s
        self._poll_s = poll_s
        self._on_phase = on_phase

    def run(self, steps: Steps[T]) -> T:
        """Run a generator to its end.

        Returns:
            What the generator returns; its errors pass through.
        """
        try:
            phase = next(steps)
            while True:
                phase = steps.send(self._ask(phase))
        except StopIteration as stop:
            result: T = stop.value
            return result

    def _ask(self, phase: Phase) -> Replies:
        """Send one phase and gather what comes back before the deadline."""
        began = time.monotonic()
        points = list(phase.requests)
        # Flower stores equal objects once, so a broadcast's content is built once.
        contents: dict[tuple[bytes, ...], RecordDict] = {}
        for parts in phase.requests.values():
            if parts not in contents:
                contents[parts] = to_content(parts)
        messages = [
            self._make_message(
                contents[phase.requests[p]],
                phase.kind.value,
                self._directory[p],
                phase.name,
                self._deadline_s,
            )
            for p in points
        ]
        # Errors carry no node id, so replies are told apart by message id. Flower gives no id for a message
        # that it could not send, and no ids at all when they are too large together: those nodes are lost.
        ids = self._grid.push_messages(messages)
        waiting = {key: point for key, point in zip(ids, points, strict=False) if key}
        replies = {p: Reply(code=LOST) for p in points}
        while waiting and time.monotonic() - began < self._deadline_s:
            for message in self._grid.pull_messages(list(waiting)):
                point = waiting.pop(message.metadata.reply_to_message_id, None)
                if point is not None:
                    replies[point] = read_reply(message)
            if waiting:
                time.sleep(self._poll_s)
        self._record(phase, replies, seconds=time.monotonic() - began)
        return replies

    def _record(self, phase: Phase, replies: Replies, *, seconds: float) -> None:
        """Tell what the phase took."""
        down = {p: sum(map(len, parts)) for p, parts in phase.requests.items()}
        up = {p: sum(map(len, reply.parts)) for p, reply in replies.items()}
        self._on_phase(
            PhaseRecord(
                name=phase.name,
                seconds=seconds,
                bytes_down=sum(down.values()),
                bytes_up=sum(up.values()),
                by_point={p: (down[p] + up[p], replies[p].code or DONE) for p in replies},
            )
        )


def read_reply(message: Message) -> Reply:
    """A node's reply; an error of Flower itself counts as a lost node."""
    if message.has_error():
        return Reply(code=LOST)
    return reply_from_content(message.content)
