"""The contract of a secure sum: a custodian contributes and opens, the coordinator combines.

One pair of modules a scheme implements it. Values are *fields*: non-negative integers below
2**(layout.field_bits - 1), shape (layout.values,), made by `fedmed.aggregation.encoding`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fedmed.errors import MessageMalformed, OpenersMiscounted, SetMalformed
from fedmed.types import Layout, WordArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What an opening asks of a custodian; everything but ``sums`` was checked by its rules before.

    Attributes:
        plan_digest: The plan that all contributions answer.
        layout: The plan's layout.
        contributors: Strictly increasing roster points (S).
        openers: Strictly increasing roster points, this custodian among them (T).
        headers_digest: Digest of all signed headers of S in order.
        sums: What the coordinator says is the sum of all contributions, one byte string a chunk; empty in
            schemes whose custodians answer for a set and never see a ciphertext.
    """

    plan_digest: bytes
    layout: Layout
    contributors: Sequence[int]
    openers: Sequence[int]
    headers_digest: bytes
    sums: Sequence[bytes] = ()


class Contributor(Protocol):
    """A custodian's half."""

    def contribute(self, fields: WordArray, *, plan_digest: bytes, layout: Layout) -> tuple[bytes, ...]:
        """Turn fields into one payload a chunk.

        Args:
            fields: Shape (layout.values,), uint64.
            plan_digest: 32 bytes; must never repeat for this key with other fields.
            layout: The plan's layout.

        Returns:
            One byte string for each chunk of up to 8192 coefficients.
        """
        ...

    def open(self, asked: Opening) -> tuple[bytes, ...]:
        """Answer for one set of contributors.

        Returns:
            One byte string for each chunk.

        Raises:
            MessageMalformed: sums were sent where the scheme has none, or not one a chunk.
        """
        ...


class Combiner(Protocol):
    """The coordinator's half: a running sum, so memory does not grow with the number of nodes."""

    def add_contribution(self, chunks: Sequence[bytes]) -> None:
        """Add one contributor's chunks.

        Raises:
            CiphertextMalformed: wrong number, size or range; the running sum is unchanged.
        """
        ...

    def sums(self) -> tuple[bytes, ...]:
        """What openers must be shown of the sum so far, one byte string a chunk; empty in most schemes."""
        ...

    def add_opening(self, chunks: Sequence[bytes]) -> None:
        """Add one opener's chunks; raises as `add_contribution`."""
        ...

    def total(self) -> WordArray:
        """Decode the sum of all fields, shape (layout.values,), uint64.

        Raises:
            OpeningOutOfBounds: a guard bit is set or a padding field is not zero.
        """
        ...


def check_sets(asked: Opening, *, point: int, threshold: int) -> None:
    """S and T are sets that a custodian can answer for, whatever the scheme.

    Args:
        asked: The opening.
        point: This custodian's roster point.
        threshold: How many custodians open together.

    Raises:
        SetMalformed: S or T is empty or not strictly increasing.
        OpenersMiscounted: T has not ``threshold`` members, or this custodian is not one.
    """
    for name, points in (("contributors", asked.contributors), ("openers", asked.openers)):
        increasing = all(low < high for low, high in itertools.pairwise(points))
        if not points or not increasing:
            raise SetMalformed(f"{name} must be a strictly increasing list of points, not empty")
    if len(asked.openers) != threshold or point not in asked.openers:
        raise OpenersMiscounted(f"openers must be {threshold} custodians with {point} among them")


def check_sumless(asked: Opening) -> None:
    """Raise `MessageMalformed` where a sum is shown to a custodian that answers for a set of keys only."""
    if asked.sums:
        raise MessageMalformed("this scheme opens no sum that it is sent; it answers for a set")
