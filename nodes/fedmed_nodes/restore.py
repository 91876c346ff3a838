"""Putting a backup back, so that neither the ledger nor a promise to other provinces goes back unnoticed.

What a restore always does: the chain of the backup is checked whole; the entry that says "restored" follows
it and names up to where this node is known to have written; every study that the store knows is answered no
more; every key epoch ends and its keys are destroyed; and from then on each study waits for the operator,
whatever the policy says, because one that was begun after the backup would pass for a new one. Charges
between backup and loss are not in the ledger any more: that is written down in words, shown with the
budget, and for the operators to reckon with before they approve anything.

Threat model. An operator who sets a ledger back to spend a budget twice leaves the entry "restored" in a
signed chain, has no epoch left, and meets a custodian that refuses (`restored_from_backup`) as soon as
anybody shows a later message of this node. Who copies the database files back by hand meets the mark of
`fedmed_nodes.high_water`. A snapshot of the whole machine stays unnoticed until a later message is shown.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from fedmed.crypto.identity import PublicIdentity
from fedmed.errors import ConfigError, FedMedError, IntegrityError, StoreFailed
from fedmed.governance.audit_chain import EMPTY_CHAIN, AuditKind, verify_chain
from fedmed_nodes import private_folder
from fedmed_nodes.backup import Manifest, read_backup, standing
from fedmed_nodes.ceremony_desk import end_epochs
from fedmed_nodes.clock import Clock, SystemClock
from fedmed_nodes.high_water import HighWater, chain_end
from fedmed_nodes.home import ARCHIVE, CARD_FILE, KEY_FILE, ROSTER_FILE, SECRETS, STORE, Home
from fedmed_nodes.key_desk import present_identity, replace_key
from fedmed_nodes.logbook import Logbook
from fedmed_nodes.node_config import NODE_FILE, POLICY_FILE
from fedmed_nodes.study_keys import INDEX, restored_values


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restore found and did.

    Attributes:
        at: When the backup was made; empty when the store was accepted as it lay there.
        from_entry: Last audit entry that came back.
        known_entry: Last audit entry that this node is known to have written; 0 if nothing is left to tell.
        charges: Records in the ledger now.
        new_card: The new card, if the key had to be replaced.
        put_aside: Folder with the store that was here before, None if there was none.
    """

    at: str
    from_entry: int
    known_entry: int
    charges: int
    new_card: PublicIdentity | None = None
    put_aside: Path | None = None

    @property
    def words(self) -> str:
        """What the log and the budget say of it."""
        what = f"a backup of {self.at}" if self.at else "the store as it lay there"
        gap = "what was written after it is lost"
        if self.known_entry > self.from_entry:
            gap = f"entries {self.from_entry + 1} to {self.known_entry} are lost, and their charges"
        elif self.known_entry == self.from_entry:
            gap = "nothing later is known here"
        return f"{what}, up to entry {self.from_entry}; {gap}"


def restore_backup(
    home: Home, path: Path, *, lost_key: bool = False, forget_newer: bool = False, clock: Clock | None = None
) -> Restored:
    """Put a backup back into a home, or into a new folder.

    Args:
        home: The node's home, or an empty folder of its user; settings and keys that are there stay.
        path: What ``fedmed node backup`` wrote.
        lost_key: Take a new key, because the one that signed the backup is lost.
        forget_newer: Restore although the store that is here holds and is newer.
        clock: Time of the entries; by default the machine's.

    Returns:
        What was done.

    Raises:
        ConfigError: no backup, a key that is missing without ``lost_key``, or a good newer store.
        IntegrityError: the backup does not hold; nothing was changed.
        StoreFailed: a custodian runs on the home, or the disk refuses.
    """
    private_folder.prepare_folder(home.path, hidden=True)
    with home.locked(), tempfile.TemporaryDirectory(dir=home.path, prefix=".restore-") as made:
        folder = Path(made)
        manifest = read_backup(path, folder)
        _check_chain(Home(folder), manifest)
        known, good = _known_here(home)
        if good > manifest.head.counter and not forget_newer:
            raise ConfigError(
                f"the store in {home.path} is good and newer (entry {good}) than the backup (entry "
                f"{manifest.head.counter}): it needs no restore. To forget what is newer: --forget-newer"
            )
        _require_key(home, manifest, lost_key=lost_key)
        found = Restored(
            at=manifest.at,
            from_entry=manifest.head.counter,
            known_entry=known,
            charges=manifest.charges,
            put_aside=_swap(home, folder),
        )
        return _accept(home, found, card=manifest.card, clock=clock or SystemClock())


