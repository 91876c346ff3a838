"""What one phase said, as a release shows it: signed messages whole, everything else by digest and size.

A part is kept when it is a signed envelope or a few bytes long. Ciphertexts, opening shares, sealed key
shares and model parameters are named by the digest that headers, answers and dealings sign; those that a
reader needs whole are in another file of the release (`fedmed.release.payloads`).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from fedmed.errors import ConfigError, MessageMalformed, ReleaseBroken
from fedmed.protocol.binding import payload_digest
from fedmed.protocol.envelope import MESSAGE_TYPES
from fedmed.protocol.steps import Phase, PhaseKind, Replies, Reply, Steps
from fedmed.types import DIGEST_BYTES, require
from fedmed.wire import decode_signed

T = TypeVar("T")

# Names of ceremony steps and the like; too short for a key share, a ciphertext or a model.
WORD_BYTES: Final = 16
# An opening request holds a header of every contributor; 400 of them stay below this.
MOST_KEPT_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a message.

    Attributes:
        digest: `fedmed.protocol.binding.payload_digest` of its bytes.
        size: In bytes.
        kept: The exact bytes of a signed envelope or a word; empty for everything else.
    """

    digest: bytes
    size: int
    kept: bytes = b""

    def __post_init__(self) -> None:
        require(len(self.digest) == DIGEST_BYTES and self.size >= 0, "a part has a digest and a size")
        told = (payload_digest(self.kept), len(self.kept))
        require(not self.kept or told == (self.digest, self.size), "a part's digest is of its bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a node answered: parts, or the code of its refusal or silence."""

    parts: tuple[Part, ...] = ()
    code: str = ""

    def __post_init__(self) -> None:
        require(bool(self.code) != bool(self.parts), "an answer holds either parts or a code")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One phase: what was asked of each roster point, and what each answered.

    Attributes:
        name: Of the phase, for instance ``contribute``.
        kind: Which method of the custodian answered.
        asked: Parts sent, by point.
        answered: What came back, by point.
    """

    name: str
    kind: PhaseKind
    asked: Mapping[int, tuple[Part, ...]]
    answered: Mapping[int, Said]

    def __post_init__(self) -> None:
        require(all(self.asked.values()), "every point was asked something")

    def to_line(self) -> bytes:
        """Write it in its one canonical form: a line of JSON; a broadcast's parts stand there once."""
        groups: dict[tuple[Part, ...], list[int]] = {}
        for point in sorted(self.asked):
            groups.setdefault(self.asked[point], []).append(point)
        document = {
            "phase": self.name,
            "kind": self.kind.value,
            "asked": [
                {"points": points, "parts": [_told(p) for p in parts]} for parts, points in groups.items()
            ],
            "answered": [
                {"point": point, "code": said.code}
                if said.code
                else {"point": point, "parts": [_told(p) for p in said.parts]}
                for point, said in sorted(self.answered.items())
            ],
        }
        return json.dumps(document, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Exchange:
        """Read what `to_line` wrote, byte for byte.

        Raises:
            ReleaseBroken: it is no exchange, or not in its canonical form.
        """
        try:
            document = json.loads(line)
            exchange = cls(
                name=str(document["phase"]),
                kind=PhaseKind(document["kind"]),
                asked={
                    int(point): tuple(_part(p) for p in group["parts"])
                    for group in document["asked"]
                    for point in group["points"]
                },
                answered={int(told["point"]): _said(told) for told in document["answered"]},
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ConfigError):
            raise ReleaseBroken("a line of the exchanges is not one that FedMed writes") from None
        if exchange.to_line() != line:
            raise ReleaseBroken("a line of the exchanges is not in its canonical form")
        return exchange


def exchange_of(phase: Phase, replies: Replies) -> Exchange:
    """What a phase and its replies leave for a release.

    Args:
        phase: What was asked.
        replies: What came back.

    Guarantees:
        Of a part that is neither a signed envelope of a known type nor at most `WORD_BYTES` long, nothing
        but digest and size is kept.
    """
    return Exchange(
        name=phase.name,
        kind=phase.kind,
        asked={point: _parts(parts) for point, parts in phase.requests.items()},
        answered={point: _answer(reply) for point, reply in replies.items()},
    )


def is_ceremony(phase: Exchange | Phase) -> bool:
    """Whether a phase belongs to a ceremony: its steps and its rehearsals."""
    return phase.name.split()[0] == "ceremony"


def witnessed(steps: Steps[T], note: Callable[[Exchange], None]) -> Steps[T]:
    """Run a generator and note every phase before the generator goes on with its replies.

    Args:
        steps: Any of the coordinator's generators.
        note: Gets each exchange in order.

    Returns:
        What the generator returns; its errors pass through.
    """
    try:
        phase = next(steps)
        while True:
            replies = yield phase
            note(exchange_of(phase, replies))
            phase = steps.send(replies)
    except StopIteration as stop:
        result: T = stop.value
        return result


def _answer(reply: Reply) -> Said:
    """A reply by digests."""
    return Said(code=reply.code) if reply.is_refusal else Said(parts=_parts(reply.parts))


def _parts(parts: Sequence[bytes]) -> tuple[Part, ...]:
    """Parts by digests, the public ones with their bytes."""
    return tuple(Part(digest=payload_digest(p), size=len(p), kept=p if _is_public(p) else b"") for p in parts)


def _is_public(data: bytes) -> bool:
    """Whether a part is a word or a signed envelope of a known type."""
    if len(data) <= WORD_BYTES:
        return True
    if len(data) > MOST_KEPT_BYTES:
        return False
    try:
        return decode_signed(data).type in MESSAGE_TYPES
    except MessageMalformed:
        return False


def _told(part: Part) -> object:
    """A part in JSON: its bytes in base64, or digest and size."""
    if part.kept or not part.size:
        return base64.b64encode(part.kept).decode()
    return {"digest": part.digest.hex(), "size": part.size}


def _part(told: Any) -> Part:  # Any: what JSON can say
    """A part from JSON; raises what the caller turns into `ReleaseBroken`."""
    if isinstance(told, str):
        try:
            kept = base64.b64decode(told, validate=True)
        except binascii.Error:
            raise ValueError("not base64") from None
        return Part(digest=payload_digest(kept), size=len(kept), kept=kept)
    return Part(digest=bytes.fromhex(told["digest"]), size=int(told["size"]))


def _said(told: Any) -> Said:  # Any: what JSON can say
    """An answer from JSON; raises what the caller turns into `ReleaseBroken`."""
    if "code" in told:
        return Said(code=str(told["code"]))
    return Said(parts=tuple(_part(p) for p in told["parts"]))
