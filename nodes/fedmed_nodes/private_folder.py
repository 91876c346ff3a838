"""A folder that only the custodian's user may change, and durable steps inside it.

All steps go through the folder's descriptor and follow no link, so a path swapped in the meantime leads
nowhere else.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fedmed.errors import ConfigError, IntegrityError, StoreFailed

FILE_MODE: Final = 0o600
SEALED_MODE: Final = 0o400
FOLDER_MODE: Final = 0o700
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def prepare_folder(path: Path, *, hidden: bool) -> None:
    """Make a folder with mode 0700, or check the one that is there.

    Args:
        path: The folder; its parents are made as well.
        hidden: Refuse a folder that others may read, not only one that they may change.

    Raises:
        ConfigError: it is a link or no folder, another user's, or open to others.
        StoreFailed: it cannot be made.
    """
    try:
        path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        with open_folder(path, hidden=hidden):
            pass
        with contextlib.suppress(PermissionError):  # a parent that we may not read was not made by us
            parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(parent)
            finally:
                os.close(parent)
    except FileExistsError:
        raise ConfigError(f"{path} must be a folder; name another one") from None
    except OSError as error:
        raise StoreFailed(f"folder {path} cannot be made: {error.strerror}") from error


@contextlib.contextmanager
def open_folder(path: Path, *, hidden: bool) -> Iterator[int]:
    """Give a descriptor of a folder that is checked as in `prepare_folder`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"{path} must be a folder and no link: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid():
            raise ConfigError(_foreign(f"folder {path}", status))
        if status.st_mode & (_OTHERS if hidden else _OTHERS_WRITE):
            raise ConfigError(f"folder {path} must be closed to group and others; chmod {FOLDER_MODE:o} it")
        yield descriptor
    finally:
        os.close(descriptor)


def _foreign(what: str, status: os.stat_result) -> str:
    """What is said of another user's file: whoever runs a command as root must not be told to take it."""
    own, ours = status.st_uid, os.geteuid()
    return f"{what} belongs to user {own}, this process is user {ours}: run it as user {own}, or chown it"


def require_private_file(path: Path, status: os.stat_result) -> None:
    """Raise `ConfigError` unless a file is regular, ours and closed to everybody else."""
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{path} must be a regular file, no link and no device; move it away")
    if status.st_uid != os.geteuid():
        raise ConfigError(_foreign(str(path), status))
    if status.st_mode & _OTHERS:
        raise ConfigError(f"{path} must be closed to group and others; chmod {FILE_MODE:o} it")


def create_file(name: str, data: bytes, *, folder: int, mode: int = FILE_MODE) -> None:
    """Write a new file and flush it and its name to disk.

    Args:
        name: The file's name in the folder.
        data: What to write.
        folder: The folder's descriptor.
        mode: The file's mode from its first moment; `SEALED_MODE` for what nobody writes again.

    Raises:
        FileExistsError: something has that name.
        OSError: it cannot be written; what was begun is removed.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, mode, dir_fd=folder)
    try:
        try:
            _write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            destroy_file(name, folder=folder)
        raise
    os.fsync(folder)


def replace_file(name: str, data: bytes, *, folder: int) -> None:
    """Write a file so that after a crash there is either the old one or the new one, whole.

    Two writers of one name must exclude each other.
    """
    waiting = f"{name}.new"
    with contextlib.suppress(FileNotFoundError):  # left by a crash
        os.unlink(waiting, dir_fd=folder)
    create_file(waiting, data, folder=folder)
    os.rename(waiting, name, src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)


def read_file(name: str, *, folder: int, path: Path, most: int) -> bytes | None:
    """Read a private file of at most ``most`` bytes; None if there is none.

    Args:
        name: The file's name in the folder.
        folder: The folder's descriptor.
        path: The folder's path, for messages.
        most: Bound in bytes, checked before anything is read.

    Raises:
        ConfigError: it is a link, another user's or open to others.
        IntegrityError: it is longer.
    """
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path / name} cannot be opened and must be no link: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        require_private_file(path / name, status)
        if status.st_size > most:
            raise IntegrityError(f"{path / name} is longer than {most} bytes: it is not ours or was altered")
        return file.read(most)


def destroy_file(name: str, *, folder: int) -> None:
    """Overwrite a file, remove it, and flush both; a file that is not there is no error.

    A disk may keep old blocks (flash, copy-on-write, snapshots): callers destroy small keys, not secrets.
    """
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return
    try:
        _write_all(descriptor, bytes(os.fstat(descriptor).st_size))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.unlink(name, dir_fd=folder)
    os.fsync(folder)


def _write_all(descriptor: int, data: bytes) -> None:
    """Write every byte: one call may write fewer."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
