"""A node's identity: signatures, and sealing bytes to one receiver.

Suite 1 is Ed25519 signatures and X25519, HKDF-SHA-256, AES-256-GCM sealing. The rest of FedMed sees only
the names of this module and bytes, and every format starts with the suite, so a suite of SM2, SM3 and SM4
can take its place. Key generation and sealing read the operating system's entropy (STYLE.md section 1).
"""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from typing import Final, NoReturn

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedmed.errors import IntegrityError, SealingInvalid, SignatureInvalid, UnknownVersion
from fedmed.types import DIGEST_BYTES, digest, require

SUITE: Final = 1
KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
MAX_NAME_BYTES: Final = 128
MAX_SEALED_BYTES: Final = 1 << 26
"""Longest plaintext that is sealed; a dealt key share takes 229 kB."""

_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_HEAD_BYTES: Final = 1 + KEY_BYTES
_OVERHEAD_BYTES: Final = _HEAD_BYTES + _NONCE_BYTES + _TAG_BYTES
_MESSAGE_TYPE: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")

# All encodings of the eight points of small order on edwards25519, the sign bit cleared (y = 0, 1, -1, the
# two of order 8, and the non-canonical p and p + 1). Under such a key one signature can hold for many
# messages. Source: Chalkias, Garillot, Nikolaenko 2020, "Taming the many EdDSAs", section 4.
_SMALL_ORDER: Final = frozenset(
    bytes.fromhex(text)
    for text in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicIdentity:
    """What a roster says of a node.

    Attributes:
        name: Name of the node, 1 to 128 bytes of UTF-8 without control characters.
        signing_key: Ed25519 public key, 32 bytes.
        sealing_key: X25519 public key, 32 bytes.

    Guarantees:
        Keys of small order are refused: anybody could sign or open in the node's name.

    Raises:
        ConfigError: a name or a key is not usable.
    """

    name: str
    signing_key: bytes
    sealing_key: bytes

    def __post_init__(self) -> None:
        _require_name(self.name)
        for argument, key in (("signing_key", self.signing_key), ("sealing_key", self.sealing_key)):
            good = isinstance(key, bytes) and len(key) == KEY_BYTES
            require(good, f"{argument} of {self.name} must be {KEY_BYTES} bytes")
        unsigned = self.signing_key[:-1] + bytes([self.signing_key[-1] & 0x7F])
        require(unsigned not in _SMALL_ORDER, f"signing_key of {self.name} has small order: ask for another")
        require(_can_seal(self.sealing_key), f"sealing_key of {self.name} has small order: ask for another")


class Identity:
    """A node's private keys. They appear in no repr, no pickle and no error.

    Python cannot wipe memory: keys live until the process ends, which is why only the custodian's process
    holds them.
    """

    __slots__ = ("_public", "_sealing", "_signing")

    def __init__(self, name: str, *, signing_key: bytes, sealing_key: bytes) -> None:
        """Wrap two private keys; use `create` to draw them.

        Args:
            name: The node's name in the roster.
            signing_key: Ed25519 private key (seed), 32 bytes.
            sealing_key: X25519 private key, 32 bytes.

        Raises:
            ConfigError: a name or a key is not usable.
        """
        for argument, key in (("signing_key", signing_key), ("sealing_key", sealing_key)):
            require(len(key) == KEY_BYTES, f"private {argument} must be {KEY_BYTES} bytes, got {len(key)}")
        self._signing = Ed25519PrivateKey.from_private_bytes(signing_key)
        self._sealing = X25519PrivateKey.from_private_bytes(sealing_key)
        self._public = PublicIdentity(
            name=name,
            signing_key=self._signing.public_key().public_bytes_raw(),
            sealing_key=self._sealing.public_key().public_bytes_raw(),
        )

    @classmethod
    def create(cls, name: str) -> Identity:
        """Draw a new identity from the operating system's entropy."""
        return cls(name, signing_key=os.urandom(KEY_BYTES), sealing_key=os.urandom(KEY_BYTES))

    @classmethod
    def from_private_bytes(cls, data: bytes) -> Identity:
        """Read what `private_bytes` wrote.

        Raises:
            UnknownVersion: the key file is of another suite.
            IntegrityError: it is cut or altered; nothing of it is shown.
        """
        if data[:1] != bytes([SUITE]):
            raise UnknownVersion(f"key file must start with suite {SUITE}; restore the file or update FedMed")
        body, check = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
        keys_end = 1 + 2 * KEY_BYTES
        if len(body) <= keys_end or check != digest("fedmed/identity", body):
            raise IntegrityError("key file is cut or altered; restore it, or register the node anew")
        return cls(
            body[keys_end:].decode(),
            signing_key=body[1 : 1 + KEY_BYTES],
            sealing_key=body[1 + KEY_BYTES : keys_end],
        )

    def private_bytes(self) -> bytes:
        """Write the keys for the key file, unencrypted, with a checksum against damage.

        Returns:
            suite (1 byte) || signing key || sealing key || name || digest of all before.
        """
        keys = self._signing.private_bytes_raw() + self._sealing.private_bytes_raw()
        body = bytes([SUITE]) + keys + self.name.encode()
        return body + digest("fedmed/identity", body)

    @property
    def name(self) -> str:
        """The node's name in the roster."""
        return self._public.name

    @property
    def public(self) -> PublicIdentity:
        """What others may know."""
        return self._public

    def sign(self, data: bytes) -> bytes:
        """Sign exactly ``data`` (see `signed_bytes`), 64 bytes; equal data gives equal signatures."""
        return self._signing.sign(data)

    def open(self, blob: bytes, *, associated: bytes) -> bytes:
        """Open what `seal` made for this identity.

        Args:
            blob: The sealed bytes.
            associated: Exactly the context that was given when sealing.

        Returns:
            The plaintext.

        Raises:
            SealingInvalid: another receiver or context, or bytes that were altered, cut or added to. All
                give one message: which of them it was helps only an attacker.
        """
        if not _OVERHEAD_BYTES <= len(blob) <= _OVERHEAD_BYTES + MAX_SEALED_BYTES or blob[0] != SUITE:
            raise _sealing_invalid()
        head, nonce = blob[:_HEAD_BYTES], blob[_HEAD_BYTES : _HEAD_BYTES + _NONCE_BYTES]
        secret = _shared_secret(self._sealing, head[1:])
        if secret is None:
            raise _sealing_invalid()
        cipher = _cipher(secret, ephemeral=head[1:], receiver=self._public.sealing_key)
        try:
            return cipher.decrypt(nonce, blob[_HEAD_BYTES + _NONCE_BYTES :], head + associated)
        except InvalidTag:
            raise _sealing_invalid() from None

    def __repr__(self) -> str:
        return f"Identity({self.name!r})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("an Identity holds private keys and is neither pickled nor copied")


def verify(public: PublicIdentity, data: bytes, signature: bytes) -> None:
    """Check a signature over exactly ``data``.

    Raises:
        SignatureInvalid: the signature does not hold for this identity and these bytes.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public.signing_key).verify(signature, data)
    except (InvalidSignature, ValueError):
        raise SignatureInvalid(f"signature does not hold for {public.name}") from None


def signed_bytes(message_type: str, body: bytes) -> bytes:
    """Frame a message for signing, so that a signature holds for one type and one body only.

    Args:
        message_type: Name of the message: a lower-case letter, then at most 63 of ``a-z0-9_-``.
        body: The exact bytes that travel and are stored.

    Returns:
        ``fedmed/v1/<type>`` || length of the body (8 bytes, little-endian) || body.

    Guarantees:
        Different (type, body) give different bytes.

    Raises:
        ConfigError: the type has other characters.
    """
    good = _MESSAGE_TYPE.fullmatch(message_type) is not None
    require(good, "message_type must be a lower-case letter, then at most 63 of a-z, 0-9, _ and -")
    return b"fedmed/v1/" + message_type.encode() + len(body).to_bytes(8, "little") + body


def seal(receiver: PublicIdentity, plaintext: bytes, *, associated: bytes) -> bytes:
    """Encrypt to one receiver. Says nothing about the sender: sign the result.

    Args:
        receiver: Who can open it.
        plaintext: At most `MAX_SEALED_BYTES`.
        associated: Context that the receiver must give as well; it does not travel.

    Returns:
        suite (1 byte) || ephemeral X25519 key (32) || nonce (12) || AES-256-GCM ciphertext and tag:
        61 bytes longer than the plaintext.

    Guarantees:
        Key and nonce are fresh for each call; any changed byte, context or receiver is refused on opening.

    Raises:
        ConfigError: the plaintext is too long.
    """
    ephemeral, nonce = X25519PrivateKey.generate(), os.urandom(_NONCE_BYTES)
    return _seal_with(receiver, plaintext, associated=associated, ephemeral=ephemeral, nonce=nonce)


def _seal_with(
    receiver: PublicIdentity,
    plaintext: bytes,
    *,
    associated: bytes,
    ephemeral: X25519PrivateKey,
    nonce: bytes,
) -> bytes:
    """Seal with given randomness; deterministic."""
    length = len(plaintext)
    require(length <= MAX_SEALED_BYTES, f"plaintext must be at most {MAX_SEALED_BYTES} bytes, got {length}")
    head = bytes([SUITE]) + ephemeral.public_key().public_bytes_raw()
    secret = _shared_secret(ephemeral, receiver.sealing_key)
    if secret is None:  # cannot happen: PublicIdentity refuses such keys
        raise _sealing_invalid()
    cipher = _cipher(secret, ephemeral=head[1:], receiver=receiver.sealing_key)
    return head + nonce + cipher.encrypt(nonce, plaintext, head + associated)


@functools.lru_cache(maxsize=1024)
def _can_seal(key: bytes) -> bool:
    """Whether a key is not of small order; a roster's few keys are read with every message."""
    any_scalar = X25519PrivateKey.from_private_bytes(bytes(KEY_BYTES))
    return _shared_secret(any_scalar, key) is not None


def _shared_secret(private: X25519PrivateKey, public: bytes) -> bytes | None:
    """Agree on 32 bytes; None when the public key is of small order (the result would be public)."""
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        return None


def _cipher(secret: bytes, *, ephemeral: bytes, receiver: bytes) -> AESGCM:
    """Derive the AEAD; both public keys are part of the key (RFC 7748 section 6.1 asks for that)."""
    # X25519 ignores the top bit of a key and takes non-canonical values: without the keys' exact bytes in
    # the derivation a blob could be altered and still open.
    info = b"fedmed/seal" + bytes([SUITE]) + ephemeral + receiver
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret))


def _sealing_invalid() -> SealingInvalid:
    """Give the one message for every way in which a sealed blob can fail."""
    return SealingInvalid("sealed bytes do not open here: wrong receiver, wrong context or altered bytes")


def _require_name(name: str) -> None:
    """Refuse names that cannot stand in a roster, a log line and a file."""
    require(name.isprintable(), "name must have no control characters")
    size = len(name.encode())
    require(1 <= size <= MAX_NAME_BYTES, f"name must be 1 to {MAX_NAME_BYTES} bytes of UTF-8, got {size}")
