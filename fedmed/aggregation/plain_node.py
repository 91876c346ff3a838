"""The reference scheme at a node: contributions in the clear, for comparison and research only."""

from __future__ import annotations

from fedmed.aggregation.contract import Opening, check_sumless
from fedmed.aggregation.encoding import chunk_values
from fedmed.types import Layout, WordArray, check_fields


class PlainContributor:
    """A `Contributor` that hides nothing: whoever holds a contribution reads it.

    A custodian refuses this scheme unless its policy says ``research``.
    """

    def contribute(self, fields: WordArray, *, plan_digest: bytes, layout: Layout) -> tuple[bytes, ...]:
        """Write the fields as little-endian 64-bit words, 8192 * layout.fields of them a chunk.

        Args:
            fields: Shape (layout.values,), uint64, below 2**(layout.field_bits - 1).
            plan_digest: Not used.
            layout: The plan's layout.

        Raises:
            ConfigError: shape, dtype or range of the fields do not belong to the layout.
        """
        del plan_digest  # nothing is masked, so nothing depends on the plan
        check_fields(fields, layout)
        words = fields.astype("<u8").tobytes()
        chunks, start = [], 0
        for values in chunk_values(layout):
            chunks.append(words[start : start + 8 * values])
            start += 8 * values
        return tuple(chunks)

    def open(self, asked: Opening) -> tuple[bytes, ...]:
        """Answer with one empty byte string a chunk: there is nothing to open; raises `MessageMalformed`."""
        check_sumless(asked)
        return (b"",) * len(chunk_values(asked.layout))
