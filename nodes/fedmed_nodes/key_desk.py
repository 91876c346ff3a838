"""A province's identity key: the next one, the change to it, a revoked and a lost one.

How a key changes: `make_next_key` draws the next identity and its card goes to the coordinator; the node
works on with the old key. When the operator pins the roster that names the new card
(`fedmed_nodes.roster_pin`), one audit entry is signed by both keys, and the old private key is destroyed. Its
public half stays in that entry, so old entries can be checked for good.

Threat model. A stolen key lets somebody sign as this province, towards the coordinator and in a copy of its
log; it opens no contribution and no key share. `revoke_key` ends it: its last entry says so, every key epoch
ends, and no custodian starts with it. Others learn of it by the new roster, which they pin by digest; until
then they take its signatures. A lost key is replaced: the new key alone signs that entry, which the
operators of other provinces should believe only when they heard of it by another way, as with any new card.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from fedmed.crypto.card import card_text
from fedmed.crypto.identity import Identity, PublicIdentity, signed_bytes, verify
from fedmed.errors import ConfigError, KeyNotUsable, SignatureInvalid
from fedmed.governance.audit_chain import AuditEntry, AuditKind
from fedmed.governance.key_change import change_key
from fedmed_nodes import private_folder
from fedmed_nodes.ceremony_desk import end_epochs
from fedmed_nodes.clock import Clock
from fedmed_nodes.home import CARD_FILE, KEY_FILE, Home
from fedmed_nodes.logbook import Logbook
from fedmed_nodes.stores import CustodianStore, SecretStore

NEXT_KEY_FILE: Final = "identity.next.key"
PRESENT: Final = "key/present"
"""Store key of the signing key that the log's last key change names."""
REVOKED: Final = "key/revoked"
"""Store key of the signing key that was revoked last."""


def present_identity(home: Home, store: CustodianStore, *, usable: bool = True) -> Identity:
    """The private keys with which this node signs now; finishes a change that a crash stopped.

    Args:
        home: The home.
        store: Its store, which names the key once it was changed.
        usable: Refuse a key that was revoked.

    Raises:
        ConfigError: there is no key file.
        KeyNotUsable: it is not the one that the log names, or was revoked.
    """
    named, following = store.get(PRESENT), home.identity_in(NEXT_KEY_FILE)
    if following is not None and named == following.public.signing_key:
        _take_over(home, following)
    identity = home.identity()
    if named is not None and identity.public.signing_key != named:
        raise KeyNotUsable(
            f"{home.path / KEY_FILE} is not the key that this node's log names: put the right one back, or "
            f"if it is lost: fedmed node key replace {home.path}"
        )
    if usable and store.get(REVOKED) == identity.public.signing_key:
        raise KeyNotUsable(
            f"this node's key was revoked and signs nothing more; fedmed node key replace {home.path}"
        )
    return identity


def next_card(home: Home) -> PublicIdentity | None:
    """The card of the next key; None if none was made."""
    following = home.identity_in(NEXT_KEY_FILE)
    return None if following is None else following.public


def make_next_key(home: Home, logbook: Logbook, *, name: str) -> PublicIdentity:
    """Draw the next identity, or give the card of the one that waits.

    Args:
        home: The home.
        logbook: Gets the entry.
        name: The node's name; it stays.

    Returns:
        The new public card, for the coordinator's roster.
    """
    waiting = next_card(home)
    if waiting is not None:
        return waiting
    following = Identity.create(name)
    with private_folder.open_folder(home.path, hidden=True) as folder:
        private_folder.create_file(NEXT_KEY_FILE, following.private_bytes(), folder=folder)
    logbook.write(AuditKind.KEY_MADE, detail=f"next key {following.public.signing_key.hex()}")
    return following.public


def change_to_next(home: Home, logbook: Logbook, *, old: Identity) -> Identity:
    """Change to the next key: one entry signed by both, then the old private key is destroyed.

    A crash in between leaves the entry and both files; `present_identity` finishes then.

    Raises:
        ConfigError: no next key was made.
    """
    following = home.identity_in(NEXT_KEY_FILE)
    if following is None:
        raise ConfigError(f"no next key was made; begin with fedmed node key rotate {home.path}")
    change = change_key(following, before=old.public.signing_key, previous_head=logbook.position.head)
    logbook.write(
        AuditKind.KEY_ROTATED, detail=change.to_text(), puts={PRESENT: following.public.signing_key}
    )
    _take_over(home, following)
    return following


