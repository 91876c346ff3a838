"""Holds the arrows, doors and sizes that DESIGN.md section 2 and STYLE.md section 1 promise.

Imports are read from the source, inside functions too, so that a late import is no way around.
"""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.source_trees import ROOT, SOURCES, source_files, source_trees

# What each room of the library may import, besides itself. Read it bottom up: a new entry is a decision
# about the design, not a convenience.
VALUES = frozenset({"errors", "types"})
ROOMS_BELOW_MODELS = VALUES | {"privacy", "crypto", "data"}
STUDY = VALUES | {"study", "study_faults"}
ARROWS: Mapping[str, frozenset[str]] = {
    "errors": frozenset(),
    "types": frozenset({"errors"}),
    "privacy": VALUES,
    "crypto": VALUES,
    "data": VALUES | {"study_faults"},
    "models": ROOMS_BELOW_MODELS,
    "aggregation": ROOMS_BELOW_MODELS | {"models"},
    "training": ROOMS_BELOW_MODELS | {"models"},
    "analytics": ROOMS_BELOW_MODELS | {"models"},
    "governance": ROOMS_BELOW_MODELS | {"models"} | STUDY,
    "study_faults": VALUES,
    "study": STUDY,
    "messages": STUDY,
    "wire": STUDY | {"messages", "proto"},
    # The custodian's socket: nothing of it leaves the province, so signed messages stay apart.
    "socket_messages": VALUES | {"messages"},
    "socket_wire": VALUES | {"messages", "wire", "proto", "socket_messages"},
    "proto": frozenset(),
    # A study's stages, which both sides work out alike, and what the coordinator makes of opened sums.
    "plans": ROOMS_BELOW_MODELS | STUDY | {"models", "aggregation", "analytics"},
    "programs": ROOMS_BELOW_MODELS | STUDY | {"models", "aggregation", "training", "analytics", "plans"},
    "protocol": ROOMS_BELOW_MODELS
    | STUDY
    | {"models", "aggregation", "training", "analytics", "governance", "messages", "wire", "plans"},
    "report": VALUES | {"progress"},
    "progress": VALUES,
    # What provinces publish: signed by a node, read by the coordinator, so nothing of it looks into data.
    "catalogue": VALUES | {"crypto", "report"},
    "flower_parts": VALUES | {"protocol"},
    "local_grid": VALUES,
    # Processes of either side; the nodes and the server run theirs by it.
    "supervision": VALUES,
}
# Rooms of a simulation: what a deployment cannot know, and what a run leaves behind.
ARROWS = {
    **ARROWS,
    "comparison": ARROWS["protocol"] | {"protocol", "report"},
    # What both a simulation and a deployment note of their phases.
    "phase_record": ARROWS["protocol"] | {"protocol", "progress"},
    "evaluation": ARROWS["protocol"] | {"protocol", "programs", "report"},
    "outcome": ARROWS["protocol"] | {"protocol", "phase_record", "programs", "report", "evaluation"},
    # What an audit block says, as people read it.
    "audit_document": ARROWS["protocol"] | {"programs", "report"},
    "question": ARROWS["protocol"] | {"protocol", "phase_record", "programs", "report", "outcome"},
    # The release bundle: it reads what the protocol signed, so it stands above it.
    "release": ARROWS["protocol"] | {"protocol", "phase_record", "programs", "report", "outcome", "question"},
}
# An edge: what can be wrong with a machine or a home; it recomputes margins and proves the kernel.
ARROWS = {**ARROWS, "doctor": ROOMS_BELOW_MODELS | {"models"} | STUDY}
# The last rooms may look into all others below them.
ARROWS = {
    **ARROWS,
    "simulation": frozenset(ARROWS),
    "frontier": frozenset(ARROWS) | {"simulation"},
    "cli": frozenset(ARROWS) | {"simulation", "frontier"},
    # The same from Python, for notebooks, and a script for each kind of question.
    "studies": frozenset(ARROWS) | {"simulation"},
    "examples": VALUES | {"studies"},
    "": frozenset(),
}

