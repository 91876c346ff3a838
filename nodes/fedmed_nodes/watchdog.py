"""Runs all processes of a node together, and starts again what ends or stands still."""

from __future__ import annotations

import pwd
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fedmed.errors import ConfigError, CustodianBusy, CustodianUnreachable
from fedmed.supervision.keeper import (
    Keeper,
    Kept,
    Say,
    SignOfLife,
    asked_to_stop,
    keep,
    turns_of_main_thread,
)
from fedmed.supervision.processes import Children, Program, children, is_listening, wait_until
from fedmed_nodes import private_folder
from fedmed_nodes.courier import COURIER, COURIER_FILE, Courier
from fedmed_nodes.custodian_client import SocketCustodian
from fedmed_nodes.home import Home, account, become
from fedmed_nodes.launcher import (
    CUSTODIAN,
    custodian_program,
    relay_program,
    superexec_program,
    supernode_program,
)
from fedmed_nodes.node_config import NODE_FILE, socket_of

START_S: Final = 300.0
"""Longest wait for a custodian that starts: it loads torch and proves that rows stay apart."""
CUSTODIAN_QUIET_S: Final = 180.0
_ASK_EVERY_S: Final = 10.0
_ANSWERS_WITHIN_S: Final = 5.0


def up(place: Path, *, courier: Path | None, say: Say) -> None:
    """Run a node until SIGTERM or SIGINT.

    Args:
        place: A home, to run its custodian and its courier; or a courier's folder, to run that alone, where
            the custodian is a service of its own.
        courier: The home's courier, where it lies elsewhere than in the home.
        say: Gets lines for people.

    Raises:
        ConfigError: another supervisor runs the node, its port is taken, or its settings are not complete.
        ProcessFailed: the custodian does not come up; names its log.

    Guarantees:
        Started as root, it is the home's user before it starts anything, for good. However it is left, by
        SIGKILL too, none of its processes is left behind; should one be, the next start ends it.
    """
    home, flower = parts_of(place, courier)
    user = pwd.getpwuid(flower.path.stat().st_uid) if home is None else account(home.node().user)
    become(user, home=flower.path)
    settings = flower.require_ready()
    folder = flower.run_folder
    for path in (flower.path, folder.path):
        private_folder.prepare_folder(path, hidden=True)
    with folder.locked(), asked_to_stop() as is_asked, children() as running:
        folder.end_orphans([flower.path, *([home.path] if home else [])])
        flower.make_fresh()
        if is_listening("127.0.0.1", settings.port):
            raise ConfigError(f"port {settings.port} is taken; name another one in {COURIER_FILE}")
        keeper = Keeper(running, say=say)
        if home is not None:
            _start_custodian(home, flower, keeper, running, is_asked=is_asked)
        if not is_asked():
            keeper.start(Kept(program=relay_program(flower)))
            keeper.start(Kept(program=supernode_program(flower), sign=turns_of_main_thread))
            keeper.start(Kept(program=superexec_program(flower), sign=turns_of_main_thread))
            say(f"node {place} runs; front door {settings.front_door}; logs in {flower.path / 'log'}")
            keep(keeper, running, folder=folder, is_asked=is_asked)
        say("stopping")
    folder.forget()


def planned(place: Path, *, courier: Path | None) -> tuple[Program, ...]:
    """What `up` would run, in the order of its start; arguments and `ConfigError` as there."""
    home, flower = parts_of(place, courier)
    flower.require_ready()
    custodian = () if home is None else (custodian_program(home.path, log=flower.log(CUSTODIAN)),)
    return (*custodian, relay_program(flower), supernode_program(flower), superexec_program(flower))


def parts_of(place: Path, courier: Path | None) -> tuple[Home | None, Courier]:
    """The home at a place, None where it is a courier's folder; and the courier.

    Raises:
        ConfigError: it is neither.
    """
    if (place / NODE_FILE).exists():
        return Home(place.absolute()), Courier((courier or place / COURIER).absolute())
    if courier is None and (place / COURIER_FILE).exists():
        return None, Courier(place.absolute())
    raise ConfigError(
        f"{place} has neither {NODE_FILE} nor {COURIER_FILE}; make a home with fedmed node init, or a "
        "courier's folder with fedmed node courier"
    )


def _start_custodian(
    home: Home, courier: Courier, keeper: Keeper, running: Children, *, is_asked: Callable[[], bool]
) -> None:
    """Start the custodian and wait until it listens, or until it is time to stop."""
    path = socket_of(home.node(), home.path)
    program = custodian_program(home.path, log=courier.log(CUSTODIAN))
    keeper.start(Kept(program=program, sign=answers(path), quiet_s=CUSTODIAN_QUIET_S))
    courier.run_folder.note(running.pids())
    wait_until(
        lambda: is_asked() or accepts(path),
        timeout_s=START_S,
        what=f"the custodian of {home.path} listens (log: {program.log})",
        while_waiting=running.require_alive,
    )


def accepts(path: Path) -> bool:
    """Whether somebody accepts connections on a unix socket."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(str(path))
    except OSError:
        return False
    return True


def answers(path: Path) -> SignOfLife:
    """A custodian's sign of life: how often it answered; it is asked every ten seconds, also while it trains.

    Args:
        path: Its socket.
    """
    answered, next_at = 0, 0.0

    def sign(_: int) -> object:
        nonlocal answered, next_at
        if time.monotonic() >= next_at:
            client = SocketCustodian(path, patience_s=_ANSWERS_WITHIN_S, deadline_s=_ANSWERS_WITHIN_S)
            try:
                client.catalogue()
                answered += 1
            except CustodianBusy:
                answered += 1
            except CustodianUnreachable:
                pass
            finally:
                client.close()
            next_at = time.monotonic() + _ASK_EVERY_S
        return answered

    return sign
