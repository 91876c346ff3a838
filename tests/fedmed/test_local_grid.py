"""The in-process grid behaves as Flower's does, faults included."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedmed.flower_parts import from_content, to_content
from fedmed.local_grid import COORDINATOR_ID, NEVER, NODE_UNAVAILABLE, LocalGrid

NODES = (11, 12, 13)


def echo() -> ClientApp:
    """An app that sends back what it got, with its node's id; node 13 fails."""
    app = ClientApp()

    @app.query("echo")
    def answer(message: Message, context: Context) -> Message:
        if context.node_id == NODES[2]:
            raise ValueError("a patient's value")
        parts = from_content(message.content)
        return Message(to_content((*parts, str(context.node_id).encode())), reply_to=message)

    return app


def grid(**faults: Callable[[int, str], bool] | Callable[[int, str], int]) -> LocalGrid:
    contexts = {
        node: Context(run_id=1, node_id=node, node_config={}, state=RecordDict(), run_config={})
        for node in NODES
    }
    return LocalGrid(dict.fromkeys(NODES, echo()), contexts, **faults)  # type: ignore[arg-type]


def messages(grid: LocalGrid, nodes: tuple[int, ...] = NODES[:2]) -> list[Message]:
    return [grid.create_message(to_content((b"x",)), "query.echo", node, "g") for node in nodes]


def test_each_message_is_answered_by_its_node_and_mapped_by_its_id() -> None:
    here = grid()
    ids = list(here.push_messages(messages(here)))
    assert len(set(ids)) == len(ids) == 2
    replies = {m.metadata.reply_to_message_id: m for m in here.pull_messages(ids)}
    assert [from_content(replies[key].content)[1] for key in ids] == [b"11", b"12"]
    assert list(here.pull_messages(ids)) == [], "a reply is taken once"


def test_a_message_carries_its_type_group_and_time_to_live() -> None:
    metadata = grid().create_message(RecordDict(), "query.open", 11, "open", ttl=7.0).metadata
    assert (metadata.message_type, metadata.group_id, metadata.ttl) == ("query.open", "open", 7.0)


@pytest.mark.parametrize("switch", ["loses", "loses_reply"])
def test_a_lost_node_is_an_error_that_names_the_coordinator(switch: str) -> None:
    here = grid(**{switch: lambda node, kind: node == NODES[0]})
    ids = list(here.push_messages(messages(here)))
    lost, found = here.pull_messages(ids)
    assert lost.has_error()
    assert (lost.error.code, lost.metadata.src_node_id) == (NODE_UNAVAILABLE, COORDINATOR_ID)
    assert lost.metadata.reply_to_message_id == ids[0]
    assert not found.has_error()


def test_an_exception_in_an_app_is_an_error_without_its_text() -> None:
    here = grid()
    (failed,) = here.pull_messages(here.push_messages(messages(here, NODES[2:])))
    assert failed.has_error()
    assert "patient" not in str(failed.error)


def test_replies_may_come_late_out_of_order_or_never() -> None:
    waits = {NODES[0]: 2, NODES[1]: 0}
    here = grid(delays=lambda node, kind: waits[node])
    ids = list(here.push_messages(messages(here)))
    seen = [[m.metadata.reply_to_message_id for m in here.pull_messages(ids)] for _ in range(4)]
    assert seen == [[ids[1]], [], [ids[0]], []]
    silent = grid(delays=lambda node, kind: NEVER)
    ids = list(silent.push_messages(messages(silent)))
    assert not any(list(silent.pull_messages(ids)) for _ in range(5))


def test_a_node_that_is_not_there_is_an_error() -> None:
    here = grid()
    (missing,) = here.send_and_receive(messages(here, (99,)))
    assert missing.has_error()


def test_nodes_are_known_by_id_only() -> None:
    assert list(grid().get_node_ids()) == list(NODES)
    with pytest.raises(NotImplementedError, match="directory"):
        grid().get_nodes()
