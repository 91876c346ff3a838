"""Behind real sockets and real gRPC the sums are the simulation's, bit for bit, with repeatable noise.

Only a test can make it so: it builds the custodian around the same service class with an ``insecure_``
source. That the installed daemon has no way to it is the second half of this module.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer.main
from click import Command, Group
from flwr.app import Context, RecordDict

from fedmed.crypto.lattice_secret import keystream
from fedmed.local_grid import LocalGrid
from fedmed.privacy.noise import ByteSource, fresh_source
from fedmed.protocol.schedule import schedule_for
from fedmed.protocol.steps import Steps
from fedmed.types import Scheme
from fedmed_nodes import daemon
from fedmed_nodes.cli import app as node_commands
from fedmed_nodes.client_app import build_client_app
from fedmed_nodes.custodian_client import SocketCustodian
from fedmed_nodes.custodian_service import CustodianServer
from fedmed_nodes.node_config import NodeFile, PolicyFile
from fedmed_nodes.office import Office
from fedmed_nodes.socket_gate import Admission
from fedmed_server.driver import GridDriver
from fedmed_server.study_flow import StudyOutcome, run_study
from tests.federation import (
    COORDINATOR,
    NOW,
    Federation,
    fresh_federation,
    identity_of,
    small_study,
)

NODES = 3
ROOMS = (Path(daemon.__file__).parent, Path(daemon.__file__).parents[2] / "fedmed")


def insecure_repeated(source: ByteSource) -> ByteSource:
    """One stream for all releases of a node: known to whoever knows its seed."""
    return source


def insecure_federation() -> Federation:
    """Custodians whose noise is the same in every run; their keys are fresh."""
    allowance = schedule_for(small_study(NODES)).allowance
    made = fresh_federation(NODES, threshold=allowance.threshold, colluders=allowance.colluders)
    for point, node in made.nodes.items():
        noise: Callable[[], ByteSource] = functools.partial(insecure_repeated, keystream(bytes([point]) * 32))
        node.effects = replace(node.effects, noise=noise)
        node.restart()
    return made


def steps(made: Federation, scheme: Scheme) -> Steps[StudyOutcome]:
    """The coordinator's whole study."""
    spec = small_study(NODES, scheme=scheme)
    return run_study(spec, identity_of(COORDINATOR), made.roster, today=NOW.date(), on_round=lambda _: None)


@pytest.fixture
def sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Federation, LocalGrid]]:
    """A federation whose custodians are reached by Flower's real ClientApp over real sockets only."""
    monkeypatch.chdir(tmp_path)
    made, servers, clients = insecure_federation(), [], {}
    for point, node in made.nodes.items():
        path = tmp_path / f"n{point}" / "c.sock"
        office = Office(node.custodian, node.settings, node.effects.store)
        server = CustodianServer(
            office, path, inner=tmp_path / f"n{point}" / "inner", admission=Admission(owner=0)
        )
        server.start()
        servers.append(server)
        clients[point] = SocketCustodian(path)
    contexts = {
        p: Context(run_id=1, node_id=p, node_config={}, state=RecordDict(), run_config={}) for p in clients
    }
    relay = build_client_app(lambda context: clients[context.node_id])
    yield made, LocalGrid(dict.fromkeys(contexts, relay), contexts)
    for client in clients.values():
        client.close()
    for server in servers:
        server.stop()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", list(Scheme))
def test_deployed_custodians_give_exactly_the_simulations_sums(
    sockets: tuple[Federation, LocalGrid], scheme: Scheme
) -> None:
    made, grid = sockets
    driver = GridDriver(grid, {p: p for p in made.nodes}, make_message=grid.create_message)
    deployed: StudyOutcome = driver.run(steps(made, scheme))
    simulated_nodes = insecure_federation()
    simulated: StudyOutcome = simulated_nodes.drive(steps(simulated_nodes, scheme))
    assert len(deployed.rounds) == len(simulated.rounds) > 1
    for one, other in zip(deployed.rounds, simulated.rounds, strict=True):
        assert np.array_equal(one.parameters, other.parameters)
        assert one.contributors == other.contributors
    assert np.isfinite(deployed.parameters).all()


# --- No way to it in what is installed ---------------------------------------------------------------

SUSPICIOUS = re.compile(r"seed|noise|entropy|insecure|random|determin|test|debug|mock|replay", re.IGNORECASE)


def words_of(command: Command, path: str = "node") -> Iterator[tuple[str, str]]:
    """Every option and argument of a command and of those below it."""
    for parameter in command.params:
        for word in (
            *parameter.opts,
            *parameter.secondary_opts,
            *([parameter.envvar] if parameter.envvar else []),
        ):
            yield path, str(word)
    if isinstance(command, Group):
        for name, below in command.commands.items():
            yield path, name
            yield from words_of(below, f"{path} {name}")


def test_no_command_of_a_node_takes_anything_that_sounds_like_it() -> None:
    told = dict.fromkeys(words_of(typer.main.get_command(node_commands)))
    assert len(told) > 20
    assert [(path, word) for path, word in told if SUSPICIOUS.search(word)] == []
    serve = typer.main.get_command(node_commands)
    assert isinstance(serve, Group)
    assert [p.name for p in serve.commands["serve"].params] == ["home"]


def keys_of(model: type) -> Iterator[str]:
    """Every key that a settings file may have, tables inside it included."""
    for name, field in model.model_fields.items():  # type: ignore[attr-defined]  # pydantic's
        yield field.alias or name
        for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if hasattr(inner, "model_fields"):
                yield from keys_of(inner)


def test_no_key_of_a_settings_file_sounds_like_it() -> None:
    keys = [*keys_of(NodeFile), *keys_of(PolicyFile)]
    assert {"user", "columns", "max_epsilon_per_year"} <= set(keys)
    assert [key for key in keys if SUSPICIOUS.search(key)] == []


def test_nothing_that_a_custodian_loads_reads_the_environment() -> None:
    for path in (p for room in ROOMS for p in room.rglob("*.py")):
        if {"cli", "doctor", "supervision"} & set(path.parts):
            continue  # the command line and what starts processes; no custodian's rule is there
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text if "env" in text else "")
        names = {getattr(node, "attr", getattr(node, "id", "")) for node in ast.walk(tree)}
        assert not names & {"environ", "getenv", "environb", "putenv"}, f"{path} reads the environment"


def test_the_daemon_builds_its_custodian_with_the_systems_noise_and_no_argument_for_another() -> None:
    tree = ast.parse(Path(daemon.__file__).read_text(encoding="utf-8"))
    (made,) = [
        n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "Effects"
    ]
    assert {keyword.arg for keyword in made.keywords} == {"store", "secrets"}
    assert daemon.Effects.__dataclass_fields__["noise"].default is fresh_source
