"""Starts a ClientApp's process by a fork instead of from nothing: two seconds of imports less a message.

Flower starts the program ``flwr-clientapp`` for every message, found on the search path. `write_stub` puts
one of that name there, which asks a long-lived host, `serve`, to fork. The host has Flower and the relay
loaded and nothing else: no connection, no thread, no token. Every message still has a process of its own,
which ends with it. Where no host answers, the stub starts the real program.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, NoReturn

from fedmed.errors import ConfigError
from fedmed.supervision.processes import fresh_flower_home
from fedmed_nodes import private_folder

PROGRAM: Final = "flwr-clientapp"
_PRELOADED: Final = "fedmed_nodes.client_app"
_MOST_REQUEST_BYTES: Final = 1 << 16
_OUTPUTS: Final = 2
_WAITING: Final = 16
_PATIENCE_S: Final = 5.0
_STARTED: Final = b"1"

# Run with -I and -S, so that it loads next to nothing and takes nothing from its environment or folder.
_STUB: Final = """\
#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as host:
    try:
        host.connect({socket!r})
        socket.send_fds(host, [json.dumps(sys.argv[1:]).encode() + b"\\n"], [1, 2])
        is_started = host.recv(1) == b"1"
    except OSError:
        is_started = False
if not is_started:
    os.execv({program!r}, [{program!r}, *sys.argv[1:]])
"""


def write_stub(folder: Path, host: Path) -> None:
    """Write the stub ``flwr-clientapp`` into a folder that stands first on SuperExec's search path.

    Args:
        folder: Of the stub; mode 0700.
        host: Socket of the host.

    Raises:
        ConfigError: Flower's own program is not installed beside this Python, or the folder is not ours.
    """
    program = Path(sys.executable).parent / PROGRAM
    if not program.exists():
        raise ConfigError(f"there is no {program}; install flwr into the environment that runs FedMed")
    private_folder.prepare_folder(folder, hidden=True)
    text = _STUB.format(python=sys.executable, socket=str(host), program=str(program))
    (folder / PROGRAM).write_text(text, encoding="utf-8")
    (folder / PROGRAM).chmod(0o700)


def serve(host: Path) -> NoReturn:
    """Load Flower's ClientApp program and the relay, then fork for each request, until SIGTERM.

    Args:
        host: Socket to listen on; its folder must be closed to other users.

    Raises:
        ConfigError: the folder is open to others, or Flower's program is not installed.
        SystemExit: in a forked process, when its ClientApp is done.
    """
    private_folder.prepare_folder(host.parent, hidden=True)
    run = _program()
    importlib.import_module(_PRELOADED)
    gc.freeze()  # so that collections in the children leave the shared pages alone
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended children leave no trace
    host.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.bind(str(host))
        door.listen(_WAITING)
        while not _is_child_after(door):
            pass
    # Only a forked process comes here: as fresh as the real program, with its own arguments and outputs.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with fresh_flower_home():
        run()
    sys.exit(0)


def _is_child_after(door: socket.socket) -> bool:
    """Answer one request; True in the process that was forked for it."""
    asking, _ = door.accept()
    with asking:
        # A client that is silent must not keep the others waiting.
        asking.settimeout(_PATIENCE_S)
        try:
            arguments, outputs = _receive(asking)
        except (OSError, ValueError):
            return False
        try:
            if os.fork() == 0:
                for ours, theirs in enumerate(outputs, start=1):
                    os.dup2(theirs, ours)
                sys.argv = [PROGRAM, *arguments]
                return True
            asking.sendall(_STARTED)
        except OSError:  # no process to be had: the stub starts the real program and its error is seen there
            return False
        finally:
            for descriptor in outputs:
                os.close(descriptor)
    return False


def _receive(asking: socket.socket) -> tuple[list[str], list[int]]:
    """Arguments and output descriptors of a request; raises `ValueError` for anything else."""
    data, descriptors, _, _ = socket.recv_fds(asking, _MOST_REQUEST_BYTES, _OUTPUTS)
    try:
        while not data.endswith(b"\n") and len(data) < _MOST_REQUEST_BYTES:
            more = asking.recv(_MOST_REQUEST_BYTES - len(data))
            if not more:
                break
            data += more
        arguments = json.loads(data)
        if not isinstance(arguments, list) or not all(isinstance(a, str) for a in arguments):
            raise ValueError("arguments must be a list of texts")
        if len(descriptors) != _OUTPUTS:
            raise ValueError(f"a request must carry {_OUTPUTS} descriptors")
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    return arguments, descriptors


def _program() -> Callable[[], object]:
    """Flower's program as a function, found as its own start script finds it."""
    for entry in entry_points(group="console_scripts", name=PROGRAM):
        program: Callable[[], object] = entry.load()
        return program
    raise ConfigError(f"no program {PROGRAM} is installed; install flwr")


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a host: one argument, its socket. Writes the stub for it beside the socket, into ``bin``."""
    given = sys.argv[1:] if arguments is None else arguments
    host = Path(given[0])
    private_folder.prepare_folder(host.parent, hidden=True)
    write_stub(host.parent / "bin", host)
    serve(host)


if __name__ == "__main__":
    main()
