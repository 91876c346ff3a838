"""Files of the coordinator that only its own user may read, and durable steps on them."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fedmed.errors import ConfigError, IntegrityError, StoreFailed, UnknownVersion
from fedmed.types import DIGEST_BYTES, digest

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_MAGIC: Final = b"fedmed-run 2\n"


def private_folder(path: Path) -> Path:
    """Make a folder with mode 0700, or check the one that is there.

    Raises:
        ConfigError: it is a link or no folder, another user's, or open to others.
        StoreFailed: it cannot be made.
    """
    try:
        path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        status = path.lstat()
    except FileExistsError:
        raise ConfigError(f"{path} must be a folder; name another one") from None
    except OSError as error:
        raise StoreFailed(f"folder {path} cannot be made: {error.strerror}") from error
    _require_ours(path, status, folder=True)
    return path


def create_private(path: Path, data: bytes) -> None:
    """Write a new file with mode 0600 and flush it and its name to disk.

    Raises:
        ConfigError: something has that name.
        StoreFailed: it cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(path, flags, FILE_MODE), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _flush_name(path)
    except FileExistsError:
        raise ConfigError(f"{path} exists already; move it away first") from None
    except OSError as error:
        raise StoreFailed(f"{path} cannot be written: {error.strerror}") from error


def replace_private(path: Path, data: bytes) -> None:
    """Write a file so that after a crash there is the old one or the new one, whole; raises `StoreFailed`."""
    waiting = path.with_name(f"{path.name}.new")
    try:
        with contextlib.suppress(FileNotFoundError):  # left by a crash
            waiting.unlink()
        create_private(waiting, data)
        waiting.replace(path)
        _flush_name(path)
    except OSError as error:
        raise StoreFailed(f"{path} cannot be written: {error.strerror}") from error


def read_private(path: Path) -> bytes:
    """Read a file that only its owner may read.

    Raises:
        ConfigError: it is missing, a link, another user's or open to others.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            _require_ours(path, os.fstat(file.fileno()), folder=False)
            return file.read()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read and must be no link: {error.strerror}") from error


def read_text(path: Path) -> str:
    """Read a text file that somebody named on the command line; raises `ConfigError`."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as fault:
        raise ConfigError(f"cannot read {path}: {fault.strerror}; name another file") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text; save it as UTF-8") from None


def pack(head: Mapping[str, Any], parts: Sequence[bytes]) -> bytes:  # Any: what JSON can say
    """Put a JSON head and binary parts into one checked record.

    Returns:
        Magic and version, a line of JSON, the parts, and a digest of all before it.
    """
    line = json.dumps({"head": dict(head), "sizes": [len(p) for p in parts]}).encode() + b"\n"
    body = _MAGIC + line + b"".join(parts)
    return body + digest("fedmed/run-record", body)


def unpack(data: bytes) -> tuple[dict[str, Any], tuple[bytes, ...]]:
    """Read what `pack` wrote.

    Raises:
        UnknownVersion: another version wrote it.
        IntegrityError: it is cut or altered.
    """
    if not data.startswith(_MAGIC):
        raise UnknownVersion("a run's record must be of version 2; resume with the FedMed that wrote it")
    body = data[:-DIGEST_BYTES]
    if digest("fedmed/run-record", body) != data[-DIGEST_BYTES:]:
        raise IntegrityError("a run's record is cut or altered; start the study anew")
    line, _, rest = body[len(_MAGIC) :].partition(b"\n")
    told = json.loads(line)
    parts, start = [], 0
    for size in told["sizes"]:
        parts.append(rest[start : start + size])
        start += size
    return told["head"], tuple(parts)


def _flush_name(path: Path) -> None:
    """Make a name durable."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _require_ours(path: Path, status: os.stat_result, *, folder: bool) -> None:
    """Raise `ConfigError` unless it is of the right kind, ours and closed to everybody else."""
    right = stat.S_ISDIR(status.st_mode) if folder else stat.S_ISREG(status.st_mode)
    if not right:
        raise ConfigError(f"{path} must be a {'folder' if folder else 'regular file'} and no link")
    if status.st_uid != os.geteuid():
        raise ConfigError(f"{path} must belong to the coordinator's user; chown it")
    if status.st_mode & _OTHERS:
        mode = FOLDER_MODE if folder else FILE_MODE
        raise ConfigError(f"{path} must be closed to group and others; chmod {mode:o} it")
