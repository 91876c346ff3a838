"""A node's home: the folder with its keys, its pinned roster, its settings and its stores.

::

    node.toml    policy.toml    roster.bin    card.toml    identity.key (0600)
    store/custodian.db          ledger, audit chain, studies: ``fedmed node backup``
    audit/                      the sealed, older part of the audit chain
    secrets/                    key shares and the mark of the newest entry: never back them up
    run/                        sockets and the lock of the running custodian
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedmed import wire
from fedmed.crypto.card import card_text, read_card
from fedmed.crypto.identity import Identity, PublicIdentity
from fedmed.errors import ConfigError, FedMedError, RosterMismatch, StoreFailed
from fedmed.governance.policy import Policy
from fedmed.messages import Roster
from fedmed.types import require
from fedmed_nodes import private_folder
from fedmed_nodes.audit_archive import AuditArchive
from fedmed_nodes.high_water import HighWater
from fedmed_nodes.kept_store import KeptStore
from fedmed_nodes.node_config import (
    NODE_FILE,
    NODE_TEMPLATE,
    POLICY_FILE,
    POLICY_TEMPLATE,
    NodeFile,
    load_node,
    load_policy,
)
from fedmed_nodes.secret_store import FileSecretStore
from fedmed_nodes.sqlite_store import SqliteStore

KEY_FILE: Final = "identity.key"
CARD_FILE: Final = "card.toml"
ROSTER_FILE: Final = "roster.bin"
INNER: Final = Path("run") / "inner"
STORE: Final = Path("store") / "custodian.db"
SECRETS: Final = "secrets"
ARCHIVE: Final = "audit"
_LOCK: Final = Path("run") / "lock"
_MOST_KEY_BYTES: Final = 4_096
_MOST_ROSTER_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Home:
    """A node's home folder; its files are read when they are asked for.

    Attributes:
        path: The folder, mode 0700, of the custodian's user.
    """

    path: Path

    def node(self) -> NodeFile:
        """``node.toml``; raises `ConfigError`."""
        return load_node(self.path / NODE_FILE)

    def identity(self) -> Identity:
        """The province's private keys.

        Raises:
            ConfigError: the key file is missing, a link, another user's or open to others.
            IntegrityError: it is cut or altered.
        """
        identity = self.identity_in(KEY_FILE)
        if identity is None:
            raise ConfigError(
                f"there is no {self.path / KEY_FILE}; put it back, or if it is lost: "
                f"fedmed node key replace {self.path}"
            )
        return identity

    def identity_in(self, name: str) -> Identity | None:
        """The private keys in a file of the home, None if there is no such file; errors as `identity`."""
        data = self._read(name, most=_MOST_KEY_BYTES)
        return None if data is None else Identity.from_private_bytes(data)

    def card(self) -> PublicIdentity:
        """The public card of the key that signs now; a home of an earlier version has it in its key alone."""
        data = self._read(CARD_FILE, most=_MOST_KEY_BYTES)
        return self.identity().public if data is None else read_card(data.decode(errors="replace"))

    def _read(self, name: str, *, most: int) -> bytes | None:
        """A private file of the home."""
        with private_folder.open_folder(self.path, hidden=True) as folder:
            return private_folder.read_file(name, folder=folder, path=self.path, most=most)

    def roster(self, pinned: str) -> Roster:
        """The roster whose digest the operator pinned.

        Args:
            pinned: ``roster_digest`` of ``node.toml``.

        Raises:
            ConfigError: there is no roster, or none is pinned; the digest is named for comparison.
            RosterMismatch: ``roster.bin`` is another one.
            MessageMalformed: ``roster.bin`` is no roster.
        """
        path = self.path / ROSTER_FILE
        try:
            with path.open("rb") as file:
                data = file.read(_MOST_ROSTER_BYTES)
        except OSError as fault:
            raise ConfigError(f"cannot read {path}: {fault.strerror}; the coordinator hands it out") from None
        roster = wire.decode_roster(data)
        found = wire.roster_digest(roster).hex()
        if not pinned:
            raise ConfigError(
                f"no roster is pinned; {path} has digest {found}: compare it with the coordinator by another "
                f"way, then write it as roster_digest in {NODE_FILE}"
            )
        if found != pinned:
            raise RosterMismatch(
                f"{path} has digest {found}, {NODE_FILE} pins {pinned}; find out who is right"
            )
        return roster

    @property
    def inner(self) -> Path:
        """Folder for gRPC's own sockets."""
        return self.path / INNER

    def store(self) -> KeptStore:
        """The store that `create_home` made; a missing one is an error, never an empty ledger."""
        mark = HighWater(self.path / SECRETS)
        archive = AuditArchive(self.path / ARCHIVE)
        return KeptStore(SqliteStore(self.path / STORE, create=False), archive=archive, mark=mark)

    def secrets(self) -> FileSecretStore:
        """The key shares."""
        return FileSecretStore(self.path / SECRETS)

    def policy(self) -> Policy:
        """``policy.toml``; raises `ConfigError`."""
        return load_policy(self.path / POLICY_FILE)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the home for one custodian; raises `StoreFailed` while another one runs."""
        private_folder.prepare_folder(self.path / _LOCK.parent, hidden=False)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.path / _LOCK, flags, private_folder.FILE_MODE)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StoreFailed(f"a custodian already runs on {self.path}; stop it first") from None
            yield
        finally:
            os.close(descriptor)


def account(user: str) -> pwd.struct_passwd:
    """The system's account of a user; raises `ConfigError` where there is none."""
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(f"user {user} does not exist on this machine; create it, or name another") from None


