"""The threshold scheme at the coordinator: a running sum of contributions and answers, then one decoding.

It holds no key. What it adds was checked for its sender before; here only form is checked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedmed.crypto.lattice_public import chunks_of, decode, residues_from_bytes
from fedmed.crypto.parameters import PRIMES, named_set, noise_bound
from fedmed.crypto.residues import MAX_TERMS, Residues, reduced
from fedmed.errors import CiphertextMalformed, OpeningOutOfBounds
from fedmed.types import Layout, WordArray


class ThresholdCombiner:
    """A `Combiner` for one attempt: memory for one vector, however many nodes add to it."""

    def __init__(self, layout: Layout) -> None:
        """Start an empty sum.

        Args:
            layout: The attempt's layout.

        Raises:
            ConfigError: unknown parameter set.
            LayoutMismatch: the layout does not fit its set.
        """
        self._layout = layout
        self._chunks = chunks_of(layout)
        self._sums = [np.zeros((len(PRIMES), chunk.coefficients), np.uint64) for chunk in self._chunks]
        self._terms = 0  # added since the sums were last reduced
        self._contributions = 0
        self._openings = 0

    def add_contribution(self, chunks: Sequence[bytes]) -> None:
        """Add one contributor's chunks.

        Raises:
            CiphertextMalformed: wrong number, size or range; the running sum is unchanged.
        """
        self._add(chunks)
        self._contributions += 1

    def sums(self) -> tuple[bytes, ...]:
        """Nothing: custodians answer for the set, whatever was added here."""
        return ()

    def add_opening(self, chunks: Sequence[bytes]) -> None:
        """Add one opener's chunks; raises as `add_contribution`."""
        self._add(chunks)
        self._openings += 1

    def total(self) -> WordArray:
        """Decode the sum of all fields.

        Returns:
            Shape (layout.values,), uint64.

        Raises:
            OpeningOutOfBounds: noise above the worst case of this many nodes, a guard bit set, padding not
                zero, or nothing was contributed or opened yet.
        """
        if self._contributions == 0 or self._openings == 0:
            raise OpeningOutOfBounds("a total needs contributions and openings: wait for the nodes")
        bound = noise_bound(
            named_set(self._layout.parameter_set),
            contributors=self._contributions,
            openers=self._openings,
        )
        return decode(self._sums, self._layout, noise_bound=bound)

    def _add(self, chunks: Sequence[bytes]) -> None:
        """Add chunk by chunk; what was added before a malformed chunk is taken back."""
        if len(chunks) != len(self._chunks):
            raise CiphertextMalformed(f"expected {len(self._chunks)} chunks, got {len(chunks)}")
        if self._terms == MAX_TERMS:
            self._sums = [reduced(total) for total in self._sums]
            self._terms = 1
        for index, data in enumerate(chunks):
            try:
                self._sums[index] += self._read(index, data)
            except CiphertextMalformed:
                for before in range(index):
                    self._sums[before] -= self._read(before, chunks[before])
                raise
        self._terms += 1

    def _read(self, index: int, data: bytes) -> Residues:
        """Residues of one chunk, checked."""
        return residues_from_bytes(data, self._chunks[index].coefficients)
