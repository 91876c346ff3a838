"""Signatures under app bundles, in the form that Flower itself checks."""

import hashlib

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from fedmed.crypto.bundle_review import check_review, read_review, review_bundle, review_text, trusted_line
from fedmed.crypto.identity import Identity
from fedmed.errors import MessageMalformed, SignatureInvalid

REVIEWER = Identity.create("li.wei")
BUNDLE = b"settings and no code"


def test_flowers_own_check_accepts_the_signature():
    from flwr.supercore.primitives.asymmetric_ed25519 import (
        create_message_to_sign,
        decode_base64url,
        verify_signature,
    )

    review = review_bundle(REVIEWER, BUNDLE, signed_at=1_700_000_000)
    name, key = (
        part.strip().strip('"') for part in trusted_line("li.wei", REVIEWER.public.signing_key).split(":")
    )
    message = create_message_to_sign(hashlib.sha256(BUNDLE).digest(), review.signed_at)
    assert name == review.reviewer
    assert verify_signature(load_ssh_public_key(key.encode()), message, decode_base64url(review.signature))


def test_a_review_is_read_as_it_was_written_and_holds():
    review = review_bundle(REVIEWER, BUNDLE, signed_at=5)
    assert read_review(review_text(review)) == review
    check_review(review, BUNDLE)


def test_a_review_of_another_bundle_is_refused():
    review = review_bundle(REVIEWER, BUNDLE, signed_at=5)
    with pytest.raises(SignatureInvalid):
        check_review(review, BUNDLE + b"!")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"version": 2}', '{"version": 1, "reviewer": 3}', "9" * 5000]
)
def test_what_is_no_review_is_refused(text):
    with pytest.raises(MessageMalformed, match="no review"):
        read_review(text)


def test_a_review_without_a_key_is_refused():
    text = review_text(review_bundle(REVIEWER, BUNDLE, signed_at=5))
    with pytest.raises(MessageMalformed, match="no usable key"):
        check_review(read_review(text.replace(REVIEWER.public.signing_key.hex(), "ff")), BUNDLE)
