"""A province's signature under an app bundle that it has read, in the form in which Flower checks it.

A SuperNode with a list of trusted entities starts no code of a bundle without such a signature. It is an
outer fence: any one trusted key suffices, it never expires, and it says nothing of messages or settings of a
run; the custodian's policy is the wall.

Source: FLOWER.md section 6; flwr 1.41, supercore/primitives/asymmetric_ed25519.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import asdict, dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fedmed.crypto.identity import Identity, PublicIdentity, verify
from fedmed.errors import ConfigError, MessageMalformed
from fedmed.types import require

VERSION = 1
_TIME_BYTES = 8
_MOST_TEXT = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleReview:
    """A signature under a bundle.

    Attributes:
        reviewer: Who signed; the name under which nodes list the key.
        signing_key: The reviewer's public Ed25519 key, 64 hexadecimal digits.
        signed_at: Seconds since 1970 by the reviewer's clock.
        signature: Base64, URL-safe, without padding.
    """

    reviewer: str
    signing_key: str
    signed_at: int
    signature: str


def review_bundle(reviewer: Identity, bundle: bytes, *, signed_at: int) -> BundleReview:
    """Sign a bundle.

    Args:
        reviewer: Whose key signs.
        bundle: The whole bundle file.
        signed_at: Seconds since 1970, >= 0.
    """
    signature = reviewer.sign(_message(bundle, signed_at))
    return BundleReview(
        reviewer=reviewer.name,
        signing_key=reviewer.public.signing_key.hex(),
        signed_at=signed_at,
        signature=base64.urlsafe_b64encode(signature).rstrip(b"=").decode(),
    )


def check_review(review: BundleReview, bundle: bytes) -> None:
    """Check a signature against a bundle.

    Raises:
        SignatureInvalid: it is not that key's signature under that bundle.
        MessageMalformed: the review holds no key or signature.
    """
    try:
        key = bytes.fromhex(review.signing_key)
        signature = base64.urlsafe_b64decode(review.signature + "=" * (-len(review.signature) % 4))
        # Only the signing key is used; a public identity has a sealing key as well.
        public = PublicIdentity(name=review.reviewer, signing_key=key, sealing_key=key)
    except (ValueError, ConfigError):
        raise MessageMalformed("the review holds no usable key or signature") from None
    verify(public, _message(bundle, review.signed_at), signature)


def trusted_line(name: str, signing_key: bytes) -> str:
    """The line of a node's list of trusted entities for a reviewer: name and key in OpenSSH format."""
    key = Ed25519PublicKey.from_public_bytes(signing_key)
    return f'"{name}": "{key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()}"'


def review_text(review: BundleReview) -> str:
    """A review as a JSON document."""
    return json.dumps({"version": VERSION, **asdict(review)}, ensure_ascii=False, indent=1) + "\n"


def read_review(text: str) -> BundleReview:
    """Read what `review_text` wrote.

    Raises:
        MessageMalformed: the text is no review of this version.
    """
    try:
        require(len(text) <= _MOST_TEXT, "too long")
        document = json.loads(text)
        require(document.pop("version") == VERSION, "another version")
        review = BundleReview(**document)
        require(
            type(review.signed_at) is int
            and 0 <= review.signed_at < 1 << 62
            and all(type(t) is str for t in (review.reviewer, review.signing_key, review.signature)),
            "wrong types",
        )
    except (ValueError, KeyError, TypeError, AttributeError, ConfigError, RecursionError):
        raise MessageMalformed("this is no review of an app bundle; ask for the file again") from None
    return review


def _message(bundle: bytes, signed_at: int) -> bytes:
    """What is signed: the time, big-endian, and the SHA-256 of the bundle."""
    require(0 <= signed_at < 1 << 62, "signed_at must be >= 0")
    return signed_at.to_bytes(_TIME_BYTES, "big") + hashlib.sha256(bundle).digest()
