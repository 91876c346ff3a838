"""The driver: phases over a grid that loses, delays, reorders and lies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict

from fedmed.errors import ConfigError, TooFewNodes
from fedmed.local_grid import NEVER, LocalGrid
from fedmed.phase_record import PhaseRecord
from fedmed.protocol.steps import LOST, Phase, PhaseKind, Replies, Reply, Steps
from fedmed_nodes.client_app import build_client_app
from fedmed_server.driver import GridDriver, Patience

POINTS = (1, 2, 3)
BASE = 100


class Echo:
    """A custodian that answers with what it got and the phase."""

    def answer(self, kind: PhaseKind, parts: Sequence[bytes]) -> Reply:
        if parts[0] == b"no":
            return Reply(code="study_unknown")
        return Reply(parts=(kind.value.encode(), *parts))


def local(**faults: Any) -> LocalGrid:
    app = build_client_app(lambda context: Echo())
    contexts = {
        BASE + p: Context(run_id=1, node_id=BASE + p, node_config={}, state=RecordDict(), run_config={})
        for p in POINTS
    }
    return LocalGrid(dict.fromkeys(contexts, app), contexts, **faults)


def driver(
    grid: LocalGrid, *, deadline_s: float = 5.0, lost_s: float = 0.0, on_phase: Any = None
) -> GridDriver:
    told = {} if on_phase is None else {"on_phase": on_phase}
    return GridDriver(
        grid,
        {p: BASE + p for p in POINTS},
        make_message=grid.create_message,
        patience=Patience(deadline_s=deadline_s, poll_s=0.001, lost_s=lost_s, again_s=0.001),
        **told,
    )


def ask(*kinds: PhaseKind) -> Steps[list[Replies]]:
    replies = []
    for kind in kinds:
        requests = {p: (b"to", bytes([p])) for p in POINTS}
        replies.append((yield Phase(name=kind.name.lower(), kind=kind, requests=requests)))
    return replies


def honest(kind: PhaseKind, point: int) -> Reply:
    return Reply(parts=(kind.value.encode(), b"to", bytes([point])))


@pytest.mark.parametrize("kind", PhaseKind)
def test_every_phase_reaches_its_method_at_every_node(kind: PhaseKind) -> None:
    (replies,) = driver(local()).run(ask(kind))
    assert replies == {p: honest(kind, p) for p in POINTS}


def test_the_generators_result_and_errors_pass_through() -> None:
    def stops() -> Steps[None]:
        yield Phase(name="open", kind=PhaseKind.OPEN, requests={1: (b"x",)})
        raise TooFewNodes("none")

    assert len(driver(local()).run(ask(PhaseKind.OPEN, PhaseKind.CLOSE))) == 2
    with pytest.raises(TooFewNodes):
        driver(local()).run(stops())


@pytest.mark.parametrize("switch", ["loses", "loses_reply"])
def test_a_lost_request_or_reply_is_a_lost_node_found_by_message_id(switch: str) -> None:
    grid = local(**{switch: lambda node, kind: node == BASE + 2})
    (replies,) = driver(grid).run(ask(PhaseKind.CONTRIBUTE))
    assert replies[2] == Reply(code=LOST)
    assert [replies[p] for p in (1, 3)] == [honest(PhaseKind.CONTRIBUTE, p) for p in (1, 3)]


def test_late_and_reordered_replies_are_taken_in_any_order() -> None:
    waits = {BASE + 1: 5, BASE + 2: 0, BASE + 3: 2}
    (replies,) = driver(local(delays=lambda node, kind: waits[node])).run(ask(PhaseKind.OPEN))
    assert replies == {p: honest(PhaseKind.OPEN, p) for p in POINTS}


def test_a_silent_node_is_lost_at_the_deadline_and_a_late_reply_is_nobodys() -> None:
    once = iter([NEVER, 0])
    grid = local(delays=lambda node, kind: next(once) if node == BASE + 1 else 0)
    began = time.monotonic()
    first, second = driver(grid, deadline_s=0.5).run(ask(PhaseKind.OPEN, PhaseKind.OPEN))
    assert first[1] == Reply(code=LOST)
    assert second[1] == honest(PhaseKind.OPEN, 1)
    assert 0.5 <= time.monotonic() - began < 60


def test_messages_live_as_long_as_the_phase() -> None:
    grid, lived = local(), []

    def make(content: RecordDict, *args: Any, **kwargs: Any) -> Message:
        message = grid.create_message(content, *args, **kwargs)
        lived.append(message.metadata.ttl)
        return message

    one = GridDriver(
        grid, {p: BASE + p for p in POINTS}, make_message=make, patience=Patience(deadline_s=350)
    )
    one.run(ask(PhaseKind.NONCE))
    assert lived == pytest.approx([350] * 3, abs=50)


def losing(times: int) -> tuple[LocalGrid, list[int]]:
    """A grid that loses node 2's first replies, and how often each node was asked."""
    asked: list[int] = []

    def loses(node: int, kind: str) -> bool:
        asked.append(node - BASE)
        return node == BASE + 2 and asked.count(2) <= times

    return local(loses_reply=loses), asked


