"""The coordinator's keys, roster and certificates after the first day: replace, rotate, renew.

Every change of a name or key is a new roster with a higher version; provinces pin it by its digest, which
they hear by another way, and hold a new ceremony. Older rosters stay in ``rosters/``: with them old bundles
and signatures can be checked.

Threat model. Who steals ``identity.key`` of the coordinator can sign plans and studies until the provinces
pin a roster without it; policy, budget and approval of each province still stand. Who steals ``tls/ca.key``
can pretend to be the front door to SuperNodes: relayed messages are signed, so such a door can drop or delay
them, not alter them. Who steals a SuperNode's key can take that node's place on the wire and drop its
messages. None of these opens a contribution. A lost key of the coordinator is rotated like an old one:
nothing needs the old key's signature, since provinces believe digests that they compared.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from fedmed import wire
from fedmed.aggregation.allowance import default_allowance
from fedmed.crypto.identity import Identity, PublicIdentity
from fedmed.crypto.supernode_key import supernode_pem
from fedmed.errors import ConfigError, MessageMalformed
from fedmed.messages import Member, Roster
from fedmed_server.authority import Credentials, issue_server, make_authority
from fedmed_server.files import create_private, private_folder, read_private, replace_private
from fedmed_server.home import COORDINATOR, LOOPBACK, Home

AUTHORITY_NAME: Final = "FedMed federation"


def replace_member(home: Home, card: PublicIdentity) -> Roster:
    """A new roster in which a node has another card; its place and all others stay.

    Args:
        home: The coordinator's home; no coordinator may run on it.
        card: The node's new card, under its old name.

    Returns:
        The new roster, which is the home's from now on.

    Raises:
        ConfigError: no such node, the same card, or a key that somebody else has.
    """
    roster = home.roster()
    _require_member(roster, card.name)
    new = member_of(card)
    if new in roster.members:
        raise ConfigError(f"the roster has this card of {card.name} already; nothing was changed")
    members = tuple(new if m.name == card.name else m for m in roster.members)
    return _next_roster(home, roster, lambda: replace(roster, version=roster.version + 1, members=members))


def set_owners(home: Home, owners: Sequence[str]) -> Roster:
    """A new roster with other study owners.

    Args:
        home: The coordinator's home; no coordinator may run on it.
        owners: Who may own a study from now on, by name; none: anybody.

    Returns:
        The new roster.

    Raises:
        ConfigError: the roster has these owners already, or a name that no study can carry.
    """
    roster, listed = home.roster(), tuple(sorted(set(owners)))
    if listed == roster.owners:
        raise ConfigError("the roster lists these study owners already; nothing was changed")
    return _next_roster(home, roster, lambda: replace(roster, version=roster.version + 1, owners=listed))


def remove_member(home: Home, name: str) -> Roster:
    """A new roster without a node; those behind it move up, threshold and colluders are the protocol's own.

    Args:
        home: The coordinator's home; no coordinator may run on it.
        name: Of the node.

    Returns:
        The new roster.

    Raises:
        ConfigError: no such node, or fewer than three would be left.
    """
    roster = home.roster()
    _require_member(roster, name)
    members = tuple(m for m in roster.members if m.name != name)
    if len(members) < 3:
        raise ConfigError(f"without {name} {len(members)} nodes would be left; a roster needs at least 3")
    allowance = default_allowance(len(members))
    return _next_roster(
        home,
        roster,
        lambda: replace(
            roster,
            version=roster.version + 1,
            members=members,
            threshold=allowance.threshold,
            colluders=allowance.colluders,
        ),
    )


def rotate_coordinator_key(home: Home) -> Roster:
    """Take a new key for the coordinator, also when the old one is lost; the roster names it.

    Cut off in the middle, the same again finishes: the roster just grows by another version.

    Returns:
        The new roster.
    """
    roster, identity = home.roster(), Identity.create(COORDINATOR)
    card = member_of(identity.public)
    new = _next_roster(home, roster, lambda: replace(roster, version=roster.version + 1, coordinator=card))
    replace_private(home.path / "identity.key", identity.private_bytes())
    return new


def replace_supernode_key(home: Home, name: str, line: str) -> None:
    """Take another key for a node's SuperNode; the next ``fedmed server up`` registers it.

    The roster does not name it, so nothing has to be pinned. The old key gets no message of a study any
    more, since the coordinator looks nodes up by the keys that stand here.

    Args:
        home: The coordinator's home; no coordinator may run on it.
        name: Of the node.
        line: The new public key, one line in OpenSSH format.

    Raises:
        ConfigError: no such node, or no such key.
    """
    _require_member(home.roster(), name)
    supernode_pem(line.encode())
    keys = home.supernode_keys() | {name: line.strip()}
    text = "".join(f"{json.dumps(n, ensure_ascii=False)} = {json.dumps(k)}\n" for n, k in keys.items())
    replace_private(home.path / "nodes.toml", f"[keys]\n{text}".encode())
    numbers = home.path / "flower" / "nodes.json"  # what the SuperLink calls the old key
    if numbers.exists():
        known = json.loads(read_private(numbers))
        known.pop(name, None)
        replace_private(numbers, json.dumps(known, ensure_ascii=False).encode())


# --- Certificates -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateLine:
    """A certificate as the operator sees it.

    Attributes:
        what: ``server``, ``authority`` or ``former authority``.
        subject: Its common name.
        ends: When it ends.
    """

    what: str
    subject: str
    ends: datetime.datetime

    def days_left(self, now: datetime.datetime) -> int:
        """Whole days until it ends, negative afterwards."""
        return (self.ends - now).days


def certificates(home: Home) -> tuple[CertificateLine, ...]:
    """The server's certificate and the authorities that nodes are told to believe; raises `ConfigError`."""
    server = x509.load_pem_x509_certificate(read_private(home.server_certificate[0]))
    first, *others = _authorities(home)
    named = [("server", server), ("authority", first), *(("former authority", o) for o in others)]
    return tuple(
        CertificateLine(
            what=what,
            subject=str(c.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value),
            ends=c.not_valid_after_utc,
        )
        for what, c in named
    )


