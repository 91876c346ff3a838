"""The front door as a node sees it: is it there, is it itself, for how long, and do the clocks agree?"""

from __future__ import annotations

import datetime
import http.client
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from fedmed.doctor.finding import Finding, amiss, note, well
from fedmed.errors import ConfigError

PATIENCE_S: Final = 5.0
FEW_DAYS: Final = 30
"""A certificate that ends sooner should be renewed now."""
# A SuperNode signs its time; the SuperLink takes what is at most 5 s in its future and 305 s in its past
# (flwr 1.41). The Date header has whole seconds.
MOST_AHEAD_S: Final = 4.0
MOST_BEHIND_S: Final = 300.0
_NOTABLE_S: Final = 2.0

# What OpenSSL says of a certificate that does not hold (openssl-verification-options(1)).
_NOT_YET, _EXPIRED, _OTHER_HOST, _OTHER_IP = 9, 10, 62, 64
_AWAY_WHY: Final = "no message reaches this node: it takes part in nothing"
_NAME_WHY: Final = "SuperNodes refuse the connection: they would not know whom they talk to"
_CLOCK_WHY: Final = "the SuperLink refuses messages signed too far from its own time"
RENEW: Final = "fedmed server certificate renew"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What one connection showed.

    Attributes:
        fault: What does not hold, as OpenSSL numbers it; 0 when all does.
        words: OpenSSL's words for it.
        certificate: The door's.
        date: The door's time, in whole seconds; None where it tells none.
        between_s: When it was asked for the time and when it had answered, by a clock that never goes back.
    """

    fault: int
    words: str
    certificate: x509.Certificate
    date: datetime.datetime | None
    between_s: tuple[float, float]


def examine_door(address: str, authority: Path | None, *, now: datetime.datetime) -> Iterator[Finding]:
    """Connect to a front door once or twice and say what is not well.

    Args:
        address: ``host:port`` as SuperNodes are given it.
        authority: Certificate of the federation's authority; None looks without verifying.
        now: This machine's time.

    Raises:
        ConfigError: the address is not ``host:port``.
    """
    host, port = _parsed(address)
    began_s = time.monotonic()
    try:
        seen = _look(host, port, authority)
    except FileNotFoundError:
        yield amiss(
            "front door",
            f"there is no {authority}",
            why="nobody can tell the coordinator from somebody else",
            mend="ask the coordinator for tls/ca.crt and name it with --authority",
        )
        return
    except (OSError, http.client.HTTPException, ValueError) as fault:
        yield amiss(
            "front door",
            f"{address} cannot be reached: {getattr(fault, 'strerror', None) or type(fault).__name__}",
            why=_AWAY_WHY,
            mend=f"at the coordinator: fedmed server up HOME; here: let TCP out to {address}",
        )
        return
    yield _identity(address, host, seen)
    yield _days_left(seen.certificate, now=now)
    if seen.date is not None:
        asked, answered = (now + datetime.timedelta(seconds=s - began_s) for s in seen.between_s)
        yield _clock(seen.date, asked=asked, answered=answered)


def _parsed(address: str) -> tuple[str, int]:
    """Host and port of ``host:port``."""
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdigit() and 1 <= int(port) <= 65535):
        raise ConfigError(f"front door must be HOST:PORT, got {address!r}")
    return host.strip("[]"), int(port)


def _look(host: str, port: int, authority: Path | None) -> _Seen:
    """Connect with the authority's certificate; where it does not hold, once more to see whose it is."""
    if authority is not None:
        context = ssl.create_default_context(cafile=str(authority))
        try:
            return _seen(host, port, context)
        except ssl.SSLCertVerificationError as fault:
            code, words = fault.verify_code, fault.verify_message
        seen = _seen(host, port, _unverified())
        return replace(seen, fault=code, words=words)
    return _seen(host, port, _unverified())


def _unverified() -> ssl.SSLContext:
    """For diagnosis only: nothing is sent over it but a question that is refused anyway."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _seen(host: str, port: int, context: ssl.SSLContext) -> _Seen:
    """One connection and one question; the door answers it with 403 and its time."""
    connection = http.client.HTTPSConnection(host, port, timeout=PATIENCE_S, context=context)
    try:
        connection.connect()
        raw = connection.sock.getpeercert(binary_form=True)
        certificate = x509.load_der_x509_certificate(raw or b"")  # no certificate is a ValueError
        asked_s = time.monotonic()
        connection.request("GET", "/")
        told = connection.getresponse().getheader("Date")
        answered_s = time.monotonic()
    finally:
        connection.close()
    date = None if told is None else parsedate_to_datetime(told)
    between = (asked_s, answered_s)
    return _Seen(fault=0, words="", certificate=certificate, date=date, between_s=between)


def names_in(certificate: x509.Certificate) -> tuple[str, ...]:
    """Host names and addresses that a certificate is made for."""
    try:
        told = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return (
        *told.get_values_for_type(x509.DNSName),
        *(str(address) for address in told.get_values_for_type(x509.IPAddress)),
    )


def _identity(address: str, host: str, seen: _Seen) -> Finding:
    """Whether the door is the one that the authority vouches for, under this name, now."""
    name, certificate = "front door", seen.certificate
    if seen.fault == 0:
        return well(name, f"{address} answers; its certificate holds")
    if seen.fault in (_OTHER_HOST, _OTHER_IP):
        names = ", ".join(names_in(certificate)) or "no name at all"
        return amiss(
            name,
            f"its certificate is not for {host} but for {names}",
            why=_NAME_WHY,
            mend=f"reach it by one of those names, or add {host} to names in coordinator.toml there and run: "
            f"{RENEW}",
        )
    if seen.fault in (_EXPIRED, _NOT_YET):
        start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return amiss(
            name,
            f"its certificate holds from {start:%Y-%m-%d} to {end:%Y-%m-%d}, not now",
            why=_NAME_WHY,
            mend=f"if this machine's clock is right, at the coordinator: {RENEW}",
        )
    return amiss(
        name,
        f"its certificate is not from the authority that was named: {seen.words}",
        why=f"somebody may stand between; {_NAME_WHY}",
        mend="compare ca.crt with the coordinator's by telephone (sha256sum), and name the right one",
    )


def _days_left(certificate: x509.Certificate, *, now: datetime.datetime) -> Finding:
    """How long the certificate holds."""
    days = (certificate.not_valid_after_utc - now).days
    told = f"{days} days left, to {certificate.not_valid_after_utc:%Y-%m-%d}"
    if days >= FEW_DAYS:
        return well("server certificate", told)
    tell = note if days >= 0 else amiss
    return tell("server certificate", told, why=_NAME_WHY, mend=f"at the coordinator: {RENEW}")


def _clock(theirs: datetime.datetime, *, asked: datetime.datetime, answered: datetime.datetime) -> Finding:
    """This machine's clock against the door's, which told its time at some moment between two of ours.

    A slow answer of a busy machine is no fault of a clock: of all differences that fit, the least counts.
    """
    ahead = max(0.0, (asked - theirs).total_seconds()) + min(0.0, (answered - theirs).total_seconds())
    told = f"this machine is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the front door"
    mend = "set both clocks by the same time server: timedatectl set-ntp true"
    if -MOST_BEHIND_S <= ahead <= MOST_AHEAD_S:
        small = abs(ahead) <= _NOTABLE_S
        return (
            well("clock", "agrees with the front door's within 2 s")
            if small
            else note("clock", told, why=_CLOCK_WHY, mend=mend)
        )
    return amiss("clock", told, why=_CLOCK_WHY, mend=mend)
