"""The contract of a secure sum: a custodian contributes and opens, the coordinator combines.

One pair of modules a scheme implements it. Values are *fields*: non-negative integers below
2**(layout.field_bits - 1), shape (layout.values,), made by `fedmed.aggregation.encoding`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fedmed.types import Layout, WordArray


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

    def open(
        self,
        *,
        plan_digest: bytes,
        layout: Layout,
        contributors: Sequence[int],
        openers: Sequence[int],
        headers_digest: bytes,
    ) -> tuple[bytes, ...]:
        """Answer for one set of contributors; never sees a contribution.

        Args:
            plan_digest: The plan that all contributions answer.
            layout: The plan's layout.
            contributors: Strictly increasing roster points (S).
            openers: Strictly increasing roster points, this custodian among them (T).
            headers_digest: Digest of all signed headers of S in order.

        Returns:
            One byte string for each chunk.
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

    def add_opening(self, chunks: Sequence[bytes]) -> None:
        """Add one opener's chunks; raises as `add_contribution`."""
        ...

    def total(self) -> WordArray:
        """Decode the sum of all fields, shape (layout.values,), uint64.

        Raises:
            OpeningOutOfBounds: a guard bit is set or a padding field is not zero.
        """
        ...