# Who may import a third party; a name stands for the module and everything inside it.
DOORS: Mapping[str, frozenset[str]] = {
    "tenseal": frozenset({"fedmed.crypto"}),
    "tenseal.sealapi": frozenset({"fedmed.crypto.seal"}),
    "opacus": frozenset({"fedmed.training.local"}),
    "dp_accounting": frozenset({"fedmed.privacy.accounting", "fedmed.privacy.composition"}),
    "google.protobuf": frozenset({"fedmed.wire", "fedmed.socket_wire", "fedmed.proto"}),
    "fedmed.proto": frozenset({"fedmed.wire", "fedmed.socket_wire", "fedmed.proto"}),
    "flwr": frozenset(
        {
            "fedmed_nodes.client_app",
            "fedmed_server.server_app",
            "fedmed_server.driver",
            "fedmed.flower_parts",
            "fedmed.local_grid",
            "fedmed.simulation",
        }
    ),
    "grpc": frozenset({"fedmed_nodes.custodian_service", "fedmed_nodes.custodian_client"}),
    "grpc_health": frozenset({"fedmed_nodes.custodian_service"}),
    # HTTP of our own is spoken at the coordinator's front door, and by its registry on loopback.
    "starlette": frozenset({"fedmed_server.front_door", "fedmed_server.reviews"}),
    "uvicorn": frozenset({"fedmed_server.front_door", "fedmed_server.reviews"}),
    "httpx": frozenset({"fedmed_server.front_door"}),
    "torch": frozenset(
        {
            "fedmed.models.gradients",
            "fedmed.models.passes",
            "fedmed.models.row_independence",
            "fedmed.training.local",
            "fedmed.training.baselines",
        }
    ),
    "sklearn": frozenset({"fedmed.models.score"}),
    "statsmodels": frozenset({"fedmed.data.rand_hie"}),
    "matplotlib": frozenset({"fedmed.report"}),
    "jinja2": frozenset({"fedmed.supervision.units", "fedmed.report"}),
    "rich": frozenset(
        {"fedmed.report.terminal", "fedmed.report.answers.terminal", "fedmed.report.live", "fedmed.cli"}
    ),
    "typer": frozenset(
        {
            "fedmed.cli",
            "fedmed_nodes.cli",
            "fedmed_nodes.key_commands",
            "fedmed_nodes.operator_commands",
            "fedmed_nodes.review_commands",
            "fedmed_nodes.run_commands",
            "fedmed_server.cli",
            "fedmed_server.key_commands",
            "fedmed_server.machine_commands",
            "fedmed_server.review_commands",
        }
    ),
    "tomli_w": frozenset({"fedmed.study"}),
    "joblib": frozenset({"fedmed.cli.frontier_run"}),
    "psutil": frozenset({"fedmed.cli", "fedmed.doctor", "fedmed.simulation"}),
    # Clocks and machines are effects: the library has them in a few rooms only.
    "time": frozenset(
        {
            "fedmed.cli",
            "fedmed.doctor",
            "fedmed.simulation",
            "fedmed.local_grid",
            "fedmed.report",
            "fedmed.supervision",
            "fedmed_nodes",
            "fedmed_server",
        }
    ),
    "duckdb": frozenset({"fedmed_nodes.duckdb_source", "fedmed.data.duckdb_files"}),
    "psycopg": frozenset({"fedmed_nodes.postgres_source"}),
    "sqlite3": frozenset({"fedmed_nodes"}),
    "socket": frozenset({"fedmed.supervision", "fedmed_nodes", "fedmed_server"}),
    "subprocess": frozenset({"fedmed.cli", "fedmed.supervision", "fedmed_nodes", "fedmed_server"}),
    # Python's own generators may never touch a release, so nobody has them.
    "random": frozenset(),
    "secrets": frozenset(),
    "pickle": frozenset(),
}

# What must not be reachable from a party's modules, through any chain of our own imports.
UNREACHABLE: Mapping[str, frozenset[str]] = {
    "fedmed_server": frozenset(
        {
            "fedmed_nodes",
            "fedmed.crypto.lattice_secret",
            "fedmed.aggregation.threshold_node",
            "fedmed.aggregation.ckks_node",
            "fedmed.crypto.ckks_secret",
            "fedmed.aggregation.plain_node",
            "fedmed.protocol.node_round",
            "fedmed.data",
            "fedmed.simulation",
            "fedmed.cli",
            "torch",
        }
    ),
    "fedmed_nodes": frozenset({"fedmed_server", "fedmed.simulation", "fedmed.cli"}),
    "fedmed_nodes.client_app": frozenset({"fedmed.crypto", "fedmed.data", "torch"}),
    "fedmed": frozenset({"fedmed_nodes", "fedmed_server"}),
}

# Public words about columns and codes: they open files of the package and no row, so a page of the
# coordinator may explain what it shows.
PUBLIC_WORDS = frozenset(
    {"fedmed.data", "fedmed.data.nhsa", "fedmed.data.nhsa.schema", "fedmed.data.nhsa.glossary"}
)

