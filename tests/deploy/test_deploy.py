"""A federation of real processes: TLS, node authentication, process isolation, custodians on sockets."""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from pyarrow.parquet import write_table

from fedmed.phase_record import spent
from fedmed.progress import Progress
from fedmed.protocol.schedule import schedule_for
from fedmed.study import StudySpec
from fedmed_server.chronicle import read_phases
from fedmed_server.launch import Pace, follow, submit
from fedmed_server.local_federation import LocalFederation, federation, set_up
from tests.federation import AGGREGATIONS, names, small_study, small_table

NODES = 3
WAIT_S = 300.0
PROGRAMS = Path(sys.executable).parent

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path("/proc/self/environ").exists() or not (PROGRAMS / "flower-superlink").exists(),
        reason="needs Linux and flwr's programs beside this Python: install FedMed with its dependencies",
    ),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: unix sockets lie below it."""
    made = Path(tempfile.mkdtemp(prefix="fm-"))
    yield made
    shutil.rmtree(made)


def processes_of(folder: Path) -> list[int]:
    """Every process that has the folder in its command line or environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            told = (place / "cmdline").read_bytes() + (place / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in told:
            found.append(int(place.name))
    return found


def server_app(running: LocalFederation) -> list[int]:
    """Processes of the ServerApp: those of the SuperExec's group that run it."""
    group, found = running.running.pids()["superexec"], []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            is_ours = os.getpgid(int(place.name)) == group
            is_app = b"flwr-serverapp" in (place / "cmdline").read_bytes()
        except OSError:
            continue
        if is_ours and is_app:
            found.append(int(place.name))
    return found


def spent_epsilons(running: LocalFederation) -> list[float]:
    """What each custodian's ledger says, as its operator sees it."""
    told = []
    for node in running.nodes:
        command = [str(PROGRAMS / "fedmed"), "node", "budget", str(node.home), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        told += [study["spent_epsilon"] for study in json.loads(done.stdout)["studies"]]
    return told


def test_a_study_over_real_processes_survives_its_server_app_and_leaves_nothing(folder: Path) -> None:
    spec = small_study(NODES)
    tables = {}
    for point, name in enumerate(names(NODES), start=1):
        tables[name] = folder / f"{name}.parquet"
        write_table(small_table(point), tables[name])
    home, nodes = set_up(spec, tables, folder=folder / "f")
    events: list[Progress] = []
    with federation(home, nodes, on_progress=events.append) as running:
        _only_the_fleet_passes(running)
        run_id = submit(home, spec, resume=False, pace=Pace())
        _kill_after_first_sum(running, spec)
        again = submit(home, spec, resume=True, pace=Pace())
        assert again != run_id
        run = follow(
            home, spec, again, on_progress=events.append, while_waiting=running.running.require_alive
        )
        assert run.plans == AGGREGATIONS, "nobody spent for the kill"
        assert run.contributors == (names(NODES),) * AGGREGATIONS
        assert np.isfinite(run.parameters).all()
        expected = spent(schedule_for(spec), AGGREGATIONS)
        assert spent_epsilons(running) == pytest.approx([expected] * NODES, rel=1e-6)
        assert len(processes_of(folder)) > 4 * NODES
    assert processes_of(folder) == []


def _only_the_fleet_passes(running: LocalFederation) -> None:
    """The front door refuses the API that would let anybody submit an app."""
    trusted = ssl.create_default_context(cafile=str(running.home.authority_certificate))
    base = f"https://127.0.0.1:{running.home.addresses().port}"
    with httpx.Client(base_url=base, verify=trusted, trust_env=False) as client:
        assert client.post("/v1/control/start-run").status_code == 403
        assert client.post("/v1/runtime/acquire-task").status_code == 403
        assert client.get("/openapi.json").status_code == 403
        # Passed on, and refused by the SuperLink: it is no SuperNode's message.
        assert client.post("/v1/fleet/pull-messages").status_code in (401, 415, 422)


def _kill_after_first_sum(running: LocalFederation, spec: StudySpec) -> None:
    """SIGKILL for the ServerApp while the second aggregation is under way."""
    place, deadline = running.home.run_folder(spec.id), time.monotonic() + WAIT_S
    while not any(record.name == "open" for record in read_phases(place)):
        running.running.require_alive()
        assert time.monotonic() < deadline, "no first sum in time"
        time.sleep(0.2)
    killed = server_app(running)
    assert killed
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
