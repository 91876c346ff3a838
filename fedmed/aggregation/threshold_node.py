"""The threshold scheme at a custodian: one ring-LWE polynomial a chunk, one masked answer a chunk.

Whether to contribute or to answer is not decided here but by the custodian's rules, before the call; this
module refuses only what it cannot compute.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from fedmed.aggregation.contract import Opening, check_sets, check_sumless
from fedmed.crypto.lattice_public import Chunk, chunks_of, pack, public_polynomial, residues_to_bytes
from fedmed.crypto.lattice_secret import (
    KEY_BYTES,
    EpochKeys,
    SecretKey,
    contribution_polynomial,
    deal,
    error_polynomial,
    expanded,
    opening_polynomial,
    opening_tag,
    pair_key,
    read_share,
    ring,
    smudging_polynomial,
    smudging_words,
    system_entropy,
    zero_mask,
)
from fedmed.crypto.parameters import RING_DEGREE, ParameterSet, named_set
from fedmed.crypto.residues import ByteSource, Residues, multiplied, reduced
from fedmed.crypto.seal import Factor
from fedmed.crypto.sharing import lagrange
from fedmed.errors import EpochMismatch, LayoutMismatch
from fedmed.types import DIGEST_BYTES, Layout, WordArray

__all__ = ["EpochKeys", "ThresholdContributor", "insecure_epoch_keys"]

# Public polynomials of the last plan kept between contribution and answer: 16 MiB at most. Hashing them
# is a third of a contribution's time.
_KEPT_CHUNKS = 64
# Chunks worked on at a time: enough to spread the cost of SEAL's objects, few enough to stay in the cache.
_BATCH = 8


class ThresholdContributor:
    """A `Contributor` under one key epoch.

    Holds secrets: no repr. Not safe for two threads at once.
    """

    def __init__(self, keys: EpochKeys, *, entropy: ByteSource = system_entropy) -> None:
        """Take a custodian's keys.

        Args:
            keys: What the ceremony gave this custodian.
            entropy: Source of 32 fresh bytes a call; AES-256-CTR stretches them.
        """
        self._keys = keys
        self._entropy = entropy
        self._opening_factor: tuple[tuple[tuple[int, ...], tuple[int, ...]], Factor] | None = None
        self._public: tuple[bytes, dict[int, Residues]] = (b"", {})

    def __repr__(self) -> str:
        return f"ThresholdContributor(point={self._keys.point})"

    def contribute(self, fields: WordArray, *, plan_digest: bytes, layout: Layout) -> tuple[bytes, ...]:
        """Encrypt fields as b = -a s + e + D m, under fresh errors: two calls never give the same bytes.

        Args:
            fields: Shape (layout.values,), uint64, each below 2^(field_bits - 1).
            plan_digest: 32 bytes; must never repeat for this key with other fields.
            layout: The plan's layout.

        Returns:
            For each chunk 28 bytes a coefficient.

        Raises:
            ConfigError: shape, type or range of the fields, or an unknown parameter set.
            LayoutMismatch: the layout does not fit its parameter set.
        """
        chunks = chunks_of(layout)
        payloads = pack(fields, layout)
        source = expanded(self._entropy)
        out = []
        for chunk, product in self._products(plan_digest, chunks, self._keys.secret.factor):
            error = error_polynomial(source, chunk.coefficients)
            residues = contribution_polynomial(product, error, next(payloads))
            out.append(residues_to_bytes(residues, chunk.coefficients))
        return tuple(out)

    def open(self, asked: Opening) -> tuple[bytes, ...]:
        """Answer for a set of contributors: a lambda sum of shares + smudging + zero mask.

        Args:
            asked: S and T strictly increasing, this custodian among T; no sums, for none is looked at.

        Returns:
            For each chunk 28 bytes a coefficient.

        Raises:
            MessageMalformed: a sum was sent.
            SetMalformed: S or T is empty or not strictly increasing.
            LayoutMismatch: the parameter set is too small for these contributors or this epoch.
            OpenersMiscounted: T has not ``threshold`` members, or this custodian is not one.
            EpochMismatch: no share of a contributor, or no pair key with an opener.
        """
        check_sumless(asked)
        contributors, openers, layout = asked.contributors, asked.openers, asked.layout
        check_sets(asked, point=self._keys.point, threshold=self._keys.threshold)
        self._check_ceremony(contributors, openers)
        parameter_set = named_set(layout.parameter_set)
        self._check_parameters(parameter_set, contributors)
        smudging_bits = parameter_set.smudging_bits
        factor = self._factor_for(tuple(contributors), tuple(openers))
        source = expanded(self._entropy)
        out = []
        for chunk, product in self._products(asked.plan_digest, chunks_of(layout), factor):
            tag = opening_tag(asked.plan_digest, contributors, openers, asked.headers_digest, chunk.index)
            used = chunk.coefficients
            mask = zero_mask(self._keys.pair_keys, self._keys.point, openers, tag, coefficients=used)
            smudging = smudging_polynomial(smudging_words(source, used, smudging_bits), smudging_bits)
            out.append(residues_to_bytes(opening_polynomial(product, smudging, mask), used))
        return tuple(out)

    def _check_ceremony(self, contributors: Sequence[int], openers: Sequence[int]) -> None:
        """Refuse sets with whom this custodian has no keys in common."""
        missing = [point for point in contributors if point not in self._keys.shares]
        strangers = [p for p in openers if p != self._keys.point and p not in self._keys.pair_keys]
        if missing or strangers:
            raise EpochMismatch(
                f"no share of dealers {missing}, no pair key with custodians {strangers}: they were not in "
                "this epoch's ceremony"
            )

    def _check_parameters(self, parameter_set: ParameterSet, contributors: Sequence[int]) -> None:
        """Refuse a set whose smudging is too narrow, or whose margin too small, for these nodes."""
        nodes = max(len(self._keys.pair_keys) + 1, len(contributors))
        if nodes > parameter_set.max_custodians or self._keys.threshold > parameter_set.max_threshold:
            raise LayoutMismatch(
                f"{parameter_set.name} serves {parameter_set.max_custodians} nodes with threshold "
                f"{parameter_set.max_threshold}, here are {nodes} with {self._keys.threshold}"
            )

    def _factor_for(self, contributors: tuple[int, ...], openers: tuple[int, ...]) -> Factor:
        """Lagrange weight times the sum of shares, loaded for products; kept for the last sets."""
        key = (contributors, openers)
        if self._opening_factor is None or self._opening_factor[0] != key:
            total = np.zeros((4, RING_DEGREE), np.uint64)
            for dealer in contributors:
                total += self._keys.shares[dealer]  # at most 400 residues of 55 bits: below 2^64
            weighted = multiplied(reduced(total), lagrange(openers, self._keys.point))
            self._opening_factor = (key, ring().factor(weighted))
        return self._opening_factor[1]

    def _products(
        self, plan_digest: bytes, chunks: Sequence[Chunk], factor: Factor
    ) -> Iterator[tuple[Chunk, Residues]]:
        """Public polynomials times a factor, in coefficient form, chunk by chunk."""
        for start in range(0, len(chunks), _BATCH):
            batch = chunks[start : start + _BATCH]
            publics = [self._public_polynomial(plan_digest, chunk.index) for chunk in batch]
            yield from zip(batch, ring().products(publics, factor), strict=True)

    def _public_polynomial(self, plan_digest: bytes, chunk: int) -> Residues:
        """The public polynomial, hashed once for contribution and answer of one plan."""
        if self._public[0] != plan_digest:
            self._public = (plan_digest, {})
        kept = self._public[1]
        if chunk in kept:
            return kept[chunk]
        polynomial = public_polynomial(plan_digest, chunk)
        if len(kept) < _KEPT_CHUNKS:
            kept[chunk] = polynomial
        return polynomial


def insecure_epoch_keys(custodians: int, threshold: int, *, source: ByteSource) -> tuple[EpochKeys, ...]:
    """Keys of a whole epoch from one place, for tests and benchmarks: who runs it can open everything.

    Args:
        custodians: Points 1..custodians.
        threshold: Answers that open.
        source: Random bytes; all secrets and seeds are drawn from it.

    Returns:
        What an honest ceremony would leave at each custodian, in order of points.
    """
    points = range(1, custodians + 1)
    secrets = {point: SecretKey.draw(source) for point in points}
    dealt = {point: deal(secrets[point], custodians, threshold, source) for point in points}
    seeds = {(one, other): source(KEY_BYTES) for one in points for other in points if one != other}
    epoch_id = source(DIGEST_BYTES)
    return tuple(
        EpochKeys(
            point=own,
            threshold=threshold,
            secret=secrets[own],
            shares={dealer: read_share(dealt[dealer][own - 1]) for dealer in points},
            pair_keys={
                other: pair_key(epoch_id, own, other, seeds[own, other], seeds[other, own])
                for other in points
                if other != own
            },
        )
        for own in points
    )
