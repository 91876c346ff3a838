"""The reference scheme at the coordinator: a plain running sum, slow and obvious."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedmed.aggregation.encoding import chunk_values
from fedmed.errors import CiphertextMalformed, OpeningOutOfBounds
from fedmed.types import Layout, WordArray

# Larger than any field sum may be; the running sum stops here, so it can never wrap round to a small one.
_CEILING = np.uint64(1 << 62)


class PlainCombiner:
    """A `Combiner` for contributions in the clear."""

    def __init__(self, layout: Layout) -> None:
        """Start an empty sum for one attempt under ``layout``."""
        self._layout = layout
        self._chunk_values = chunk_values(layout)
        self._sum = np.zeros(layout.values, dtype=np.uint64)
        self._contributions = 0
        self._openings = 0

    def add_contribution(self, chunks: Sequence[bytes]) -> None:
        """Add one contributor's chunks.

        Raises:
            CiphertextMalformed: wrong number, size or range; the running sum is unchanged.
        """
        self._check_sizes(chunks, tuple(8 * values for values in self._chunk_values))
        fields = np.frombuffer(b"".join(chunks), dtype="<u8").astype(np.uint64)
        bound = 1 << (self._layout.field_bits - 1)
        if bool(np.any(fields >= np.uint64(bound))):
            raise CiphertextMalformed(f"a contribution has a field of {bound} or more")
        self._sum = np.minimum(self._sum + fields, _CEILING)
        self._contributions += 1

    def sums(self) -> tuple[bytes, ...]:
        """Nothing: custodians answer for the set, whatever was added here."""
        return ()

    def add_opening(self, chunks: Sequence[bytes]) -> None:
        """Count one opener's chunks, which are empty; raises as `add_contribution`."""
        self._check_sizes(chunks, (0,) * len(self._chunk_values))
        self._openings += 1

    def total(self) -> WordArray:
        """Return the sum of all fields, shape (layout.values,), uint64.

        Raises:
            OpeningOutOfBounds: a guard bit is set, or nothing was contributed or opened yet.
        """
        if self._contributions == 0 or self._openings == 0:
            raise OpeningOutOfBounds("a total needs contributions and openings: wait for the nodes")
        if bool(np.any(self._sum >> np.uint64(self._layout.field_bits - 1))):
            raise OpeningOutOfBounds("a guard bit is set: more or larger contributions than the layout fits")
        return self._sum.copy()

    @staticmethod
    def _check_sizes(chunks: Sequence[bytes], sizes: tuple[int, ...]) -> None:
        """Refuse another number of chunks or another size of one."""
        if tuple(len(chunk) for chunk in chunks) != sizes:
            raise CiphertextMalformed(f"expected {len(sizes)} chunks of the layout's sizes")