def test_a_node_that_comes_back_in_time_is_asked_again_with_the_same_bytes() -> None:
    grid, asked = losing(3)
    (replies,) = driver(grid, lost_s=5.0).run(ask(PhaseKind.CONTRIBUTE))
    assert replies == {p: honest(PhaseKind.CONTRIBUTE, p) for p in POINTS}
    assert sorted(asked) == [1, 2, 2, 2, 2, 3]


def test_a_ceremonys_step_is_never_asked_twice() -> None:
    grid, asked = losing(1)
    (replies,) = driver(grid, lost_s=5.0).run(ask(PhaseKind.CEREMONY))
    assert replies[2] == Reply(code=LOST)
    assert sorted(asked) == [1, 2, 3]


def test_a_node_that_is_gone_for_good_costs_its_patience_once() -> None:
    grid, asked = losing(1 << 62)
    first, second = driver(grid, lost_s=0.05).run(ask(PhaseKind.NONCE, PhaseKind.NONCE))
    assert first[2] == second[2] == Reply(code=LOST)
    assert asked.count(2) > 3
    assert asked[-3:] == [1, 2, 3], "the second phase asked everybody once"


class Meddling(LocalGrid):
    """A grid whose replies pass through a test."""

    meddle: Callable[[list[Message]], list[Message]]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return self.meddle(list(super().pull_messages(message_ids)))


def meddling(meddle: Callable[[list[Message]], list[Message]]) -> Meddling:
    plain = local()
    grid = Meddling(plain._apps, plain._contexts)
    grid.meddle = meddle
    return grid


def with_content(content: RecordDict) -> Callable[[list[Message]], list[Message]]:
    def meddle(messages: list[Message]) -> list[Message]:
        return [Message(content, metadata=m.metadata) for m in messages]  # type: ignore[call-overload]

    return meddle


@pytest.mark.parametrize(
    "content",
    [
        RecordDict(),
        RecordDict({"parts": ArrayRecord([])}),
        RecordDict({"parts": ArrayRecord([np.zeros((3, 3))])}),
        RecordDict({"parts": ConfigRecord({"x": b"y"})}),
        RecordDict({"code": ConfigRecord({})}),
        RecordDict({"code": ConfigRecord({"code": "<script>"})}),
        RecordDict({"code": MetricRecord({"code": [1.0]})}),
    ],
)
def test_a_reply_of_any_other_shape_is_malformed_and_no_crash(content: RecordDict) -> None:
    (replies,) = driver(meddling(with_content(content))).run(ask(PhaseKind.OPEN))
    assert set(replies.values()) == {Reply(code="message_malformed")}


def test_replies_to_nobodys_question_and_doubled_ones_change_nothing() -> None:
    def doubled(messages: list[Message]) -> list[Message]:
        foreign = [Message(Error(code=0, reason=""), reply_to=m) for m in messages]
        return [*foreign, *messages, *messages]

    (replies,) = driver(meddling(doubled)).run(ask(PhaseKind.OPEN))
    assert replies == {p: honest(PhaseKind.OPEN, p) for p in POINTS}


class Unsendable(LocalGrid):
    """Gives ids as Flower does: none for a message that it could not send, no list when too large."""

    ids: Callable[[list[str]], list[Any]]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return self.ids(list(super().push_messages(messages)))


@pytest.mark.parametrize(
    ("ids", "lost"),
    [
        (lambda ids: [], {1, 2, 3}),
        (lambda ids: [ids[0], None, ids[2]], {2}),
        (lambda ids: ["", "", ids[2]], {1, 2}),
    ],
)
def test_messages_that_could_not_be_sent_are_lost_nodes_at_once(
    ids: Callable[[list[str]], list[Any]], lost: set[int]
) -> None:
    plain = local()
    grid = Unsendable(plain._apps, plain._contexts)
    grid.ids = ids
    (replies,) = driver(grid).run(ask(PhaseKind.OPEN))
    assert {p for p, reply in replies.items() if reply.code == LOST} == lost


def test_a_phase_record_counts_payload_bytes_and_outcomes() -> None:
    records: list[PhaseRecord] = []

    def refusing() -> Steps[None]:
        requests = {1: (b"no",), 2: (b"yes", b""), 3: (b"yes",)}
        yield Phase(name="open", kind=PhaseKind.OPEN, requests=requests)

    grid = local(loses=lambda node, kind: node == BASE + 3)
    driver(grid, on_phase=records.append).run(refusing())
    (record,) = records
    up = len(b"query.open") + 3
    assert (record.name, record.bytes_down, record.bytes_up) == ("open", 8, up)
    assert record.by_point == {1: (2, "study_unknown"), 2: (3 + up, "done"), 3: (3, LOST)}
    assert record.seconds >= 0


def test_the_version_of_every_node_that_replies_is_told() -> None:
    told: list[tuple[int, str]] = []
    grid = local(loses=lambda node, kind: node == BASE + 3)
    one = GridDriver(
        grid,
        {p: BASE + p for p in POINTS},
        make_message=grid.create_message,
        on_version=lambda *a: told.append(a),
    )
    one.run(ask(PhaseKind.NONCE))
    assert told == [(1, version("fedmed")), (2, version("fedmed"))]


def test_a_deadline_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="deadline_s"):
        driver(local(), deadline_s=0.0)
