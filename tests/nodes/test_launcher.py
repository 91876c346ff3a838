from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from fedmed.supervision.processes import Program
from fedmed_nodes.courier import Courier
from fedmed_nodes.launcher import custodian_program, relay_program, superexec_program, supernode_program
from tests.nodes.test_courier import SETTINGS, make


@pytest.fixture(scope="module")
def courier(tmp_path_factory: pytest.TempPathFactory) -> Courier:
    path = tmp_path_factory.mktemp("node") / "courier"
    make(path)
    return Courier(path)


def after(words: tuple[str, ...], name: str) -> str:
    return words[words.index(name) + 1]


def test_the_supernode_trusts_the_authority_and_listens_on_loopback_only(courier: Courier) -> None:
    words = supernode_program(courier).command
    assert after(words, "--superlink") == SETTINGS.front_door
    assert after(words, "--root-certificates") == str(courier.authority)
    assert after(words, "--host") == "127.0.0.1"
    assert after(words, "--isolation") == "process"
    assert after(words, "--superexec-auth-secret-file") == str(courier.secret)
    assert after(words, "--node-config") == 'fedmed-socket="/run/fedmed/c.sock"'
    assert "--insecure" not in words
    assert "--allow-runtime-dependency-installation" not in words


def test_superexec_reaches_its_own_supernode_and_finds_the_stub_first(courier: Courier) -> None:
    program = superexec_program(courier)
    assert after(program.command, "--runtime-api-address") == "127.0.0.1:9094"
    assert after(program.command, "--superexec-auth-secret-file") == str(courier.secret)
    first = program.environment["PATH"].split(":")[0]
    assert Path(first) == courier.relay_host.parent / "bin"


def test_flower_reports_to_nobody_and_writes_in_the_couriers_folder(courier: Courier) -> None:
    for program in (supernode_program(courier), superexec_program(courier), relay_program(courier)):
        assert program.environment["FLWR_TELEMETRY_ENABLED"] == "0"
        assert program.environment["FLWR_DISABLE_UPDATE_CHECK"] == "1"
        assert Path(program.environment["FLWR_HOME"]) == courier.flower


def test_no_secret_stands_in_a_command_line(courier: Courier) -> None:
    secrets = [courier.secret.read_bytes(), courier.key.read_bytes()]
    custodian = custodian_program(Path("/h"), log=Path("/l"))
    programs: list[Program] = [supernode_program(courier), superexec_program(courier), custodian]
    for program in programs:
        line = shlex.join(program.command).encode()
        assert not any(secret in line or secret.hex().encode() in line for secret in secrets)
