"""The only door to SEAL's ring arithmetic: number-theoretic transforms and products modulo one prime.

Polynomials live in Z_p[X]/(X^N + 1), one SEAL context a prime: SEAL reserves the last prime of a chain
for itself, so a chain of four would compute with three. Nothing of SEAL's encryption is used; its
ciphertexts are boxes that hold up to sixteen polynomials, its plaintexts a factor for all of them.

Objects pass through a memfd, never a file: each call makes its own, so threads and forked processes
cannot mix their bytes, and what secret bytes it held is freed with it. SEAL writes zstd-compressed
objects whatever one asks; the batch below spreads the cost of that and of each object over chunks.
"""

from __future__ import annotations

import functools
import os
import platform
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np
import zstandard

from fedmed.errors import ConfigError, PlatformUnsupported
from fedmed.types import WordArray, require

_MAGIC = b"\x5e\xa1"
_HEADER_BYTES = 16
_FORMAT_MAJOR = 4
_ZSTD = 2
# Chunks that share one SEAL object. SEAL's limit is 16; at 8 the object still fits a core's cache.
_BATCH = 8


def require_platform(*, system: str | None = None, machine: str | None = None) -> None:
    """Refuse a machine on which SEAL objects cannot pass through a memfd.

    Args:
        system: Name of the operating system; this machine's when None.
        machine: Name of the processor; this machine's when None.

    Raises:
        PlatformUnsupported: anything but Linux on x86-64.
    """
    system = platform.system() if system is None else system
    machine = platform.machine() if machine is None else machine
    if system != "Linux" or machine.lower() not in ("x86_64", "amd64"):
        raise PlatformUnsupported(
            f"the threshold scheme needs Linux on x86-64, this is {system or 'unknown'} on "
            f"{machine or 'unknown'}; run the province in a Linux x86-64 container or virtual machine"
        )


@functools.cache
def _sealapi() -> Any:  # tenseal ships no types
    """Load SEAL's bindings, after the platform check: elsewhere the import itself may fail."""
    require_platform()
    try:
        import tenseal.sealapi as sealapi
    except ImportError as error:
        raise PlatformUnsupported("tenseal.sealapi cannot be imported; install tenseal 0.3.16+") from error
    return sealapi


def standard_primes(degree: int, bits: Sequence[int]) -> tuple[int, ...]:
    """SEAL's primes for a ring, the largest of each size that allow the transform.

    Args:
        degree: Ring degree N.
        bits: Size of each prime in bits.

    Returns:
        One prime for each entry of ``bits``, each 1 modulo 2N.
    """
    return tuple(int(m.value()) for m in _sealapi().CoeffModulus.Create(degree, list(bits)))


def security_limit_bits(degree: int) -> int:
    """Largest modulus, in bits, that SEAL allows for a ring at 128-bit security.

    Args:
        degree: Ring degree N.

    Returns:
        Bits of the modulus, from the table of the HomomorphicEncryption.org standard (ternary secret).
    """
    api = _sealapi()
    return int(api.CoeffModulus.MaxBitCount(degree, api.SEC_LEVEL_TYPE.TC128))


@contextmanager
def _memory_file() -> Iterator[tuple[int, str]]:
    """Give an anonymous file in memory and the path under which SEAL can open it."""
    descriptor = os.memfd_create("fedmed")
    try:
        yield descriptor, f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


@functools.cache
def _header() -> bytes:
    """First bytes of an uncompressed object in the format of the SEAL that is loaded."""
    with _memory_file() as (descriptor, path):
        _sealapi().Plaintext("1").save(path)
        head = os.pread(descriptor, 5, 0)
    if head[:4] != _MAGIC + bytes([_HEADER_BYTES, _FORMAT_MAJOR]):
        raise PlatformUnsupported(
            "this SEAL writes a format that FedMed does not know; install tenseal 0.3.x"
        )
    return head + b"\0\0\0"  # no compression, reserved


