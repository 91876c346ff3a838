"""Scheme ``ckks`` at a custodian: one shared key, sums of ciphertexts, whole numbers out.

For comparison with `threshold`, and for federations whose provinces trust one another with noisy sums.

Threat model, in plain words:

* **Every province holds the key.** It can open any contribution that it gets hold of: from the network
  between SuperNodes, from the coordinator's disk, from a backup of it. A node's own share of the noise is all
  that then protects a person: the fallback epsilon.
* **The coordinator with any one province opens everything**, whatever the study says of colluders.
* **Old contributions stay closed only if every province destroys the key.** One copy of it opens all that
  anybody kept of its epoch, so contributions of this scheme are never to be published.
* **The coordinator alone opens one sum an attempt, over the agreed set.** It has no key, and a custodian
  decrypts nothing but the sum of exactly the contributions whose signed headers it was shown: each carries an
  authenticator under the epoch's key, bound to epoch, plan (study, round, attempt, layout, inputs) and
  contributor, that adds up as ciphertexts do. A single contribution, one counted twice, one of another
  round, a scaled, altered or invented one is refused before it is decrypted (`SumForged`). What is opened
  leaves under a key of which each of T gives a share (`fedmed.aggregation.ckks_answers`), so that custodians
  cannot be asked for different sets one by one. All this binds the coordinator and the network, not the
  provinces: whoever holds the key can make authenticators.
* **A malicious province** can spoil any sum, as in `threshold`; authenticator, range and distance tell that
  it is spoilt, not by whom, and the study ends after that attempt.

CKKS is inexact, and an inexact opening tells its error and with it the key (Li and Micciancio 2021). So
fields travel as whole numbers in slots, the worst error of a sum is below 1/4 (`CkksSet.error`), and what a
custodian answers is rounded: exactly the sum of integers, a function of nothing else. The privacy accounting
is that of `threshold`, unchanged: the noise is the same integers and CKKS adds none. One custodian could
open; ``threshold`` of them must answer all the same, and what they opened must be equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fedmed.aggregation.ckks_answers import answer_tag, joined, write_answer
from fedmed.aggregation.ckks_layout import (
    Part,
    parts_of,
    place_of,
    read_part,
    slots_of,
    write_part,
)
from fedmed.aggregation.contract import Opening, check_sets
from fedmed.crypto.ckks_parameters import TOLERANCE, named_ckks_set
from fedmed.crypto.ckks_secret import (
    CkksKeys,
    check_sum,
    decrypted,
    encrypted,
    free_share,
    opening_key,
    secret_context,
    tag_of,
)
from fedmed.errors import (
    LayoutMismatch,
    MessageMalformed,
    OpeningOutOfBounds,
)
from fedmed.types import FloatArray, Layout, WordArray, check_fields


class CkksContributor:
    """A `Contributor` under one key epoch of scheme ``ckks``. Holds the key: no repr."""

    def __init__(self, keys: CkksKeys) -> None:
        """Take what the ceremony gave this custodian."""
        self._keys = keys
        self._context: Any = None  # tenseal ships no types

    def __repr__(self) -> str:
        return f"CkksContributor(point={self._keys.point})"

    def contribute(self, fields: WordArray, *, plan_digest: bytes, layout: Layout) -> tuple[bytes, ...]:
        """Encrypt fields and sign them for this plan with the epoch's authenticator.

        Args:
            fields: Shape (layout.values,), uint64, each below 2^(field_bits - 1).
            plan_digest: 32 bytes; must never repeat for this epoch with other fields.
            layout: The plan's layout.

        Returns:
            For each chunk its authenticator and 212,992 bytes a ciphertext.

        Raises:
            ConfigError: shape, type or range of the fields, or an unknown parameter set.
        """
        named_ckks_set(layout.parameter_set)
        check_fields(fields, layout)
        return tuple(self._written(fields, part, plan_digest, layout) for part in parts_of(layout))

    def _written(self, fields: WordArray, part: Part, plan_digest: bytes, layout: Layout) -> bytes:
        """One chunk of a contribution."""
        rows = slots_of(fields[part.start : part.stop], layout)
        residues = np.stack([encrypted(self._secret(), row) for row in rows])
        place = place_of(plan_digest, part)
        tag = tag_of(self._keys, residues, place=place, point=self._keys.point)
        return write_part(residues, tag)

    def open(self, asked: Opening) -> tuple[bytes, ...]:
        """Open the sum of a set's contributions, if it is that.

        Returns:
            For each chunk this custodian's share of a key, and under that key the sum, 8 bytes a value.

        Raises:
            MessageMalformed: not one sum a chunk.
            SetMalformed: S or T is empty or not strictly increasing.
            OpenersMiscounted: T has not ``threshold`` members, or this custodian is not one.
            LayoutMismatch: more contributors than the parameter set serves.
            CiphertextMalformed: a sum of another size, or with a residue out of range.
            SumForged: it is not the sum of this set's contributions to this plan.
            OpeningOutOfBounds: an opened slot is too far from a whole number, or a value beyond what so many
                contributors can reach.
        """
        parts = parts_of(asked.layout)
        if len(asked.sums) != len(parts):
            raise MessageMalformed(
                f"an opening of scheme ckks shows {len(parts)} sums, got {len(asked.sums)}"
            )
        check_sets(asked, point=self._keys.point, threshold=self._keys.threshold)
        most = named_ckks_set(asked.layout.parameter_set).max_nodes
        if (nodes := len(asked.contributors)) > most:
            raise LayoutMismatch(f"{asked.layout.parameter_set} serves {most} nodes, got {nodes}")
        return tuple(self._opened(asked, part, data) for part, data in zip(parts, asked.sums, strict=True))

    def _opened(self, asked: Opening, part: Part, data: bytes) -> bytes:
        """One chunk of the sum: authenticated first, then decrypted, rounded and bounded."""
        residues, tag = read_part(data, part)
        place = place_of(asked.plan_digest, part)
        check_sum(self._keys, residues, tag, place=place, contributors=asked.contributors)
        slots = [decrypted(self._secret(), one) for one in residues]
        fields = whole_fields(slots, part, asked.layout, contributors=len(asked.contributors))
        question = answer_tag(asked, part.index)
        key = opening_key(self._keys, question)
        return write_answer(fields.tobytes(), key=key, share=self._share(asked.openers, question, key))

    def _share(self, openers: Sequence[int], question: bytes, key: bytes) -> bytes:
        """This opener's share: free for all but the last, whose share makes them give the key."""
        *others, last = openers
        if self._keys.point != last:
            return free_share(self._keys, question, point=self._keys.point)
        return joined([key, *(free_share(self._keys, question, point=point) for point in others)])

    def _secret(self) -> Any:
        """TenSEAL's context with the key, made once."""
        if self._context is None:
            self._context = secret_context(self._keys)
        return self._context


