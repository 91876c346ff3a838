"""A custodian behind a socket, for tests that kill its process (no tests here).

Run as ``python one_custodian.py FOLDER``: every line read from standard input starts a life, that is, a
forked process with a new custodian on the stores in FOLDER. It writes its process id to standard output
and answers on a socket whose name is the line.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import numpy as np

from fedmed.crypto.lattice_secret import ring
from fedmed.protocol.steps import PhaseKind, Reply
from fedmed_nodes.custodian import Custodian, Effects, Settings
from fedmed_nodes.parts import pack_parts, unpack_parts
from fedmed_nodes.secret_store import FileSecretStore
from fedmed_nodes.sqlite_store import SqliteStore
from tests.federation import DATASET, OPEN_POLICY, SetClock, identity_of, roster_of, small_source

VICTIM = 1


def send(connection: socket.socket, *parts: bytes) -> None:
    """Send one message."""
    data = pack_parts(parts)
    connection.sendall(len(data).to_bytes(8, "little") + data)


def receive(connection: socket.socket) -> tuple[bytes, ...]:
    """Take one message; `EOFError` when the other side is gone."""
    return unpack_parts(_exactly(connection, int.from_bytes(_exactly(connection, 8), "little")))


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise EOFError("the other side is gone")
        data += more
    return data


def ask(connection: socket.socket, kind: PhaseKind, *parts: bytes) -> Reply:
    """Give one message to the custodian behind a socket."""
    send(connection, kind.value.encode(), *parts)
    code, *answer = receive(connection)
    return Reply(code=code.decode()) if code else Reply(parts=tuple(answer))


def stores(folder: Path) -> tuple[SqliteStore, FileSecretStore]:
    """The stores of the custodian in a folder."""
    return SqliteStore(folder / "custodian.db"), FileSecretStore(folder / "keys")


def custodian_on(store: SqliteStore, secrets: FileSecretStore) -> Custodian:
    """The custodian at `VICTIM` of a federation of four."""
    settings = Settings(
        identity=identity_of(VICTIM),
        roster=roster_of(4, threshold=3, colluders=1),
        policy=OPEN_POLICY,
        datasets={DATASET: small_source(VICTIM)},
        response_tick_s=0.0,
    )
    return Custodian(settings, Effects(store=store, secrets=secrets, clock=SetClock()))


def warm_up(folder: Path) -> None:
    """Work out the studies, prove the machine and load the ring once, before the first fork."""
    store, secrets = stores(folder)
    custodian = custodian_on(store, secrets)
    for digest in custodian.studies.known():
        custodian.studies.get(bytes.fromhex(digest)).half.prove()
    ring().factor(np.zeros((4, 8192), np.uint64))
    store.close()


def live(name: str, folder: Path) -> None:
    """One life: answer until killed."""
    custodian = custodian_on(*stores(folder))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen(1)
        sys.stdout.write(f"{os.getpid()}\n")
        sys.stdout.flush()
        connection, _ = listener.accept()
        while True:
            kind, *parts = receive(connection)
            reply = custodian.answer(PhaseKind(kind.decode()), parts)
            send(connection, reply.code.encode(), *reply.parts)


def main() -> None:
    """Give a new life for every line; imports are paid for once."""
    warm_up(Path(sys.argv[1]))
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                live(line.strip(), Path(sys.argv[1]))
            finally:
                os._exit(1)
        os.waitpid(child, 0)
        sys.stdout.write("dead\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