def accept_store(home: Home, *, clock: Clock | None = None) -> Restored:
    """Go on with the store as it lies there, although it is, or may be, an old copy.

    Args:
        home: The node's home.
        clock: Time of the entry; by default the machine's.

    Returns:
        What was done.

    Raises:
        IntegrityError: the store itself does not hold: restore a backup.
        ConfigError: there is no store, or the key that signed it is not here.
        StoreFailed: a custodian runs on the home, or the disk refuses.
    """
    with home.locked():
        with contextlib.closing(home.store()) as store:
            end, charges = chain_end(store) or EMPTY_CHAIN, len(store.ledger())
            verify_chain(store.audit(), home.card())
        known, _ = _known_here(home)
        found = Restored(at="", from_entry=end.counter, known_entry=known, charges=charges)
        return _accept(home, found, card=home.card(), clock=clock or SystemClock())


def _check_chain(unpacked: Home, manifest: Manifest) -> None:
    """The backup's chain is whole, the node's, and ends where the manifest says; so does its ledger."""
    with contextlib.closing(unpacked.store()) as store:
        end = verify_chain(store.audit(), manifest.card)
    if (end, manifest.charges) != standing(unpacked.path / STORE):
        raise IntegrityError("the backup's ledger or log is not what its manifest says; take another")
    if end != manifest.head:
        raise IntegrityError(f"the backup's log ends at entry {end.counter}, not where its manifest says")


def _known_here(home: Home) -> tuple[int, int]:
    """The last entry that this home is known to have written, and the last one of a store that holds."""
    known = good = 0
    with contextlib.suppress(FedMedError):
        newest = HighWater(home.path / SECRETS).read()
        known = 0 if newest is None else newest.counter
    with contextlib.suppress(FedMedError), contextlib.closing(home.store()) as store:
        end = verify_chain(store.audit(), home.card()).counter
        store.ledger()
        good = end if end >= known else 0  # an old copy that was put back is no good store
        known = max(known, end)
    return known, good


def _require_key(home: Home, manifest: Manifest, *, lost_key: bool) -> None:
    """The key that signed the backup is here, or it is said to be lost."""
    present = home.identity_in(KEY_FILE)
    if lost_key or (present is not None and present.public == manifest.card):
        return
    what = "is not there" if present is None else "is another key than the one that signed this backup"
    raise ConfigError(
        f"{home.path / KEY_FILE} {what}: put your copy of that key there; if it is lost, give --lost-key"
    )


def _swap(home: Home, folder: Path) -> Path | None:
    """Put the unpacked files into the home; what was there goes aside, settings that are there stay."""
    aside = None
    number = 1
    while (home.path / f"before-restore-{number}").exists():
        number += 1
    try:
        for name in (STORE.parts[0], ARCHIVE):
            if (home.path / name).exists():
                aside = home.path / f"before-restore-{number}"
                private_folder.prepare_folder(aside, hidden=True)
                (home.path / name).rename(aside / name)
            if (folder / name).exists():
                (folder / name).rename(home.path / name)
        for name in (NODE_FILE, POLICY_FILE, ROSTER_FILE, CARD_FILE):
            if (folder / name).exists() and not (home.path / name).exists():
                (folder / name).rename(home.path / name)
        with private_folder.open_folder(home.path, hidden=True) as descriptor:
            os.fsync(descriptor)
    except OSError as fault:
        raise StoreFailed(
            f"{home.path} cannot be changed: {fault.strerror}; do the same again when that is mended"
        ) from fault
    return aside


def _accept(home: Home, found: Restored, *, card: PublicIdentity, clock: Clock) -> Restored:
    """Write that the store came back, end what must end, and take a new key where the old one is lost."""
    secrets = home.secrets()
    with contextlib.closing(home.store()) as store:
        store.accept()
        marks = restored_values(store.get(INDEX), found.words)
        identity = home.identity_in(KEY_FILE)
        if identity is None or identity.public != card:
            # The marks go with the first entry on this store: a crash behind it must not leave them out.
            new = replace_key(home, store, clock=clock, before=card, puts=marks)
            found = replace(found, new_card=new)
        logbook = Logbook(store, present_identity(home, store, usable=False), clock)
        end_epochs(
            logbook,
            secrets,
            secrets.epochs(),
            kind=AuditKind.RESTORED,
            detail=found.words,
            puts=marks,
        )
    return found
