"""``fedmed node pin``: take a roster whose digest the operator compared, and change keys where it says so.

Threat model. Whoever can make a province pin a roster of theirs decides who sits at the table. Hence the
digest is typed by the operator, who heard it by another way than the file; an older roster is refused, so
that a key which was taken out does not come back; and nothing here asks the coordinator.
"""

from __future__ import annotations

import contextlib
import re
import tomllib
from typing import Any, Final

from fedmed import wire
from fedmed.errors import ConfigError, FedMedError, RosterMismatch
from fedmed.governance.audit_chain import AuditKind
from fedmed.messages import Roster
from fedmed_nodes import private_folder
from fedmed_nodes.books import Books
from fedmed_nodes.ceremony_desk import end_epochs
from fedmed_nodes.home import ROSTER_FILE, Home, seated
from fedmed_nodes.key_desk import change_to_next, next_card
from fedmed_nodes.node_config import NODE_FILE, parse_node

PINNED_VERSION: Final = "roster/version"
"""Store key of the version of the roster that was pinned last."""

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_PIN: Final = re.compile(r"^(roster_digest[ \t]*=[ \t]*)(\"[^\"\n]*\"|'[^'\n]*')", re.MULTILINE)
_MOST_SETTINGS_BYTES: Final = 1 << 20


def pin_roster(books: Books, data: bytes, digest: str) -> bool:
    """Pin a roster.

    Args:
        books: The home's; its present key or its next one must be in the roster.
        data: The roster file as the coordinator handed it out.
        digest: What the operator heard by another way, 64 hexadecimal digits.

    Returns:
        Whether this node's key was changed to the next one, because the roster names it.

    Raises:
        RosterMismatch: the file has another digest, or not this node with one of its keys.
        ConfigError: the digest is none, the roster is older than the pinned one, or ``node.toml`` cannot
            be edited; nothing was changed.

    Guarantees:
        Every key epoch ends, since it was dealt among the keys of the old roster. ``node.toml`` changes in
        its pin alone. Cut off in the middle, the same command again finishes.
    """
    roster = _checked(data, digest)
    home, own = books.home, books.identity.public
    text = _settings(home)
    pinned = parse_node(text, home.path / NODE_FILE).roster_digest
    _require_newer(books, roster, digest=digest, pinned=pinned)
    following = next_card(home)
    changes = following is not None and _has(roster, following.name, following.signing_key)
    seated(roster, own if following is None or not changes else following)
    settings = with_pin(text, digest)
    end_epochs(
        books.logbook,
        books.secrets,
        books.secrets.epochs(),
        kind=AuditKind.ROSTER_PINNED,
        detail=f"roster {roster.version} {digest}",
        puts={PINNED_VERSION: str(roster.version).encode()},
    )
    if changes:
        change_to_next(home, books.logbook, old=books.identity)
    with private_folder.open_folder(home.path, hidden=True) as folder:
        private_folder.replace_file(ROSTER_FILE, data, folder=folder)
        private_folder.replace_file(NODE_FILE, settings.encode(), folder=folder)
    return changes


def with_pin(text: str, digest: str) -> str:
    """The settings with another pinned digest; every other character stays.

    Raises:
        ConfigError: the line is written in a way that is not understood; the message has it.
    """
    wanted = tomllib.loads(text) | {"roster_digest": digest}
    edited, times = _PIN.subn(lambda found: f'{found[1]}"{digest}"', text, count=1)
    if not times:
        edited = f'roster_digest = "{digest}"\n{text}'
    if _read(edited) != wanted:
        raise ConfigError(f'write this line into {NODE_FILE} yourself: roster_digest = "{digest}"')
    return edited


def _read(text: str) -> dict[str, Any] | None:  # `Any`: what a TOML file may hold
    """The document; None for text that is not TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _checked(data: bytes, digest: str) -> Roster:
    """The roster, if it has the digest that the operator heard."""
    if _DIGEST.fullmatch(digest) is None:
        raise ConfigError("DIGEST must be the 64 hexadecimal digits that the coordinator told you")
    try:
        roster = wire.decode_roster(data)
    except FedMedError:
        raise ConfigError("the file is no roster; ask the coordinator for roster.bin") from None
    found = wire.roster_digest(roster).hex()
    if found != digest:
        raise RosterMismatch(f"the file has digest {found}, you were told {digest}; find out who is right")
    return roster


def _require_newer(books: Books, roster: Roster, *, digest: str, pinned: str) -> None:
    """Refuse to go back to an older roster; the same one again is no change."""
    version = int(books.store.get(PINNED_VERSION) or b"0")
    if pinned:
        # Without the old file there is only the version that the store remembers.
        with contextlib.suppress(FedMedError):
            version = max(version, books.home.roster(pinned).version)
    if roster.version <= version and digest != pinned:
        raise ConfigError(
            f"roster {roster.version} is not newer than roster {version}, which was pinned here: ask the "
            "coordinator for the present one"
        )


def _has(roster: Roster, name: str, signing_key: bytes) -> bool:
    """Whether a roster names a node with a key."""
    return any((m.name, m.signing_key) == (name, signing_key) for m in roster.members)


def _settings(home: Home) -> str:
    """The text of ``node.toml``."""
    with private_folder.open_folder(home.path, hidden=True) as folder:
        data = private_folder.read_file(NODE_FILE, folder=folder, path=home.path, most=_MOST_SETTINGS_BYTES)
    try:
        return (data or b"").decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{NODE_FILE} is not UTF-8 text; save it as UTF-8") from None
