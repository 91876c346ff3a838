"""The half of the lattice that everyone may compute: public polynomials, wire bytes, packing, decoding.

Encodings (normative, with known answers in tests/vectors/lattice.json):

* Public polynomial: SHAKE-256 over the length-prefixed parts ``fedmed/a``, plan digest, chunk (4 bytes
  little-endian), prime (8 bytes little-endian) is cut into 7-byte little-endian words; each is masked to the
  prime's bit length, words at or above the prime are dropped, and the first 8192 are the polynomial modulo
  that prime, in transform form.
* Wire: residues as 7 little-endian bytes each, prime after prime, used coefficients only.
* Chunk: values run field by field: value v of a chunk with C coefficients sits in field v // C of
  coefficient v % C; the last chunk has as few coefficients as hold its values, the rest is zero padding.
* Payload of a coefficient: m = sum of field_f * 2^(w f); it travels as D m.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fedmed.crypto.parameters import (
    MAX_FIELD_BITS,
    MODULUS,
    PRIMES,
    RING_DEGREE,
    named_set,
    scale,
)
from fedmed.crypto.residues import (
    WORD_PRIMES,
    Residues,
    accepted,
    expand,
    frozen,
    weighted_residues,
)
from fedmed.errors import CiphertextMalformed, LayoutMismatch, OpeningOutOfBounds
from fedmed.types import DIGEST_BYTES, FloatArray, IntArray, Layout, WordArray, check_fields, require

RESIDUE_BYTES = 7
_WORD_MASK = np.uint64((1 << 8 * RESIDUE_BYTES) - 1)

# Decoding works in doubles that hold integers exactly: inputs in 22-bit limbs, constants in 27-bit limbs,
# twelve products a sum, so every sum stays below 2^(22 + 27 + 4) = 2^53.
_INPUT_BITS = 22
_INPUT_LIMBS = 3
_LIMB_BITS = 27
_LIMBS = 8
_FRACTION_LIMBS = 2
_FRACTION_BITS = _FRACTION_LIMBS * _LIMB_BITS
# Error of the fixed-point sums in units of 2^-54: half for each constant, times inputs below 2^22, twelve of
# them, the same again for the multiple of q, one for floor(D / 2) / D; together below 2^26.
_FRACTION_ERROR = 1 << 26


def public_polynomial(plan_digest: bytes, chunk: int) -> Residues:
    """The public polynomial a of one chunk of one plan.

    Args:
        plan_digest: 32 bytes.
        chunk: From 0.

    Returns:
        Shape (4, 8192), read-only, in transform form. Equal on every machine; see the module's text.

    Raises:
        ConfigError: the digest has another length.

    Source:
        PROTOCOL.md section 4; uniform up to the idealisation of SHAKE-256 as a random function.
    """
    require(len(plan_digest) == DIGEST_BYTES, f"plan_digest must have {DIGEST_BYTES} bytes")
    out = np.empty((len(PRIMES), RING_DEGREE), np.uint64)
    for index, prime in enumerate(PRIMES):
        words = RING_DEGREE
        while (row := accepted(_public_words(plan_digest, chunk, prime, words), index, RING_DEGREE)) is None:
            words += 64
        out[index] = row
    return frozen(out)


def _public_words(plan_digest: bytes, chunk: int, prime: int, words: int) -> WordArray:
    """The first words of the stream behind one row of a public polynomial."""
    parts = (plan_digest, chunk.to_bytes(4, "little"), prime.to_bytes(8, "little"))
    return _unpacked(expand("fedmed/a", *parts, size=RESIDUE_BYTES * words))


def _unpacked(data: bytes) -> WordArray:
    """7-byte little-endian words, read as overlapping 8-byte words."""
    words = len(data) // RESIDUE_BYTES
    view: WordArray = np.ndarray((words,), "<u8", buffer=data + b"\0", strides=(RESIDUE_BYTES,))
    return view & _WORD_MASK


def residues_to_bytes(residues: Residues, coefficients: int) -> bytes:
    """Write the first coefficients of a polynomial for the wire.

    Args:
        residues: Shape (4, at least coefficients).
        coefficients: How many are used.

    Returns:
        4 * coefficients * 7 bytes.

    Raises:
        ConfigError: there are fewer coefficients.
    """
    columns = residues.shape[1]
    require(0 <= coefficients <= columns, f"coefficients must be in 0..{columns}, got {coefficients}")
    return b"".join(_packed(np.ascontiguousarray(row[:coefficients], "<u8")) for row in residues)


def _packed(words: WordArray) -> bytes:
    """Low 7 bytes of each word, one byte of all words at a time: twice as fast as row by row."""
    octets = words.view(np.uint8).reshape(-1, 8)
    out = np.empty((words.size, RESIDUE_BYTES), np.uint8)
    for place in range(RESIDUE_BYTES):
        out[:, place] = octets[:, place]
    return out.tobytes()


def residues_from_bytes(data: bytes, coefficients: int) -> Residues:
    """Read a polynomial from the wire.

    Args:
        data: What `residues_to_bytes` gave.
        coefficients: How many coefficients there must be.

    Returns:
        Shape (4, coefficients), read-only.

    Raises:
        CiphertextMalformed: another size, or a residue at or above its prime.
    """
    row_bytes = coefficients * RESIDUE_BYTES
    if len(data) != len(PRIMES) * row_bytes:
        raise CiphertextMalformed(
            f"{coefficients} coefficients take {len(PRIMES) * row_bytes} bytes, got {len(data)}"
        )
    out = np.empty((len(PRIMES), coefficients), np.uint64)
    for index, prime in enumerate(WORD_PRIMES):
        out[index] = _unpacked(data[index * row_bytes : (index + 1) * row_bytes])
        if coefficients and out[index].max() >= prime:
            raise CiphertextMalformed("a residue is not below its prime")
    return frozen(out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One polynomial's part of a vector.

    Attributes:
        index: From 0.
        start: First value.
        stop: One after the last value.
        coefficients: Coefficients that its values take.
    """

    index: int
    start: int
    stop: int
    coefficients: int


