"""Secrets, errors, smudging and masks: ranges, encodings and what they never show."""

from __future__ import annotations

import copy
import io
import math
import os
import pickle
from itertools import combinations

import numpy as np
import pytest

from fedmed.aggregation.threshold_node import insecure_epoch_keys
from fedmed.crypto.lattice_public import public_polynomial, residues_to_bytes
from fedmed.crypto.lattice_secret import (
    SHARE_BYTES,
    EpochKeys,
    SecretKey,
    contribution_polynomial,
    deal,
    error_polynomial,
    expanded,
    keystream,
    opening_polynomial,
    opening_tag,
    pair_key,
    pair_mask,
    read_share,
    ring,
    smudging_polynomial,
    smudging_words,
    zero_mask,
)
from fedmed.crypto.parameters import PRIMES, RING_DEGREE
from fedmed.crypto.residues import small_residues, uniform_residues
from fedmed.crypto.sharing import lagrange
from fedmed.errors import CiphertextMalformed, ConfigError, EpochMismatch, IntegrityError, UnknownVersion

PRIME_COLUMN = np.array(PRIMES, np.uint64)[:, None]


@pytest.fixture(scope="module")
def epoch() -> tuple[EpochKeys, ...]:
    return insecure_epoch_keys(4, 3, source=keystream(bytes(32)))


