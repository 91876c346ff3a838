"""The comparison scheme's ciphertexts: TenSEAL's `CKKSVector` as residues, and addition without a key.

CKKS detects nothing: a wrong key, another scale or a flipped bit gives enormous numbers in silence. So
nothing that describes a ciphertext travels: on the wire it is the residues of its two polynomials at fixed
sizes, each checked against its prime, and the object that SEAL loads is written here. Another ring, modulus,
scale, level or number of polynomials cannot even be said, and no foreign byte reaches a parser of SEAL's.

Threat model: see `fedmed.aggregation.ckks_node`, which is where keys are used.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zstandard

from fedmed.crypto import seal
from fedmed.crypto.ckks_parameters import (
    CIPHERTEXT_BYTES,
    PRIME_BITS,
    PRIMES,
    RESIDUE_BYTES,
    RING_DEGREE,
    SCALE_BITS,
    SLOTS,
    check_ckks_sets,
)
from fedmed.errors import CiphertextMalformed, PlatformUnsupported
from fedmed.types import WordArray

_HEADER_BYTES = 16
_FORMAT, _ZSTD = b"\x5e\xa1\x10\x04", 2  # SEAL's mark, size of its header, format 4; its compression
_ID_BYTES = 32  # of parameters: a hash of ring and primes
_SECRET_FIELD, _BOX_FIELD = 3, 2  # of TenSEAL's context and vector messages
_WORDS = 2 * len(PRIMES) * RING_DEGREE
# Is in transform form, polynomials, degree, primes, scale, correction factor.
_METADATA = struct.pack("<BQQQdQ", 1, 2, RING_DEGREE, len(PRIMES), 2.0**SCALE_BITS, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What TenSEAL writes before the numbers, taken from objects of its own.

    Attributes:
        keyless: A context without any key.
        header: First bytes of an uncompressed SEAL object.
        data_level: Id of the parameters that ciphertexts have.
        key_level: Id of the parameters that a secret key has.
    """

    keyless: bytes
    header: bytes
    data_level: bytes
    key_level: bytes


@functools.cache
def template() -> Template:
    """Make a context once a process, with keys that are thrown away, and read its forms.

    Raises:
        PlatformUnsupported: not Linux on x86-64, no tenseal, or one that writes another format.
        ConfigError: as `check_ckks_sets`.
    """
    check_ckks_sets()
    ts = tenseal()
    made = ts.context(
        ts.SCHEME_TYPE.CKKS,
        RING_DEGREE,
        coeff_mod_bit_sizes=list(PRIME_BITS),
        encryption_type=ts.ENCRYPTION_TYPE.SYMMETRIC,
        n_threads=1,
    )
    made.global_scale = 2.0**SCALE_BITS
    bare = {"save_public_key": False, "save_galois_keys": False, "save_relin_keys": False}
    whole: bytes = made.serialize(save_secret_key=True, **bare)
    (secret_box,) = (value for field, value in proto_fields(whole) if field == _SECRET_FIELD)
    ((_, secret),) = proto_fields(secret_box)
    (box,) = _boxes(ts.ckks_vector(made, [0.0] * SLOTS).serialize())
    if (box[: len(_FORMAT)], box[5]) != (_FORMAT, _ZSTD):
        raise PlatformUnsupported(
            "this SEAL writes a format that FedMed does not know; install tenseal 0.3.x"
        )
    return Template(
        keyless=made.serialize(save_secret_key=False, **bare),
        header=box[:5] + b"\0\0\0",
        data_level=_body(box)[:_ID_BYTES],
        key_level=_body(secret)[:_ID_BYTES],
    )


def tenseal() -> Any:  # tenseal ships no types
    """TenSEAL, loaded on first use and after the platform check; raises `PlatformUnsupported`."""
    seal.require_platform()
    try:
        import tenseal as loaded
    except ImportError as error:
        raise PlatformUnsupported("tenseal cannot be imported; install tenseal 0.3.16+") from error
    return loaded


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    out = bytearray()
    while value > 0x7F:
        out.append((value & 0x7F) | 0x80)
        value >>= 7
    return bytes([*out, value])


def proto_field(field: int, content: bytes) -> bytes:
    """Bytes as a field of a protobuf message."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def proto_fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Fields of a message that TenSEAL wrote here, those that hold bytes; never used on foreign bytes."""
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        if key & 7 == 2:
            size, at = _read_varint(message, at)
            yield key >> 3, message[at : at + size]
            at += size
        elif key & 7 == 1:
            at += 8
        else:
            _, at = _read_varint(message, at)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _boxes(vector: bytes) -> list[bytes]:
    """SEAL's ciphertexts in a vector that TenSEAL wrote here."""
    return [value for field, value in proto_fields(vector) if field == _BOX_FIELD]


