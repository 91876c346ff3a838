"""The custodian's one socket that others can reach: it asks the kernel who is calling, and only then splices.

gRPC for Python does not tell a server who its peer on a unix socket is: with ``local_server_credentials``
the auth context says ``local`` and no user. So gRPC listens on sockets of its own in a folder that only the
custodian's user can enter, and this gate passes bytes on to one of them: to the relay's, or to the
operator's where the kernel says (SO_PEERCRED, SO_PEERGROUPS) that the caller is an operator.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import struct
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedmed.errors import ConfigError, StoreFailed
from fedmed.types import require
from fedmed_nodes.private_folder import FOLDER_MODE

SOCKET_MODE: Final = 0o660
SHARED_FOLDER_MODE: Final = 0o750
MOST_PATH_BYTES: Final = 107
"""Longest path of a unix socket on Linux (unix(7): 108 bytes with the final zero)."""

_CREDENTIALS: Final = struct.Struct("3i")
_SO_PEERGROUPS: Final = 59  # asm-generic/socket.h; Python's socket module has no name for it
_MOST_GROUP_BYTES: Final = 1024  # Python's bound for getsockopt
_READ_BYTES: Final = 1 << 16
_BACKLOG: Final = 256
_PAUSE_S: Final = 1.0  # of accepting, when the process has no file descriptor left
_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who is at the other end of a unix socket, as the kernel says.

    Attributes:
        uid: User at the time of connecting.
        groups: Its primary and supplementary groups.
    """

    uid: int
    groups: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Who may call.

    Attributes:
        owner: The custodian's user, who may do all; so may root, who could anyway.
        group: Group that may relay; None = nobody else.
        operators: Group that may also act as operator; None = nobody else.
    """

    owner: int
    group: int | None = None
    operators: int | None = None

    def is_operator(self, caller: Caller) -> bool:
        """Whether the caller may approve and look at budget and log."""
        return caller.uid in (self.owner, 0) or self.operators in caller.groups

    def may_relay(self, caller: Caller) -> bool:
        """Whether the caller may send messages of the protocol."""
        return self.is_operator(caller) or self.group in caller.groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Backends:
    """The sockets behind the gate."""

    relay: Path
    operator: Path


def caller_of(connection: socket.socket) -> Caller:
    """Ask the kernel who connected; it cannot be pretended."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, gid = _CREDENTIALS.unpack(packed)
    try:
        more = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_GROUP_BYTES)
    except OSError:  # more groups than fit, or an old kernel: the primary group alone counts
        more = b""
    groups = struct.unpack(f"{len(more) // 4}I", more[: len(more) // 4 * 4])
    return Caller(uid=uid, groups=frozenset({gid, *groups}))


def listen(path: Path, *, group: int | None) -> socket.socket:
    """Open the socket in a folder that others cannot enter, or only ``group``.

    Args:
        path: Where; the folder is made with mode 0700 (0750 and the group's with ``group``), the socket
            has mode 0660. A socket that a dead custodian left is replaced: hold the home's lock.
        group: Group that may connect.

    Raises:
        ConfigError: the path is too long, the folder is another user's, or something else has the name.
        StoreFailed: it cannot be made.
    """
    prepare_place(path, group=group)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Nobody can connect between bind and chmod: the mask leaves the socket to its owner.
        before = os.umask(0o177)
        try:
            listening.bind(os.fspath(path))
        finally:
            os.umask(before)
        if group is not None:
            os.chown(path, -1, group, follow_symlinks=False)
        path.chmod(SOCKET_MODE)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise StoreFailed(f"socket {path} cannot be opened: {error.strerror}") from error
    return listening


def prepare_place(path: Path, *, group: int | None) -> None:
    """Make a socket's folder or close it to everybody but the group; remove an old socket.

    Raises:
        ConfigError, StoreFailed: as `listen` says.
    """
    size = len(os.fsencode(path))
    require(size <= MOST_PATH_BYTES, f"socket path must be at most {MOST_PATH_BYTES} bytes, got {size}")
    folder = path.parent
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise ConfigError(f"{folder} must be a folder of the custodian's user and no link; name another")
        if group is not None:
            os.chown(folder, -1, group, follow_symlinks=False)
        folder.chmod(FOLDER_MODE if group is None else SHARED_FOLDER_MODE)
        if path.is_socket():
            path.unlink()
    except OSError as error:
        raise StoreFailed(f"folder {folder} cannot hold the socket: {error.strerror}") from error


class SocketGate:
    """Accepts, asks the kernel, and splices, in a thread of its own.

    Guarantees:
        Bytes of a caller who may not relay are never read: the connection is closed. At most
        ``most_connections`` are open, each with at most two buffers of 128 KiB; further ones are closed.
    """

    def __init__(
        self,
        listening: socket.socket,
        backends: Backends,
        *,
        admission: Admission,
        most_connections: int = 256,
        on_refusal: Callable[[Caller], None] = lambda _: None,
    ) -> None:
        """Prepare the gate; `start` opens it.

        Args:
            listening: A listening unix socket; the gate closes it.
            backends: The sockets behind.
            admission: Who may call.
            most_connections: Bound on open connections.
            on_refusal: Told of callers who were turned away.
        """
        self._listening = listening
        self._backends = backends
        self._admission = admission
        self._most = most_connections
        self._on_refusal = on_refusal
        self._open: dict[asyncio.Task[None], socket.socket] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="socket-gate", daemon=True)
        self._ready = threading.Event()
        self._end: asyncio.Event | None = None

    def start(self) -> None:
        """Begin to accept; returns when callers are served."""
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Close the socket and every connection; returns when all are closed."""
        if self._end is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join()

    def _run(self) -> None:
        """Serve until `stop`, then close what is open."""
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        """Listen until the end is asked for."""
        self._end = asyncio.Event()
        self._listening.setblocking(False)
        self._loop.add_reader(self._listening, self._accept)
        self._ready.set()
        await self._end.wait()
        self._loop.remove_reader(self._listening)
        self._listening.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await asyncio.sleep(0)  # the callbacks of the last tasks

    def _accept(self) -> None:
        """Take every connection that waits.

        Not asyncio's own server: one that is closed just after it accepted a connection forgets it open.
        """
        while True:
            try:
                connection, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # too many open files: asked again at once, the loop would spin
                self._loop.remove_reader(self._listening)
                self._loop.call_later(_PAUSE_S, self._listen_again)
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._serve_one(connection))
            self._open[task] = connection
            task.add_done_callback(self._forget)

    def _listen_again(self) -> None:
        """Accept after a pause, unless the gate has ended in between."""
        if self._listening.fileno() >= 0:
            self._loop.add_reader(self._listening, self._accept)

    def _forget(self, task: asyncio.Task[None]) -> None:
        """Close what a task leaves: one that is cancelled before its first step closes nothing."""
        self._open.pop(task).close()

    async def _serve_one(self, connection: socket.socket) -> None:
        """One connection, from its first byte to its last."""
        try:
            backend = self._backend(connection)
            if backend is not None:
                await self._pass_on(connection, backend)
        except (OSError, asyncio.CancelledError):
            pass  # either side went away, or the gate closes: both mean the end of this connection

    def _backend(self, connection: socket.socket) -> Path | None:
        """Where this caller's bytes go; None for nowhere."""
        caller = caller_of(connection)
        if not self._admission.may_relay(caller):
            self._on_refusal(caller)
            return None
        if len(self._open) > self._most:
            return None
        return self._backends.operator if self._admission.is_operator(caller) else self._backends.relay

    async def _pass_on(self, connection: socket.socket, backend: Path) -> None:
        """Splice both ways until one side ends: HTTP/2 never closes one direction alone."""
        async with _stream(sock=connection) as outer, _stream(path=backend) as inner:
            ways = {
                asyncio.create_task(_copy(outer[0], inner[1])),
                asyncio.create_task(_copy(inner[0], outer[1])),
            }
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)


@contextlib.asynccontextmanager
async def _stream(*, path: Path | None = None, sock: socket.socket | None = None) -> AsyncIterator[_Stream]:
    """A unix stream whose end closes it at once, sent or not, also when this task is cancelled."""
    reader, writer = await asyncio.open_unix_connection(path, sock=sock, limit=_READ_BYTES)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until there are no more; a slow reader slows its sender, nothing piles up."""
    while data := await reader.read(_READ_BYTES):
        writer.write(data)
        await writer.drain()
