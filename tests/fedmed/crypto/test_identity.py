"""Signatures and sealing: known answers, and everything altered is refused."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.crypto.identity import (
    MAX_SEALED_BYTES,
    Identity,
    PublicIdentity,
    _seal_with,
    seal,
    signed_bytes,
    verify,
)
from fedmed.errors import ConfigError, IntegrityError, SealingInvalid, SignatureInvalid, UnknownVersion
from tests.examples import at_most

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[2] / "vectors" / "identity.json").read_text()
)
PRIME = 2**255 - 19
CURVE_D = -121665 * pow(121666, -1, PRIME) % PRIME
ORDER = 2**252 + 27742317777372353535851937790883648493


def identity(name: str = "shanghai", seed: int = 1) -> Identity:
    return Identity(name, signing_key=bytes([seed]) * 32, sealing_key=bytes([seed + 100]) * 32)


def flipped(data: bytes, at: int, mask: int = 1) -> bytes:
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


# --- signatures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS["ed25519"], ids=["empty message", "one byte"])
def test_signatures_are_those_of_rfc_8032(vector: dict[str, str]) -> None:
    own = Identity("a", signing_key=bytes.fromhex(vector["private"]), sealing_key=bytes([7]) * 32)
    message, signature = bytes.fromhex(vector["message"]), bytes.fromhex(vector["signature"])
    assert own.public.signing_key.hex() == vector["public"]
    assert own.sign(message) == signature
    verify(own.public, message, signature)


def test_a_flipped_bit_in_message_signature_or_key_is_refused() -> None:
    own, data = identity(), b"eight by"
    signature = own.sign(data)
    for at in range(len(data)):
        with pytest.raises(SignatureInvalid):
            verify(own.public, flipped(data, at), signature)
    for at in range(len(signature)):
        with pytest.raises(SignatureInvalid):
            verify(own.public, data, flipped(signature, at))
    for at in range(32):
        other = PublicIdentity(
            name="x", signing_key=flipped(own.public.signing_key, at), sealing_key=own.public.sealing_key
        )
        with pytest.raises(SignatureInvalid):
            verify(other, data, signature)


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), bytes(65), b"\xff" * 64])
def test_a_signature_that_is_none_is_refused(signature: bytes) -> None:
    with pytest.raises(SignatureInvalid, match="shanghai"):
        verify(identity().public, b"data", signature)


def test_a_signature_has_one_form_only() -> None:
    """S + L is the classic malleability: the same point, other bytes."""
    own = identity()
    signature = own.sign(b"data")
    scalar = int.from_bytes(signature[32:], "little") + ORDER
    with pytest.raises(SignatureInvalid):
        verify(own.public, b"data", signature[:32] + scalar.to_bytes(32, "little"))


def test_another_nodes_signature_is_refused() -> None:
    with pytest.raises(SignatureInvalid):
        verify(identity(seed=2).public, b"data", identity(seed=1).sign(b"data"))


def test_signed_bytes_are_label_length_body() -> None:
    assert signed_bytes("plan", b"abc") == b"fedmed/v1/plan" + b"\x03" + bytes(7) + b"abc"


names = st.builds("a{}".format, st.text("a_-1", max_size=3))
messages = st.tuples(names, st.binary(max_size=12))


@settings(deadline=None, max_examples=at_most(80))
@given(messages, messages)
def test_other_types_or_bodies_give_other_bytes(one: tuple[str, bytes], two: tuple[str, bytes]) -> None:
    assert (signed_bytes(*one) == signed_bytes(*two)) == (one == two)


@pytest.mark.parametrize("message_type", ["", "Plan", "plan/x", "1plan", "plan\n", "a" * 65, "plän"])
def test_a_message_type_with_other_characters_is_refused(message_type: str) -> None:
    with pytest.raises(ConfigError, match="message_type"):
        signed_bytes(message_type, b"")


# --- sealing ---------------------------------------------------------------------------------------


def test_sealing_keys_are_those_of_rfc_7748() -> None:
    known = VECTORS["x25519"]
    for who in ("alice", "bob"):
        own = Identity(who, signing_key=bytes(32), sealing_key=bytes.fromhex(known[f"{who}_private"]))
        assert own.public.sealing_key.hex() == known[f"{who}_public"]


def test_a_sealed_blob_is_hkdf_and_gcm_over_the_rfc_7748_secret() -> None:
    """Built by hand from the RFC's shared secret: HKDF by two HMACs (RFC 5869), then AES-256-GCM."""
    known = {key: bytes.fromhex(text) for key, text in VECTORS["x25519"].items()}
    bob = Identity("bob", signing_key=bytes(32), sealing_key=known["bob_private"])
    alice = X25519PrivateKey.from_private_bytes(known["alice_private"])
    extracted = hmac.digest(bytes(32), known["shared"], hashlib.sha256)
    info = b"fedmed/seal\x01" + known["alice_public"] + known["bob_public"]
    key = hmac.digest(extracted, info + b"\x01", hashlib.sha256)
    head, nonce = b"\x01" + known["alice_public"], bytes(range(12))
    expected = head + nonce + AESGCM(key).encrypt(nonce, b"share", head + b"context")
    assert _seal_with(bob.public, b"share", associated=b"context", ephemeral=alice, nonce=nonce) == expected
    assert bob.open(expected, associated=b"context") == b"share"


