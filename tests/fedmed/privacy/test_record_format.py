"""Kept records have one spelling, and nothing else is read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import ConfigError, IntegrityError, UnknownVersion
from fedmed.privacy.record_format import MAX_RECORD_BYTES, read_record, record_bytes, require_time
from tests.examples import at_most

FORMAT = "fedmed/test/1"
FIELDS = {"name": str, "count": int, "size": float}

records = st.fixed_dictionaries(
    {
        "name": st.text(max_size=20),
        "count": st.integers(-(10**30), 10**30),
        "size": st.floats(allow_nan=False, allow_infinity=False),
    }
)


@settings(deadline=None, max_examples=at_most(100))
@given(records)
def test_a_record_is_read_as_it_was_written(record: dict[str, str | int | float]) -> None:
    data = record_bytes(FORMAT, record)
    assert read_record(FORMAT, data, fields=FIELDS) == record
    assert record_bytes(FORMAT, read_record(FORMAT, data, fields=FIELDS)) == data


def test_a_record_names_its_format_first() -> None:
    assert record_bytes(FORMAT, {"name": "上海"}) == '{"format":"fedmed/test/1","name":"上海"}'.encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b'{"format":"fedmed/test/1","name":"a","count":1,"size":1.0',
        b'{"format":"fedmed/test/1","name":"a","count":1}',
        b'{"format":"fedmed/test/1","name":"a","count":1,"size":1.0,"more":1}',
        b'{"format":"fedmed/test/1","name":"a","count":true,"size":1.0}',
        b'{"format":"fedmed/test/1","name":"a","count":1.0,"size":1.0}',
        b'{"format":"fedmed/test/1","name":"a","count":1,"size":1}',
        b'{"format":"fedmed/test/1","name":["a"],"count":1,"size":1.0}',
        b'{"format":"fedmed/test/1","name":"a","count":1,"size":' + b"9" * 5000 + b"}",
        b"[" * 60_000,
        b" " * MAX_RECORD_BYTES + b'{"format":"fedmed/test/1","name":"a","count":1,"size":1.0}',
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="test record"):
        read_record(FORMAT, data, fields=FIELDS)


@pytest.mark.parametrize("named", [b'{"name":"a"}', b'{"format":"fedmed/test/2"}', b'{"format":["x"]}'])
def test_another_format_is_an_unknown_version(named: bytes) -> None:
    with pytest.raises(UnknownVersion, match="fedmed/test/1"):
        read_record(FORMAT, named, fields=FIELDS)


def test_a_record_that_is_too_long_is_not_written() -> None:
    with pytest.raises(ConfigError, match="at most"):
        record_bytes(FORMAT, {"name": "x" * MAX_RECORD_BYTES})


def test_a_number_that_is_not_finite_is_not_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        record_bytes(FORMAT, {"size": float("inf")})


@pytest.mark.parametrize(
    "text", ["2026-01-31T08:00:00+00:00", "2026-01-31T08:00:00.5+08:00", "2026-01-31T08:00Z"]
)
def test_a_time_with_its_offset_is_taken(text: str) -> None:
    """Every other time raises, as the next test says."""
    require_time("at", text)


@pytest.mark.parametrize(
    "text", ["", "now", "2026-01-31", "2026-01-31T08:00:00", "2026-13-01T00:00:00Z", "\udc80"]
)
def test_a_time_without_an_offset_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="at must be an ISO 8601 time"):
        require_time("at", text)