def renew_server(home: Home, *, now: datetime.datetime) -> None:
    """Issue a new server certificate for the addresses of ``coordinator.toml``; nodes need nothing new.

    Args:
        home: The coordinator's home; a running coordinator takes it when it starts again.
        now: The time, with its zone.

    Raises:
        ConfigError: the authority's key is not here, or an address is not usable.
    """
    names = (*home.addresses().names, *LOOPBACK)
    server = issue_server(_issuer(home), names, now=now)
    certificate, key = home.server_certificate
    replace_private(key, server.private_key)
    replace_private(certificate, server.certificate)


def begin_authority(home: Home, *, now: datetime.datetime) -> None:
    """Make a new authority beside the old one: ``tls/ca.crt`` holds both, and nodes take that file.

    The server's certificate stays the old authority's until `renew_server`, so a node that has not got the
    new file yet still finds the front door. `retire_authority` ends it.

    Args:
        home: The coordinator's home.
        now: The time, with its zone.

    Raises:
        ConfigError: a former authority was not retired yet.
    """
    present = _authorities(home)
    if len(present) > 1:
        raise ConfigError("a former authority is still believed; fedmed server certificate retire first")
    new = make_authority(AUTHORITY_NAME, now=now)
    # The certificates first: with the old key the old certificate still issues, whatever stops us here.
    replace_private(home.authority_certificate, new.certificate + present[0].public_bytes(Encoding.PEM))
    replace_private(home.path / "tls" / "ca.key", new.private_key)


def retire_authority(home: Home) -> None:
    """Believe the new authority alone: once every node has its certificate and the server's is renewed.

    Raises:
        ConfigError: there is no former one, or the server's certificate is still the former one's.
    """
    first, *others = _authorities(home)
    if not others:
        raise ConfigError("there is no former authority to retire; nothing was changed")
    server = x509.load_pem_x509_certificate(read_private(home.server_certificate[0]))
    try:
        server.verify_directly_issued_by(first)
    except (InvalidSignature, TypeError, ValueError):
        raise ConfigError(
            "the server's certificate is still the former authority's: fedmed server certificate renew first"
        ) from None
    replace_private(home.authority_certificate, first.public_bytes(Encoding.PEM))


def member_of(card: PublicIdentity) -> Member:
    """A card as a roster has it."""
    return Member(name=card.name, signing_key=card.signing_key, sealing_key=card.sealing_key)


def _require_member(roster: Roster, name: str) -> None:
    """Raise `ConfigError` unless a node is in the roster."""
    names = [m.name for m in roster.members]
    if name not in names:
        raise ConfigError(f"the roster has no node {name}, but {', '.join(names)}")


def _next_roster(home: Home, old: Roster, make: Callable[[], Roster]) -> Roster:
    """Keep the old roster aside and take the new one."""
    try:
        new = make()
    except MessageMalformed as fault:
        raise ConfigError(f"this makes no roster: {fault}") from None
    kept = private_folder(home.path / "rosters") / f"{old.version}.bin"
    if not kept.exists():
        create_private(kept, wire.encode_roster(old))
    replace_private(home.path / "roster.bin", wire.encode_roster(new))
    return new


def _authorities(home: Home) -> list[x509.Certificate]:
    """The certificates in ``tls/ca.crt``, the present authority's first."""
    try:
        return x509.load_pem_x509_certificates(read_private(home.authority_certificate))
    except ValueError:
        raise ConfigError(f"{home.authority_certificate} is no certificate; restore it") from None


def _issuer(home: Home) -> Credentials:
    """The authority's key with the certificate that is its own."""
    key: Path = home.path / "tls" / "ca.key"
    data = read_private(key)
    public = load_pem_private_key(data, password=None).public_key()
    for certificate in _authorities(home):
        if certificate.public_key() == public:
            return Credentials(certificate=certificate.public_bytes(Encoding.PEM), private_key=data)
    raise ConfigError(f"{key} is not the key of {home.authority_certificate}; put the right one back")
