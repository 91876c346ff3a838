"""What the entry of a key change says, and who agreed to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedmed.crypto.identity import Identity
from fedmed.errors import IntegrityError, SignatureInvalid
from fedmed.governance.audit_chain import MAX_DETAIL_BYTES
from fedmed.governance.key_change import KeyChange, change_key

NEW = Identity("shanghai", signing_key=bytes([1]) * 32, sealing_key=bytes([2]) * 32)
OLD, HEAD = bytes([7]) * 32, bytes([8]) * 32


def test_a_change_is_read_as_it_was_written_and_fits_an_entry() -> None:
    change = change_key(NEW, before=OLD, previous_head=HEAD)
    assert KeyChange.from_text(change.to_text()) == change
    assert len(change.to_text()) <= MAX_DETAIL_BYTES
    assert change.check_proof(HEAD, name="shanghai") == NEW.public


def test_the_new_key_agreed_to_this_chain_and_this_old_key_only() -> None:
    change = change_key(NEW, before=OLD, previous_head=HEAD)
    other = Identity.create("shanghai").public
    for altered in (
        replace(change, before=bytes([9]) * 32),
        replace(change, signing_key=other.signing_key),
        replace(change, sealing_key=other.sealing_key),
    ):
        with pytest.raises(SignatureInvalid):
            altered.check_proof(HEAD, name="shanghai")
    with pytest.raises(SignatureInvalid):
        change.check_proof(bytes(32), name="shanghai")


@pytest.mark.parametrize("text", ["", "old new", "old " + "0" * 63, "x" * 400])
def test_a_text_without_keys_is_refused(text: str) -> None:
    with pytest.raises(IntegrityError, match="altered"):
        KeyChange.from_text(text)
