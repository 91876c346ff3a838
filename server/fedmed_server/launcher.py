"""Renders the coordinator's processes and the app bundle: what runs, with which switches, and why.

SuperLink and SuperExec follow FLOWER.md: loopback only, process isolation with a secret, SQLite so that a
run survives a restart, no installation of an app's dependencies, both of Flower's phone-home switches off.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fedmed.supervision.processes import Program, flower_environment
from fedmed_server.files import private_folder, replace_private
from fedmed_server.front_door import DoorSettings
from fedmed_server.front_door import command as door_command
from fedmed_server.home import Home

FEDERATION: Final = "fedmed"
"""Name of the one connection in the Flower command line's configuration."""
CLI_HOME: Final = "cli"
"""Name of the folder in which Flower's command line finds its configuration."""
SUPERLINK, SUPEREXEC, FRONT_DOOR = "superlink", "superexec", "front-door"

# A bundle without code: both components load from the installed wheel. Without fab-include Flower would pack
# every Python file and put the bundle's folder first on the search path, in front of the installed FedMed.
_BUNDLE: Final = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "fedmed-study"
version = "{version}"
description = "Settings of a FedMed study; the code is the installed wheel"
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "fedmed"
fab-include = ["README.md"]

[tool.flwr.app.components]
serverapp = "fedmed_server.server_app:app"
clientapp = "fedmed_nodes.client_app:app"

[tool.flwr.app.config]
coordinator-home = ""
study = ""
resume = false
phase-deadline-s = 600.0
nodes-deadline-s = 120.0
"""
_README: Final = """\
# FedMed study

This bundle holds settings and no code. Nodes run the FedMed that they installed.
"""


def superlink_program(home: Home, *, extra: Mapping[str, str] | None = None) -> Program:
    """The SuperLink: TLS on loopback, because node authentication asks for TLS.

    Args:
        home: The coordinator's home.
        extra: Variables beyond Flower's own, as of a registry of reviewed bundles.
    """
    certificate, key = home.server_certificate
    return Program(
        name=SUPERLINK,
        command=(
            "flower-superlink",
            *("--host", "127.0.0.1", "--port", str(home.addresses().superlink_port)),
            *("--ssl-ca-certfile", str(home.authority_certificate)),
            *("--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)),
            *("--database", str(home.path / "flower" / "state.db")),
            *("--isolation", "process", "--superexec-auth-secret-file", str(home.secret)),
            "--enable-supernode-auth",
            "--disable-runtime-dependency-installation",
        ),
        log=home.log(SUPERLINK),
        environment={**flower_environment(home.flower_home("link")), **(extra or {})},
    )


def superexec_program(home: Home) -> Program:
    """The coordinator's SuperExec, which starts a ServerApp's process for each run."""
    return Program(
        name=SUPEREXEC,
        command=(
            "flower-superexec",
            *("--runtime-api-address", superlink_address(home)),
            *("--root-certificates", str(home.authority_certificate)),
            *("--superexec-auth-secret-file", str(home.secret)),
        ),
        log=home.log(SUPEREXEC),
        environment=flower_environment(home.flower_home("exec")),
    )


def front_door_program(home: Home) -> Program:
    """The proxy that SuperNodes reach."""
    addresses = home.addresses()
    certificate, key = home.server_certificate
    settings = DoorSettings(
        host=addresses.host,
        port=addresses.port,
        certificate=str(certificate),
        private_key=str(key),
        backend=superlink_address(home),
        backend_authority=str(home.authority_certificate),
    )
    return Program(name=FRONT_DOOR, command=door_command(settings), log=home.log(FRONT_DOOR))


def superlink_address(home: Home) -> str:
    """``host:port`` of the SuperLink, on loopback."""
    return f"127.0.0.1:{home.addresses().superlink_port}"


def write_flower_config(home: Home) -> Path:
    """Write the Flower command line's configuration; the folder to give as ``FLWR_HOME``."""
    folder = home.flower_home(CLI_HOME)
    text = (
        f'[superlink]\ndefault = "{FEDERATION}"\n\n[superlink.{FEDERATION}]\n'
        f"address = {json.dumps(superlink_address(home))}\n"
        f"root-certificates = {json.dumps(str(home.authority_certificate))}\n"
    )
    replace_private(folder / "config.toml", text.encode())
    return folder


def write_bundle(home: Home, *, version: str) -> Path:
    """Write the app bundle's folder; equal versions give equal bytes, hence equal hashes."""
    folder = private_folder(home.path / "bundle")
    replace_private(folder / "pyproject.toml", _BUNDLE.format(version=version).encode())
    replace_private(folder / "README.md", _README.encode())
    return folder


def run_config(values: Mapping[str, str | bool | float]) -> str:
    """Settings as ``flwr run --run-config`` takes them: TOML values, strings in double quotes."""
    # JSON's strings, numbers, true and false are TOML's as well.
    return " ".join(f"{key}={json.dumps(value)}" for key, value in values.items())
