"""A node's backup: one signed file with ledger, audit log, policy, settings and roster; no key at all.

It leaves out the key shares on purpose (destroying an epoch's key is what keeps old contributions closed)
and the identity key: whoever reads a backup could sign as this province. Keep a copy of ``identity.key``
apart, sealed in a safe; without one, a restore takes a new key.

Threat model. Whoever reads a backup learns what the log and the studies say: no rows, no keys, and no
count below the cohort minimum. Whoever alters one is found by the manifest's signature and by the chain's.
An old backup is genuine, though: that it is old shows by its date, its counter, and what
`fedmed_nodes.restore` compares and writes down.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fedmed.crypto.card import card_document, read_card
from fedmed.crypto.identity import Identity, PublicIdentity, signed_bytes, verify
from fedmed.errors import ConfigError, IntegrityError, StoreFailed, UnknownVersion
from fedmed.governance.audit_chain import EMPTY_CHAIN, ChainHead
from fedmed_nodes import private_folder
from fedmed_nodes.home import CARD_FILE, ROSTER_FILE, Home
from fedmed_nodes.kept_store import KeptStore
from fedmed_nodes.node_config import NODE_FILE, POLICY_FILE
from fedmed_nodes.sqlite_store import SqliteStore

FORMAT: Final = "fedmed/backup/1"
DATABASE: Final = "store/custodian.db"
MOST_FILE_BYTES: Final = 1 << 36
_MANIFEST: Final = "manifest.json"
_SIGNATURE: Final = "manifest.sig"
_MOST_MANIFEST_BYTES: Final = 1 << 22
_SETTINGS: Final = (NODE_FILE, POLICY_FILE, ROSTER_FILE, CARD_FILE)
_NAMES: Final = re.compile(
    r"store/custodian\.db|audit/audit-[0-9]{8,18}-[0-9]{8,18}\.jsonl|" + "|".join(map(re.escape, _SETTINGS))
)
_BLOCK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup says of itself; the node's key signed it.

    Attributes:
        card: Of the key that signed.
        at: ISO 8601 time.
        head: Where the audit chain stood.
        charges: Records in the ledger.
        files: SHA-256 of every file in it, hexadecimal, by its name in the home.
    """

    card: PublicIdentity
    at: str
    head: ChainHead
    charges: int
    files: Mapping[str, str]

    def to_bytes(self) -> bytes:
        """The exact bytes that are signed."""
        document = {
            "format": FORMAT,
            "card": card_document(self.card),
            "at": self.at,
            "counter": self.head.counter,
            "head": self.head.head.hex(),
            "charges": self.charges,
            "files": dict(self.files),
        }
        return json.dumps(document, ensure_ascii=False, indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes, signature: bytes) -> Manifest:
        """Read a manifest and check its signature.

        Raises:
            UnknownVersion: another version wrote it.
            IntegrityError: it is cut or altered; `SignatureInvalid` if it is the signature.
        """
        try:
            told: dict[str, Any] = json.loads(data)  # Any: what JSON can say
            if told["format"] != FORMAT:
                raise UnknownVersion(f"the backup is not of format {FORMAT}: update FedMed to read it")
            card = read_card(json.dumps({"card": told["card"]}))
            head = ChainHead(counter=int(told["counter"]), head=bytes.fromhex(told["head"]))
            files = {str(name): str(digest) for name, digest in told["files"].items()}
            found = cls(card=card, at=str(told["at"]), head=head, charges=int(told["charges"]), files=files)
        except (AttributeError, KeyError, TypeError, ValueError, ConfigError):
            raise IntegrityError("the backup's manifest is cut or altered; take another backup") from None
        verify(card, signed_bytes("backup", data), signature)
        return found


def write_backup(home: Home, store: KeptStore, path: Path, *, identity: Identity, at: str) -> Manifest:
    """Write a backup; a custodian may run meanwhile.

    Args:
        home: The node's home.
        store: Its open store.
        path: The new file; mode 0600.
        identity: Signs the manifest.
        at: ISO 8601 time.

    Returns:
        What was written.

    Raises:
        ConfigError: something has that name.
        StoreFailed: it cannot be written; nothing is left of it.
        IntegrityError: the store does not hold.
    """
    with tempfile.TemporaryDirectory(dir=home.path, prefix=".backup-") as made:
        copy = Path(made) / "custodian.db"
        copy.touch(mode=private_folder.FILE_MODE)
        store.copy_to(copy)
        head, charges = standing(copy)
        files = {DATABASE: copy, **_others(home, store)}
        manifest = Manifest(
            card=identity.public,
            at=at,
            head=head,
            charges=charges,
            files={name: digest_of(file) for name, file in files.items()},
        )
        _write(path, manifest, files, identity=identity)
    return manifest