def become(user: pwd.struct_passwd, *, home: Path) -> None:
    """Give up root for the custodian's user; a process of that user goes on as it is.

    Args:
        user: Whom the settings name.
        home: The node's home; it must be that user's, or its settings could turn root into anybody.

    Raises:
        ConfigError: the process runs as a third user, or the home is another user's.
    """
    owner = home.stat().st_uid
    if owner != user.pw_uid:
        raise ConfigError(f"{home} must belong to {user.pw_name}, the user in its settings; chown it")
    if os.geteuid() not in (0, user.pw_uid):
        raise ConfigError(f"start the custodian as {user.pw_name} or as root")
    if os.geteuid() == 0 and user.pw_uid != 0:
        os.initgroups(user.pw_name, user.pw_gid)
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    os.umask(0o077)


def create_home(path: Path, name: str, *, user: pwd.struct_passwd) -> PublicIdentity:
    """Make a home with new keys, empty stores, and settings to fill in.

    Args:
        path: The folder; it must not be a home yet.
        name: The node's name in the roster.
        user: The custodian's user; root makes the home for it.

    Returns:
        The public card, for the coordinator's roster.

    Raises:
        ConfigError: there is a home already, or the name is not usable.
        StoreFailed: the folder cannot be written.

    Guarantees:
        The folder has mode 0700 and the key file 0600 from their first moment. Nothing is overwritten: an
        identity that was lost is a matter for a new roster, not for a second `init`.
    """
    # First: a name that cannot be must leave no folder. Files at the coordinator bear it, and commands.
    one_word = name.split() == [name] and "/" not in name and not name.startswith((".", "-"))
    require(one_word, f"name must be one word without a slash, as the roster shall have it, got {name!r}")
    identity = Identity.create(name)
    private_folder.prepare_folder(path, hidden=True)
    try:
        with private_folder.open_folder(path, hidden=True) as folder:
            private_folder.create_file(KEY_FILE, identity.private_bytes(), folder=folder)
            private_folder.create_file(CARD_FILE, card_text(identity.public).encode(), folder=folder)
            node = NODE_TEMPLATE.format(user=json.dumps(user.pw_name))
            private_folder.create_file(NODE_FILE, node.encode(), folder=folder)
            private_folder.create_file(POLICY_FILE, POLICY_TEMPLATE.encode(), folder=folder)
        SqliteStore(path / STORE).close()
        FileSecretStore(path / SECRETS)
        _hand_over(path, user)
    except FileExistsError:
        raise ConfigError(f"{path} is a home already; nothing was changed. Name another folder") from None
    except OSError as fault:
        raise StoreFailed(f"{path} cannot be written: {fault.strerror}") from fault
    return identity.public


def _hand_over(path: Path, user: pwd.struct_passwd) -> None:
    """Give a home that root made to the custodian's user, contents first."""
    if os.geteuid() == user.pw_uid:
        return
    for folder, folders, files in os.walk(path, topdown=False):
        for name in (*folders, *files):
            os.chown(Path(folder) / name, user.pw_uid, user.pw_gid, follow_symlinks=False)
    os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)


def seated(roster: Roster, own: PublicIdentity) -> Roster:
    """The roster, if it has this node with these keys; raises `RosterMismatch`."""
    try:
        member = roster.member(roster.point_of(own.name))
    except FedMedError:
        raise RosterMismatch(f"the pinned roster has no {own.name}; register this node's card") from None
    if (member.signing_key, member.sealing_key) != (own.signing_key, own.sealing_key):
        raise RosterMismatch(f"the pinned roster has other keys for {own.name}; register this node's card")
    return roster
