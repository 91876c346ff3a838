"""How scheme ``ckks`` cuts a vector into chunks, slots and bytes; both halves use it.

A chunk is an authenticator and its ciphertexts. A field without its guard bit is cut into limbs of at most
26 bits, limb by limb over the chunk's values, for a slot must hold its sum far more exactly than float64 does
a whole field's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedmed.aggregation.encoding import chunk_values
from fedmed.crypto.ckks import residues_from_bytes, residues_to_bytes, tag_bytes
from fedmed.crypto.ckks_parameters import CIPHERTEXT_BYTES, SLOTS, TAG_PRIMES, ciphertexts_for, limbs_of
from fedmed.errors import CiphertextMalformed
from fedmed.types import FloatArray, Layout, WordArray, digest

_TAG_BYTES = 8 * len(TAG_PRIMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One chunk of a vector.

    Attributes:
        index: From 0.
        start: First value.
        stop: One after the last value.
        limbs: Slots that each value takes.
        limb_bits: Bits of one node's limb.
    """

    index: int
    start: int
    stop: int
    limbs: int
    limb_bits: int

    @property
    def values(self) -> int:
        """Values in the chunk."""
        return self.stop - self.start

    @property
    def ciphertexts(self) -> int:
        """Ciphertexts that they take."""
        return -(-self.values * self.limbs // SLOTS)


def parts_of(layout: Layout) -> tuple[Part, ...]:
    """Cut a layout's vector into chunks, as many as every scheme has; raises `ConfigError`."""
    limbs, limb_bits = limbs_of(layout.field_bits)
    parts, start = [], 0
    for index, values in enumerate(chunk_values(layout)):
        parts.append(Part(index=index, start=start, stop=start + values, limbs=limbs, limb_bits=limb_bits))
        start += values
    return tuple(parts)


def place_of(plan_digest: bytes, part: Part) -> bytes:
    """What an authenticator is bound to beside key and contributor: plan and chunk."""
    return digest("fedmed/ckks/place", plan_digest, part.index.to_bytes(4, "little"))


def slots_of(fields: WordArray, layout: Layout) -> FloatArray:
    """Numbers to encrypt for one chunk, shape (ciphertexts, 4096): limbs in order, zeros after them."""
    limbs, limb_bits = limbs_of(layout.field_bits)
    mask = np.uint64((1 << limb_bits) - 1)
    cut = np.concatenate([(fields >> np.uint64(limb_bits * index)) & mask for index in range(limbs)])
    out = np.zeros(ciphertexts_for(fields.size, layout.field_bits) * SLOTS)
    out[: cut.size] = cut
    return out.reshape(-1, SLOTS)


def write_part(residues: WordArray, tag: Sequence[int]) -> bytes:
    """One chunk for the wire: the authenticator's numbers, 8 bytes each, then the ciphertexts."""
    return tag_bytes(tag) + residues_to_bytes(residues)


def read_part(data: bytes, part: Part) -> tuple[WordArray, tuple[int, ...]]:
    """Read one chunk.

    Returns:
        Residues, shape (ciphertexts, 2, 2, 8192), and the authenticator.

    Raises:
        CiphertextMalformed: another size, or a residue or a number of the authenticator out of range.
    """
    due = _TAG_BYTES + part.ciphertexts * CIPHERTEXT_BYTES
    if len(data) != due:
        raise CiphertextMalformed(f"a chunk of {part.values} values takes {due} bytes, got {len(data)}")
    tag = tuple(int.from_bytes(data[at : at + 8], "little") for at in range(0, _TAG_BYTES, 8))
    if any(number >= prime for number, prime in zip(tag, TAG_PRIMES, strict=True)):
        raise CiphertextMalformed("a number of an authenticator is not below its prime")
    return residues_from_bytes(data[_TAG_BYTES:], part.ciphertexts), tag


def added_tags(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    """The authenticator of a sum of ciphertexts."""
    return tuple((a + b) % prime for a, b, prime in zip(one, other, TAG_PRIMES, strict=True))
