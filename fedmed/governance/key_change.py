"""How a province's signing key changes inside its audit chain, so that one card checks the whole chain.

Threat model. Whoever copies a log, or edits a copy of it, has no key of the province: such a log ends with
another key than the card's, or with a signature that does not hold. Whoever *has* the current key can also
claim any predecessor; but then it is the province to everybody, and only heads that others kept (every
message carries one) can contradict it. A stolen old key signs nothing after its last entry: the entry that
ends it names its successor.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from fedmed.crypto.identity import KEY_BYTES, SIGNATURE_BYTES, Identity, PublicIdentity, signed_bytes, verify
from fedmed.errors import IntegrityError
from fedmed.types import DIGEST_BYTES, require

_TEXT: Final = re.compile(
    rf"old ([0-9a-f]{{{2 * KEY_BYTES}}}) new ([0-9a-f]{{{2 * KEY_BYTES}}}) "
    rf"sealing ([0-9a-f]{{{2 * KEY_BYTES}}}) proof ([0-9a-f]{{{2 * SIGNATURE_BYTES}}})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """What the entry of a key change says.

    Attributes:
        before: Signing key up to here, 32 bytes.
        signing_key: Signing key from here on, 32 bytes.
        sealing_key: Its sealing key, 32 bytes.
        proof: The new key's signature over the chain's head, the key before and both new keys, 64 bytes:
            nobody can name somebody else's key as the successor.
    """

    before: bytes
    signing_key: bytes
    sealing_key: bytes
    proof: bytes

    def __post_init__(self) -> None:
        keys = (self.before, self.signing_key, self.sealing_key)
        require(all(len(k) == KEY_BYTES for k in keys), f"keys must be {KEY_BYTES} bytes each")
        require(len(self.proof) == SIGNATURE_BYTES, f"proof must be {SIGNATURE_BYTES} bytes")

    def to_text(self) -> str:
        """The detail of the audit entry: four words, each with its hexadecimal digits."""
        return (
            f"old {self.before.hex()} new {self.signing_key.hex()} "
            f"sealing {self.sealing_key.hex()} proof {self.proof.hex()}"
        )

    @classmethod
    def from_text(cls, text: str) -> KeyChange:
        """Read what `to_text` wrote; raises `IntegrityError`."""
        found = _TEXT.fullmatch(text)
        if found is None:
            raise IntegrityError("the entry of a key change does not name its keys: its bytes were altered")
        before, signing, sealing, proof = (bytes.fromhex(word) for word in found.groups())
        return cls(before=before, signing_key=signing, sealing_key=sealing, proof=proof)

    def check_proof(self, previous_head: bytes, *, name: str) -> PublicIdentity:
        """Check that the new key agreed to follow this chain.

        Args:
            previous_head: Head of the entry before, 32 bytes.
            name: The node's name.

        Returns:
            The new card.

        Raises:
            SignatureInvalid: it did not.
        """
        card = PublicIdentity(name=name, signing_key=self.signing_key, sealing_key=self.sealing_key)
        verify(card, _statement(previous_head, self.before, card), self.proof)
        return card


def change_key(new: Identity, *, before: bytes, previous_head: bytes) -> KeyChange:
    """State that a new identity follows an old key on a chain.

    Args:
        new: The new private keys.
        before: The old signing key, 32 bytes.
        previous_head: Head of the chain's last entry, 32 bytes.
    """
    require(len(previous_head) == DIGEST_BYTES, f"previous_head must be {DIGEST_BYTES} bytes")
    card = new.public
    return KeyChange(
        before=before,
        signing_key=card.signing_key,
        sealing_key=card.sealing_key,
        proof=new.sign(_statement(previous_head, before, card)),
    )


def _statement(previous_head: bytes, before: bytes, card: PublicIdentity) -> bytes:
    """The bytes that the new key signs; every part has a fixed size."""
    return signed_bytes("audit_key", previous_head + before + card.signing_key + card.sealing_key)
