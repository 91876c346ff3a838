"""Parts in pieces: inverses, and limits that hold however a message was cut."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import MessageMalformed
from fedmed.protocol.steps import Reply
from fedmed.socket_messages import PIECE_BYTES, Piece
from fedmed_nodes.pieces import (
    MESSAGE_BYTES,
    MOST_PARTS,
    join_pieces,
    join_reply,
    split_parts,
    split_reply,
)
from tests.examples import at_most

SIZES = (0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES)


@given(parts=st.lists(st.binary(max_size=20), max_size=8).map(tuple))
@settings(deadline=None, max_examples=at_most(50))
def test_joining_undoes_cutting(parts: tuple[bytes, ...]) -> None:
    assert join_pieces(split_parts(parts)) == parts


@pytest.mark.parametrize("size", SIZES)
def test_parts_of_every_size_pass_and_no_piece_is_longer_than_a_mebibyte(size: int) -> None:
    parts = (b"a" * size, b"", b"b" * size)
    pieces = list(split_parts(parts))
    assert max(len(piece.data) for piece in pieces) <= PIECE_BYTES
    assert join_pieces(pieces) == parts


def test_replies_and_refusals_pass() -> None:
    for reply in (Reply(code="study_unknown"), Reply(parts=(b"", b"x" * (PIECE_BYTES + 1)))):
        assert join_reply(split_reply(reply)) == reply


@pytest.mark.parametrize("pieces", [[], ["a", "b"], ["a", Piece(data=b"x", ends_part=True)]])
def test_a_reply_that_is_neither_parts_nor_a_code_is_refused(pieces: list[Piece | str]) -> None:
    with pytest.raises(MessageMalformed):
        join_reply(pieces)


def test_a_message_without_an_end_is_refused() -> None:
    with pytest.raises(MessageMalformed, match="inside a part"):
        join_pieces([Piece(data=b"x", ends_part=False)])


def endless(data: bytes, *, ends_part: bool) -> Iterator[Piece]:
    while True:
        yield Piece(data=data, ends_part=ends_part)


@pytest.mark.parametrize(
    ("data", "ends_part"),
    [(bytes(PIECE_BYTES), False), (bytes(PIECE_BYTES), True), (b"x", False), (b"", True)],
)
def test_an_endless_stream_is_refused_at_the_limit(data: bytes, ends_part: bool) -> None:
    kept = 0

    def take(size: int) -> None:
        nonlocal kept
        kept += size

    with pytest.raises(MessageMalformed, match="at most"):
        join_pieces(endless(data, ends_part=ends_part), take=take)
    assert kept <= MESSAGE_BYTES


def test_as_many_parts_pass_as_are_allowed() -> None:
    assert len(join_pieces(split_parts((b"",) * MOST_PARTS))) == MOST_PARTS
    with pytest.raises(MessageMalformed):
        join_pieces(split_parts((b"",) * (MOST_PARTS + 1)))
