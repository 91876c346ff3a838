"""Parts in Flower messages: both ends agree, and whatever else arrives is one malformed message."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import MessageMalformed, all_errors
from fedmed.flower_parts import (
    SMALL_BYTES,
    from_content,
    reply_from_content,
    reply_to_content,
    to_content,
    version_in,
)
from fedmed.protocol.steps import LOST, Reply
from tests.examples import at_most

PARTS = st.lists(st.binary(max_size=300), max_size=6).map(tuple)
MALFORMED = Reply(code=MessageMalformed.code)


@settings(deadline=None, max_examples=at_most(50))
@given(parts=PARTS)
def test_parts_come_back_as_they_were_sent(parts: tuple[bytes, ...]) -> None:
    assert from_content(to_content(parts)) == parts


@settings(deadline=None, max_examples=at_most(50))
@given(parts=PARTS.filter(bool))
def test_a_reply_comes_back_as_it_was_sent(parts: tuple[bytes, ...]) -> None:
    assert reply_from_content(reply_to_content(Reply(parts=parts))) == Reply(parts=parts)


@pytest.mark.parametrize("code", [*sorted(all_errors()), LOST])
def test_every_code_comes_back(code: str) -> None:
    assert reply_from_content(reply_to_content(Reply(code=code))) == Reply(code=code)


def test_a_reply_names_the_version_that_relays_it() -> None:
    for reply in (Reply(parts=(b"x",)), Reply(code=LOST)):
        assert version_in(reply_to_content(reply)) == version("fedmed")


@pytest.mark.parametrize("told", ["", "<script>", "1" * 33, 7, b"1.0"])
def test_a_version_that_is_none_is_not_believed(told: str) -> None:
    assert version_in(RecordDict({"version": ConfigRecord({"version": told})})) == ""
    assert version_in(RecordDict({"version": MetricRecord({"version": 1})})) == ""
    assert version_in(RecordDict()) == ""


def test_a_small_message_is_one_object_below_its_content() -> None:
    """Flower asks for each object of a message in a request of its own, at each hop."""
    whole = [bytes(SMALL_BYTES - 1), b"", b"x"]
    for content in (to_content(whole), reply_to_content(Reply(parts=tuple(whole)))):
        (record,) = content.values()
        assert isinstance(record, ConfigRecord)
        assert from_content(content) == tuple(whole)


def test_large_parts_travel_as_bytes_in_arrays() -> None:
    parts = (bytes(SMALL_BYTES), b"", b"x")
    for content in (to_content(parts), reply_to_content(Reply(parts=parts))):
        record = content["parts"]
        assert isinstance(record, ArrayRecord)
        assert [a.dtype for a in record.to_numpy_ndarrays()] == [np.uint8] * 3
        assert from_content(content) == parts
    assert version_in(content) == version("fedmed")


def broken_array() -> Array:
    return Array(dtype="uint8", shape=(3,), stype="numpy.ndarray", data=b"no array")


def pickled_array() -> Array:
    """An array of objects: reading it would run the sender's code."""
    import io

    buffer = io.BytesIO()
    np.save(buffer, np.array([print], dtype=object), allow_pickle=True)
    return Array(dtype="object", shape=(1,), stype="numpy.ndarray", data=buffer.getvalue())


HOSTILE = {
    "empty": RecordDict(),
    "no parts": RecordDict({"parts": ArrayRecord([])}),
    "another record": RecordDict({"other": ArrayRecord([np.zeros(1, np.uint8)])}),
    "parts under another name": RecordDict({"parts": ConfigRecord({"0": [b"x"]})}),
    "parts that are no list": RecordDict({"parts": ConfigRecord({"parts": b"x"})}),
    "an empty list": RecordDict({"parts": ConfigRecord({"parts": []})}),
    "texts": RecordDict({"parts": ConfigRecord({"parts": ["x"]})}),
    "floats": RecordDict({"parts": ArrayRecord([np.zeros(3)])}),
    "two dimensions": RecordDict({"parts": ArrayRecord([np.zeros((2, 2), np.uint8)])}),
    "an empty array": RecordDict({"parts": ArrayRecord([np.zeros(0, np.uint8)])}),
    "broken bytes": RecordDict({"parts": ArrayRecord({"0": broken_array()})}),
    "a pickle": RecordDict({"parts": ArrayRecord({"0": pickled_array()})}),
    "a metric for a code": RecordDict({"code": MetricRecord({"code": 1})}),
    "a number for a code": RecordDict({"code": ConfigRecord({"code": 3})}),
    "an empty code": RecordDict({"code": ConfigRecord({"code": ""})}),
    "a text for a code": RecordDict({"code": ConfigRecord({"code": "[red]patient 17[/red]"})}),
    "a code with a line break": RecordDict({"code": ConfigRecord({"code": "node_lost\n"})}),
    "a code without its key": RecordDict({"code": ConfigRecord({"other": "x"})}),
    "a very long code": RecordDict({"code": ConfigRecord({"code": "a" * 10_000})}),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_no_reply_counts_as_malformed(content: RecordDict) -> None:
    assert reply_from_content(content) == MALFORMED


@pytest.mark.parametrize(
    "what",
    [
        "empty",
        "parts under another name",
        "parts that are no list",
        "an empty list",
        "texts",
        "floats",
        "two dimensions",
        "an empty array",
    ],
)
def test_what_is_no_request_is_refused(what: str) -> None:
    with pytest.raises(MessageMalformed):
        from_content(HOSTILE[what])
