"""The federation's certificate authority and its server certificate, by which SuperNodes know the server.

Private keys are drawn from the operating system's entropy.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedmed.errors import ConfigError
from fedmed.types import require

AUTHORITY_DAYS: Final = 3650
SERVER_DAYS: Final = 397
"""Longest life of a server certificate that common clients accept (CA/Browser Forum, ballot SC31)."""

# A node whose clock is a little behind must not refuse a certificate that was made a minute ago.
_CLOCK_SKEW: Final = datetime.timedelta(minutes=10)
_MOST_NAME: Final = 64
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A certificate and its private key, both PEM.

    Attributes:
        certificate: What others may know.
        private_key: PKCS 8, unencrypted; never in a repr.
    """

    certificate: bytes
    private_key: bytes

    def __repr__(self) -> str:
        return "Credentials(...)"


def make_authority(name: str, *, now: datetime.datetime) -> Credentials:
    """Make a certificate authority that may sign server certificates and nothing below it.

    Args:
        name: Its common name, 1 to 64 characters.
        now: The time, with its zone; the certificate holds for `AUTHORITY_DAYS` from it.

    Raises:
        ConfigError: the name is not usable or ``now`` has no zone.
    """
    _check(name, now)
    key = ec.generate_private_key(ec.SECP384R1())
    subject = _name(name)
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        _builder(subject, subject, key.public_key(), now=now, days=AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _credentials(builder.sign(key, hashes.SHA384()), key)


def issue_server(authority: Credentials, addresses: Sequence[str], *, now: datetime.datetime) -> Credentials:
    """Issue a server certificate.

    Args:
        authority: What `make_authority` gave.
        addresses: Host names and IP addresses that clients will use; the first is the common name.
        now: The time, with its zone; the certificate holds for `SERVER_DAYS` from it.

    Raises:
        ConfigError: an address is not usable, or the authority's key is not its certificate's.
    """
    require(bool(addresses), "addresses must name at least one host or IP address that nodes will use")
    _check(addresses[0], now)
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    signer = _private_key(authority.private_key)
    require(signer.public_key() == issuer.public_key(), "the authority's key is not its certificate's")
    key = ec.generate_private_key(ec.SECP384R1())
    names = x509.SubjectAlternativeName([_alternative(a) for a in dict.fromkeys(addresses)])
    known_as = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = (
        _builder(_name(addresses[0]), issuer.subject, key.public_key(), now=now, days=SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(names, critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(known_as, critical=False)
    )
    return _credentials(builder.sign(signer, hashes.SHA384()), key)


def _check(name: str, now: datetime.datetime) -> None:
    """Refuse what no certificate can say."""
    require(1 <= len(name) <= _MOST_NAME, f"a certificate's name must have 1 to {_MOST_NAME} characters")
    require(now.tzinfo is not None, "now must have a time zone")


def _name(common_name: str) -> x509.Name:
    """A subject of one common name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative(address: str) -> x509.GeneralName:
    """An address as it stands in a certificate: as IP when it is one."""
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        require(_HOST.fullmatch(address) is not None, f"{address} must be a host name or an IP address")
        return x509.DNSName(address)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    *,
    now: datetime.datetime,
    days: int,
) -> x509.CertificateBuilder:
    """What all certificates have."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _private_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Read an authority's key."""
    key = load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError("the authority's key must be an elliptic-curve key")
    return key


def _credentials(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Credentials:
    """Both as PEM."""
    return Credentials(
        certificate=certificate.public_bytes(Encoding.PEM),
        private_key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
