"""Renders a node's processes: what runs, with which switches, and why.

SuperNode and SuperExec follow FLOWER.md: process isolation with a secret, the SuperNode's own interface on
loopback only, both of Flower's phone-home switches off, and a host of warm relays in front of the program
that Flower starts for each message.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from fedmed.supervision.processes import Program, flower_environment, search_path
from fedmed_nodes.courier import Courier
from fedmed_nodes.pieces import SOCKET_KEY

CUSTODIAN, RELAY, SUPERNODE, SUPEREXEC = "custodian", "relay", "supernode", "superexec"
# Flower's own second would be most of the wait for a message (range: FLOWER.md section 7).
_POLL_S: Final = "0.25"


def custodian_program(home: Path, *, log: Path) -> Program:
    """The custodian of a home."""
    return Program(name=CUSTODIAN, command=("fedmed", "node", "serve", str(home)), log=log)


def relay_program(courier: Courier) -> Program:
    """The host of warm relays: without it a message costs seconds of imports."""
    return Program(
        name=RELAY,
        command=(sys.executable, "-m", "fedmed_nodes.warm_relay", str(courier.relay_host)),
        log=courier.log(RELAY),
        environment=flower_environment(courier.flower),
    )


def supernode_program(courier: Courier) -> Program:
    """The SuperNode, which reaches the front door and nothing else."""
    settings = courier.settings()
    return Program(
        name=SUPERNODE,
        command=(
            "flower-supernode",
            *("--superlink", settings.front_door),
            *("--root-certificates", str(courier.authority)),
            *("--auth-supernode-private-key", str(courier.key)),
            *("--host", "127.0.0.1", "--port", str(settings.port)),
            *("--isolation", "process", "--superexec-auth-secret-file", str(courier.secret)),
            *("--node-config", f"{SOCKET_KEY}={json.dumps(settings.socket)}"),
            *(("--trusted-entities", settings.trusted) if settings.trusted else ()),
        ),
        log=courier.log(SUPERNODE),
        environment=flower_environment(courier.flower),
    )


def superexec_program(courier: Courier) -> Program:
    """SuperExec, which starts a relay for each message: the stub of the warm relays' host, found first."""
    return Program(
        name=SUPEREXEC,
        command=(
            "flower-superexec",
            *("--runtime-api-address", f"127.0.0.1:{courier.settings().port}"),
            "--insecure",  # loopback without TLS; the secret keeps other users out
            *("--superexec-auth-secret-file", str(courier.secret)),
        ),
        log=courier.log(SUPEREXEC),
        environment={
            **flower_environment(courier.flower),
            "PATH": search_path(courier.relay_host.parent / "bin"),
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": _POLL_S,
        },
    )