def _body(box: bytes) -> bytes:
    """What SEAL's object holds after its header, decompressed."""
    most = 8 * 2 * (len(PRIMES) + 1) * RING_DEGREE + 4096
    body: bytes = zstandard.ZstdDecompressor().decompress(box[_HEADER_BYTES:], max_output_size=most)
    return body


def written_object(body: bytes) -> bytes:
    """An uncompressed SEAL object with this body."""
    return template().header + struct.pack("<Q", _HEADER_BYTES + len(body)) + body


def written_words(words: WordArray) -> bytes:
    """An array of words as SEAL writes it inside other objects."""
    return written_object(struct.pack("<Q", words.size) + words.astype("<u8").tobytes())


def secret_object(ntt: WordArray) -> bytes:
    """A secret key in SEAL's form.

    Args:
        ntt: Shape (3, 8192), transform form, for the primes of the whole chain.
    """
    head = template().key_level + struct.pack("<Qd", ntt.size, 1.0)
    return written_object(head + written_words(ntt))


def context_from(secret_object: bytes | None = None) -> Any:
    """A context of the named ring.

    Args:
        secret_object: A SEAL secret key, for those who may hold one; None for one that can only add.
    """
    keyless = template().keyless
    if secret_object is None:
        return tenseal().context_from(keyless)
    return tenseal().context_from(keyless + proto_field(_SECRET_FIELD, proto_field(1, secret_object)))


def vector_from(context: Any, residues: WordArray) -> Any:
    """A `CKKSVector` of one ciphertext, every slot used.

    Args:
        context: Of `context_from`.
        residues: Shape (2, 2, 8192): polynomial, prime, coefficient in transform form; each below its prime.
    """
    box = written_object(template().data_level + _METADATA + written_words(residues))
    scale = varint(3 << 3 | 1) + struct.pack("<d", 2.0**SCALE_BITS)
    return tenseal().ckks_vector_from(
        context, proto_field(1, varint(SLOTS)) + proto_field(_BOX_FIELD, box) + scale
    )


def residues_of(vector: Any) -> WordArray:
    """Residues of a `CKKSVector` of one ciphertext that was made here, shape (2, 2, 8192).

    Raises:
        CiphertextMalformed: it is not of the named ring, level or scale.
    """
    (box,) = _boxes(vector.serialize())
    body = _body(box)
    if not body.startswith(template().data_level + _METADATA):
        raise CiphertextMalformed("a ciphertext has other parameters, another level or another scale")
    return np.frombuffer(body, "<u8", offset=len(body) - 8 * _WORDS).reshape(2, len(PRIMES), RING_DEGREE)


def tag_bytes(tag: Sequence[int]) -> bytes:
    """An authenticator's numbers, 8 bytes each, as they travel and are compared."""
    return b"".join(number.to_bytes(8, "little") for number in tag)


def residues_to_bytes(residues: WordArray) -> bytes:
    """Ciphertexts for the wire, 212,992 bytes each: 8 bytes a residue of the first prime, 5 of the second."""
    return b"".join(
        row.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :width].tobytes()
        for one in residues
        for polynomial in one
        for row, width in zip(polynomial, RESIDUE_BYTES, strict=True)
    )


def residues_from_bytes(data: bytes, ciphertexts: int) -> WordArray:
    """Read ciphertexts from the wire.

    Args:
        data: What `residues_to_bytes` gave.
        ciphertexts: How many there must be.

    Returns:
        Shape (ciphertexts, 2, 2, 8192), read-only.

    Raises:
        CiphertextMalformed: another size, or a residue at or above its prime.
    """
    due = ciphertexts * CIPHERTEXT_BYTES
    if len(data) != due:
        raise CiphertextMalformed(f"{ciphertexts} ciphertexts take {due} bytes, got {len(data)}")
    out = np.zeros((ciphertexts, 2, len(PRIMES), RING_DEGREE), np.uint64)
    octets, at = np.frombuffer(data, np.uint8), 0
    for rows in out.reshape(-1, len(PRIMES), RING_DEGREE):
        for row, width, prime in zip(rows, RESIDUE_BYTES, PRIMES, strict=True):
            taken = octets[at : at + width * RING_DEGREE].reshape(-1, width)
            row.view(np.uint8).reshape(-1, 8)[:, :width] = taken
            if int(row.max()) >= prime:
                raise CiphertextMalformed("a residue is not below its prime")
            at += width * RING_DEGREE
    out.setflags(write=False)
    return out
