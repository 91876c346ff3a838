"""Keys by which Flower knows a SuperNode: ECDSA on P-384, the curve that it asks for.

Private keys are drawn from the operating system's entropy.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_public_key,
)

from fedmed.errors import ConfigError
from fedmed.types import require


@dataclass(frozen=True, slots=True, kw_only=True)
class SupernodeKey:
    """A SuperNode's key pair, both in OpenSSH format, as ``ssh-keygen -t ecdsa -b 384`` writes it.

    Attributes:
        private_key: For ``--auth-supernode-private-key``; never in a repr.
        public_key: One line, for ``flwr supernode register``.
    """

    private_key: bytes
    public_key: bytes

    def __repr__(self) -> str:
        return f"SupernodeKey({self.public_key.decode(errors='replace')!r})"


def make_supernode_key(comment: str) -> SupernodeKey:
    """Draw a key pair for a SuperNode.

    Args:
        comment: Ends the public line, for people.

    Raises:
        ConfigError: the comment is empty or has blanks or control characters.
    """
    require(comment.isprintable() and comment.split() == [comment], "comment must be one word")
    key = ec.generate_private_key(ec.SECP384R1())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return SupernodeKey(
        private_key=key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        public_key=public + b" " + comment.encode() + b"\n",
    )


def supernode_pem(public_key: bytes) -> bytes:
    """A SuperNode's public key in the form in which Flower's grid names its nodes.

    Args:
        public_key: One line in OpenSSH format.

    Returns:
        PEM (SubjectPublicKeyInfo).

    Raises:
        ConfigError: it is not an ECDSA key on P-384.
    """
    try:
        key = load_ssh_public_key(public_key)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError("a SuperNode's key must be one line in OpenSSH format") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise ConfigError("a SuperNode's key must be ECDSA on P-384: ssh-keygen -t ecdsa -b 384")
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
