"""Key shares on disk: one encrypted file an epoch, and its key in a file of its own.

Destroying an epoch means destroying its 32-byte key: whatever copies of the large file remain on the disk
or in a backup stay closed. That holds only while backups leave the key out, hence the folder's tag and note.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedmed.errors import IntegrityError, StoreFailed, UnknownVersion
from fedmed.types import digest
from fedmed_nodes import private_folder
from fedmed_nodes.stores import MAX_VALUE_BYTES, require_epoch_id, require_secret

_VERSION: Final = b"\x01"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_MOST_BYTES: Final = 1 + _NONCE_BYTES + MAX_VALUE_BYTES + _TAG_BYTES
_SEALED: Final = re.compile(r"((?:[0-9a-f]{2}){1,64})\.sealed")

# The first line is the signature of the Cache Directory Tagging Specification (bford.info/cachedir), which
# GNU tar, restic, borg and others honour; they look at the first 43 bytes.
_NOTES: Final = {
    "CACHEDIR.TAG": (
        "Signature: 8a477f597d28d172789f06886806bc55\n"
        "# Not a cache: FedMed key shares. Leave this folder out of every backup and snapshot.\n"
    ),
    "README": (
        "FedMed key shares. Leave this folder out of every backup, snapshot and copy.\n\n"
        "Destroying an epoch's key is what keeps old contributions closed for good; a copy undoes that.\n"
        "newest-entry says up to where this node's log was written: a copy of it would hide an old store.\n"
        "If the folder is lost: fedmed node restore HOME --accept-store, then hold a new ceremony.\n"
    ),
}


class FileSecretStore:
    """A `fedmed_nodes.stores.SecretStore` in a folder of its own.

    Guarantees:
        The folder has mode 0700 and every file 0600. `put` is atomic and durable. Every write draws a fresh
        96-bit nonce, and a key serves one epoch, so no nonce returns. After `destroy` the key is overwritten
        and gone before the encrypted file is removed. Processes and threads exclude each other by a lock.

    Raises:
        ConfigError: the folder is a link, another user's, or open to others.
        IntegrityError: on `get`, the file or its key was altered or swapped with another epoch's.
        StoreFailed: the disk is full, read-only or failing; an older secret is still there.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder
        private_folder.prepare_folder(folder, hidden=True)
        with self._locked() as descriptor:
            for name, text in _NOTES.items():
                private_folder.replace_file(name, text.encode(), folder=descriptor)

    def put(self, epoch_id: bytes, secret: bytes) -> None:
        """See `SecretStore.put`."""
        require_secret(epoch_id, secret)
        with self._locked() as folder:
            key = self._key(epoch_id, folder) or self._new_key(epoch_id, folder)
            nonce = os.urandom(_NONCE_BYTES)
            sealed = AESGCM(key).encrypt(nonce, secret, _associated(epoch_id))
            private_folder.replace_file(_sealed_name(epoch_id), _VERSION + nonce + sealed, folder=folder)

    def get(self, epoch_id: bytes) -> bytes | None:
        """See `SecretStore.get`."""
        require_epoch_id(epoch_id)
        with self._locked() as folder:
            key = self._key(epoch_id, folder)
            name = _sealed_name(epoch_id)
            data = private_folder.read_file(name, folder=folder, path=self._path, most=_MOST_BYTES)
        if key is None or data is None:
            return None
        if data[:1] != _VERSION:
            raise UnknownVersion(f"{self._path / name} is of another version: update FedMed to read it")
        try:
            body = data[1 + _NONCE_BYTES :]
            return AESGCM(key).decrypt(data[1 : 1 + _NONCE_BYTES], body, _associated(epoch_id))
        except (InvalidTag, ValueError):
            raise IntegrityError(
                f"{self._path / name} or its key was altered or cut; hold a new ceremony"
            ) from None

    def destroy(self, epoch_id: bytes) -> None:
        """See `SecretStore.destroy`."""
        require_epoch_id(epoch_id)
        with self._locked() as folder:
            private_folder.destroy_file(_key_name(epoch_id), folder=folder)
            for name in (_sealed_name(epoch_id), f"{_sealed_name(epoch_id)}.new"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)
            os.fsync(folder)

    def epochs(self) -> frozenset[bytes]:
        """See `SecretStore.epochs`."""
        with self._locked() as folder:
            with os.scandir(folder) as files:
                matches = [match for file in files if (match := _SEALED.fullmatch(file.name))]
            ids = (bytes.fromhex(match[1]) for match in matches)
            return frozenset(epoch_id for epoch_id in ids if self._key(epoch_id, folder) is not None)

    def _key(self, epoch_id: bytes, folder: int) -> bytes | None:
        """Read an epoch's key; None if there is none, or only what a crash left of one."""
        name = _key_name(epoch_id)
        key = private_folder.read_file(name, folder=folder, path=self._path, most=_KEY_BYTES)
        # A cut key never sealed anything (it is flushed first); an all-zero one was being destroyed.
        return key if key is not None and len(key) == _KEY_BYTES and any(key) else None

    def _new_key(self, epoch_id: bytes, folder: int) -> bytes:
        """Draw an epoch's key and put it on disk before anything is sealed with it."""
        private_folder.destroy_file(_key_name(epoch_id), folder=folder)
        key = os.urandom(_KEY_BYTES)
        private_folder.create_file(_key_name(epoch_id), key, folder=folder)
        return key

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a FileSecretStore stands for key shares and is neither pickled nor copied")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the folder's lock, across processes and threads; turn disk errors into `StoreFailed`."""
        try:
            with private_folder.open_folder(self._path, hidden=True) as folder:
                fcntl.flock(folder, fcntl.LOCK_EX)  # let go when the descriptor closes
                yield folder
        except OSError as error:
            raise StoreFailed(
                f"key shares in {self._path} cannot be kept or read: {error.strerror}"
            ) from error


def _associated(epoch_id: bytes) -> bytes:
    """Bind a sealed file to its version and epoch."""
    return digest("fedmed/secret-file", _VERSION, epoch_id)


def _key_name(epoch_id: bytes) -> str:
    """Name of an epoch's key file."""
    return f"{epoch_id.hex()}.key"


def _sealed_name(epoch_id: bytes) -> str:
    """Name of an epoch's encrypted file."""
    return f"{epoch_id.hex()}.sealed"