def revoke_key(logbook: Logbook, secrets: SecretStore, *, public: PublicIdentity, reason: str) -> None:
    """End a key that may be in other hands: it signs this entry and nothing more, and every epoch ends.

    Args:
        logbook: Signs with that key.
        secrets: Keys of epochs.
        public: Its card.
        reason: Public words.

    Raises:
        ConfigError: the reason is too long or has control characters.
    """
    puts = {REVOKED: public.signing_key}
    end_epochs(logbook, secrets, secrets.epochs(), kind=AuditKind.KEY_REVOKED, detail=reason, puts=puts)


def replace_key(
    home: Home,
    store: CustodianStore,
    *,
    clock: Clock,
    before: PublicIdentity | None = None,
    puts: Mapping[str, bytes] | None = None,
) -> PublicIdentity:
    """Take a new key for one that was lost or revoked; a next key that waits is thrown away with it.

    Where a backup from before a change of keys came back, the key that is there is the new one.

    Args:
        home: The home.
        store: Its store; one without an entry just gets the key.
        clock: Time of the entry.
        before: Card of the key that signed the store's last entry; by default the one that the store or
            the home's card names.
        puts: Values to write with the entry.

    Returns:
        The new card.

    Raises:
        ConfigError: the present key is there and good, or is not known to have signed the log.
    """
    present = _require_replaceable(home, store)
    old = _signer_of_last(store, before or home.card())
    following = present or Identity.create((before or home.card()).name)
    with private_folder.open_folder(home.path, hidden=True) as folder:
        private_folder.replace_file(NEXT_KEY_FILE, following.private_bytes(), folder=folder)
    if old is not None:
        logbook = Logbook(store, following, clock)
        change = change_key(following, before=old, previous_head=logbook.position.head)
        named = {**(puts or {}), PRESENT: following.public.signing_key}
        logbook.write(AuditKind.KEY_REPLACED, detail=change.to_text(), puts=named)
    _take_over(home, following)
    return following.public


def _require_replaceable(home: Home, store: CustodianStore) -> Identity | None:
    """Refuse for a key that is there, is the log's and was not revoked; give one that is there and good."""
    present = home.identity_in(KEY_FILE)
    if present is None or present.public.signing_key == store.get(REVOKED):
        return None
    last, named = store.audit(1), store.get(PRESENT)
    is_the_logs = named == present.public.signing_key if named else True
    if is_the_logs and (not last or _signed(last[-1], present.public)):
        raise ConfigError(
            f"{home.path / KEY_FILE} is there and good; to change it: fedmed node key rotate {home.path}"
        )
    return present  # the key was changed after the backup that came back here


def _signer_of_last(store: CustodianStore, card: PublicIdentity) -> bytes | None:
    """The signing key of the store's last entry; None for an empty store."""
    last = store.audit(1)
    if not last:
        return None
    named = store.get(PRESENT)
    public = card if named is None else replace(card, signing_key=named)
    if not _signed(last[-1], public):
        raise ConfigError(
            f"{CARD_FILE} is not the card of the key that signed this log; put that card back first"
        )
    return public.signing_key


def _signed(entry: AuditEntry, public: PublicIdentity) -> bool:
    """Whether a key signed an entry."""
    try:
        verify(public, signed_bytes("audit_head", entry.head), entry.signature)
    except SignatureInvalid:
        return False
    return True


def _take_over(home: Home, following: Identity) -> None:
    """Make the next key the present one: the old private key is overwritten before its name goes on."""
    with private_folder.open_folder(home.path, hidden=True) as folder:
        private_folder.replace_file(CARD_FILE, card_text(following.public).encode(), folder=folder)
        private_folder.destroy_file(KEY_FILE, folder=folder)
        private_folder.replace_file(KEY_FILE, following.private_bytes(), folder=folder)
        private_folder.destroy_file(NEXT_KEY_FILE, folder=folder)
