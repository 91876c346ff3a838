"""Phases and replies: how the coordinator's half of the protocol speaks to whoever moves the bytes.

The coordinator's rules are generators: they yield a `Phase` and are sent the `Replies`. They open no
socket and read no clock, so one driver runs them on Flower's grid and a test runs them by hand.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from fedmed.types import require


class PhaseKind(Enum):
    """The message types of Flower that carry the phases; a custodian has one method for each."""

    CEREMONY = "query.ceremony"
    PROPOSE = "query.propose"
    NONCE = "query.nonce"
    CONTRIBUTE = "train"
    OPEN = "query.open"
    CLOSE = "query.close"


LOST = "node_lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One question to several nodes.

    Attributes:
        name: For people and for the record, for instance ``contribute``.
        kind: Which method of the custodian answers.
        requests: Parts to send, by roster point.
    """

    name: str
    kind: PhaseKind
    requests: Mapping[int, tuple[bytes, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a node sent back: parts, or the code of its refusal (`LOST` when it was silent)."""

    parts: tuple[bytes, ...] = ()
    code: str = ""

    def __post_init__(self) -> None:
        require(bool(self.code) != bool(self.parts), "a reply holds either parts or a code")

    @property
    def is_refusal(self) -> bool:
        """Whether the node refused or was silent."""
        return bool(self.code)


Replies = Mapping[int, Reply]
T = TypeVar("T")
Steps = Generator[Phase, Replies, T]