def whole_fields(slots: Sequence[FloatArray], part: Part, layout: Layout, *, contributors: int) -> WordArray:
    """Round the opened slots of one chunk and put fields together; the checks that CKKS itself has not.

    Args:
        slots: For each ciphertext shape (4096,).
        part: The chunk.
        layout: The plan's layout.
        contributors: How many the sum has.

    Returns:
        Shape (values of the chunk,), uint64 little-endian.

    Raises:
        OpeningOutOfBounds: not finite, further than 1/4 from a whole number, a slot that is negative or
            above what its limb can sum up to, a padding slot that is not zero, or a field above
            contributors * 2 * layout.offset.
    """
    opened = np.concatenate(slots)
    if not np.isfinite(opened).all():
        raise OpeningOutOfBounds("an opened slot is no number: a wrong key or altered bytes")
    whole = np.rint(opened)
    if float(np.abs(opened - whole).max()) > TOLERANCE:
        raise OpeningOutOfBounds("an opened slot is no whole number: a wrong key or a bad contribution")
    highest = contributors * ((1 << part.limb_bits) - 1)
    if whole.min() < 0 or whole.max() > highest or whole[part.limbs * part.values :].any():
        raise OpeningOutOfBounds("an opened slot is outside its range: a bad contribution")
    limbs = whole[: part.limbs * part.values].astype("<u8").reshape(part.limbs, part.values)
    fields = np.zeros(part.values, "<u8")
    for index, limb in enumerate(limbs):
        fields += limb << np.uint64(part.limb_bits * index)
    if fields.max() > np.uint64(contributors * 2 * layout.offset):
        raise OpeningOutOfBounds("an opened field is above what so many contributors can declare")
    return fields
