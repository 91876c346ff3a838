"""Runs the coordinator's three processes, starts again what ends, and knows whether they run."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Final

from fedmed.errors import ConfigError
from fedmed.supervision.keeper import Keeper, Kept, Say, asked_to_stop, keep, turns_of_main_thread
from fedmed.supervision.processes import Children, children, is_listening, wait_until
from fedmed.supervision.run_folder import RunFolder
from fedmed_server import control, reviews
from fedmed_server.files import private_folder
from fedmed_server.home import COORDINATOR, Home
from fedmed_server.launcher import (
    front_door_program,
    superexec_program,
    superlink_program,
    write_bundle,
    write_flower_config,
)

START_S: Final = 90.0


def prepare(home: Home) -> None:
    """Write what Flower reads: the app bundle and its command line's configuration."""
    write_bundle(home, version=version("fedmed"))
    write_flower_config(home)


def start(home: Home, running: Children, *, begin: Callable[[Kept], object] | None = None) -> None:
    """Start SuperLink, SuperExec and front door, in that order, and wait until they listen.

    Args:
        home: The coordinator's home.
        running: Gets the processes.
        begin: Starts each of them instead, and keeps it running.

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
    begin = begin or (lambda kept: running.start(kept.program))
    extra = {}
    if reviews.is_reviewed(home):
        port = reviews.free_port()
        begin(Kept(program=reviews.registry_program(home, port), sign=turns_of_main_thread))
        _wait_for(running, "127.0.0.1", port, what="the registry of reviewed bundles listens")
        extra = reviews.registry_environment(port)
    begin(Kept(program=superlink_program(home, extra=extra), sign=turns_of_main_thread))
    _wait_for(running, *places["the SuperLink"], what="the SuperLink listens")
    begin(Kept(program=superexec_program(home), sign=turns_of_main_thread))
    begin(Kept(program=front_door_program(home), sign=turns_of_main_thread))
    _wait_for(running, *places["the front door"], what="the front door listens")


def serve(home: Home, *, say: Say) -> None:
    """Run the coordinator until SIGTERM or SIGINT, and start again what ends or stands still in between.

    Args:
        home: The coordinator's home.
        say: Gets lines for people.

    Raises:
        ConfigError: another process runs this home.
        ProcessFailed: the processes do not come up.

    Guarantees:
        However it is left, by SIGKILL too, none of its processes is left behind.
    """
    folder = run_folder(home)
    private_folder(folder.path)
    with folder.locked(), asked_to_stop() as is_asked, children() as running:
        folder.end_orphans([home.path])
        keeper = Keeper(running, say=say)
        start(home, running, begin=keeper.start)
        folder.note(running.pids())
        told = control.register_nodes(home)
        say(f"registered {', '.join(told)}" if told else "all nodes are registered")
        addresses = home.addresses()
        say(f"the coordinator runs: front door {addresses.host}:{addresses.port}, folder {home.path}")
        keep(keeper, running, folder=folder, is_asked=is_asked)
        say("stopping")
    folder.forget()


def run_folder(home: Home) -> RunFolder:
    """Where the coordinator notes what it runs."""
    return RunFolder(path=home.path / "run", what=COORDINATOR, at=home.path)


def is_running(home: Home) -> bool:
    """Whether a process runs this home now."""
    return run_folder(home).is_running()


def running_processes(home: Home) -> dict[str, int]:
    """Process ids by name, ``coordinator`` among them; empty when nothing runs."""
    return run_folder(home).processes()


def stop(home: Home, *, timeout_s: float) -> bool:
    """Ask the coordinator to stop and wait for it; False when none runs.

    Raises:
        ProcessFailed: it still runs after ``timeout_s``.
    """
    return run_folder(home).stop(timeout_s=timeout_s)


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