def integers_of(residues: np.ndarray[tuple[int, int], np.dtype[np.uint64]]) -> list[int]:
    """Centred integers by Chinese remainders."""
    modulus = math.prod(PRIMES)
    lifts = [modulus // p * pow(modulus // p, -1, p) for p in PRIMES]
    values = [sum(lift * int(v) for lift, v in zip(lifts, c, strict=True)) % modulus for c in residues.T]
    return [v - modulus if v > modulus // 2 else v for v in values]


def test_a_secret_is_ternary_by_rejection() -> None:
    stream = io.BytesIO(bytes([255, 0, 1, 2, 254, 255]) + bytes([1]) * RING_DEGREE)
    secret = SecretKey.draw(stream.read)
    assert secret.coefficients[:5].tolist() == [-1, 0, 1, 1, 0]  # 254 mod 3 = 2, the bytes of 255 are dropped
    assert secret.coefficients.size == RING_DEGREE
    assert stream.tell() == RING_DEGREE + 2


def test_a_drawn_secret_is_uniform() -> None:
    counts = np.bincount(SecretKey.draw(keystream(b"k" * 32)).coefficients + 1, minlength=3)
    # Each count has deviation 42.7 around 2730.7; five deviations: a false alarm below 1e-6 a count.
    assert np.abs(counts - RING_DEGREE / 3).max() < 214


def test_a_secret_is_one_integer_vector_modulo_every_prime() -> None:
    secret = SecretKey.draw(os.urandom)
    assert integers_of(ring().from_ntt(secret.ntt)) == secret.coefficients.tolist()
    assert not secret.ntt.flags.writeable


@pytest.mark.parametrize("bad", [np.zeros(8191, np.int8), np.full(8192, 2, np.int8), np.zeros(8192)])
def test_a_secret_of_another_form_is_refused(bad: np.ndarray[tuple[int], np.dtype[np.int8]]) -> None:
    with pytest.raises(ConfigError, match="secret"):
        SecretKey(bad)


def test_secrets_show_nothing_and_are_never_pickled_or_copied(epoch: tuple[EpochKeys, ...]) -> None:
    keys = epoch[0]
    assert repr(keys.secret) == "SecretKey(hidden)"
    assert "EpochKeys object" in repr(keys)
    for secret in (keys, keys.secret):
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="never pickled"):
                attempt(secret)


def test_errors_are_centred_binomial() -> None:
    ends = error_polynomial(
        io.BytesIO((2**21 - 1).to_bytes(8, "little") + (2**42 - 2**21).to_bytes(8, "little")).read, 2
    )
    assert ends.tolist() == [21, -21]
    drawn = error_polynomial(keystream(bytes(32)), 200_000)
    assert np.abs(drawn).max() <= 21
    # Mean deviates by 0.0072, variance 10.5 by 0.033; five deviations: a false alarm below 1e-6.
    assert abs(drawn.mean()) < 0.037
    assert abs(drawn.var() - 10.5) < 0.17


def test_a_contribution_is_minus_a_s_plus_e_plus_payload() -> None:
    rng = np.random.default_rng(1)
    product, payload = (uniform_residues(rng.bytes, 100) for _ in range(2))
    product[:, 0], payload[:, 0] = PRIME_COLUMN[:, 0] - np.uint64(1), 0
    error = rng.integers(-21, 22, 100)
    error[:2] = -21, 21
    found = contribution_polynomial(product, error, payload)
    for row, a_s, m, prime in zip(found.tolist(), product.tolist(), payload.tolist(), PRIMES, strict=True):
        assert row == [(y - x + int(e)) % prime for x, y, e in zip(a_s, m, error, strict=True)]


def test_smudging_spans_its_interval_as_one_integer() -> None:
    for bits in (72, 75, 78):
        ends = io.BytesIO(bytes(20) + b"\xff" * 20)
        low, high = smudging_words(ends.read, 2, bits), smudging_words(ends.read, 2, bits)
        assert integers_of(smudging_polynomial(low, bits)) == [-(2**bits)] * 2
        assert integers_of(smudging_polynomial(high, bits)) == [2**bits - 1] * 2
        drawn = integers_of(smudging_polynomial(smudging_words(keystream(bytes(32)), 4000, bits), bits))
        scaled = np.array([value / 2**bits for value in drawn])
        # Mean of 4,000 uniforms on [-1, 1) deviates by 0.0091, their fourth bit-slice likewise.
        assert abs(scaled.mean()) < 0.046
        assert -1 <= scaled.min() < -0.98 < 0.98 < scaled.max() < 1
        for bit in (0, 40, 45, 46, 63, 64, bits - 1):
            ones = sum(value >> bit & 1 for value in drawn)
            assert abs(ones - 2000) < 160  # five deviations of 31.6


def test_smudging_outside_the_sets_is_refused() -> None:
    with pytest.raises(ConfigError, match="smudging_bits"):
        smudging_words(bytes, 1, 80)


def test_a_dealing_reads_back_and_reconstructs_the_secret() -> None:
    secret = SecretKey.draw(os.urandom)
    dealt = deal(secret, 4, 3, os.urandom)
    assert [len(data) for data in dealt] == [SHARE_BYTES] * 4 == [229_376] * 4
    shares = {point: read_share(data) for point, data in enumerate(dealt, 1)}
    openers = (1, 3, 4)
    for index, prime in enumerate(PRIMES):
        parts = [shares[p][index, :20].astype(object) * lagrange(openers, p)[index] for p in openers]
        assert (np.sum(parts, axis=0) % prime).tolist() == secret.ntt[index, :20].tolist()


def test_a_share_of_another_form_is_refused() -> None:
    with pytest.raises(CiphertextMalformed, match="229376"):
        read_share(bytes(SHARE_BYTES - 7))
    with pytest.raises(CiphertextMalformed, match="prime"):
        read_share(b"\xff" * SHARE_BYTES)


def test_both_ends_compute_the_same_pair_key_and_nobody_else() -> None:
    one = pair_key(b"e", 2, 5, b"a" * 32, b"b" * 32)
    assert one == pair_key(b"e", 5, 2, b"b" * 32, b"a" * 32)
    others = {
        pair_key(b"f", 2, 5, b"a" * 32, b"b" * 32),
        pair_key(b"e", 2, 5, b"b" * 32, b"a" * 32),
        pair_key(b"e", 2, 6, b"a" * 32, b"b" * 32),
        pair_key(b"e", 1, 5, b"a" * 32, b"b" * 32),
    }
    assert len(others | {one}) == 5
    with pytest.raises(ConfigError, match="different points"):
        pair_key(b"e", 2, 2, b"a" * 32, b"b" * 32)
    with pytest.raises(ConfigError, match="seeds"):
        pair_key(b"e", 2, 3, b"a" * 31, b"b" * 33)


def test_every_part_of_an_answer_changes_its_tag() -> None:
    plan, headers = b"p" * 32, b"h" * 32
    tags = {
        opening_tag(plan, (1, 2, 3), (1, 2), headers, 0),
        opening_tag(b"q" * 32, (1, 2, 3), (1, 2), headers, 0),
        opening_tag(plan, (1, 2), (1, 2), headers, 0),
        opening_tag(plan, (1, 2), (3, 1, 2), headers, 0),
        opening_tag(plan, (1, 2, 3), (1, 3), headers, 0),
        opening_tag(plan, (1, 2, 3), (1, 2), b"i" * 32, 0),
        opening_tag(plan, (1, 2, 3), (1, 2), headers, 1),
    }
    assert len(tags) == 7


@pytest.mark.parametrize("openers", [*combinations(range(1, 5), 3), *combinations(range(1, 5), 2)])
def test_masks_cancel_over_openers_with_one_tag_only(
    epoch: tuple[EpochKeys, ...], openers: tuple[int, ...]
) -> None:
    def total(tags: list[bytes]) -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
        masks = [
            zero_mask(epoch[p - 1].pair_keys, p, openers, tag, coefficients=50)
            for p, tag in zip(openers, tags, strict=True)
        ]
        assert all(mask.any() for mask in masks)
        return sum(masks, np.zeros((4, 50), np.uint64)) % PRIME_COLUMN

    assert not total([b"t" * 32] * len(openers)).any()
    assert total([b"u" * 32] + [b"t" * 32] * (len(openers) - 1)).all()


def test_a_mask_needs_a_key_with_every_opener(epoch: tuple[EpochKeys, ...]) -> None:
    with pytest.raises(EpochMismatch, match="custodian 7"):
        zero_mask(epoch[0].pair_keys, 1, (1, 2, 7), b"t" * 32, coefficients=5)


def test_a_mask_is_uniform_in_the_range_of_each_prime() -> None:
    mask = pair_mask(b"k" * 32, b"t" * 32, 20_000)
    for row, prime in zip(mask, PRIMES, strict=True):
        assert row.max() < prime
        assert abs(row.astype(float).mean() / prime - 0.5) < 0.0105  # five deviations


def test_an_answer_is_the_sum_of_its_parts() -> None:
    rng = np.random.default_rng(2)
    product = uniform_residues(rng.bytes, 20)
    smudging, mask = (uniform_residues(rng.bytes, 10) for _ in range(2))
    found = opening_polynomial(product, smudging, mask)
    assert np.array_equal(found, (product[:, :10] + smudging + mask) % PRIME_COLUMN)


def test_one_key_gives_one_stream() -> None:
    stream = expanded(lambda size: b"k" * size)
    whole = keystream(b"k" * 32)(100)
    assert stream(60) + stream(40) == whole


def test_contribution_and_answers_cancel_the_secret(epoch: tuple[EpochKeys, ...]) -> None:
    public = public_polynomial(bytes(32), 0)
    shares_of_one = [epoch[j].shares[2] for j in range(4)]
    openers = (1, 2, 4)
    total = small_residues(np.zeros(RING_DEGREE, np.int64))
    for point in openers:
        weights = lagrange(openers, point)
        for index, prime in enumerate(PRIMES):
            part = shares_of_one[point - 1][index].astype(object) * weights[index] % prime
            total[index] = (total[index] + part.astype(np.uint64)) % np.uint64(prime)
    assert np.array_equal(total, epoch[1].secret.ntt)
    (product,) = ring().products([public], epoch[1].secret.factor)
    (opened,) = ring().products([public], ring().factor(total))
    assert np.array_equal(product, opened)


def test_epoch_keys_survive_their_store(epoch: tuple[EpochKeys, ...]) -> None:
    keys = epoch[2]
    data = keys.to_bytes()
    again = EpochKeys.from_bytes(data)
    assert again.to_bytes() == data
    assert (again.point, again.threshold, dict(again.pair_keys)) == (3, 3, dict(keys.pair_keys))
    assert np.array_equal(again.secret.coefficients, keys.secret.coefficients)
    assert all(np.array_equal(again.shares[d], keys.shares[d]) for d in keys.shares)


def test_damaged_or_unknown_epoch_keys_are_refused(epoch: tuple[EpochKeys, ...]) -> None:
    data = epoch[0].to_bytes()
    with pytest.raises(UnknownVersion):
        EpochKeys.from_bytes(data.replace(b"-1\n", b"-2\n", 1))
    for bad in (data[:-1], data + b"\0", data[:40]):
        with pytest.raises(IntegrityError, match="new ceremony"):
            EpochKeys.from_bytes(bad)
    start = data.index(b"\n") + 1 + 16
    with pytest.raises(IntegrityError, match="damaged"):
        EpochKeys.from_bytes(data[:start] + b"\x03" + data[start + 1 :])
    share = residues_to_bytes(epoch[0].shares[2], RING_DEGREE)
    with pytest.raises(IntegrityError):
        EpochKeys.from_bytes(data.replace(share, b"\xff" * len(share)))


def test_epoch_keys_check_themselves(epoch: tuple[EpochKeys, ...]) -> None:
    secret = epoch[0].secret
    with pytest.raises(ConfigError, match="itself"):
        EpochKeys(point=1, threshold=2, secret=secret, shares={}, pair_keys={1: bytes(32)})
    with pytest.raises(ConfigError, match="32 bytes"):
        EpochKeys(point=1, threshold=2, secret=secret, shares={}, pair_keys={2: bytes(31)})
    with pytest.raises(ConfigError, match="point"):
        EpochKeys(point=0, threshold=2, secret=secret, shares={}, pair_keys={})
