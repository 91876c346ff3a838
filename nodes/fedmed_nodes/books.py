"""The home's books in the hand of an operator's command, while no custodian runs on them.

A command that writes (keys, roster, epochs, backup, restore) holds the home's lock: a second writer in the
middle of a custodian's message would cost a study that message.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedmed.crypto.identity import Identity
from fedmed_nodes.clock import Clock, SystemClock
from fedmed_nodes.home import Home, account, become
from fedmed_nodes.kept_store import KeptStore
from fedmed_nodes.key_desk import present_identity
from fedmed_nodes.logbook import Logbook
from fedmed_nodes.secret_store import FileSecretStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What an operator's command works with.

    Attributes:
        home: The node's home.
        identity: Its present private keys.
        store: Values, ledger and log.
        secrets: Key shares.
        logbook: Writes on the store.
    """

    home: Home
    identity: Identity
    store: KeptStore
    secrets: FileSecretStore
    logbook: Logbook


@contextlib.contextmanager
def open_books(home: Home, *, clock: Clock | None = None, usable: bool = True) -> Iterator[Books]:
    """Open a home's books for one command.

    Args:
        home: The home; the process must be its user.
        clock: Time of the entries; by default the machine's.
        usable: Refuse a key that was revoked.

    Raises:
        StoreFailed: a custodian runs on the home.
        KeyNotUsable: the key is not the one that the log names, or was revoked.
        FedMedError: something of the home is missing, open to others or altered.
    """
    with home.locked(), contextlib.closing(home.store()) as store:
        identity = present_identity(home, store, usable=usable)
        logbook = Logbook(store, identity, clock or SystemClock())
        yield Books(home=home, identity=identity, store=store, secrets=home.secrets(), logbook=logbook)


def operators_home(path: Path) -> Home:
    """The home at a path, with root given up for the home's user.

    Raises:
        ConfigError: it is no home, or another user's.
    """
    home = Home(path.absolute())
    become(account(home.node().user), home=home.path)
    return home
