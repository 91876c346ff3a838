"""Exact arithmetic on residues: vectors of integers modulo each of the ring's four primes.

An integer vector is an array of shape (4, coefficients), uint64, row i modulo the i-th prime. Rows are
worked on one at a time: 64 kB stay in a core's cache, and four rows at once would have the allocator fetch
fresh pages from the system for every temporary (measured: three to ten times slower).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from fedmed.crypto.parameters import PRIMES
from fedmed.types import FloatArray, WordArray, require

Residues = WordArray
"""Shape (4, coefficients), uint64, row i below the i-th prime."""

ByteSource = Callable[[int], bytes]
"""Returns exactly as many random bytes as asked."""

WORD_PRIMES = tuple(np.uint64(prime) for prime in PRIMES)
MAX_TERMS = 256
"""Residues (below 2^55) that a plain uint64 sum may hold and still be below 2^63."""

_LIMB_BITS = 31  # of a wide word in `weighted_residues`
_MOST_WEIGHT = 1 << 51  # of terms * (terms + 2) * largest word in `_weighted_sum`


def frozen(values: Residues) -> Residues:
    """The same array, set read-only."""
    values.setflags(write=False)
    return values


def reduced(values: WordArray) -> Residues:
    """Residues of any uint64 values, shape (4, coefficients)."""
    out = np.empty_like(values)
    for row, value, prime in zip(out, values, WORD_PRIMES, strict=True):
        np.remainder(value, prime, out=row)
    return out


def add(left: Residues, right: Residues) -> Residues:
    """Sum of two vectors of residues.

    Args:
        left: Shape (4, coefficients), each row below its prime.
        right: The same shape.

    Returns:
        The sum, reduced.
    """
    return reduced(left + right)


def weighted_residues(words: WordArray, weights: Sequence[int], *, word_bits: int) -> Residues:
    """Residues of sum over j of weights[j] * words[j].

    Args:
        words: Shape (terms, coefficients), uint64, each below 2^word_bits.
        weights: One integer of any size for each term.
        word_bits: Bound of the words, at most 62.

    Returns:
        Shape (4, coefficients).

    Raises:
        ConfigError: wider words, or more than 256 terms.
    """
    terms = len(weights)
    require(word_bits <= 2 * _LIMB_BITS and terms <= 256, "words of at most 62 bits, at most 256 terms")
    if terms * (terms + 2) << word_bits > _MOST_WEIGHT:
        low = words & np.uint64((1 << _LIMB_BITS) - 1)
        words = np.concatenate([low, words >> np.uint64(_LIMB_BITS)])
        weights = [*weights, *(weight << _LIMB_BITS for weight in weights)]
    floats = words.astype(np.float64)
    out = np.empty((len(PRIMES), words.shape[1]), np.uint64)
    for index, row in enumerate(out):
        row[:] = _weighted_sum(words, floats, weights, index)
    return out


def _weighted_sum(
    words: WordArray, floats: FloatArray, weights: Sequence[int], prime_index: int
) -> WordArray:
    """Sum of words times constants modulo one prime; ``floats`` are the words as doubles.

    The quotient is estimated in doubles and the difference taken in wrapping 64-bit arithmetic. The estimate
    is off by less than terms * (terms + 2) * 2^-53 times the largest word before it is rounded; while that
    is at most 1/4, the difference lies within one prime of zero, and one conditional addition makes it exact.
    """
    prime, word_prime = PRIMES[prime_index], WORD_PRIMES[prime_index]
    constants = [weight % prime for weight in weights]
    quotient = np.array([constant / prime for constant in constants]) @ floats
    total = words[0] * np.uint64(constants[0])
    for constant, row in zip(constants[1:], words[1:], strict=True):
        total += row * np.uint64(constant)
    total -= np.rint(quotient).astype(np.int64).view(np.uint64) * word_prime
    # A negative difference wraps far above the prime, so the smaller of the two is the residue.
    residue: WordArray = np.minimum(total, total + word_prime)
    return residue


def multiplied(values: Residues, factors: Sequence[int]) -> Residues:
    """Multiply each row by its own constant.

    Args:
        values: Shape (4, coefficients), each row below its prime.
        factors: One integer for each prime.

    Returns:
        The products, reduced.
    """
    out = np.empty_like(values)
    for index, (value, factor) in enumerate(zip(values, factors, strict=True)):
        halves = np.stack([value & np.uint64((1 << 28) - 1), value >> np.uint64(28)])
        out[index] = _weighted_sum(halves, halves.astype(np.float64), [factor, factor << 28], index)
    return out


def small_residues(values: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Residues:
    """Residues of small signed integers.

    Args:
        values: Shape (coefficients,), int64, each of absolute value below the smallest prime.

    Returns:
        Shape (4, coefficients): one integer vector, reduced modulo every prime.
    """
    words = values.astype(np.int64).view(np.uint64)
    # A negative value wraps far above the prime; adding the prime brings it into range.
    return np.stack([np.minimum(words, words + prime) for prime in WORD_PRIMES])


def accepted(candidates: WordArray, prime_index: int, count: int) -> WordArray | None:
    """First ``count`` candidates below the prime, after masking to the prime's bit length.

    Args:
        candidates: uint64 words of a random stream, in order.
        prime_index: Which prime.
        count: How many to keep.

    Returns:
        Shape (count,), or None when the candidates do not hold that many.
    """
    masked = candidates & np.uint64((1 << PRIMES[prime_index].bit_length()) - 1)
    first = masked[:count]
    if first.size == count and (count == 0 or first.max() < WORD_PRIMES[prime_index]):
        return first  # almost always: a candidate is refused with a chance below 2^-33
    kept = masked[masked < WORD_PRIMES[prime_index]]
    return kept[:count] if kept.size >= count else None


def uniform_residues(source: ByteSource, coefficients: int) -> Residues:
    """Draw uniform residues by rejection.

    Args:
        source: Random bytes.
        coefficients: How many for each prime.

    Returns:
        Shape (4, coefficients).
    """
    out = np.empty((len(PRIMES), coefficients), np.uint64)
    for index in range(len(PRIMES)):
        words = np.frombuffer(source(8 * coefficients), "<u8")
        while (row := accepted(words, index, coefficients)) is None:
            words = np.concatenate([words, np.frombuffer(source(64), "<u8")])
        out[index] = row
    return out


def expand(label: str, *parts: bytes, size: int) -> bytes:
    """SHAKE-256 of length-prefixed parts, as long as asked.

    Args:
        label: Domain of the hash.
        *parts: Any bytes.
        size: Bytes of output; a longer output starts with the shorter one.

    Returns:
        ``size`` bytes; with 32 the same as `fedmed.types.digest`, whose encoding this is: label and parts
        in order, each after its length as eight little-endian bytes.
    """
    stream = hashlib.shake_256()
    for part in (label.encode(), *parts):
        stream.update(len(part).to_bytes(8, "little"))
        stream.update(part)
    return stream.digest(size)
