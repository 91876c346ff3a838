"""A whole federation on this machine: real processes over TLS on loopback, in one folder.

The coordinator's room may not import the nodes' room, so provinces are set up here as an operator would do
it: with ``fedmed node`` commands and files. Everything lies in one folder and ends with the call.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import pwd
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedmed import wire
from fedmed.crypto.supernode_key import make_supernode_key
from fedmed.errors import ConfigError
from fedmed.outcome import FederatedRun
from fedmed.progress import OnProgress, Progress
from fedmed.study import StudySpec
from fedmed.supervision.processes import (
    Children,
    Program,
    children,
    flower_environment,
    free_ports,
    run_to_end,
    search_path,
    wait_until,
)
from fedmed.types import OnDropout, Scheme
from fedmed_server import control, coordinator
from fedmed_server.files import create_private, private_folder, replace_private
from fedmed_server.home import Addresses, Home, NodeCard, create_home, read_card
from fedmed_server.launch import Pace, follow, submit

_COMMAND_S: Final = 120.0
_REGISTER_S: Final = 600.0
_CUSTODIAN_S: Final = 180.0
# A unix socket's path may have 107 bytes; the longest below the folder is nodes/<name>/run/inner/<socket>.
_MOST_FOLDER_BYTES: Final = 50
_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalNode:
    """One province on this machine.

    Attributes:
        name: In the roster.
        home: Its custodian's home.
        flower: Folder of its SuperNode and SuperExec.
        port: Of its SuperNode's own interface, on loopback.
    """

    name: str
    home: Path
    flower: Path
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFederation:
    """A federation whose processes run.

    Attributes:
        home: The coordinator's home.
        nodes: The provinces, in the order of the roster.
        running: All processes, by name.
    """

    home: Home
    nodes: tuple[LocalNode, ...]
    running: Children


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRun:
    """What a study on a local federation gave: its run, and seconds of ``setup``, ``start``, ``stop``."""

    run: FederatedRun
    seconds: Mapping[str, float]


def run_local(
    spec: StudySpec, tables: Mapping[str, Path], *, folder: Path, on_progress: OnProgress
) -> LocalRun:
    """Set up a federation, run one study on it, and end it.

    Args:
        spec: The study; every custodian's policy allows exactly it.
        tables: CSV or Parquet of each node, by node key.
        folder: An empty folder; its path must be short, for sockets lie below it.
        on_progress: Called at each step.

    Raises:
        FedMedError: whatever stops the study or a process; the logs are in the folder.

    Guarantees:
        No process is left running, and nothing is written outside the folder.
    """
    began = time.monotonic()
    on_progress(Progress(phase="setup", note="keys, certificates, roster"))
    home, nodes = set_up(spec, tables, folder=folder)
    ready = time.monotonic()
    with federation(home, nodes, on_progress=on_progress) as running:
        started = time.monotonic()
        run_id = submit(home, spec, resume=False, pace=Pace())
        run = follow(home, spec, run_id, on_progress=on_progress, while_waiting=running.running.require_alive)
        finished = time.monotonic()
        on_progress(Progress(phase="stop"))
    seconds = {
        "setup": ready - began,
        "start": started - ready,
        "study": finished - started,
        "stop": time.monotonic() - finished,
    }
    return LocalRun(run=run, seconds=seconds)


def set_up(
    spec: StudySpec, tables: Mapping[str, Path], *, folder: Path
) -> tuple[Home, tuple[LocalNode, ...]]:
    """Make the homes of the coordinator and of every node, with one roster pinned by all."""
    if len(os.fsencode(folder)) > _MOST_FOLDER_BYTES:
        raise ConfigError(
            f"folder must be at most {_MOST_FOLDER_BYTES} bytes long: unix sockets lie below it"
        )
    private_folder(folder)
    ports = free_ports(2 + len(spec.nodes))
    nodes = tuple(
        LocalNode(name=name, home=folder / "nodes" / name, flower=folder / "flower" / name, port=port)
        for name, port in zip(spec.nodes, ports[2:], strict=True)
    )
    private_folder(folder / "nodes")
    private_folder(folder / "flower")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        cards = list(pool.map(_make_node, nodes))
    addresses = Addresses(names=("localhost",), host="127.0.0.1", port=ports[0], superlink_port=ports[1])
    now = datetime.datetime.now(tz=datetime.UTC)
    home = create_home(folder / "coordinator", cards, addresses=addresses, now=now)
    for node in nodes:
        _settle_node(node, spec, tables[node.name], home=home)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda node: _register(node, spec.data.dataset), nodes))
    return home, nodes


@contextlib.contextmanager
def federation(
    home: Home, nodes: tuple[LocalNode, ...], *, on_progress: OnProgress
) -> Iterator[LocalFederation]:
    """Run all processes of a federation while the body runs; raises `ProcessFailed`, `ConfigError`."""
    with children() as running:
        for node in nodes:
            running.start(custodian_program(node))
            running.start(relay_program(node))
        on_progress(Progress(phase="start", note="SuperLink, front door"))
        coordinator.start(home, running)
        on_progress(Progress(phase="start", note="registering SuperNodes"))
        control.register_nodes(home)
        on_progress(Progress(phase="start", note="custodians, SuperNodes"))
        for node in nodes:
            _wait_for_custodian(node, while_waiting=running.require_alive)
        for node in nodes:
            running.start(supernode_program(node, home))
            running.start(superexec_program(node))
        yield LocalFederation(home=home, nodes=nodes, running=running)


def custodian_program(node: LocalNode) -> Program:
    """The province's custodian."""
    return Program(
        name=f"custodian-{node.name}",
        command=("fedmed", "node", "serve", str(node.home)),
        log=node.flower / "custodian.log",
    )


