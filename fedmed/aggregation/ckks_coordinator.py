"""Scheme ``ckks`` at the coordinator: additions without a key, then the sum that custodians opened.

It cannot open anything, and cannot tell a good contribution from a spoilt one of the right form; custodians
can (`fedmed.aggregation.ckks_node`). What it adds was checked for its sender, plan and digest before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fedmed.aggregation.ckks_answers import ANSWER_BYTES, read_answers
from fedmed.aggregation.ckks_layout import added_tags, parts_of, read_part, write_part
from fedmed.crypto.ckks import context_from, residues_of, vector_from
from fedmed.crypto.ckks_parameters import TAG_PRIMES, named_ckks_set
from fedmed.errors import CiphertextMalformed, OpeningOutOfBounds
from fedmed.types import Layout, WordArray


class CkksCombiner:
    """A `Combiner` for one attempt: memory for one sum, however many nodes add to it."""

    def __init__(self, layout: Layout) -> None:
        """Start an empty sum.

        Args:
            layout: The attempt's layout.

        Raises:
            ConfigError: unknown parameter set.
            PlatformUnsupported: SEAL does not run here.
        """
        named_ckks_set(layout.parameter_set)
        self._layout = layout
        self._parts = parts_of(layout)
        self._context = context_from()
        self._totals: list[list[Any]] = []  # tenseal ships no types
        self._tags = [(0,) * len(TAG_PRIMES)] * len(self._parts)
        self._opened: list[tuple[bytes, ...]] = []

    def add_contribution(self, chunks: Sequence[bytes]) -> None:
        """Add one contributor's chunks.

        Raises:
            CiphertextMalformed: wrong number, size or range, or one that takes the mask off the sum so far;
                the running sum is unchanged.
        """
        if len(chunks) != len(self._parts):
            raise CiphertextMalformed(f"expected {len(self._parts)} chunks, got {len(chunks)}")
        read = [read_part(data, part) for data, part in zip(chunks, self._parts, strict=True)]
        vectors = [[vector_from(self._context, one) for one in residues] for residues, _ in read]
        self._totals = self._added(vectors) if self._totals else vectors
        self._tags = [added_tags(total, tag) for total, (_, tag) in zip(self._tags, read, strict=True)]

    def _added(self, vectors: Sequence[Sequence[Any]]) -> list[list[Any]]:
        """The running sum and one contribution more; raises `CiphertextMalformed`."""
        try:
            return [
                [total + one for total, one in zip(totals, ones, strict=True)]
                for totals, ones in zip(self._totals, vectors, strict=True)
            ]
        except RuntimeError as error:  # SEAL's: both were in range, so nothing else is left
            raise CiphertextMalformed("with this ciphertext the sum would have no mask") from error

    def sums(self) -> tuple[bytes, ...]:
        """The sum so far with its authenticator, for the openers; empty before the first contribution."""
        if not self._totals:
            return ()
        return tuple(
            write_part(np.stack([residues_of(one) for one in totals]), tag)
            for totals, tag in zip(self._totals, self._tags, strict=True)
        )

    def add_opening(self, chunks: Sequence[bytes]) -> None:
        """Take one opener's chunks; raises as `add_contribution`."""
        if [len(chunk) for chunk in chunks] != [ANSWER_BYTES + 8 * part.values for part in self._parts]:
            raise CiphertextMalformed(f"an opening has {len(self._parts)} chunks of the layout's sizes")
        self._opened.append(tuple(chunks))

    def total(self) -> WordArray:
        """The sum that all openers answered.

        Returns:
            Shape (layout.values,), uint64.

        Raises:
            OpeningOutOfBounds: nothing was contributed or opened yet, openers' answers differ or one is
                missing, or a guard bit is set.
        """
        if not self._totals or not self._opened:
            raise OpeningOutOfBounds("a total needs contributions and openings: wait for the nodes")
        opened = b"".join(read_answers(several) for several in zip(*self._opened, strict=True))
        fields = np.frombuffer(opened, "<u8").astype(np.uint64)
        if bool(np.any(fields >> np.uint64(self._layout.field_bits - 1))):
            raise OpeningOutOfBounds("a guard bit is set: more or larger contributions than the layout fits")
        return fields