def _envelope(body_bytes: int) -> bytes:
    """Header of an object whose body has ``body_bytes`` bytes."""
    return _header() + struct.pack("<Q", _HEADER_BYTES + body_bytes)


class Factor:
    """A polynomial in transform form, loaded once for many products. Often a secret: no repr, no pickle."""

    __slots__ = ("plaintexts", "residues")

    def __init__(self, plaintexts: tuple[Any, ...], residues: WordArray) -> None:
        self.plaintexts = plaintexts
        self.residues = residues

    def __repr__(self) -> str:
        return "Factor(hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Factor may hold a secret and is never pickled")


class _PrimeRing:
    """Z_p[X]/(X^N + 1) for one prime."""

    def __init__(self, degree: int, prime: int) -> None:
        api = _sealapi()
        parameters = api.EncryptionParameters(api.SCHEME_TYPE.CKKS)
        parameters.set_poly_modulus_degree(degree)
        parameters.set_coeff_modulus([api.Modulus(prime)])
        self.degree = degree
        self.prime = prime
        self.context = api.SEALContext(parameters, True, api.SEC_LEVEL_TYPE.TC128)
        require(
            bool(self.context.parameters_set()),
            f"SEAL refuses ring degree {degree} with prime {prime}: {self.context.parameters_error_name()}",
        )
        self.evaluator = api.Evaluator(self.context)
        self.parms_id = struct.pack("<4Q", *self.context.first_parms_id())

    def load(self, target: Any, metadata: bytes, rows: Sequence[WordArray]) -> Any:
        """Fill a SEAL object with rows of coefficients; SEAL checks every residue's range."""
        words = len(rows) * self.degree
        array = _envelope(8 + 8 * words) + struct.pack("<Q", words)
        body = self.parms_id + metadata + array
        with _memory_file() as (descriptor, path):
            head = _envelope(len(body) + 8 * words) + body
            parts: list[Any] = [head, *rows]  # for 3.11 no type says that an array is a buffer
            os.pwritev(descriptor, parts, 0)
            target.load(self.context, path)
        return target

    def cipher(self, rows: Sequence[WordArray], *, ntt: bool) -> Any:
        """Box of several polynomials."""
        metadata = struct.pack("<BQQQdQ", ntt, len(rows), self.degree, 1, 1.0, 1)
        return self.load(_sealapi().Ciphertext(), metadata, rows)

    def plain(self, row: WordArray) -> Any:
        """Factor in transform form."""
        return self.load(_sealapi().Plaintext(), struct.pack("<Qd", self.degree, 1.0), [row])

    def read(self, cipher: Any, count: int) -> WordArray:
        """Rows of a box, shape (count, degree)."""
        words = count * self.degree
        with _memory_file() as (descriptor, path):
            cipher.save(path)
            data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        if data[5] != _ZSTD:
            raise PlatformUnsupported("this SEAL compresses otherwise than by zstd; install tenseal 0.3.x")
        unpack = zstandard.ZstdDecompressor().decompress
        body: bytes = unpack(memoryview(data)[_HEADER_BYTES:], max_output_size=8 * words + 4096)
        return np.frombuffer(body, "<u8", offset=len(body) - 8 * words).reshape(count, self.degree)

    def run(self, rows: Sequence[WordArray], *, ntt: bool, step: Callable[[Any], None]) -> WordArray:
        """Send nonzero polynomials through one SEAL operation.

        SEAL throws on a box whose polynomials after the first are all zero, so a lone polynomial travels
        twice; compression makes little of the copy.
        """
        boxed = rows if len(rows) > 1 else [rows[0], rows[0]]
        cipher = self.cipher(boxed, ntt=ntt)
        step(cipher)
        return self.read(cipher, len(boxed))[: len(rows)]