@settings(deadline=None, max_examples=at_most(50))
@given(plaintext=st.binary(max_size=300), associated=st.binary(max_size=40))
def test_the_receiver_opens_what_was_sealed(plaintext: bytes, associated: bytes) -> None:
    blob = seal(identity().public, plaintext, associated=associated)
    assert len(blob) == len(plaintext) + 61
    assert identity().open(blob, associated=associated) == plaintext


def test_sealing_twice_shares_neither_key_nor_nonce() -> None:
    blobs = [seal(identity().public, bytes(64), associated=b"") for _ in range(50)]
    assert len({blob[1:33] for blob in blobs}) == len({blob[33:45] for blob in blobs}) == 50
    assert len({blob[45:] for blob in blobs}) == 50


def test_every_altered_cut_or_longer_blob_is_refused() -> None:
    own = identity()
    blob = seal(own.public, b"secret share", associated=b"context")
    altered = [flipped(blob, at, mask) for at in range(len(blob)) for mask in (1, 0x80)]
    cut = [blob[:size] for size in range(len(blob))]
    for bad in (*altered, *cut, blob + b"\0"):
        with pytest.raises(SealingInvalid):
            own.open(bad, associated=b"context")


def test_another_context_or_receiver_is_refused() -> None:
    blob = seal(identity().public, b"secret share", associated=b"dealer 1, receiver 2")
    for associated in (b"", b"dealer 1, receiver 3", b"dealer 1, receiver 2 "):
        with pytest.raises(SealingInvalid):
            identity().open(blob, associated=associated)
    with pytest.raises(SealingInvalid):
        identity(seed=2).open(blob, associated=b"dealer 1, receiver 2")


