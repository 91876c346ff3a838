"""What FedMed's phases take on a deployment, beside Flower's own floor on the very same processes.

One federation of real processes over TLS on loopback runs three things, one after the other: a FedMed study,
a Flower app that does nothing, and that app once more with the stock way of starting a ClientApp. The app
asks all nodes at once and waits in the driver's way, so that what differs is what the nodes do:

* ``floor_stock``: Flower as it is installed starts a new Python for each message;
* ``floor_warm``: FedMed's host of warm relays forks for each message instead;
* ``contribute`` and ``open``: the phases of the study, custodians warm, answers held to the custodian's tick.

    python benchmarks/deploy/phase_latency.py [--json] [--nodes 4] [--phases 10] [--people 8000]
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import statistics
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow.parquet import write_table

from fedmed.errors import ProcessFailed
from fedmed.progress import Progress
from fedmed.study import StudySpec, study_from_document
from fedmed.supervision.processes import search_path
from fedmed_server import control
from fedmed_server.chronicle import read_phases
from fedmed_server.home import Home
from fedmed_server.launch import Pace, follow, submit
from fedmed_server.local_federation import LocalFederation, federation, node_programs, set_up

# Not as benchmarks.facts: opacus installs a package named benchmarks.
sys.path.append(str(Path(__file__).resolve().parents[1]))
from facts import facts

SEED: Final = 20_261_122
PACKAGES: Final = ("fedmed", "flwr", "grpcio", "torch", "tenseal")
AIM: Final = 1.5
"""Most that a phase may take against Flower's own floor."""
_WAIT_S: Final = 600.0
_SUPEREXEC: Final = "superexec-"

_PROJECT: Final = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "no-op"
version = "1.0.0"
description = "An app that does nothing"
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "benchmark"

[tool.flwr.app.components]
serverapp = "no_op:server"
clientapp = "no_op:client"

[tool.flwr.app.config]
out = ""
phases = 1.0
nodes = 1.0
"""
# It waits as FedMed's driver does; Flower's own send_and_receive would sleep three seconds between looks.
_CODE: Final = """\
import json, pathlib, time
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

client = ClientApp()
server = ServerApp()

@client.query("nothing")
def nothing(message, context):
    return Message(RecordDict({"x": ConfigRecord({"x": 1})}), reply_to=message)

@server.main()
def main(grid, context):
    config, seconds = context.run_config, []
    while len(nodes := list(grid.get_node_ids())) < config["nodes"]:
        time.sleep(0.25)
    for number in range(int(config["phases"])):
        began = time.monotonic()
        content = RecordDict({"x": ConfigRecord({"x": number})})
        waiting = set(grid.push_messages([
            Message(content, dst_node_id=n, message_type="query.nothing", group_id=str(number), ttl=300.0)
            for n in nodes
        ]))
        while waiting:
            waiting -= {m.metadata.reply_to_message_id for m in grid.pull_messages(list(waiting))}
            if waiting:
                time.sleep(0.25)
        seconds.append(time.monotonic() - began)
    out = pathlib.Path(config["out"])
    out.with_suffix(".new").write_text(json.dumps(seconds))
    out.with_suffix(".new").rename(out)
"""


def study(nodes: int, *, people: int, aggregations: int) -> StudySpec:
    """A logistic model of eight inputs on made-up rows."""
    names = [f"node{point}" for point in range(1, nodes + 1)]
    return study_from_document(
        {
            "study": {
                "id": "latency",
                "title": "Phase latency",
                "purpose": "academic_research",
                "owner": "benchmark",
                "expires": (datetime.datetime.now(tz=datetime.UTC) + datetime.timedelta(days=9)).date(),
            },
            "data": {
                "dataset": "person_year",
                "label": {"column": "sick"},
                "features": [{"name": f"x{i}", "kind": "number", "low": 0.0, "high": 1.0} for i in range(8)],
                "held_out": 0.0,
                "declared_persons": dict.fromkeys(names, people // nodes),
            },
            "privacy": {"epsilon": 1.0, "delta": 1e-5, "clip_norm": 1.0},
            "training": {"aggregations": aggregations},
        }
    )


def made_up(persons: int, *, point: int) -> pa.Table:
    """One row a person; the same in every run."""
    steps = [(i * 7919 + point * 104_729) % 1000 / 1000 for i in range(persons)]
    columns = {f"x{i}": [(s * (i + 1)) % 1.0 for s in steps] for i in range(8)}
    return pa.table(
        {"psn_no": [f"p{i:07d}" for i in range(persons)], **columns, "sick": [s > 0.5 for s in steps]}
    )


def write_no_op(folder: Path) -> Path:
    """Write the app that does nothing; it carries its code, for nobody has it installed."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(_PROJECT)
    (folder / "no_op.py").write_text(textwrap.dedent(_CODE))
    return folder


