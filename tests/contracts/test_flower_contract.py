"""What FedMed relies on in the installed Flower; a failure names what moved.

Nothing but ``flwr.app``, ``flwr.clientapp`` and ``flwr.serverapp`` is imported by FedMed, and of the
behaviour below only `Message`'s ``metadata`` argument is documented as internal.
"""

from __future__ import annotations

import importlib
import inspect
import time
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, Metadata, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from fedmed.protocol.steps import PhaseKind

NAMES = {
    "flwr.app": (
        "ArrayRecord",
        "ConfigRecord",
        "Context",
        "Error",
        "Message",
        "Metadata",
        "MetricRecord",
        "RecordDict",
    ),
    "flwr.clientapp": ("ClientApp",),
    "flwr.serverapp": ("Grid", "ServerApp"),
}
MOVED = f"Flower {version('flwr')} moved or changed it: see what follows, then the pin in pyproject.toml"


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in NAMES.items() for n in names])
def test_a_name_that_we_import_exists(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name), f"{module}.{name} is gone. {MOVED}"


def metadata(message_type: str = "query.open", **changes: Any) -> Metadata:
    values: dict[str, Any] = {
        "run_id": 1,
        "message_id": "m1",
        "src_node_id": 1,
        "dst_node_id": 11,
        "reply_to_message_id": "",
        "group_id": "g",
        "created_at": time.time(),
        "ttl": 60.0,
        "message_type": message_type,
    }
    return Metadata(**{**values, **changes})


def message(content: RecordDict, message_type: str = "query.open") -> Message:
    return Message(content, metadata=metadata(message_type))  # type: ignore[call-overload,no-any-return]


def context() -> Context:
    return Context(run_id=1, node_id=11, node_config={}, state=RecordDict(), run_config={})


def test_a_message_is_made_from_metadata_outside_any_flower_task() -> None:
    made = message(RecordDict())
    assert made.metadata.message_id == "m1", f"Message(content, metadata=). {MOVED}"
    assert made.metadata.ttl == 60.0
    assert (made.has_error(), made.has_content()) == (False, True)


def test_a_reply_needs_the_question_alone_and_names_it() -> None:
    reply = Message(RecordDict(), reply_to=message(RecordDict()))
    assert reply.metadata.reply_to_message_id == "m1", f"Message(content, reply_to=). {MOVED}"
    assert (reply.metadata.src_node_id, reply.metadata.dst_node_id) == (11, 1)


def test_an_error_reply_has_a_code_and_no_content() -> None:
    reply = Message(Error(code=5, reason="x"), reply_to=message(RecordDict()))
    assert (reply.has_error(), reply.error.code) == (True, 5), f"Message(Error, reply_to=). {MOVED}"
    with pytest.raises(ValueError, match="content"):
        _ = reply.content


@pytest.mark.parametrize("size", [1, 2, 10_000])
def test_bytes_survive_as_uint8_arrays(size: int) -> None:
    array = np.arange(size, dtype=np.uint64).astype(np.uint8)
    record = ArrayRecord([array, array[:1]])
    first, second = record.to_numpy_ndarrays()
    assert first.dtype == np.uint8, f"ArrayRecord of uint8. {MOVED}"
    assert first.tobytes() == array.tobytes()
    assert second.tobytes() == array[:1].tobytes()


def test_equal_parts_stay_separate_parts_in_order() -> None:
    arrays = [np.array([x], np.uint8) for x in (3, 1, 3, 2) * 4]
    found = [int(a[0]) for a in ArrayRecord(arrays).to_numpy_ndarrays()]
    assert found == [3, 1, 3, 2] * 4, f"order of an ArrayRecord's arrays. {MOVED}"


def test_a_code_survives_as_text_in_a_config_record() -> None:
    content = RecordDict({"code": ConfigRecord({"code": "set_changed"})})
    assert content["code"]["code"] == "set_changed", f"ConfigRecord of str. {MOVED}"
    assert isinstance(content.get("code"), ConfigRecord)
    assert content.get("other") is None


def test_an_array_of_objects_is_never_unpickled() -> None:
    import io

    from flwr.app import Array

    buffer = io.BytesIO()
    np.save(buffer, np.array([print], dtype=object), allow_pickle=True)
    array = Array(dtype="object", shape=(1,), stype="numpy.ndarray", data=buffer.getvalue())
    with pytest.raises(ValueError, match="allow_pickle"):
        array.numpy()


@pytest.mark.parametrize("kind", PhaseKind)
def test_each_of_our_message_types_reaches_its_own_method(kind: PhaseKind) -> None:
    app, seen = ClientApp(), []

    def method(name: str) -> Any:
        def answer(message: Message, context: Context) -> Message:
            seen.append((name, context.node_id))
            return Message(RecordDict(), reply_to=message)

        return answer

    for one in PhaseKind:
        category, _, action = one.value.partition(".")
        register = app.train if category == "train" else app.query
        register(action or "default")(method(one.value))
    app(message(RecordDict(), kind.value), context())
    assert seen == [(kind.value, 11)], f"message type {kind.value}. {MOVED}"


def test_an_unknown_action_is_an_exception_of_the_app() -> None:
    with pytest.raises(Exception, match=r"steal|query"):
        ClientApp()(message(RecordDict(), "query.steal"), context())


def test_a_server_app_is_called_with_grid_and_context() -> None:
    app, seen = ServerApp(), []

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        seen.append((grid, context))

    here, there = object(), context()
    app(here, there)  # type: ignore[arg-type]
    assert seen == [(here, there)], f"ServerApp.main. {MOVED}"


def test_a_grid_is_what_our_local_grid_implements() -> None:
    wanted = {"create_message", "get_node_ids", "get_nodes", "pull_messages", "push_messages", "run"}
    wanted |= {"send_and_receive", "set_run"}
    assert set(Grid.__abstractmethods__) <= wanted, f"Grid asks for more. {MOVED}"
    assert list(inspect.signature(Grid.push_messages).parameters) == ["self", "messages"], MOVED
    assert list(inspect.signature(Grid.pull_messages).parameters) == ["self", "message_ids"], MOVED
