"""Arithmetic modulo the four primes against Python's integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.crypto import residues
from fedmed.crypto.parameters import MODULUS, PRIMES
from fedmed.errors import ConfigError
from fedmed.types import digest
from tests.examples import at_most


@settings(deadline=None, max_examples=at_most(30))
@given(terms=st.integers(1, 20), bits=st.integers(1, 62), seed=st.integers(0, 2**32))
def test_a_weighted_sum_is_exact(terms: int, bits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 2**bits, (terms, 4), dtype=np.uint64)
    words[:, 0], words[:, 1] = 0, 2**bits - 1
    weights = [int.from_bytes(rng.bytes(27), "little") * int(rng.choice([-1, 1])) for _ in range(terms)]
    found = residues.weighted_residues(words, weights, word_bits=bits)
    exact = [sum(w * v for w, v in zip(weights, c, strict=True)) for c in words.T.tolist()]
    for row, prime in zip(found.tolist(), PRIMES, strict=True):
        assert row == [value % prime for value in exact]


@pytest.mark.parametrize(("terms", "bits"), [(3, 46), (2, 46), (5, 43), (140, 30), (256, 62), (8, 45)])
def test_a_weighted_sum_is_exact_where_its_float_estimate_is_worst(terms: int, bits: int) -> None:
    rng = np.random.default_rng(terms)
    words = rng.integers(2**bits - 2 ** (bits // 2), 2**bits, (terms, 500), dtype=np.uint64)
    weights = [MODULUS // 3 + int(w) for w in rng.integers(0, 2**60, terms)]
    found = residues.weighted_residues(words, weights, word_bits=bits)
    exact = words.astype(object).T @ np.array(weights, object)
    for row, prime in zip(found, PRIMES, strict=True):
        assert np.array_equal(row, (exact % prime).astype(np.uint64))


def test_words_that_are_too_wide_are_refused() -> None:
    with pytest.raises(ConfigError, match="62 bits"):
        residues.weighted_residues(np.zeros((1, 1), np.uint64), [1], word_bits=63)


@settings(deadline=None, max_examples=at_most(60))
@given(data=st.data())
def test_rows_are_multiplied_by_their_own_constants(data: st.DataObject) -> None:
    values = [[data.draw(st.integers(0, p - 1)), 0, p - 1] for p in PRIMES]
    factors = [data.draw(st.integers(0, p - 1)) for p in PRIMES]
    found = residues.multiplied(np.array(values, np.uint64), factors).tolist()
    assert found == [[v * f % p for v in row] for row, f, p in zip(values, factors, PRIMES, strict=True)]


def test_sums_are_reduced_from_the_whole_range_of_a_word() -> None:
    values = np.full((4, 2), 2**64 - 1, np.uint64)
    assert residues.reduced(values).tolist() == [[(2**64 - 1) % p] * 2 for p in PRIMES]
    ends = np.array([[p - 1] for p in PRIMES], np.uint64)
    assert residues.add(ends, ends).tolist() == [[p - 2] for p in PRIMES]


def test_small_signed_integers_are_one_vector_modulo_every_prime() -> None:
    found = residues.small_residues(np.array([-21, -1, 0, 1, 21]))
    assert found.tolist() == [[p - 21, p - 1, 0, 1, 21] for p in PRIMES]


def test_candidates_at_or_above_the_prime_are_dropped_and_the_order_is_kept() -> None:
    prime = PRIMES[0]
    high = 0b1011 << 60  # above the mask
    candidates = np.array([5, prime, 2**54 - 1, high | 7, prime - 1, 9], np.uint64)
    kept = residues.accepted(candidates, 0, 3)
    assert kept is not None
    assert kept.tolist() == [5, 7, prime - 1]
    assert residues.accepted(candidates, 0, 5) is None
    all_good = residues.accepted(candidates[[0, 3]], 0, 2)
    assert all_good is not None
    assert all_good.tolist() == [5, 7]


def test_uniform_residues_ask_for_more_bytes_after_a_rejection() -> None:
    asked: list[int] = []

    def source(size: int) -> bytes:
        asked.append(size)
        refused = size == 16 and asked.count(16) == 1
        return b"\xff" * size if refused else (3).to_bytes(8, "little") * (size // 8)

    assert residues.uniform_residues(source, 2).tolist() == [[3, 3]] * 4
    assert asked == [16, 64, 16, 16, 16]


def test_uniform_residues_fill_the_range_of_each_prime() -> None:
    rng = np.random.default_rng(5)
    found = residues.uniform_residues(rng.bytes, 20_000)
    for row, prime in zip(found, PRIMES, strict=True):
        # Means of 20,000 uniforms have deviation 0.002; a false alarm here has a chance below 1e-6.
        assert abs(row.astype(float).mean() / prime - 0.5) < 0.0105
        assert row.max() < prime


def test_expansion_starts_with_the_digest_and_never_depends_on_the_length() -> None:
    long = residues.expand("fedmed/x", b"a", b"bc", size=500)
    assert long[:32] == digest("fedmed/x", b"a", b"bc")
    assert residues.expand("fedmed/x", b"a", b"bc", size=100) == long[:100]
    assert residues.expand("fedmed/x", b"ab", b"c", size=32) != long[:32]
