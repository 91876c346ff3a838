from __future__ import annotations

import shlex
import tomllib
from pathlib import Path

import pytest

from fedmed.supervision.processes import child_environment
from fedmed_server.home import Addresses, Home, create_home
from fedmed_server.launcher import (
    front_door_program,
    run_config,
    superexec_program,
    superlink_program,
    write_bundle,
    write_flower_config,
)
from tests.server.test_home import ADDRESSES, NOW, make_card


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    cards = [make_card(name) for name in ("a", "b", "c")]
    return create_home(tmp_path_factory.mktemp("server") / "home", cards, addresses=ADDRESSES, now=NOW)


def test_the_superlink_stays_on_loopback_and_takes_no_liberties(home: Home) -> None:
    words = superlink_program(home).command
    assert words[words.index("--host") + 1] == "127.0.0.1"
    assert words[words.index("--isolation") + 1] == "process"
    assert words[words.index("--superexec-auth-secret-file") + 1] == str(home.secret)
    assert Path(words[words.index("--database") + 1]).is_relative_to(home.path)
    assert "--enable-supernode-auth" in words
    assert "--disable-runtime-dependency-installation" in words
    assert "--insecure" not in words


def test_the_superexec_knows_the_secret_and_the_authority(home: Home) -> None:
    words = superexec_program(home).command
    assert words[words.index("--superexec-auth-secret-file") + 1] == str(home.secret)
    assert words[words.index("--root-certificates") + 1] == str(home.authority_certificate)
    assert "--insecure" not in words


def test_flower_reports_to_nobody_and_has_a_folder_of_its_own(home: Home) -> None:
    programs = [superlink_program(home), superexec_program(home)]
    for program in programs:
        assert program.environment["FLWR_TELEMETRY_ENABLED"] == "0"
        assert program.environment["FLWR_DISABLE_UPDATE_CHECK"] == "1"
        assert Path(program.environment["FLWR_HOME"]).is_relative_to(home.path)
    assert programs[0].environment["FLWR_HOME"] != programs[1].environment["FLWR_HOME"]


def test_no_secret_stands_in_a_command_line(home: Home) -> None:
    secrets = [home.secret.read_bytes(), (home.path / "identity.key").read_bytes()]
    for program in (superlink_program(home), superexec_program(home), front_door_program(home)):
        line = shlex.join(program.command).encode()
        assert not any(secret in line or secret.hex().encode() in line for secret in secrets)


def test_children_inherit_nothing_that_could_change_what_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "FEDMED_X", "FLWR_X", "SSL_CERT_FILE", "HTTPS_PROXY", "LD_PRELOAD"):
        monkeypatch.setenv(name, "x")
    environment = child_environment({"FLWR_HOME": "/y"})
    assert environment["FLWR_HOME"] == "/y"
    assert not {"PYTHONPATH", "FEDMED_X", "FLWR_X", "SSL_CERT_FILE", "HTTPS_PROXY", "LD_PRELOAD"} & set(
        environment
    )


def test_the_bundle_has_settings_and_no_code(home: Home) -> None:
    folder = write_bundle(home, version="1.2.3")
    assert {p.name for p in folder.iterdir()} == {"pyproject.toml", "README.md"}
    told = tomllib.loads((folder / "pyproject.toml").read_text())
    flower = told["tool"]["flwr"]["app"]
    assert flower["fab-include"] == ["README.md"]
    assert flower["components"] == {
        "serverapp": "fedmed_server.server_app:app",
        "clientapp": "fedmed_nodes.client_app:app",
    }
    first = (folder / "pyproject.toml").read_bytes()
    write_bundle(home, version="1.2.3")
    assert (folder / "pyproject.toml").read_bytes() == first


def test_a_run_configuration_is_toml_and_names_only_what_the_bundle_has(home: Home) -> None:
    values: dict[str, str | bool | float] = {
        "coordinator-home": '/a "b"/c',
        "study": "demo",
        "resume": True,
        "phase-deadline-s": 600.0,
        "nodes-deadline-s": 1.5,
    }
    text = run_config(values)
    assert (
        tomllib.loads(
            text.replace(" study=", "\nstudy=")
            .replace(" resume=", "\nresume=")
            .replace(" phase", "\nphase")
            .replace(" nodes", "\nnodes")
        )
        == values
    )
    folder = write_bundle(home, version="1")
    known = tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    assert set(values) == set(known)


def test_flowers_command_line_finds_the_superlink_and_trusts_our_authority(home: Home) -> None:
    told = tomllib.loads((write_flower_config(home) / "config.toml").read_text())["superlink"]
    connection = told[told["default"]]
    assert connection == {
        "address": f"127.0.0.1:{ADDRESSES.superlink_port}",
        "root-certificates": str(home.authority_certificate),
    }


def test_addresses_are_what_the_front_door_gets(home: Home) -> None:
    assert isinstance(home.addresses(), Addresses)
    assert '"host": "192.0.2.1"' in front_door_program(home).command[-1]
