"""The relay at a province: bytes in, bytes out, codes for everything else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from flwr.app import Context, Message, RecordDict

from fedmed.errors import FedMedError, StoreFailed
from fedmed.flower_parts import reply_from_content, to_content
from fedmed.local_grid import LocalGrid
from fedmed.protocol.steps import PhaseKind, Reply
from fedmed_nodes.client_app import CustodianPort, build_client_app

NODE = 7
ROW_TEXT = "patient 1234567 had C50.9"


class Recorder:
    """A custodian that keeps what it was asked."""

    def __init__(self, reply: Reply | Exception) -> None:
        self.reply = reply
        self.asked: list[tuple[PhaseKind, tuple[bytes, ...]]] = []

    def answer(self, kind: PhaseKind, parts: Sequence[bytes]) -> Reply:
        self.asked.append((kind, tuple(parts)))
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply


def relay(custodian: CustodianPort | Exception, kind: str, content: RecordDict | None = None) -> Message:
    """One message through the app, as Flower would hand it over."""

    def connect(context: Context) -> CustodianPort:
        assert context.node_id == NODE
        if isinstance(custodian, Exception):
            raise custodian
        return custodian

    context = Context(run_id=1, node_id=NODE, node_config={}, state=RecordDict(), run_config={})
    grid = LocalGrid({NODE: build_client_app(connect)}, {NODE: context})
    message = grid.create_message(to_content((b"a", b"")) if content is None else content, kind, NODE, "")
    (reply,) = grid.send_and_receive([message])
    return reply


@pytest.mark.parametrize("kind", PhaseKind)
def test_every_phase_is_relayed_with_its_parts(kind: PhaseKind) -> None:
    custodian = Recorder(Reply(parts=(b"yes", b"")))
    message = relay(custodian, kind.value)
    assert custodian.asked == [(kind, (b"a", b""))]
    assert reply_from_content(message.content) == Reply(parts=(b"yes", b""))


def test_a_refusal_is_relayed_as_its_code() -> None:
    message = relay(Recorder(Reply(code="set_changed")), "query.open")
    assert reply_from_content(message.content) == Reply(code="set_changed")


def every_byte(message: Message) -> bytes:
    """All that leaves the node: the record as it travels and its metadata."""
    assert not message.has_error(), "Flower sends an error with its text"
    return (
        message.content.deflate()
        + b"".join(child.deflate() for record in message.content.values() for child in _nested(record))
        + repr(message.metadata).encode()
    )


def _nested(record: Any) -> list[Any]:
    children = getattr(record, "children", None) or {}
    return [record, *(one for child in children.values() for one in _nested(child))]


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ValueError(ROW_TEXT), FedMedError.code),
        (StoreFailed(ROW_TEXT), StoreFailed.code),
        (KeyError(ROW_TEXT), FedMedError.code),
        (MemoryError(ROW_TEXT), FedMedError.code),
    ],
)
@pytest.mark.parametrize("where", ["connect", "answer"])
def test_an_exception_leaves_as_a_code_and_its_text_stays(failure: Exception, code: str, where: str) -> None:
    message = relay(failure if where == "connect" else Recorder(failure), "train")
    sent = every_byte(message)
    assert reply_from_content(message.content) == Reply(code=code)
    assert code.encode() in sent, "the search looks at what travels"
    assert ROW_TEXT.encode() not in sent
    assert b"1234567" not in sent


def test_content_that_is_no_message_of_ours_reaches_no_custodian() -> None:
    custodian = Recorder(Reply(parts=(b"yes",)))
    message = relay(custodian, "query.open", RecordDict())
    assert reply_from_content(message.content) == Reply(code="message_malformed")
    assert custodian.asked == []


def test_an_unknown_message_type_is_flowers_error() -> None:
    custodian = Recorder(Reply(parts=(b"yes",)))
    assert relay(custodian, "query.steal").has_error()
    assert custodian.asked == []


@pytest.mark.slow
def test_the_relay_loads_no_keys_no_rows_and_nothing_heavy() -> None:
    """Flower starts a process for every message, and a hostile bundle may run in it."""
    code = "import fedmed_nodes.client_app, sys; print(*sys.modules, sep='\\n')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    heavy = {"torch", "tenseal", "opacus", "pyarrow", "scipy", "sklearn", "dp_accounting", "matplotlib"}
    rooms = {f"fedmed.{room}" for room in ("crypto", "data", "models", "privacy", "aggregation")}
    inside = {"fedmed_nodes.custodian", "fedmed_nodes.stores", "fedmed_nodes.sources"}
    assert not loaded & (heavy | rooms | inside)
