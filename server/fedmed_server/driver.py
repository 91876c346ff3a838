"""Moves the bytes of the protocol's phases over Flower's grid, with a deadline for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedmed.flower_parts import reply_from_content, to_content, version_in
from fedmed.phase_record import DONE, PhaseRecord
from fedmed.protocol.steps import LOST, Phase, PhaseKind, Replies, Reply, Steps
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


def ignore_version(point: int, version: str) -> None:
    """Tell nobody."""
    del point, version


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a driver waits for what, in seconds.

    Attributes:
        deadline_s: How long a phase may take; a node that is silent then counts as lost. Messages carry what
            is left of it as their time to live, so that no node spends budget on a question nobody waits for.
        poll_s: Pause between two looks for replies.
        lost_s: For how long Flower's word that a node is lost is not the last one: a node that answered in
            the phase before is asked again, with the same bytes, which custodians answer with the bytes that
            they stored. Counted from the first such word in a phase; 0 believes it.
        again_s: Pause before a lost node is asked again.
    """

    deadline_s: float = 600.0
    poll_s: float = 0.1
    lost_s: float = 0.0
    again_s: float = 5.0

    def __post_init__(self) -> None:
        require(self.deadline_s > 0, f"deadline_s must be > 0, got {self.deadline_s}")


class GridDriver:
    """Runs the coordinator's generators on a grid.

    Args:
        grid: Flower's grid.
        directory: Flower node id of each roster point.
        make_message: Makes messages for this grid.
        patience: How long to wait for what.
        on_phase: Called with the record of each phase.
        on_version: Called with point and version of FedMed of each node that replies.
    """

    def __init__(
        self,
        grid: Grid,
        directory: Mapping[int, int],
        *,
        make_message: MessageFactory,
        patience: Patience = Patience(),
        on_phase: Callable[[PhaseRecord], None] = ignore_phase,
        on_version: Callable[[int, str], None] = ignore_version,
    ) -> None:
        self._grid = grid
        self._directory = directory
        self._make_message = make_message
        self._patience = patience
        self._on_phase = on_phase
        self._on_version = on_version
        self._here = frozenset(directory)

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
        began, patience = time.monotonic(), self._patience
        last = began + patience.deadline_s
        replies = {p: Reply(code=LOST) for p in phase.requests}
        again = dict.fromkeys(phase.requests, began)
        waiting: dict[str, int] = {}
        lost_at: dict[int, float] = {}
        while (waiting or again) and time.monotonic() < last:
            due = [p for p, at in again.items() if at <= time.monotonic()]
            sent = self._send(phase, due, ttl=last - time.monotonic())
            waiting |= sent
            lost = set(due) - set(sent.values())
            for message in self._grid.pull_messages(list(waiting)):
                point = waiting.pop(message.metadata.reply_to_message_id, None)
                if point is not None:
                    replies[point] = self._taken(point, message)
                    lost |= {point} if message.has_error() else set()
            again = {p: at for p, at in again.items() if p not in due}
            lost_at = {**dict.fromkeys(lost, time.monotonic()), **lost_at}
            again |= self._ask_again(phase, {p: lost_at[p] for p in lost})
            if waiting or again:
                time.sleep(patience.poll_s)
        self._here = frozenset(self._here - set(replies) | {p for p, r in replies.items() if r.code != LOST})
        self._record(phase, replies, seconds=time.monotonic() - began)
        return replies

    def _taken(self, point: int, message: Message) -> Reply:
        """A node's reply; tells its version."""
        if not message.has_error():
            self._on_version(point, version_in(message.content))
        return read_reply(message)

    def _ask_again(self, phase: Phase, lost: Mapping[int, float]) -> dict[int, float]:
        """Which lost nodes are asked again, and when; given when each was first lost in the phase.

        Not in a ceremony, whose steps a custodian takes once; and not a node that was lost before: one that
        is gone for good costs one phase its patience, not every phase.
        """
        if phase.kind is PhaseKind.CEREMONY:
            return {}
        now, patience = time.monotonic(), self._patience
        chosen = {p for p, at in lost.items() if p in self._here and now - at < patience.lost_s}
        return dict.fromkeys(chosen, now + patience.again_s)

    def _send(self, phase: Phase, points: Sequence[int], *, ttl: float) -> dict[str, int]:
        """Send a phase's messages to some nodes; the node by message id, of those that could be sent."""
        # Flower stores equal objects once, so a broadcast's content is built once.
        contents: dict[tuple[bytes, ...], RecordDict] = {}
        for point in points:
            parts = phase.requests[point]
            if parts not in contents:
                contents[parts] = to_content(parts)
        messages = [
            self._make_message(
                contents[phase.requests[p]], phase.kind.value, self._directory[p], phase.name, ttl
            )
            for p in points
        ]
        # Errors carry no node id, so replies are told apart by message id. Flower gives no id for a message
        # that it could not send, and no ids at all when they are too large together: those nodes are lost.
        ids = self._grid.push_messages(messages) if messages else ()
        return {key: point for key, point in zip(ids, points, strict=False) if key}

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
