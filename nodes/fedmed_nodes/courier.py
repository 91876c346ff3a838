"""The courier: the Flower side of a node, and the folder that it lives in.

SuperNode, SuperExec and the host of warm relays carry bytes between the coordinator's front door and the
custodian's socket. What they carry is encrypted and signed by the custodian, so their folder holds nothing of
the custodian's, and may belong to another user, who needs no more than the socket's group::

    courier.toml     where the front door is, which port of this machine to use, where the custodian listens
    supernode        key by which the coordinator knows this SuperNode (0600)
    supernode.pub    its public half, one line
    superexec.secret what SuperExec proves itself with to the SuperNode (0600)
    ca.crt           the coordinator's authority: put there once the coordinator has handed it out
    flower/ relay/   Flower's own folder and the warm relays', made anew at each start
    log/ run/        logs; the lock and the processes of the supervisor
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from fedmed.crypto.supernode_key import make_supernode_key
from fedmed.errors import ConfigError, StoreFailed
from fedmed.supervision.run_folder import RunFolder
from fedmed_nodes import private_folder
from fedmed_nodes.node_config import load_settings

COURIER: Final = "courier"
"""Name of the folder inside a home, for a node whose processes all run as one user."""
COURIER_FILE: Final = "courier.toml"
AUTHORITY_FILE: Final = "ca.crt"
NODE: Final = "node"
DEFAULT_PORT: Final = 9094
_KEY, _PUBLIC, _SECRET = "supernode", "supernode.pub", "superexec.secret"
_SECRET_BYTES: Final = 32
_HOST: Final = r"([A-Za-z0-9.\-]+|\[[0-9a-fA-F:]+\])"
_MOST_CERTIFICATE_BYTES: Final = 1 << 16


class CourierFile(BaseModel):
    """``courier.toml``.

    Attributes:
        version: 1.
        front_door: ``host:port`` of the coordinator's front door; empty until it is known.
        port: Port of the SuperNode's own interface, on loopback only.
        socket: The custodian's socket.
        trusted: File that lists the keys of reviewers, one of whom must have signed a bundle; empty = any
            bundle may start, and reaches no more than the custodian lets it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1]
    front_door: Annotated[
        str, Field(pattern=r"^([A-Za-z0-9.\-]+:[0-9]{1,5}|\[[0-9a-fA-F:]+\]:[0-9]{1,5})?$")
    ] = ""
    port: Annotated[int, Field(ge=1, le=65535)] = DEFAULT_PORT
    socket: Annotated[str, Field(pattern=r"^/[^\x00-\x1f\x7f]*$")]
    trusted: Annotated[str, Field(pattern=r"^(/[^\x00-\x1f\x7f]*)?$")] = ""


@dataclass(frozen=True, slots=True)
class Courier:
    """A courier's folder; its files are read when they are asked for.

    Attributes:
        path: The folder, absolute, mode 0700.
    """

    path: Path

    def settings(self) -> CourierFile:
        """``courier.toml``; raises `ConfigError`."""
        return load_settings(self.path / COURIER_FILE, CourierFile, made_by="fedmed node courier")

    def require_ready(self) -> CourierFile:
        """The settings of a courier that can start.

        Raises:
            ConfigError: the front door or the authority's certificate is missing; says how to put it there.
        """
        settings = self.settings()
        if not settings.front_door:
            raise ConfigError(
                f"front_door is empty in {self.path / COURIER_FILE}: write the host:port that the "
                "coordinator named"
            )
        if not self.authority.is_file():
            raise ConfigError(f"there is no {self.authority}: copy the coordinator's tls/ca.crt there")
        if settings.trusted and not Path(settings.trusted).is_file():
            raise ConfigError(f"there is no {settings.trusted}, which {COURIER_FILE} names as trusted")
        return settings

    @property
    def key(self) -> Path:
        """The SuperNode's private key, OpenSSH."""
        return self.path / _KEY

    @property
    def secret(self) -> Path:
        """What SuperExec proves itself with."""
        return self.path / _SECRET

    @property
    def authority(self) -> Path:
        """Certificate that the front door's own is signed by."""
        return self.path / AUTHORITY_FILE

    @property
    def flower(self) -> Path:
        """Flower's own folder."""
        return self.path / "flower"

    @property
    def relay_host(self) -> Path:
        """Socket of the host of warm relays; beside it lies the stub that asks it."""
        return self.path / "relay" / "host"

    @property
    def run_folder(self) -> RunFolder:
        """Where the supervisor notes what it runs."""
        return RunFolder(path=self.path / "run", what=NODE, at=self.path)

    def log(self, name: str) -> Path:
        """Log file of one of the processes."""
        return self.path / "log" / f"{name}.log"

    def make_fresh(self) -> None:
        """Make the folders that processes write to, empty of all that Flower kept from earlier starts.

        Flower keeps apps unpacked in its folder and uses them again without looking at their digest
        (FLOWER.md, hole 6): what an app left there must not be what the next start runs.

        Raises:
            ConfigError: a folder is open to others or another user's.
            StoreFailed: one cannot be written.
        """
        try:
            for old in (self.flower, self.relay_host.parent):
                if old.exists():
                    shutil.rmtree(old)
        except OSError as error:
            raise StoreFailed(f"{self.path} cannot be written: {error.strerror}") from error
        for folder in (self.flower, self.path / "log"):
            private_folder.prepare_folder(folder, hidden=True)