HEAVY = ("torch", "matplotlib", "flwr", "tenseal", "dp_accounting", "opacus", "sklearn", "scipy", "pyarrow")
MOST_LINES_OF_A_MODULE = 500
MOST_LINES_OF_A_BODY = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One source file of ours."""

    name: str
    path: Path
    tree: ast.Module
    is_package: bool


@functools.cache
def modules() -> dict[str, Module]:
    """Every module of the three packages by its dotted name; read by the first test that asks."""
    found = {}
    for package, folder in SOURCES.items():
        for path in source_files(package):
            parts = path.relative_to(folder).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            tree = source_trees()[path]
            found[name] = Module(name=name, path=path, tree=tree, is_package=is_package)
    return found


def imported_names(module: Module, known: Mapping[str, object]) -> set[str]:
    """Dotted names that a module imports, anywhere in it; ``from a import b`` gives a.b if it is a module."""
    names: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                names.add(inner if inner in known or not base.startswith("fedmed") else base)
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
            names.update(arg.value for arg in node.args if _is_text(arg))
    return names


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    parts = module.name.split(".")
    kept = parts[: len(parts) - node.level + module.is_package]
    return ".".join([*kept, node.module] if node.module else kept)


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def is_inside(name: str, room: str) -> bool:
    """Whether ``name`` is ``room`` or lies in it."""
    return name == room or name.startswith(f"{room}.")


@functools.cache
def imports_by_module() -> dict[str, set[str]]:
    """Names that each module imports."""
    return {name: imported_names(module, modules()) for name, module in modules().items()}


def reachable(start: str) -> dict[str, str]:
    """Every name that importing the modules in ``start`` may load, with the module that asks for it."""
    asked = {name: "" for name in modules() if is_inside(name, start)}
    waiting = list(asked)
    while waiting:
        name = waiting.pop()
        parents = [name.rsplit(".", i)[0] for i in range(1, name.count(".") + 1)]
        for other in {*imports_by_module().get(name, ()), *parents}:
            if other not in asked:
                asked[other] = name
                waiting.append(other)
    return asked


def room_of(name: str) -> str:
    """The room of a library module: ``crypto`` for ``fedmed.crypto.seal``, nothing for ``fedmed`` itself."""
    return name.split(".")[1] if "." in name else ""


def test_the_reader_sees_every_kind_of_import() -> None:
    source = """
import fedmed.types
from fedmed import crypto
from fedmed.crypto import seal, Residues
from . import policy
from .audit_chain import AuditEntry
def late():
    import torch.nn
    importlib.import_module("flwr.app")
"""
    module = Module(name="fedmed.governance.x", path=ROOT, tree=ast.parse(source), is_package=False)
    known = dict.fromkeys(["fedmed.crypto", "fedmed.crypto.seal", "fedmed.governance.policy"])
    assert imported_names(module, known) == {
        "fedmed.types",
        "fedmed.crypto",
        "fedmed.crypto.seal",
        "fedmed.governance.policy",
        "fedmed.governance.audit_chain",
        "torch.nn",
        "flwr.app",
    }


def test_the_table_of_arrows_has_no_circle() -> None:
    done: set[str] = set()
    while len(done) < len(ARROWS):
        ready = {room for room, below in ARROWS.items() if below - {room} <= done} - done
        assert ready, f"circle among {sorted(set(ARROWS) - done)}"
        done |= ready


def test_every_room_is_drawn() -> None:
    rooms = {room_of(name) for name in modules() if is_inside(name, "fedmed")}
    assert rooms - set(ARROWS) == set(), "a room that DESIGN.md section 2 does not draw"


def test_imports_follow_the_arrows() -> None:
    faults = [
        f"{name} must not import {other}"
        for name in modules()
        if is_inside(name, "fedmed")
        for other in imports_by_module()[name]
        if is_inside(other, "fedmed")
        and room_of(other) not in ARROWS.get(room_of(name), frozenset()) | {"", room_of(name)}
    ]
    assert faults == []


@pytest.mark.parametrize("third_party", DOORS)
def test_a_third_party_has_one_door(third_party: str) -> None:
    for name, imports in imports_by_module().items():
        asks = any(is_inside(other, third_party) for other in imports)
        may = any(is_inside(name, door) for door in DOORS[third_party])
        assert may or not asks, (
            f"{name} must not import {third_party}; its doors: {DOORS[third_party] or 'none'}"
        )


@pytest.mark.parametrize("party", UNREACHABLE)
def test_what_a_party_must_not_do_it_cannot_import(party: str) -> None:
    for name, by in reachable(party).items():
        for forbidden in UNREACHABLE[party] if name not in PUBLIC_WORDS else ():
            assert not is_inside(name, forbidden), f"{party} reaches {name} through {by}"


def test_a_module_and_its_functions_stay_small() -> None:
    ours = {name: module for name, module in modules().items() if not is_inside(name, "fedmed.proto")}
    lines = {name: module.path.read_text(encoding="utf-8").count("\n") for name, module in ours.items()}
    assert {name: size for name, size in lines.items() if size > MOST_LINES_OF_A_MODULE} == {}
    bodies = {
        f"{name}.{function.name}, line {function.lineno}": _body_lines(function)
        for name, module in ours.items()
        for function in _functions(module.tree)
    }
    assert {name: size for name, size in bodies.items() if size > MOST_LINES_OF_A_BODY} == {}


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    drawers = {"utils", "common", "misc", "helpers", "util"}
    assert not [name for name in modules() if name.rsplit(".", 1)[-1] in drawers]


@pytest.mark.parametrize("start", ["fedmed.cli", "fedmed.study", "fedmed.report"])
def test_starting_loads_nothing_heavy(start: str) -> None:
    code = f"import sys, {start}\nprint(*[name for name in {HEAVY} if name in sys.modules])\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_packages_load_nothing_heavy() -> None:
    packages = [name for name, module in modules().items() if module.is_package and "proto." not in name]
    packages = [name for name in packages if is_inside(name, "fedmed")]
    code = f"import sys, {', '.join(packages)}\nprint(*[name for name in {HEAVY} if name in sys.modules])\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a module, methods and nested ones too."""
    return (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def _body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from the first statement after the docstring to the last."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
