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
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedmed import wire
from fedmed.errors import ConfigError
from fedmed.outcome import FederatedRun
from fedmed.progress import OnProgress, Progress
from fedmed.study import StudySpec
from fedmed.supervision.keeper import Keeper, Kept, Say, turns_of_main_thread
from fedmed.supervision.processes import (
    Children,
    Program,
    children,
    free_ports,
    run_to_end,
    wait_until,
)
from fedmed.types import OnDropout, Scheme
from fedmed_server import control, coordinator
from fedmed_server.files import private_folder, replace_private
from fedmed_server.home import Addresses, Home, NodeCard, create_home, read_card
from fedmed_server.launch import Pace, follow, submit

_COMMAND_S: Final = 120.0
_REGISTER_S: Final = 600.0
_CUSTODIAN_S: Final = 180.0
# A unix socket's path may have 107 bytes; the longest below the folder is nodes/<name>/run/inner/<socket>.
_MOST_FOLDER_BYTES: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalNode:
    """One province on this machine.

    Attributes:
        name: In the roster.
        home: Its custodian's home.
        flower: Its courier's folder.
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
        keeper: Starts again what ends or stands still, as the services of a deployment do; only when asked to
            look, which `run_local` never does: there an end is an error.
    """

    home: Home
    nodes: tuple[LocalNode, ...]
    running: Children
    keeper: Keeper


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
    addresses = Addresses(names=("localhost",), host="127.0.0.1", port=ports[0], superlink_port=ports[1])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        cards = list(pool.map(lambda node: _make_node(node, front_door=f"localhost:{ports[0]}"), nodes))
    now = datetime.datetime.now(tz=datetime.UTC)
    home = create_home(folder / "coordinator", cards, addresses=addresses, now=now)
    for node in nodes:
        _settle_node(node, spec, tables[node.name], home=home)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda node: _register(node, spec.data.dataset), nodes))
    return home, nodes


@contextlib.contextmanager
def federation(
    home: Home, nodes: tuple[LocalNode, ...], *, on_progress: OnProgress, say: Say = lambda _: None
) -> Iterator[LocalFederation]:
    """Run all processes of a federation while the body runs.

    Args:
        home: The coordinator's home.
        nodes: The provinces.
        on_progress: Called at each step of the start.
        say: Gets a line for each program that the keeper starts again.

    Raises:
        ProcessFailed: a process does not come up; names its log.
        ConfigError: a port is taken.
    """
    with children() as running:
        made = LocalFederation(home=home, nodes=nodes, running=running, keeper=Keeper(running, say=say))
        start_all(made, on_progress=on_progress)
        yield made


def start_all(made: LocalFederation, *, on_progress: OnProgress) -> None:
    """Start all processes of a federation of which none runs; errors as `federation`."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        programs = list(pool.map(node_programs, made.nodes))
    for of_node in programs:
        for program in of_node[:2]:  # custodian and relay; the others need the front door
            made.keeper.start(Kept(program=program))
    on_progress(Progress(phase="start", note="SuperLink, front door"))
    coordinator.start(made.home, made.running, begin=made.keeper.start)
    on_progress(Progress(phase="start", note="registering SuperNodes"))
    control.register_nodes(made.home)
    on_progress(Progress(phase="start", note="custodians, SuperNodes"))
    for node in made.nodes:
        _wait_for_custodian(node, while_waiting=made.running.require_alive)
    for of_node in programs:
        for program in of_node[2:]:
            made.keeper.start(Kept(program=program, sign=turns_of_main_thread))


def _make_node(node: LocalNode, *, front_door: str) -> NodeCard:
    """Keys and folders of a province: its custodian's and its courier's."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    made = _fedmed(node, "init", str(node.home), "--name", node.name, "--user", user, "--json")
    place = ("--home", str(node.home), "--front-door", front_door, "--port", str(node.port))
    told = _fedmed(node, "courier", str(node.flower), "--name", node.name, *place, "--user", user, "--json")
    return read_card(made, json.loads(told)["supernode_key"])


def _fedmed(node: LocalNode, *words: str, timeout_s: float = _COMMAND_S) -> str:
    """Run one ``fedmed node`` command of a province's operator; what it wrote to stdout."""
    log = node.home.with_suffix(".log")
    program = Program(name=f"{words[0]}-{node.name}", command=("fedmed", "node", *words), log=log)
    return run_to_end(program, timeout_s=timeout_s)


def node_programs(node: LocalNode) -> tuple[Program, ...]:
    """What ``fedmed node up`` runs for a province: custodian, relay, SuperNode, SuperExec, in this order.

    This room may not import the nodes' room, so the command is asked, which starts nothing.
    """
    told = _fedmed(node, "up", str(node.home), "--courier", str(node.flower), "--show", "--json")
    programs = []
    for one in json.loads(told)["programs"]:
        log, environment = Path(one["log"]), dict(one["environment"])
        folders = (log.parent, *(Path(environment[name]) for name in ("FLWR_HOME",) if name in environment))
        for folder in folders:
            private_folder(folder)
        name, command = f"{one['name']}-{node.name}", tuple(one["command"])
        programs.append(Program(name=name, command=command, log=log, environment=environment))
    return tuple(programs)


def _settle_node(node: LocalNode, spec: StudySpec, table: Path, *, home: Home) -> None:
    """What the province's operator would write: pinned roster, authority, dataset, policy."""
    roster = home.roster()
    replace_private(node.home / "roster.bin", wire.encode_roster(roster))
    replace_private(node.flower / "ca.crt", home.authority_certificate.read_bytes())
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
    _fedmed(node, "register", str(node.home), dataset, timeout_s=_REGISTER_S)


def policy_text(spec: StudySpec) -> str:
    """A ``policy.toml`` that allows this study, once."""
    scheme, epsilon = spec.aggregation.scheme, 1.0 if spec.privacy.is_exact else spec.privacy.epsilon
    return (
        f"version = 1\nmax_epsilon_per_study = {epsilon}\n"
        f"max_epsilon_per_year = {epsilon}\nmin_cohort = 1\n"
        f'modes = ["{spec.privacy.mode.value}"]\nexact_statistics = {json.dumps(spec.privacy.is_exact)}\n'
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

    what = f"the custodian of {node.name} listens (log: {node.flower / 'log' / 'custodian.log'})"
    wait_until(is_there, timeout_s=_CUSTODIAN_S, what=what, while_waiting=while_waiting)