class Ring:
    """Products and transforms of polynomials given by their residues, for all primes of a modulus.

    A polynomial is an array of shape (primes, degree), uint64, each row below its prime. The transform's
    order is SEAL's, equal on every machine; products do not depend on it.
    """

    def __init__(self, degree: int, primes: Sequence[int]) -> None:
        self._rings = tuple(_PrimeRing(degree, prime) for prime in primes)
        self._shape = (len(self._rings), degree)

    def _check(self, polynomial: WordArray) -> None:
        if polynomial.shape != self._shape or polynomial.dtype != np.uint64:
            raise ConfigError(f"a polynomial must be uint64 of shape {self._shape}, got {polynomial.shape}")

    def _transform(self, polynomial: WordArray, *, ntt: bool) -> WordArray:
        """Transform in the direction away from ``ntt``."""
        self._check(polynomial)
        result = np.zeros(self._shape, np.uint64)
        for index, ring in enumerate(self._rings):
            evaluator = ring.evaluator
            step = evaluator.transform_from_ntt_inplace if ntt else evaluator.transform_to_ntt_inplace
            if polynomial[index].any():
                result[index] = ring.run([np.ascontiguousarray(polynomial[index])], ntt=ntt, step=step)[0]
        return result

    def to_ntt(self, polynomial: WordArray) -> WordArray:
        """Coefficients to transform form, shape (primes, degree)."""
        return self._transform(polynomial, ntt=False)

    def from_ntt(self, polynomial: WordArray) -> WordArray:
        """Transform form to coefficients, shape (primes, degree)."""
        return self._transform(polynomial, ntt=True)

    def factor(self, polynomial: WordArray) -> Factor:
        """Load a polynomial in transform form as a factor for `products`."""
        self._check(polynomial)
        rows = [np.ascontiguousarray(row) for row in polynomial]
        plaintexts = tuple(
            ring.plain(row) if row.any() else None for ring, row in zip(self._rings, rows, strict=True)
        )
        return Factor(plaintexts, np.stack(rows))

    def products(self, polynomials: Sequence[WordArray], factor: Factor) -> list[WordArray]:
        """Multiply polynomials by one factor.

        Args:
            polynomials: Each of shape (primes, degree), in transform form.
            factor: The common factor.

        Returns:
            One product for each polynomial, shape (primes, degree), in coefficient form.

        Raises:
            ConfigError: a polynomial has the wrong shape or type.
        """
        for polynomial in polynomials:
            self._check(polynomial)
        results: list[WordArray] = []
        for start in range(0, len(polynomials), _BATCH):
            results.extend(self._batch(polynomials[start : start + _BATCH], factor))
        return results

    def _batch(self, polynomials: Sequence[WordArray], factor: Factor) -> list[WordArray]:
        """Products of up to `_BATCH` polynomials."""
        out = [np.zeros(self._shape, np.uint64) for _ in polynomials]
        for index, (ring, plaintext) in enumerate(zip(self._rings, factor.plaintexts, strict=True)):
            rows = [np.ascontiguousarray(polynomial[index]) for polynomial in polynomials]
            live = [at for at, row in enumerate(rows) if _product_is_nonzero(row, factor.residues[index])]
            if not live:
                continue  # SEAL throws on zero products; zeros are already there

            def multiply(cipher: Any, ring: _PrimeRing = ring, plaintext: Any = plaintext) -> None:
                ring.evaluator.multiply_plain_inplace(cipher, plaintext)
                ring.evaluator.transform_from_ntt_inplace(cipher)

            values = ring.run([rows[at] for at in live], ntt=True, step=multiply)
            for at, row in zip(live, values, strict=True):
                out[at][index] = row
        return out


def _product_is_nonzero(row: WordArray, factor: WordArray) -> bool:
    """Whether a product in transform form has a value that is not zero; one value usually decides."""
    return bool((row[0] != 0 and factor[0] != 0) or ((row != 0) & (factor != 0)).any())