# u of order 1, 2, 4 and 8, on the curve and its twist, and the encodings that are not reduced.
LOW_ORDER_X25519 = [
    (0).to_bytes(32, "little"),
    (1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (PRIME - 1).to_bytes(32, "little"),
    PRIME.to_bytes(32, "little"),
    (PRIME + 1).to_bytes(32, "little"),
]


@pytest.mark.parametrize("key", LOW_ORDER_X25519)
@pytest.mark.parametrize("top_bit", [0, 0x80])
def test_sealing_keys_of_small_order_are_refused(key: bytes, top_bit: int) -> None:
    key = flipped(key, 31, top_bit)
    with pytest.raises(ConfigError, match="small order"):
        PublicIdentity(name="x", signing_key=identity().public.signing_key, sealing_key=key)
    blob = seal(identity().public, b"share", associated=b"")
    with pytest.raises(SealingInvalid):
        identity().open(blob[:1] + key + blob[33:], associated=b"")


def _decompress(encoded: bytes) -> tuple[int, int] | None:
    """Decode a point of edwards25519 as verifiers do that take non-canonical y (RFC 8032 section 5.1.3)."""
    y = (int.from_bytes(encoded, "little") & (2**255 - 1)) % PRIME
    square = (y * y - 1) * pow(CURVE_D * y * y + 1, -1, PRIME) % PRIME
    root = pow(square, (PRIME + 3) // 8, PRIME)
    if root * root % PRIME != square:
        root = root * pow(2, (PRIME - 1) // 4, PRIME) % PRIME
    return (root, y) if root * root % PRIME == square else None


def _double(point: tuple[int, int]) -> tuple[int, int]:
    x, y = point
    product = CURVE_D * x * x * y * y % PRIME
    over = pow(1 + product, -1, PRIME), pow(1 - product, -1, PRIME)
    return 2 * x * y * over[0] % PRIME, (y * y + x * x) * over[1] % PRIME


def _small_order_encodings() -> set[bytes]:
    """Find the small-order points anew: the torsion points' y, and every y + p that fits 255 bits."""
    small = {0, 1, PRIME - 1}
    for start in range(2, 40):  # order * P is a torsion point; some P reaches order 8
        point = _decompress(start.to_bytes(32, "little"))
        if point is not None:
            torsion = _multiply(point, ORDER)
            small |= {torsion[1], PRIME - torsion[1]}
    small |= {y + PRIME for y in small if y + PRIME < 2**255}
    return {y.to_bytes(32, "little") for y in small}


def _multiply(point: tuple[int, int], times: int) -> tuple[int, int]:
    result, power = (0, 1), point
    while times:
        if times & 1:
            product = CURVE_D * result[0] * power[0] * result[1] * power[1] % PRIME
            x = (result[0] * power[1] + power[0] * result[1]) * pow(1 + product, -1, PRIME) % PRIME
            y = (result[1] * power[1] + result[0] * power[0]) * pow(1 - product, -1, PRIME) % PRIME
            result = (x, y)
        power, times = _double(power), times >> 1
    return result


@pytest.mark.slow
def test_signing_keys_of_small_order_are_refused() -> None:
    encodings = _small_order_encodings()
    assert len(encodings) == 7
    for key in encodings:
        for top_bit in (0, 0x80):
            with pytest.raises(ConfigError, match="small order"):
                PublicIdentity(
                    name="x",
                    signing_key=flipped(key, 31, top_bit),
                    sealing_key=identity().public.sealing_key,
                )


def test_a_plaintext_that_is_too_long_is_refused_before_it_is_encrypted() -> None:
    with pytest.raises(ConfigError, match="plaintext must be at most"):
        seal(identity().public, bytes(MAX_SEALED_BYTES + 1), associated=b"")


# --- keys stay where they are ----------------------------------------------------------------------


def test_no_repr_or_text_shows_a_private_key() -> None:
    own = identity()
    assert repr(own) == str(own) == f"{own}" == "Identity('shanghai')"
    assert not hasattr(own, "__dict__")


def test_an_identity_is_neither_pickled_nor_copied() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="private keys"):
            pickle.dumps(identity(), protocol)
    with pytest.raises(TypeError, match="private keys"):
        copy.deepcopy(identity())
    with pytest.raises(TypeError, match="private keys"):
        copy.copy(identity())


def test_created_identities_differ() -> None:
    assert len({Identity.create("a").public.signing_key for _ in range(20)}) == 20


def test_the_key_file_gives_the_same_identity_back() -> None:
    own = Identity.create("上海")
    read = Identity.from_private_bytes(own.private_bytes())
    assert read.public == own.public
    verify(own.public, b"data", read.sign(b"data"))
    assert read.open(seal(own.public, b"x", associated=b""), associated=b"") == b"x"


def test_a_damaged_key_file_is_refused_without_showing_it() -> None:
    data = identity().private_bytes()
    for at in range(1, len(data)):
        with pytest.raises(IntegrityError, match="cut or altered"):
            Identity.from_private_bytes(flipped(data, at))
    for size in range(1, len(data)):
        with pytest.raises(IntegrityError, match="cut or altered"):
            Identity.from_private_bytes(data[:size])
    for unknown in (b"", b"\x02" + data[1:]):
        with pytest.raises(UnknownVersion, match="suite"):
            Identity.from_private_bytes(unknown)


@pytest.mark.parametrize("name", ["", "a\nb", "a\0", "\udc80", "x" * 129])
def test_a_name_that_cannot_stand_in_a_roster_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="name"):
        Identity.create(name)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_keys_of_another_length_are_refused(size: int) -> None:
    with pytest.raises(ConfigError, match="32 bytes"):
        Identity("a", signing_key=bytes(size), sealing_key=bytes(32))
    with pytest.raises(ConfigError, match="32 bytes"):
        PublicIdentity(name="a", signing_key=bytes(size), sealing_key=bytes(32))