def supernode_program(node: LocalNode, home: Home) -> Program:
    """The province's SuperNode, which reaches the front door."""
    return Program(
        name=f"supernode-{node.name}",
        command=(
            "flower-supernode",
            *("--superlink", f"localhost:{home.addresses().port}"),
            *("--root-certificates", str(home.authority_certificate)),
            *("--auth-supernode-private-key", str(node.flower / "supernode")),
            *("--host", "127.0.0.1", "--port", str(node.port)),
            *("--isolation", "process", "--superexec-auth-secret-file", str(node.flower / "secret")),
            *("--node-config", f"fedmed-home={json.dumps(str(node.home))}"),
        ),
        log=node.flower / "supernode.log",
        environment=flower_environment(private_folder(node.flower / "home")),
    )


def relay_program(node: LocalNode) -> Program:
    """The province's host of warm relays: without it a message costs seconds of imports."""
    return Program(
        name=f"relay-{node.name}",
        command=(sys.executable, "-m", "fedmed_nodes.warm_relay", str(node.flower / "relay" / "host")),
        log=node.flower / "relay.log",
        environment=flower_environment(private_folder(node.flower / "home")),
    )


def superexec_program(node: LocalNode) -> Program:
    """The province's SuperExec, which starts a relay for each message: the stub of the host, found first."""
    environment = flower_environment(private_folder(node.flower / "home"))
    environment["PATH"] = search_path(node.flower / "relay" / "bin")
    environment["FLWR_SUPEREXEC_TASK_POLL_INTERVAL"] = "0.25"
    return Program(
        name=f"superexec-{node.name}",
        command=(
            "flower-superexec",
            *("--runtime-api-address", f"127.0.0.1:{node.port}"),
            "--insecure",  # loopback without TLS; the secret keeps other users out
            *("--superexec-auth-secret-file", str(node.flower / "secret")),
        ),
        log=node.flower / "superexec.log",
        environment=environment,
    )


def _make_node(node: LocalNode) -> NodeCard:
    """Keys of a province: its custodian's and its SuperNode's."""
    private_folder(node.flower)
    user = pwd.getpwuid(os.geteuid()).pw_name
    made = run_to_end(
        Program(
            name=f"init-{node.name}",
            command=("fedmed", "node", "init", str(node.home), "--name", node.name, "--user", user, "--json"),
            log=node.flower / "init.log",
        ),
        timeout_s=_COMMAND_S,
    )
    key = make_supernode_key(node.name)
    create_private(node.flower / "supernode", key.private_key)
    create_private(node.flower / "secret", os.urandom(_SECRET_BYTES))
    return read_card(made, key.public_key.decode())


def _settle_node(node: LocalNode, spec: StudySpec, table: Path, *, home: Home) -> None:
    """What the province's operator would write: the pinned roster, the dataset, the policy."""
    roster = home.roster()
    replace_private(node.home / "roster.bin", wire.encode_roster(roster))
    user = pwd.getpwuid(os.geteuid()).pw_name
    replace_private(
        node.home / "node.toml",
        (
            f"version = 1\nuser = {json.dumps(user)}\n"
            f'roster_digest = "{wire.roster_digest(roster).hex()}"\n\n'
            f"[[dataset]]\nname = {json.dumps(spec.data.dataset)}\n"
            f"path = {json.dumps(str(table.absolute()))}\n"
            f"declared_persons = {spec.data.declared_persons[node.name]}\n"
            f"data_year = {datetime.datetime.now(tz=datetime.UTC).year}\n"
        ).encode(),
    )
    replace_private(node.home / "policy.toml", policy_text(spec).encode())


def _register(node: LocalNode, dataset: str) -> None:
    """The province's operator registers the dataset."""
    command = ("fedmed", "node", "register", str(node.home), dataset)
    log = node.flower / "register.log"
    run_to_end(Program(name=f"register-{node.name}", command=command, log=log), timeout_s=_REGISTER_S)


def policy_text(spec: StudySpec) -> str:
    """A ``policy.toml`` that allows this study, once."""
    scheme = spec.aggregation.scheme
    return (
        f"version = 1\nmax_epsilon_per_study = {spec.privacy.epsilon}\n"
        f"max_epsilon_per_year = {spec.privacy.epsilon}\nmin_cohort = 1\n"
        f'schemes = ["{scheme.value}"]\nresearch = {json.dumps(scheme is Scheme.PLAIN)}\n'
        f"allow_continue = {json.dumps(spec.aggregation.on_dropout is OnDropout.CONTINUE)}\n"
        "auto_approve = true\n"
    )


def _wait_for_custodian(node: LocalNode, *, while_waiting: Callable[[], None]) -> None:
    """Wait until the custodian's socket accepts connections."""

    def is_there() -> bool:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.connect(str(node.home / "run" / "custodian.sock"))
        except OSError:
            return False
        return True

    what = f"the custodian of {node.name} listens (log: {node.flower / 'custodian.log'})"
    wait_until(is_there, timeout_s=_CUSTODIAN_S, what=what, while_waiting=while_waiting)
