"""Speaks to a running SuperLink through Flower's own command line: nodes, runs and their ends.

Each call starts a process and takes one to three seconds; none is made while a phase is under way, except
to look whether a run is still alive.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from fedmed.errors import ProcessFailed
from fedmed.supervision.processes import Program, flower_environment, run_to_end
from fedmed_server.files import read_private, replace_private
from fedmed_server.home import Home
from fedmed_server.launcher import CLI_HOME, FEDERATION, run_config

CALL_S: Final = 90.0
ONLINE: Final = "online"
_NUMBERS: Final = "nodes.json"
_JSON: Final = re.compile(r"\{.*\}", re.DOTALL)


def node_statuses(home: Home) -> dict[str, str]:
    """Flower's word for where each registered SuperNode stands, as `ONLINE`, by the node's name.

    Raises:
        ProcessFailed: the SuperLink is away.
    """
    statuses = _listed(home)
    return {name: statuses[number] for name, number in _numbers(home).items() if number in statuses}


def register_nodes(home: Home) -> tuple[str, ...]:
    """Register every node's SuperNode key that the SuperLink does not know; the names it was told.

    Raises:
        ProcessFailed: the SuperLink is away, or knows a key that this home did not register.
    """
    listed, numbers = _listed(home), _numbers(home)
    missing = {n: key for n, key in home.supernode_keys().items() if numbers.get(n) not in listed}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        told = list(pool.map(lambda name: _register(home, name, missing[name]), missing))
    numbers |= dict(zip(missing, told, strict=True))
    replace_private(home.path / "flower" / _NUMBERS, json.dumps(numbers, ensure_ascii=False).encode())
    return tuple(missing)


def _register(home: Home, name: str, key: str) -> str:
    """Register one SuperNode's key; Flower's number of the node."""
    with tempfile.NamedTemporaryFile(suffix=".pub") as file:
        file.write(key.encode())
        file.flush()
        told = _ask(home, "supernode", "register", file.name, FEDERATION, "--name", name)
    return str(told["node-id"])


def _listed(home: Home) -> dict[str, str]:
    """Status of every SuperNode by its number: Flower's list has neither names nor keys."""
    told = _ask(home, "supernode", "list", FEDERATION)
    return {str(node["node-id"]): str(node["status"]) for node in told.get("nodes", [])}


def _numbers(home: Home) -> dict[str, str]:
    """Flower's number of each node that this home registered, by name."""
    path = home.path / "flower" / _NUMBERS
    return json.loads(read_private(path)) if path.exists() else {}


def start_run(home: Home, app: str, settings: Mapping[str, str | bool | float]) -> int:
    """Submit a run of an app, a bundle's folder or a registry's name; Flower's id of it."""
    told = _ask(home, "run", app, FEDERATION, "--run-config", run_config(settings))
    try:
        return int(told["run-id"])
    except (KeyError, TypeError, ValueError):
        raise ProcessFailed("flwr run gave no run id; see the log of control") from None


def run_status(home: Home, run_id: int) -> str:
    """Flower's word for a run, as ``running`` or ``finished:completed``."""
    told = _ask(home, "list", FEDERATION, "--run-id", str(run_id))
    try:
        return str(told["runs"][0]["status"])
    except (KeyError, IndexError, TypeError):
        raise ProcessFailed(f"flwr list does not know run {run_id}") from None


def stop_run(home: Home, run_id: int) -> None:
    """Stop a run; what was saved of it can be resumed."""
    _ask(home, "stop", str(run_id), FEDERATION)


def _ask(home: Home, *words: str) -> dict[str, Any]:  # Any: what JSON can say
    """Run one command of Flower's and read the document that it prints."""
    program = Program(
        name="flwr " + words[0],
        command=("flwr", *words, "--format", "json"),
        log=home.log("control"),
        environment=flower_environment(home.flower_home(CLI_HOME)),
    )
    found = _JSON.search(run_to_end(program, timeout_s=CALL_S))
    try:
        document: dict[str, Any] = json.loads(found.group() if found else "")
    except ValueError:
        raise ProcessFailed(f"{program.name} printed no JSON; see {program.log}") from None
    if document.get("success") is False:
        raise ProcessFailed(f"{program.name} was refused; see {program.log}")
    return document