def chunks_of(layout: Layout) -> tuple[Chunk, ...]:
    """Cut a layout's vector into polynomials.

    Args:
        layout: Of a threshold scheme.

    Returns:
        All chunks; all but the last use 8192 coefficients.

    Raises:
        ConfigError: unknown parameter set.
        LayoutMismatch: the fields do not fit the set's payload.
    """
    payload_bits = named_set(layout.parameter_set).payload_bits
    if not 2 <= layout.field_bits <= MAX_FIELD_BITS or layout.fields * layout.field_bits > payload_bits:
        raise LayoutMismatch(
            f"{layout.fields} fields of {layout.field_bits} bits do not fit the {payload_bits} bits of a "
            f"coefficient in {layout.parameter_set}"
        )
    step = RING_DEGREE * layout.fields
    starts = range(0, layout.values, step)
    stops = [min(start + step, layout.values) for start in starts]
    return tuple(
        Chunk(index=index, start=start, stop=stop, coefficients=-(-(stop - start) // layout.fields))
        for index, (start, stop) in enumerate(zip(starts, stops, strict=True))
    )


def pack(fields: WordArray, layout: Layout) -> Iterator[Residues]:
    """Turn fields into payload residues D m, chunk by chunk.

    Args:
        fields: Shape (layout.values,), uint64, each below 2^(field_bits - 1).
        layout: The plan's layout.

    Yields:
        Shape (4, coefficients of the chunk).

    Raises:
        ConfigError: wrong shape or type, or a field out of range: it would run into its neighbour. The
            threshold scheme has no other check of its fields.
    """
    check_fields(fields, layout)
    distance = scale(layout.fields, layout.field_bits)
    weights = [distance << (layout.field_bits * field) for field in range(layout.fields)]
    for chunk in chunks_of(layout):
        words = np.zeros(layout.fields * chunk.coefficients, np.uint64)
        words[: chunk.stop - chunk.start] = fields[chunk.start : chunk.stop]
        yield weighted_residues(words.reshape(layout.fields, -1), weights, word_bits=layout.field_bits - 1)


def decode(sums: Sequence[WordArray], layout: Layout, *, noise_bound: int) -> WordArray:
    """Read the sum of all fields from the sum of contributions and answers.

    For every coefficient, with x the integer below q that the residues stand for, this is
    m = ((x + floor(D / 2)) mod q) // D, cut into fields: the mod makes a zero sum with negative noise zero.

    Args:
        sums: For each chunk shape (4, coefficients), uint64; sums need not be reduced.
        layout: The plan's layout.
        noise_bound: Largest noise that honest nodes can have caused, below D / 2.

    Returns:
        Shape (layout.values,), uint64.

    Guarantees:
        Exact for every noise within ``noise_bound``. Never a wrong m: noise further off than the bound
        and 2^-27 D is refused, and only noise within 2^-28 D of D / 2 could be misread.

    Raises:
        OpeningOutOfBounds: noise above its bound, a guard bit set, or padding that is not zero.
        ConfigError: ``noise_bound`` is too large for this layout.
    """
    reader = _Reader.of(layout.fields, layout.field_bits)
    tolerance = reader.tolerance(noise_bound)
    fields = np.empty(layout.values, np.uint64)
    for chunk, residues in zip(chunks_of(layout), sums, strict=True):
        values = reader.fields(residues, tolerance).reshape(-1)
        used = chunk.stop - chunk.start
        if values[used:].any():
            raise OpeningOutOfBounds("padding of an opened chunk is not zero: a bad share or contribution")
        fields[chunk.start : chunk.stop] = values[:used]
    return fields


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """Constants to read payloads of one shape.

    The sum over primes i of x_i E_i, with E_i = 1 modulo prime i and 0 modulo the others, is x modulo q.
    With 22-bit limbs x_ia of x_i this is a sum of x_ia times (E_i 2^(22 a) mod q): twelve terms, less some
    multiple v of q. All of it is divided by D in fixed point with 54 binary places, so that the integer part
    is m and the fraction, less 1/2, is noise / D.

    Attributes:
        field_count: Fields k in a coefficient.
        field_bits: Width w of a field.
        matrix: Shape (9, 12): limb j of constant ia in [j, ia], and constant ia over q in the last row.
        modulus: Limbs of q / D.
    """

    field_count: int
    field_bits: int
    matrix: FloatArray
    modulus: tuple[int, ...]

    @staticmethod
    @functools.lru_cache(maxsize=64)
    def of(field_count: int, field_bits: int) -> _Reader:
        """Compute the constants with big integers, once for each shape."""
        distance = scale(field_count, field_bits)
        columns = []
        for prime in PRIMES:
            others = MODULUS // prime
            idempotent = others * pow(others, -1, prime)
            for limb in range(_INPUT_LIMBS):
                columns.append((idempotent << (_INPUT_BITS * limb)) % MODULUS)
        matrix = [[*_limbs(_fixed(c, distance)), c / MODULUS] for c in columns]
        return _Reader(
            field_count=field_count,
            field_bits=field_bits,
            matrix=np.array(matrix, np.float64).T.copy(),
            modulus=_limbs(_fixed(MODULUS, distance)),
        )

    def tolerance(self, noise_bound: int) -> int:
        """Noise bound in units of 2^-54 D, with the error of the fixed-point sums."""
        distance = scale(self.field_count, self.field_bits)
        tolerance = (noise_bound << _FRACTION_BITS) // distance + 1 + _FRACTION_ERROR
        require(
            tolerance + _FRACTION_ERROR < 1 << (_FRACTION_BITS - 1),
            "noise_bound must be below D / 2: too many nodes or too many payload bits",
        )
        return tolerance

    def fields(self, residues: WordArray, tolerance: int) -> WordArray:
        """Fields of one chunk, shape (fields, coefficients)."""
        limbs = self._quotients(residues)
        noise = ((limbs[1] << _LIMB_BITS) | limbs[0]) - (1 << (_FRACTION_BITS - 1))
        if limbs[0].size and max(int(noise.max()), -int(noise.min())) > tolerance:
            raise OpeningOutOfBounds(
                "the noise of an opened coefficient is above its bound: a bad share, a bad contribution or "
                "answers to different sets"
            )
        return self._split([limb.view(np.uint64) for limb in limbs[_FRACTION_LIMBS:]])

    def _quotients(self, residues: WordArray) -> list[IntArray]:
        """Limbs of (x + D / 2) / D in fixed point, least first."""
        inputs = np.empty((len(PRIMES) * _INPUT_LIMBS, residues.shape[1]))
        mask = np.uint64((1 << _INPUT_BITS) - 1)
        for index, row in enumerate(residues):
            for limb in range(_INPUT_LIMBS):
                inputs[_INPUT_LIMBS * index + limb] = (row >> np.uint64(_INPUT_BITS * limb)) & mask
        products = self.matrix @ inputs
        # A zero sum with negative noise lies just below a multiple of q and must count as that multiple, so
        # the estimate is pushed up by far more than its own error of 2^-25. What is pushed up wrongly is
        # less than 2^-20 q below a multiple: it comes out negative and is refused for its guard bits.
        multiple = np.floor(products[_LIMBS] + 2.0**-20).astype(np.int64)
        limbs: list[IntArray] = []
        carry: IntArray | int = 0
        for index in range(_LIMBS):
            total = products[index].astype(np.int64) - multiple * self.modulus[index] + carry
            if index == _FRACTION_LIMBS - 1:
                total += 1 << (_LIMB_BITS - 1)  # one half
            limbs.append(total & ((1 << _LIMB_BITS) - 1))
            carry = total >> _LIMB_BITS
        return limbs

    def _split(self, limbs: Sequence[WordArray]) -> WordArray:
        """Cut payloads into fields; anything above the fields, or a guard bit, is refused."""
        out = np.empty((self.field_count, limbs[0].size), np.uint64)
        for field in range(self.field_count):
            out[field] = _bits(limbs, self.field_bits * field, self.field_bits)
        top = self.field_bits * self.field_count
        above = [_bits(limbs, at, _LIMB_BITS) for at in range(top, _LIMB_BITS * len(limbs), _LIMB_BITS)]
        guards = out >> np.uint64(self.field_bits - 1)
        if guards.any() or any(rest.any() for rest in above):
            raise OpeningOutOfBounds(
                "the guard bit of an opened field is set: a bad share, a bad contribution or mixed key epochs"
            )
        return out


def _fixed(value: int, distance: int) -> int:
    """Quotient value / distance with 54 binary places, rounded to nearest."""
    return ((value << (_FRACTION_BITS + 1)) // distance + 1) >> 1


def _limbs(value: int) -> tuple[int, ...]:
    """Cut a constant into 27-bit limbs, least first."""
    mask = (1 << _LIMB_BITS) - 1
    return tuple((value >> (_LIMB_BITS * limb)) & mask for limb in range(_LIMBS))


def _bits(limbs: Sequence[WordArray], start: int, width: int) -> WordArray:
    """Bits ``start`` to ``start + width`` of numbers in 27-bit limbs; zero above the last limb."""
    first, offset = divmod(start, _LIMB_BITS)
    out = limbs[first] >> np.uint64(offset)
    taken = _LIMB_BITS - offset
    for limb in limbs[first + 1 :]:
        if taken >= width:
            break
        out |= limb << np.uint64(taken)
        taken += _LIMB_BITS
    return out & np.uint64((1 << width) - 1)
