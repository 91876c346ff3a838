"""``fedmed frontier`` as its user runs it: options, kills, other backends; no deployed node is touched."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import joblib
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from joblib._parallel_backends import ThreadingBackend
from rich.console import Console

from fedmed.cli.edge import run
from fedmed.cli.frontier import read_grid
from fedmed.cli.frontier_data import rows_for
from fedmed.cli.frontier_rows import RowFolder
from fedmed.cli.frontier_run import FrontierOptions, run_frontier
from fedmed.errors import ConfigError
from fedmed.frontier.grid import MODES
from fedmed.frontier.runs import Ground
from fedmed.frontier.tasks import all_tasks
from fedmed.study import as_training, load_study
from fedmed.types import Mode
from tests.frontier_rows import ROW
from tests.small_province import small_study

PEOPLE, ROUNDS = "1200", "2"
TEXTS = dict.fromkeys(("epsilons", "modes", "schemes", "nodes", "people", "clips", "aggregations"), "")
SMALL = ("--modes", "aggregate", "--people", PEOPLE, "--aggregations", ROUNDS, "--seeds", "1")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    assert run(["study", "new", str(path)]) == 0
    return path


def test_lists_are_read_and_what_is_left_open_is_the_studys_own() -> None:
    spec = small_study(4)
    grid = read_grid(spec, TEXTS, seeds=2)
    assert (grid.epsilons, grid.modes, grid.nodes, grid.people) == ((1.0,), MODES, (4,), (40,))
    assert (grid.clips, grid.aggregations, grid.seeds) == ((1.0,), (None,), (1, 2))
    given = {**TEXTS, "epsilons": ".5, 1,.5", "modes": "aggregate", "aggregations": "10,20", "nodes": "4,31"}
    grid = read_grid(spec, given, seeds=1)
    assert grid.epsilons == (0.5, 1.0)
    assert grid.modes == (Mode.AGGREGATE,)
    assert (grid.aggregations, grid.nodes) == ((10, 20), (4, 31))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("epsilons", "1,x", "--epsilons: 'x' is not a number"),
        ("modes", "central", "--modes: 'central' is not one of aggregate"),
        ("nodes", "4.5", "--nodes: '4.5' is not a number"),
    ],
)
def test_a_wrong_list_is_named_with_what_is_expected(name: str, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_grid(small_study(4), {**TEXTS, name: text}, seeds=1)


def test_rows_that_cannot_be_had_are_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        rows_for(small_study(4), data=tmp_path / "none.csv", site_column="site")
    with pytest.raises(ConfigError, match="--data FILE"):
        rows_for(small_study(4, data__dataset="claims"), data=None, site_column="site")


def test_rows_on_disk_are_whole_and_can_be_forgotten(tmp_path: Path) -> None:
    store = RowFolder(folder=tmp_path)
    store.keep("one", [ROW])
    assert store.read() == {"one": (ROW,)}
    (tmp_path / "rows" / "two.parquet").write_bytes(b"PAR1 half a file")
    with pytest.raises(ConfigError, match=r"two\.parquet.*remove it"):
        store.read()
    store.clear()
    assert store.read() == {}


NO_WAY_OUT = """
import sys
def forbid(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.sendto", "subprocess.Popen", "os.posix_spawn"):
        raise RuntimeError(f"a frontier must not reach out: {event}")
    if event == "open" and "province-home" in str(arguments[0]):
        raise RuntimeError("a frontier must not open a node's home")
sys.addaudithook(forbid)
from fedmed.cli import main
main()
"""


@pytest.mark.slow
def test_a_killed_frontier_goes_on_computes_nothing_twice_and_reaches_no_deployed_node(
    study: Path, tmp_path: Path
) -> None:
    """No socket, no process and no file of a home, whatever the environment names; only local tables."""
    folder, home = tmp_path / "f", tmp_path / "province-home"
    home.mkdir()
    arguments = (str(study), *SMALL, "--epsilons", "1", "--jobs", "1", "--out", str(folder))
    words = [sys.executable, "-c", NO_WAY_OUT, "frontier", *arguments]
    around = {**os.environ, "FEDMED_HOME": str(home), "FEDMED_DEBUG": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(words, cwd=tmp_path, env=around, **quiet)
    rows, patience = folder / "rows", time.monotonic() + 300
    while not list(rows.glob("*.parquet")) and process.poll() is None and time.monotonic() < patience:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in rows.glob("*.parquet")}
    assert kept
    assert not (folder / "frontier.html").exists()
    done = subprocess.run(words, cwd=tmp_path, env=around, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert {name: (rows / name).stat().st_mtime_ns for name in kept} == kept
    table = pq.read_table(folder / "frontier.parquet")
    assert sorted(table["arm"].to_pylist()) == ["alone", "alone_private", "central", "federated", "pooled"]
    federated = table.filter(pc.field("arm") == "federated")
    assert federated["size_bytes"].null_count == 0
    assert (folder / "frontier.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert (folder / "frontier.html").exists()
    assert not list(home.iterdir())


def test_tasks_and_rows_travel_to_other_processes(tmp_path: Path) -> None:
    spec = small_study(4)
    file = tmp_path / "rows.csv"
    file.write_text("site,psn_no\n", encoding="utf-8")
    ground = Ground(spec=spec, population=rows_for(spec, data=file, site_column="site"))
    tasks = all_tasks(read_grid(spec, TEXTS, seeds=1))
    assert pickle.loads(pickle.dumps((ground, tasks, ROW))) == (ground, tasks, ROW)  # noqa: S301


class WholeLists(ThreadingBackend):
    """Gives nothing back before a list is done, as Ray's backend does."""

    supports_return_generator = False


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["threading", "whole lists"])
def test_another_backend_of_joblib_takes_over(backend: str, study: Path, tmp_path: Path) -> None:
    joblib.register_parallel_backend("whole lists", WholeLists)
    spec = as_training(load_study(study.read_text(encoding="utf-8")))
    # Five tasks: more than one list of two jobs, which holds four.
    texts = {**TEXTS, "epsilons": "1,2", "modes": "aggregate", "people": PEOPLE, "aggregations": ROUNDS}
    options = FrontierOptions(folder=tmp_path / "f", jobs=2, budget=2.0, is_fresh=False)
    rows = rows_for(spec, data=None, site_column="site")
    with joblib.parallel_config(backend=backend):
        found = run_frontier(
            spec, rows, read_grid(spec, texts, seeds=1), options=options, console=Console(quiet=True)
        )
    assert [point.epsilon for point in found.points] == [1, 2]
    assert (found.runs, found.encrypted_runs) == (2, 1)
    page = (tmp_path / "f" / "frontier.html").read_text(encoding="utf-8")
    assert found.advice.headline in page