def create_courier(
    path: Path, name: str, *, settings: CourierFile, authority: Path | None, user: pwd.struct_passwd
) -> str:
    """Make a courier's folder with new keys.

    Args:
        path: The folder; it must not be a courier's yet.
        name: The node's name, to end the public key's line.
        settings: What to write into ``courier.toml``.
        authority: The coordinator's ``ca.crt`` when it is known already.
        user: Whose the folder shall be; root makes it for another.

    Returns:
        The SuperNode's public key, one line in OpenSSH format, for the coordinator.

    Raises:
        ConfigError: there is one already, the name is not one word, or the certificate cannot be read.
        StoreFailed: the folder cannot be written.

    Guarantees:
        The folder has mode 0700, the key and the secret 0600 from their first moment; nothing is overwritten.
    """
    key = make_supernode_key(name)
    files = {
        _KEY: key.private_key,
        _PUBLIC: key.public_key,
        _SECRET: os.urandom(_SECRET_BYTES),
        COURIER_FILE: _settings_text(settings).encode(),
    }
    if authority is not None:
        files[AUTHORITY_FILE] = _certificate(authority)
    private_folder.prepare_folder(path, hidden=True)
    try:
        with private_folder.open_folder(path, hidden=True) as folder:
            for file, data in files.items():
                private_folder.create_file(file, data, folder=folder)
                os.chown(file, user.pw_uid, user.pw_gid, dir_fd=folder)
            os.chown(folder, user.pw_uid, user.pw_gid)
    except FileExistsError:
        raise ConfigError(f"{path} is a courier's folder already; name another folder") from None
    except OSError as fault:
        raise StoreFailed(f"{path} cannot be written: {fault.strerror}") from fault
    return key.public_key.decode().strip()


def _certificate(path: Path) -> bytes:
    """A certificate to copy."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_CERTIFICATE_BYTES)
    except OSError as fault:
        raise ConfigError(f"cannot read {path}: {fault.strerror}; name the coordinator's ca.crt") from None
    if b"BEGIN CERTIFICATE" not in data:
        raise ConfigError(f"{path} is no certificate in PEM form; name the coordinator's ca.crt")
    return data


def _settings_text(settings: CourierFile) -> str:
    """``courier.toml``."""
    return (
        "# The Flower side of this node. Unknown keys are refused.\n"
        "version = 1\n"
        f"front_door = {json.dumps(settings.front_door)}   # host:port that the coordinator named\n"
        f"port = {settings.port}   # the SuperNode's own interface, on loopback only\n"
        f"socket = {json.dumps(settings.socket)}   # where the custodian listens\n"
        f"trusted = {json.dumps(settings.trusted)}   # file of reviewers' keys; empty = any bundle starts\n"
    )