def floor(running: LocalFederation, app: Path, *, phases: int) -> list[float]:
    """Seconds of each phase of the app that does nothing."""
    out = app / f"out-{time.monotonic_ns()}.json"
    run_id = control.start_run(
        running.home, app, {"out": str(out), "phases": float(phases), "nodes": float(len(running.nodes))}
    )
    last = time.monotonic() + _WAIT_S
    while not out.exists():
        running.running.require_alive()
        if time.monotonic() > last:
            raise ProcessFailed(f"run {run_id} of the app that does nothing did not end in {_WAIT_S:.0f} s")
        time.sleep(0.5)
    found: list[float] = json.loads(out.read_text())
    return found


def go_stock(running: LocalFederation) -> None:
    """Start every SuperExec again with Flower's own ClientApp program first on its search path."""
    for node in running.nodes:
        (program,) = [p for p in node_programs(node) if p.name.startswith(_SUPEREXEC)]
        running.running.stop([program.name])
        stock = {**program.environment, "PATH": search_path()}
        running.running.start(replace(program, environment=stock))


def study_phases(home: Home, spec: StudySpec, running: LocalFederation) -> dict[str, list[float]]:
    """Seconds of each contribute and open phase of a study."""
    run_id = submit(home, spec, resume=False, pace=Pace())
    follow(home, spec, run_id, on_progress=_ignore, while_waiting=running.running.require_alive)
    records = read_phases(home.run_folder(spec.id))
    return {name: [r.seconds for r in records if r.name == name] for name in ("contribute", "open")}


def run(nodes: int, *, phases: int, people: int) -> dict[str, Any]:
    """Measure everything once; the document that ``--json`` prints."""
    spec = study(nodes, people=people, aggregations=phases)
    # Sockets lie below the folder, and their paths must be short.
    folder = Path(tempfile.mkdtemp(prefix="fm-"))
    try:
        tables = {}
        for point, name in enumerate(spec.nodes, start=1):
            tables[name] = folder / f"{name}.parquet"
            write_table(made_up(people // nodes, point=point), tables[name])
        home, places = set_up(spec, tables, folder=folder / "f")
        app = write_no_op(folder / "no-op")
        with federation(home, places, on_progress=_ignore) as running:
            seconds = study_phases(home, spec, running)
            seconds["floor_warm"] = floor(running, app, phases=phases)
            go_stock(running)
            seconds["floor_stock"] = floor(running, app, phases=phases)
    finally:
        shutil.rmtree(folder)
    return document(seconds, nodes=nodes, people=people)


def document(seconds: dict[str, list[float]], *, nodes: int, people: int) -> dict[str, Any]:
    """Minimum, median and maximum of each kind of phase, and the ratios of medians."""
    repeats = min(map(len, seconds.values()))
    rows = [
        {
            "phase": name,
            "median_s": round(statistics.median(found), 3),
            "min_s": round(min(found), 3),
            "max_s": round(max(found), 3),
            "phases": len(found),
        }
        for name, found in seconds.items()
    ]
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    ratios = {
        f"{name}_to_{base}": round(medians[name] / medians[base], 3)
        for name in ("contribute", "open")
        for base in ("floor_stock", "floor_warm")
    }
    return {
        "benchmark": "phase_latency",
        **facts(PACKAGES, seed=SEED, repeats=repeats),
        "settings": {"nodes": nodes, "people": people, "scheme": "threshold", "transport": "TLS on loopback"},
        "rows": rows,
        "ratios": ratios,
        "aim": AIM,
        "within_aim_of_stock": max(ratios["contribute_to_floor_stock"], ratios["open_to_floor_stock"]) <= AIM,
    }


def table(told: dict[str, Any]) -> str:
    """The document for a terminal."""
    lines = [f"{'phase':<14}{'median s':>10}{'min s':>8}{'max s':>8}{'phases':>8}"]
    for row in told["rows"]:
        lines.append(
            f"{row['phase']:<14}{row['median_s']:>10.2f}{row['min_s']:>8.2f}{row['max_s']:>8.2f}{row['phases']:>8}"
        )
    lines += [f"{name.replace('_', ' ')}: {ratio:.2f}" for name, ratio in told["ratios"].items()]
    word = "within" if told["within_aim_of_stock"] else "above"
    return "\n".join([*lines, f"{word} the aim of {told['aim']} against Flower's own floor"])


def _ignore(event: Progress) -> None:
    """Tell nobody."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time a deployment's phases beside Flower's own.")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--phases", type=int, default=10, help="phases of each kind")
    parser.add_argument("--people", type=int, default=8_000)
    settings = parser.parse_args(arguments)
    told = run(settings.nodes, phases=settings.phases, people=settings.people)
    print(json.dumps(told, indent=1) if settings.json else table(told))


if __name__ == "__main__":
    main()