def read_backup(path: Path, folder: Path) -> Manifest:
    """Unpack a backup into an empty private folder, in the layout of a home, and check every file of it.

    Args:
        path: The backup.
        folder: Where to; whatever is raised, nothing outside it was touched.

    Raises:
        ConfigError: it cannot be read or is no backup.
        IntegrityError: something in it is missing, altered, or not what its manifest says.
        StoreFailed: the folder cannot be written.
    """
    try:
        with tarfile.open(path, "r:") as bundle:
            manifest = Manifest.from_bytes(_small(bundle, _MANIFEST), _small(bundle, _SIGNATURE))
            for name, digest in manifest.files.items():
                _unpack(bundle, name, folder / name)
                if digest_of(folder / name) != digest:
                    raise IntegrityError(f"{name} in the backup is not what its manifest says; take another")
    except tarfile.TarError:
        raise ConfigError(f"{path} is no backup of fedmed node backup, or is cut") from None
    except OSError as fault:
        raise StoreFailed(f"{path} cannot be unpacked: {fault.strerror}") from fault
    if DATABASE not in manifest.files:
        raise IntegrityError("the backup has no ledger; take another")
    return manifest


def standing(database: Path) -> tuple[ChainHead, int]:
    """Where a closed database's audit chain ends, and how many records its ledger has.

    Raises:
        IntegrityError: the ledger was altered.
    """
    with contextlib.closing(SqliteStore(database, create=False)) as store:
        last = store.audit(1)
        return (last[-1].chain_head if last else EMPTY_CHAIN), len(store.ledger())


def digest_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _others(home: Home, store: KeptStore) -> dict[str, Path]:
    """Sealed files of the log and the settings that are there; keys are not among them."""
    sealed = {f"audit/{file.name}": store.archive.path / file.name for file in store.archive.files()}
    settings = {name: home.path / name for name in _SETTINGS if (home.path / name).is_file()}
    return sealed | settings


def _write(path: Path, manifest: Manifest, files: Mapping[str, Path], *, identity: Identity) -> None:
    """Write the bundle with its manifest first; a bundle that was not finished is removed."""
    data = manifest.to_bytes()
    signature = identity.sign(signed_bytes("backup", data))
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, private_folder.FILE_MODE)
    except FileExistsError:
        raise ConfigError(f"{path} is there already; name another file") from None
    except OSError as fault:
        raise StoreFailed(f"{path} cannot be written: {fault.strerror}") from fault
    try:
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w:") as bundle:
                for name, small in ((_MANIFEST, data), (_SIGNATURE, signature)):
                    member = tarfile.TarInfo(name)
                    member.size = len(small)
                    bundle.addfile(member, io.BytesIO(small))
                for name, source in files.items():
                    bundle.add(source, arcname=name, recursive=False, filter=_nameless)
            file.flush()
            os.fsync(file.fileno())
    except OSError as fault:
        path.unlink(missing_ok=True)
        raise StoreFailed(f"{path} cannot be written: {fault.strerror}") from fault


def _nameless(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave users and times of this machine out."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _small(bundle: tarfile.TarFile, name: str) -> bytes:
    """A small member, read into memory; raises `IntegrityError`."""
    try:
        member = bundle.getmember(name)
    except KeyError:
        raise ConfigError(f"the file has no {name}: it is no backup of fedmed node backup") from None
    file = bundle.extractfile(member) if member.isreg() and member.size <= _MOST_MANIFEST_BYTES else None
    if file is None:
        raise IntegrityError(f"{name} in the backup is not what it should be")
    return file.read()


def _unpack(bundle: tarfile.TarFile, name: str, path: Path) -> None:
    """Write a member that a home may have; its own path, owner and mode count for nothing."""
    if _NAMES.fullmatch(name) is None:
        raise IntegrityError("the backup names a file that no backup holds; nothing was restored")
    try:
        member = bundle.getmember(name)
    except KeyError:
        raise IntegrityError(f"{name} is missing in the backup; take another") from None
    source = bundle.extractfile(member) if member.isreg() and member.size <= MOST_FILE_BYTES else None
    if source is None:
        raise IntegrityError(f"{name} in the backup is not what it should be")
    path.parent.mkdir(mode=private_folder.FOLDER_MODE, exist_ok=True)
    sealed = path.parent.name == "audit"
    mode = private_folder.SEALED_MODE if sealed else private_folder.FILE_MODE
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        shutil.copyfileobj(source, file, _BLOCK_BYTES)
        file.flush()
        os.fsync(file.fileno())
