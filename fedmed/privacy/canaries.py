"""Canaries: made-up persons of a node whose presence a sealed coin decides, and the seal on the coins.

Every canary has a coordinate of its own behind the coordinates of the question. No real person touches those
coordinates, so they say openly how much one person adds and how much noise there is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fedmed.errors import AuditFailed
from fedmed.types import DIGEST_BYTES, digest, require

BoolArray = npt.NDArray[np.bool_]

SALT_BYTES = 32


def owned(canaries: int, point: int, *, nodes: int) -> slice:
    """Coordinates of one node's canaries within the audit block.

    Args:
        canaries: Coordinates of the block, >= nodes.
        point: Roster point of the node, in 1..nodes.
        nodes: Nodes in the roster.

    Returns:
        Neighbouring coordinates; the slices of all points cover the block once, and differ by at most one
        in length.

    Raises:
        ConfigError: an argument is out of range.
    """
    require(canaries >= nodes, f"canaries must be >= the {nodes} nodes, got {canaries}")
    require(1 <= point <= nodes, f"point must be in 1..{nodes}, got {point}")
    return slice(canaries * (point - 1) // nodes, canaries * point // nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coins:
    """One node's coins: sealed before the first round, shown after the last.

    Attributes:
        present: Shape (own canaries,), bool: which of them take part; absent from ``repr``.
        salt: Keeps the seal from being tried out.
    """

    present: BoolArray = field(repr=False)
    salt: bytes = field(repr=False)

    def __post_init__(self) -> None:
        require(len(self.salt) == SALT_BYTES, f"salt must be {SALT_BYTES} bytes")
        self.present.setflags(write=False)

    def to_bytes(self) -> bytes:
        """The salt, then eight coins a byte, the first in the highest bit."""
        return self.salt + np.packbits(self.present).tobytes()

    @classmethod
    def from_bytes(cls, data: bytes, *, count: int) -> Coins:
        """Read what `to_bytes` wrote.

        Raises:
            AuditFailed: the bytes are not those of that many coins.
        """
        words = np.frombuffer(data[SALT_BYTES:], dtype=np.uint8)
        if len(data) != bytes_for(count) or bool(np.unpackbits(words)[count:].any()):
            raise AuditFailed(f"the bytes are not those of {count} coins; ask the node for its own")
        coins = np.unpackbits(words, count=count).astype(np.bool_) if count else np.zeros(0, dtype=np.bool_)
        return cls(present=coins, salt=data[:SALT_BYTES])

    def seal(self, study_digest: bytes, node: str) -> bytes:
        """Digest that commits a node to its coins in one study, `DIGEST_BYTES` long.

        Guarantees:
            Coins cannot be changed afterwards without changing it, and 256 bits of salt hide them.
        """
        return digest("fedmed/audit-coins", study_digest, node.encode(), self.to_bytes())


def bytes_for(count: int) -> int:
    """Random bytes that `coins_from` takes for that many coins, and length of `Coins.to_bytes`."""
    return SALT_BYTES + (count + 7) // 8


def coins_from(random_bytes: bytes, count: int) -> Coins:
    """Coins from random bytes: fair and independent where the bytes are.

    Args:
        random_bytes: `bytes_for` (count) of them, from the operating system.
        count: Canaries of the node.

    Raises:
        ConfigError: too few or too many bytes.
    """
    require(len(random_bytes) == bytes_for(count), f"{bytes_for(count)} bytes are needed for {count} coins")
    bits = np.unpackbits(np.frombuffer(random_bytes[SALT_BYTES:], dtype=np.uint8), count=count)
    return Coins(present=bits.astype(np.bool_), salt=random_bytes[:SALT_BYTES])


def check_seal(coins: Coins, seal: bytes, *, study_digest: bytes, node: str) -> None:
    """The coins are those that the node sealed.

    Raises:
        AuditFailed: they are others.
    """
    if len(seal) != DIGEST_BYTES or coins.seal(study_digest, node) != seal:
        raise AuditFailed(f"{node} showed other coins than it had sealed before the first round")
