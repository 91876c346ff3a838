"""Parts in pieces: how messages of up to 256 MiB pass the custodian's socket in bounded memory.

Both ends use it. It imports neither keys nor data: the relay loads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from fedmed.errors import MessageMalformed
from fedmed.protocol.steps import PhaseKind, Reply
from fedmed.socket_messages import PIECE_BYTES, Piece

CUSTODIAN_SERVICE: Final = "fedmed.proto.v1.Custodian"
OPERATOR_SERVICE: Final = "fedmed.proto.v1.Operator"
METHODS: Final = {
    PhaseKind.CEREMONY: "CeremonyStep",
    PhaseKind.PROPOSE: "Propose",
    PhaseKind.NONCE: "Nonce",
    PhaseKind.CONTRIBUTE: "Contribute",
    PhaseKind.OPEN: "Open",
    PhaseKind.CLOSE: "Close",
}
"""The service's method for each phase (protos/fedmed/proto/v1/custodian.proto)."""

SOCKET: Final = Path("run") / "custodian.sock"
"""Where the custodian listens in its home, unless its settings name another place."""
SOCKET_KEY: Final = "fedmed-socket"
"""The key of a SuperNode's own settings (``--node-config``) by which the relay finds the socket."""

MESSAGE_BYTES: Final = 1 << 28
MOST_PARTS: Final = 4_096
FRAME_BYTES: Final = PIECE_BYTES + 64
"""Longest protobuf message on the socket: a piece and its tags."""

# Honest senders fill their pieces, so this many carry the largest message of the most parts.
_MOST_PIECES: Final = MESSAGE_BYTES // PIECE_BYTES + MOST_PARTS


def split_parts(parts: Sequence[bytes]) -> Iterator[Piece]:
    """Cut parts into pieces, in order; every part ends with a piece that says so, an empty one too."""
    for part in parts:
        for start in range(0, max(1, len(part)), PIECE_BYTES):
            end = start + PIECE_BYTES
            yield Piece(data=part[start:end], ends_part=end >= len(part))


def split_reply(reply: Reply) -> Iterator[Piece | str]:
    """Cut a reply into pieces; a refusal is its code alone."""
    if reply.is_refusal:
        yield reply.code
    else:
        yield from split_parts(reply.parts)


def join_pieces(
    pieces: Iterable[Piece], *, take: Callable[[int], None] = lambda _: None
) -> tuple[bytes, ...]:
    """Put parts together again.

    Args:
        pieces: As they arrive.
        take: Told the size of every piece before it is kept; may raise to refuse it.

    Returns:
        The parts that `split_parts` cut.

    Guarantees:
        At most `MESSAGE_BYTES` are ever kept, in at most `MOST_PARTS` parts, however they were cut.

    Raises:
        MessageMalformed: too many bytes, parts or pieces, or the last part has no end.
    """
    parts: list[bytes] = []
    begun: list[bytes] = []
    size = 0
    for number, piece in enumerate(pieces, start=1):
        size += len(piece.data)
        if size > MESSAGE_BYTES or number > _MOST_PIECES or len(parts) == MOST_PARTS:
            raise MessageMalformed(
                f"a message holds at most {MESSAGE_BYTES} bytes, {MOST_PARTS} parts and {_MOST_PIECES} pieces"
            )
        take(len(piece.data))
        begun.append(piece.data)
        if piece.ends_part:
            parts.append(begun[0] if len(begun) == 1 else b"".join(begun))
            begun = []
    if begun:
        raise MessageMalformed("the message ends inside a part")
    return tuple(parts)


def join_reply(pieces: Iterable[Piece | str]) -> Reply:
    """Put a reply together again; raises `MessageMalformed` where code and parts are mixed."""
    code = ""

    def only_pieces() -> Iterator[Piece]:
        nonlocal code
        for piece in pieces:
            if code:
                raise MessageMalformed("something follows the code of a refusal")
            if isinstance(piece, str):
                code = piece
            else:
                yield piece

    parts = join_pieces(only_pieces())
    if bool(parts) == bool(code):
        raise MessageMalformed("a reply holds either parts or a code")
    return Reply(code=code, parts=parts)
