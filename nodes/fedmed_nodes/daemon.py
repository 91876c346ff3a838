"""The custodian as a process: it gives up root, opens the home, serves until it is told to stop."""

from __future__ import annotations

import grp
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fedmed.data.nhsa.standing import quality_refusal
from fedmed.errors import ConfigError
from fedmed.governance.policy import Policy
from fedmed_nodes.custodian import Custodian, Effects, Settings
from fedmed_nodes.custodian_service import CustodianServer
from fedmed_nodes.home import Home, account, become, seated
from fedmed_nodes.housekeeping import Housekeeper
from fedmed_nodes.kept_store import KeptStore
from fedmed_nodes.key_desk import present_identity
from fedmed_nodes.node_config import DatasetTable, NodeFile, socket_of
from fedmed_nodes.notes import Notes
from fedmed_nodes.office import Office
from fedmed_nodes.registration import open_source
from fedmed_nodes.socket_gate import Admission
from fedmed_nodes.sources import RowSource

Say = Callable[[str], None]
_TIDY_S: Final = 1.0


def serve(path: Path, *, say: Say) -> None:
    """Run the custodian of a home until SIGTERM or SIGINT.

    Args:
        path: The home.
        say: Told what the operator may know: names, codes and user numbers.

    Raises:
        FedMedError: the custodian cannot start; nothing was changed.

    Guarantees:
        Started as root, it is the home's user before a key, a store or a row is opened, for good. No
        argument, variable or file reaches noise or keys: `open_office` takes the system's entropy.
    """
    home = Home(path.absolute())
    node = home.node()
    become(account(node.user), home=home.path)
    admission = admission_of(node)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with home.locked():
        store, notes = home.store(), Notes()
        office = open_office(home, node, store=store)
        keeper = Housekeeper(office, store, notes, say=say)
        server = CustodianServer(office, socket_of(node, home.path), inner=home.inner, admission=admission)
        withheld = {card.name: card.withheld for card in office.catalogue().datasets if card.withheld}
        keeper.started(
            roster_digest=node.roster_digest,
            policy_digest=home.policy().digest.hex(),
            withheld=tuple(withheld),
        )
        try:
            server.start(notes=notes)
            say(f"custodian {home.path} serves on {socket_of(node, home.path)}")
            for name, cause in withheld.items():
                say(f"dataset {name} is not served: {cause}")
            while not stop.wait(_TIDY_S):
                keeper.tidy()
            say("stopping: messages under way are finished")
        finally:
            server.stop()
            keeper.stopped()


def open_office(home: Home, node: NodeFile, *, store: KeptStore | None = None) -> Office:
    """The custodian of a home, with noise and keys from the operating system's entropy.

    Args:
        home: The home.
        node: Its settings.
        store: Its open store; opened here if left out.

    Raises:
        FedMedError: something of the home is missing, open to others or altered; a dataset was never
            registered.
    """
    store = store or home.store()
    identity = present_identity(home, store)
    policy = home.policy()
    settings = Settings(
        identity=identity,
        roster=seated(home.roster(node.roster_digest), identity.public),
        policy=policy,
        datasets={dataset.name: _source(home, dataset, policy) for dataset in node.dataset},
        grades={dataset.name: dataset.column_grades for dataset in node.dataset},
    )
    effects = Effects(store=store, secrets=home.secrets())
    return Office(Custodian(settings, effects), settings, store)


def _source(home: Home, dataset: DatasetTable, policy: Policy) -> RowSource:
    """A registered dataset where it lies; none of its rows is read before a study asks.

    One below the policy's quality gate is there too, and every study on it is refused: budget, log and
    approvals of what it served before, and the other datasets, must not go with it.
    """
    if not dataset.fingerprint:
        raise ConfigError(
            f"dataset {dataset.name} is not registered: run fedmed node register {home.path} {dataset.name}"
        )
    withheld = quality_refusal(dataset.quality, policy.quality_gate)
    return open_source(dataset.entry(home.path), withheld=withheld)


def admission_of(node: NodeFile) -> Admission:
    """Who may call, from the settings; raises `ConfigError` for a group that does not exist."""
    socket = node.socket
    if socket.operator_group and not socket.group:
        raise ConfigError("socket.operator_group needs socket.group: operators reach the socket through it")
    return Admission(owner=os.geteuid(), group=_group(socket.group), operators=_group(socket.operator_group))


def _group(name: str) -> int | None:
    """A group's number; None for no name."""
    try:
        return grp.getgrnam(name).gr_gid if name else None
    except KeyError:
        raise ConfigError(
            f"group {name} does not exist on this machine; create it, or name another"
        ) from None
