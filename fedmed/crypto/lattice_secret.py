"""The half of the lattice that only a custodian computes: secrets, errors, smudging, masks and their sums.

Every random function takes its source of bytes; the custodian passes the operating system's. Functions named
``..._from`` or taking ready polynomials are deterministic, so that tests can feed worst cases.

Encodings (normative, with known answers in tests/vectors/lattice.json): points, chunks and lengths of lists
are 4-byte little-endian, primes 8-byte; hashes are SHAKE-256 over length-prefixed parts as in
`fedmed.types.digest`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedmed.crypto import sharing
from fedmed.crypto.lattice_public import residues_from_bytes, residues_to_bytes
from fedmed.crypto.parameters import ERROR_BOUND, PRIMES, RING_DEGREE
from fedmed.crypto.residues import (
    WORD_PRIMES,
    ByteSource,
    Residues,
    accepted,
    frozen,
    reduced,
    small_residues,
    weighted_residues,
)
from fedmed.crypto.seal import Factor, Ring
from fedmed.errors import EpochMismatch, IntegrityError, UnknownVersion
from fedmed.types import IntArray, WordArray, digest, require

KEY_BYTES = 32
SHARE_BYTES = len(PRIMES) * RING_DEGREE * 7
_SMUDGING_LIMB = 46
_EPOCH_KEYS_VERSION = b"fedmed-epoch-keys-1\n"


@functools.cache
def ring() -> Ring:
    """SEAL's arithmetic for the protocol's ring, built once."""
    return Ring(RING_DEGREE, PRIMES)


def system_entropy(size: int) -> bytes:
    """The operating system's entropy, the source of everything secret here.

    Args:
        size: Bytes wanted.
    """
    return os.urandom(size)


def keystream(key: bytes) -> ByteSource:
    """Source of bytes from AES-256 in counter mode, counter from 0.

    Args:
        key: 32 bytes that serve this one stream.

    Returns:
        A source; each call goes on where the last one stopped.
    """
    stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
    return lambda size: stream.update(bytes(size))


def expanded(source: ByteSource) -> ByteSource:
    """Stretch 32 bytes of entropy into a stream: the system gives 0.3 GB/s, AES ten times that."""
    return keystream(source(KEY_BYTES))


class SecretKey:
    """A custodian's ring-LWE secret: one ternary integer vector, the same one modulo every prime.

    No repr, no pickle, no equality by value.
    """

    __slots__ = ("_coefficients", "_factor", "_ntt")

    def __init__(self, coefficients: npt.NDArray[np.int8]) -> None:
        """Take ternary coefficients.

        Args:
            coefficients: Shape (8192,), int8, each -1, 0 or 1.

        Raises:
            ConfigError: another shape or value.
        """
        require(coefficients.shape == (RING_DEGREE,), f"a secret has {RING_DEGREE} coefficients")
        require(coefficients.dtype == np.int8, "a secret's coefficients are int8")
        require(int(np.abs(coefficients).max()) <= 1, "a secret's coefficients are -1, 0 or 1")
        self._coefficients = coefficients.copy()
        self._ntt: Residues | None = None
        self._factor: Factor | None = None

    @classmethod
    def draw(cls, source: ByteSource) -> SecretKey:
        """Draw a uniform ternary secret: bytes below 255, modulo 3, minus 1.

        Args:
            source: The operating system's entropy.
        """
        drawn = np.frombuffer(source(RING_DEGREE), np.uint8)
        drawn = drawn[drawn < 255]
        while drawn.size < RING_DEGREE:
            more = np.frombuffer(source(RING_DEGREE - drawn.size), np.uint8)
            drawn = np.concatenate([drawn, more[more < 255]])
        return cls((drawn % 3).astype(np.int8) - np.int8(1))

    @property
    def coefficients(self) -> npt.NDArray[np.int8]:
        """A copy of the coefficients, shape (8192,)."""
        return self._coefficients.copy()

    @property
    def ntt(self) -> Residues:
        """The secret in transform form, shape (4, 8192), read-only."""
        if self._ntt is None:
            self._ntt = frozen(ring().to_ntt(small_residues(self._coefficients.astype(np.int64))))
        return self._ntt

    @property
    def factor(self) -> Factor:
        """The secret as a factor of SEAL products."""
        if self._factor is None:
            self._factor = ring().factor(self.ntt)
        return self._factor

    def __repr__(self) -> str:
        return "SecretKey(hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SecretKey is never pickled or copied")


def error_polynomial(source: ByteSource, coefficients: int) -> IntArray:
    """Draw ring-LWE errors: centred binomial of 21 bit pairs, standard deviation 3.24.

    Args:
        source: Random bytes, 8 a coefficient.
        coefficients: How many.

    Returns:
        Shape (coefficients,), int64, each within [-21, 21].
    """
    words = np.frombuffer(source(8 * coefficients), "<u8")
    mask = np.uint64((1 << ERROR_BOUND) - 1)
    plus = np.bitwise_count(words & mask)
    minus = np.bitwise_count((words >> np.uint64(ERROR_BOUND)) & mask)
    difference: IntArray = plus.astype(np.int64) - minus.astype(np.int64)
    return difference


def contribution_polynomial(product: Residues, error: IntArray, payload: Residues) -> Residues:
    """A contribution: b = -a s + e + D m on the used coefficients.

    Args:
        product: a s, shape (4, at least coefficients), coefficient form.
        error: e, shape (coefficients,).
        payload: D m, shape (4, coefficients).

    Returns:
        Shape (4, coefficients), reduced.
    """
    used = error.size
    shifted = (error + ERROR_BOUND).astype(np.uint64)
    out = np.empty((len(PRIMES), used), np.uint64)
    for index, prime in enumerate(WORD_PRIMES):
        total = payload[index] + shifted
        # Twice the prime: once for the product, once for a negative error on a zero payload.
        total += np.uint64(2) * prime - np.uint64(ERROR_BOUND)
        total -= product[index, :used]
        np.remainder(total, prime, out=out[index])
    return out


def deal(secret: SecretKey, custodians: int, threshold: int, source: ByteSource) -> tuple[bytes, ...]:
    """Share a secret among all custodians, ready for sealing.

    Args:
        secret: The dealer's secret.
        custodians: Points 1..custodians.
        threshold: Shares that open.
        source: The operating system's entropy.

    Returns:
        For each receiver in order of points 229,376 bytes, to be read by `read_share`.
    """
    shares = sharing.share(secret.ntt, custodians, threshold, expanded(source))
    return tuple(residues_to_bytes(one, RING_DEGREE) for one in shares)


def read_share(data: bytes) -> Residues:
    """Read a share that a dealer sent.

    Returns:
        Shape (4, 8192), read-only, in transform form.

    Raises:
        CiphertextMalformed: wrong size, or a residue out of range.
    """
    return residues_from_bytes(data, RING_DEGREE)


def pair_key(epoch_id: bytes, first: int, second: int, seed_first: bytes, seed_second: bytes) -> bytes:
    """The key that two custodians share for zero masks; equal whichever of them computes it.

    Args:
        epoch_id: Name of the key epoch.
        first: One custodian's point.
        second: The other's.
        seed_first: 32 bytes that ``first`` drew for ``second``.
        seed_second: 32 bytes that ``second`` drew for ``first``.

    Returns:
        32 bytes.

    Raises:
        ConfigError: the points are equal, or a seed has another length.
    """
    require(first != second, "a pair key needs two different points")
    require(len(seed_first) == len(seed_second) == KEY_BYTES, f"zero seeds have {KEY_BYTES} bytes")
    if first > second:
        first, second, seed_first, seed_second = second, first, seed_second, seed_first
    return digest("fedmed/zero", epoch_id, _word(first), _word(second), seed_first, seed_second)


def opening_tag(
    plan_digest: bytes,
    contributors: Sequence[int],
    openers: Sequence[int],
    headers_digest: bytes,
    chunk: int,
) -> bytes:
    """Name of one answer: masks cancel only between custodians that hold the same.

    Args:
        plan_digest: The plan.
        contributors: S, in order.
        openers: T, in order.
        headers_digest: Digest of all signed headers of S.
        chunk: From 0.

    Returns:
        32 bytes.
    """
    sets = (b"".join(map(_word, points)) for points in (contributors, openers))
    return digest("fedmed/tag", plan_digest, *sets, headers_digest, _word(chunk))


def pair_mask(key: bytes, tag: bytes, coefficients: int) -> Residues:
    """G(k, tag): what two custodians add and subtract.

    Args:
        key: Their pair key.
        tag: Name of the answer.
        coefficients: How many; a longer mask starts with the shorter one.

    Returns:
        Shape (4, coefficients), uniform: for each prime the first accepted words of AES-256-CTR.
    """
    out = np.empty((len(PRIMES), coefficients), np.uint64)
    for index, prime in enumerate(PRIMES):
        stream = keystream(digest("fedmed/mask", key, tag, prime.to_bytes(8, "little")))
        words = np.frombuffer(stream(8 * coefficients), "<u8")
        while (row := accepted(words, index, coefficients)) is None:
            words = np.concatenate([words, np.frombuffer(stream(64), "<u8")])
        out[index] = row
    return out


def zero_mask(
    pair_keys: Mapping[int, bytes], own_point: int, openers: Sequence[int], tag: bytes, *, coefficients: int
) -> Residues:
    """Z_j: sum of G over higher openers less sum of G over lower ones; all of T together sum to zero.

    Args:
        pair_keys: Key for each other custodian.
        own_point: This custodian.
        openers: T.
        tag: `opening_tag` of this answer.
        coefficients: How many are used.

    Returns:
        Shape (4, coefficients), reduced, coefficient form.

    Raises:
        EpochMismatch: no key is held for a member of T.
    """
    total = np.zeros((len(PRIMES), coefficients), np.uint64)
    for other in openers:
        if other == own_point:
            continue
        if other not in pair_keys:
            raise EpochMismatch(f"no pair key is held for custodian {other}; run a new ceremony with it")
        mask = pair_mask(pair_keys[other], tag, coefficients)
        for row, part, prime in zip(total, mask, WORD_PRIMES, strict=True):
            # At most 399 residues of 55 bits: the sum stays below 2^64.
            row += part if other > own_point else prime - part
    return reduced(total)


def smudging_words(source: ByteSource, coefficients: int, smudging_bits: int) -> WordArray:
    """Draw integers uniform on [0, 2 B), B = 2^smudging_bits, as limbs of 46 and up to 34 bits.

    Args:
        source: Random bytes, 10 a coefficient.
        coefficients: How many.
        smudging_bits: 64 to 79.

    Returns:
        Shape (2, coefficients), uint64, least limb first.

    Raises:
        ConfigError: ``smudging_bits`` out of range.
    """
    require(64 <= smudging_bits <= 79, f"smudging_bits must be in 64..79, got {smudging_bits}")
    data = source(10 * coefficients)
    low = np.frombuffer(data, "<u8", coefficients)
    high = np.frombuffer(data, "<u2", coefficients, offset=8 * coefficients).astype(np.uint64)
    high &= np.uint64((1 << (smudging_bits - 63)) - 1)
    mask = np.uint64((1 << _SMUDGING_LIMB) - 1)
    return np.stack(
        [low & mask, (low >> np.uint64(_SMUDGING_LIMB)) | (high << np.uint64(64 - _SMUDGING_LIMB))]
    )


def smudging_polynomial(words: WordArray, smudging_bits: int) -> Residues:
    """Smudging f = u - B: ONE integer vector on [-B, B), reduced modulo every prime.

    Args:
        words: u as `smudging_words` gives it.
        smudging_bits: B = 2^smudging_bits.

    Returns:
        Shape (4, coefficients), reduced.
    """
    out = weighted_residues(words, [1, 1 << _SMUDGING_LIMB], word_bits=_SMUDGING_LIMB)
    for row, prime in zip(out, PRIMES, strict=True):
        row -= np.uint64((1 << smudging_bits) % prime)
        np.minimum(row, row + np.uint64(prime), out=row)  # a negative value wraps far above the prime
    return out


def opening_polynomial(product: Residues, smudging: Residues, mask: Residues) -> Residues:
    """An answer: a lambda sum of shares + f + Z on the used coefficients.

    Args:
        product: Shape (4, at least coefficients), coefficient form.
        smudging: f, shape (4, coefficients).
        mask: Z, shape (4, coefficients).

    Returns:
        Shape (4, coefficients), reduced.
    """
    used = mask.shape[1]
    out = np.empty_like(mask)
    for index, prime in enumerate(WORD_PRIMES):
        total = product[index, :used] + smudging[index]
        total += mask[index]
        np.remainder(total, prime, out=out[index])
    return out


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class EpochKeys:
    """What a custodian holds for one key epoch; no repr, and bytes only for its own sealed store.

    Attributes:
        point: The custodian's point.
        threshold: Answers that open.
        secret: Its own secret.
        shares: For each dealer's point the share dealt to this custodian, shape (4, 8192), transform form.
        pair_keys: For each other custodian's point the 32-byte key of their zero masks.
    """

    point: int
    threshold: int
    secret: SecretKey
    shares: Mapping[int, Residues]
    pair_keys: Mapping[int, bytes]

    def __post_init__(self) -> None:
        require(self.point >= 1, f"point must be >= 1, got {self.point}")
        require(self.threshold >= 1, f"threshold must be >= 1, got {self.threshold}")
        require(self.point not in self.pair_keys, "a custodian has no pair key with itself")
        require(all(len(key) == KEY_BYTES for key in self.pair_keys.values()), "pair keys have 32 bytes")

    def __reduce__(self) -> NoReturn:
        raise TypeError("EpochKeys are never pickled or copied; use to_bytes for the sealed store")

    def to_bytes(self) -> bytes:
        """Serialise for the custodian's own store, which keeps it under the epoch key.

        Returns:
            Version line; point, threshold, number of shares and of pair keys as 4-byte words; the secret's
            coefficients plus 1; shares and pair keys, each after its point, in order of points.
        """
        counts = (self.point, self.threshold, len(self.shares), len(self.pair_keys))
        parts = [_EPOCH_KEYS_VERSION, *map(_word, counts)]
        parts.append((self.secret.coefficients + np.int8(1)).tobytes())
        for dealer in sorted(self.shares):
            parts += [_word(dealer), residues_to_bytes(self.shares[dealer], RING_DEGREE)]
        for other in sorted(self.pair_keys):
            parts += [_word(other), self.pair_keys[other]]
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> EpochKeys:
        """Read what `to_bytes` wrote.

        Raises:
            UnknownVersion: the first line is another one.
            IntegrityError: the length or a value does not fit; restore is not possible, run a new ceremony.
        """
        if not data.startswith(_EPOCH_KEYS_VERSION):
            raise UnknownVersion("epoch keys of an unknown version; use the release that wrote them")
        reader = _Reader(data, len(_EPOCH_KEYS_VERSION))
        point, threshold, share_count, key_count = (reader.word() for _ in range(4))
        raw = np.frombuffer(reader.take(RING_DEGREE), np.uint8)
        if raw.max() > 2:
            raise IntegrityError("stored epoch keys are damaged; run a new ceremony")
        shares = {reader.word(): read_share(reader.take(SHARE_BYTES)) for _ in range(share_count)}
        pair_keys = {reader.word(): reader.take(KEY_BYTES) for _ in range(key_count)}
        if reader.rest or len(shares) != share_count or len(pair_keys) != key_count:
            raise IntegrityError("stored epoch keys are damaged; run a new ceremony")
        secret = SecretKey(raw.astype(np.int8) - np.int8(1))
        return cls(point=point, threshold=threshold, secret=secret, shares=shares, pair_keys=pair_keys)


class _Reader:
    """Reads a byte string piece by piece and refuses to run over its end."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        if size > self.rest:
            raise IntegrityError("stored epoch keys are cut short; run a new ceremony")
        self._position += size
        return self._data[self._position - size : self._position]

    def word(self) -> int:
        """The next 4-byte word."""
        return int.from_bytes(self.take(4), "little")

    @property
    def rest(self) -> int:
        """Bytes not yet read."""
        return len(self._data) - self._position


def _word(value: int) -> bytes:
    """Four bytes, little-endian."""
    return value.to_bytes(4, "little")
