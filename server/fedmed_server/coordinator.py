"""Runs the coordinator's three processes, starts again what ends, and knows whether they run."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

from fedmed.errors import ConfigError, ProcessFailed
from fedmed.supervision.processes import Children, children, end_group, is_listening, is_there, wait_until
from fedmed_server import control
from fedmed_server.files import private_folder, read_private, replace_private
from fedmed_server.home import Home
from fedmed_server.launcher import (
    front_door_program,
    superexec_program,
    superlink_program,
    write_bundle,
    write_flower_config,
)

START_S: Final = 90.0
_RESTART_PAUSE_S: Final = 2.0
_ORPHANS_S: Final = 10.0
_WATCH_S: Final = 0.5
_STATUS: Final = "processes.json"

Say = Callable[[str], None]


def prepare(home: Home) -> None:
    """Write what Flower reads: the app bundle and its command line's configuration."""
    write_bundle(home, version=version("fedmed"))
    write_flower_config(home)


def start(home: Home, running: Children) -> None:
    """Start SuperLink, SuperExec and front door, in that order, and wait until they listen.

    Args:
        home: The coordinator's home.
        running: Gets the processes.

    Raises:
        ProcessFailed: one of them ends, or does not listen within `START_S`; names its log.
        ConfigError: a port is taken.
    """
    addresses = home.addresses()
    places = {
        "the SuperLink": ("127.0.0.1", addresses.superlink_port),
        "the front door": (addresses.host, addresses.port),
    }
    for what, (host, port) in places.items():
        if is_listening(_reachable(host), port):
            raise ConfigError(f"port {port} for {what} is taken; stop what uses it, or name another port")
    prepare(home)
    running.start(superlink_program(home))
    _wait_for(running, *places["the SuperLink"], what="the SuperLink listens")
    running.start(superexec_program(home))
    running.start(front_door_program(home))
    _wait_for(running, *places["the front door"], what="the front door listens")


def serve(home: Home, *, say: Say) -> None:
    """Run the coordinator until SIGTERM or SIGINT, and start again what ends in between.

    Args:
        home: The coordinator's home.
        say: Gets lines for people.

    Raises:
        ConfigError: another process runs this home.
        ProcessFailed: the processes do not come up.

    Guarantees:
        However it is left, short of SIGKILL, none of its processes is left behind.
    """
    with _locked(home), _asked_to_stop() as is_asked, children() as running:
        _end_orphans(home)
        start(home, running)
        _note(home, running)
        told = control.register_nodes(home)
        say(f"registered {', '.join(told)}" if told else "all nodes are registered")
        addresses = home.addresses()
        say(f"the coordinator runs: front door {addresses.host}:{addresses.port}, folder {home.path}")
        while not is_asked():
            for program in running.ended():
                say(f"{program.name} ended and is started again; its log is {program.log}")
                time.sleep(_RESTART_PAUSE_S)
                running.start(program)
                _note(home, running)
            time.sleep(_WATCH_S)
        say("stopping")
    (home.path / "run" / _STATUS).unlink(missing_ok=True)


def is_running(home: Home) -> bool:
    """Whether a process runs this home now."""
    path = _lock_path(home)
    if not path.exists():
        return False
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        return not _can_lock(descriptor)
    finally:
        os.close(descriptor)


def running_processes(home: Home) -> dict[str, int]:
    """Process ids by name, ``coordinator`` among them; empty when nothing runs."""
    path = home.path / "run" / _STATUS
    if not is_running(home) or not path.exists():
        return {}
    return {str(name): int(pid) for name, pid in json.loads(read_private(path)).items()}


def stop(home: Home, *, timeout_s: float) -> bool:
    """Ask the coordinator to stop and wait for it; False when none runs.

    Raises:
        ProcessFailed: it still runs after ``timeout_s``.
    """
    pid = running_processes(home).get("coordinator")
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    while is_running(home):
        if time.monotonic() > deadline:
            raise ProcessFailed(f"the coordinator (process {pid}) still runs after {timeout_s:.0f} s")
        time.sleep(_WATCH_S)
    return True


def _end_orphans(home: Home) -> None:
    """End what a coordinator left that was killed itself: groups that it noted and that still name this home.

    The name is checked because a process id may have gone to somebody else.
    """
    path = home.path / "run" / _STATUS
    if not path.exists():
        return
    noted = [pid for name, pid in json.loads(read_private(path)).items() if name != "coordinator"]
    left = [pid for pid in noted if _names_home(pid, home)]
    for pid in left:
        end_group(pid, signal.SIGKILL)
    wait_until(
        lambda: not any(is_there(pid) for pid in left),
        timeout_s=_ORPHANS_S,
        what="what a killed coordinator left behind ends",
        while_waiting=lambda: None,
    )
    path.unlink()


def _names_home(pid: int, home: Home) -> bool:
    """Whether a process runs whose command line names this home."""
    try:
        return os.fsencode(home.path) in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _note(home: Home, running: Children) -> None:
    """Write who runs, for `running_processes`."""
    told = {"coordinator": os.getpid(), **running.pids()}
    replace_private(home.path / "run" / _STATUS, json.dumps(told).encode())


def _wait_for(running: Children, host: str, port: int, *, what: str) -> None:
    """Wait for a port; a process that ends meanwhile is an error at once."""
    wait_until(
        lambda: is_listening(_reachable(host), port),
        timeout_s=START_S,
        what=what,
        while_waiting=running.require_alive,
    )


def _reachable(host: str) -> str:
    """Where something that listens on ``host`` is reached from this machine."""
    return "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104  # compared, not bound


@contextlib.contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Turns SIGTERM and SIGINT into a question; the former handlers come back afterwards."""
    asked: list[int] = []
    signs = (signal.SIGTERM, signal.SIGINT)
    former = {sign: signal.signal(sign, lambda number, _: asked.append(number)) for sign in signs}
    try:
        yield lambda: bool(asked)
    finally:
        for sign, handler in former.items():
            signal.signal(sign, handler)


def _lock_path(home: Home) -> Path:
    """File whose lock the running coordinator holds."""
    return home.path / "run" / "lock"


@contextlib.contextmanager
def _locked(home: Home) -> Iterator[None]:
    """Hold the home; raises `ConfigError` while another process does."""
    private_folder(home.path / "run")
    descriptor = os.open(_lock_path(home), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _can_lock(descriptor):
            raise ConfigError(f"a coordinator already runs on {home.path}; stop it first")
        yield
    finally:
        os.close(descriptor)


def _can_lock(descriptor: int) -> bool:
    """Try to take the lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
