"""Runs a frontier: tasks in parallel by joblib, rows to disk as they come, then table, pictures and page.

Any joblib backend takes over by being active around the call, so a cluster needs nothing from here::

    from dask.distributed import Client                   # or: ray.util.joblib.register_ray(), "ray"
    with Client("tcp://scheduler:8786"), joblib.parallel_config(backend="dask"):
        run_frontier(spec, rows, grid, options=FrontierOptions(..., jobs=64), console=Console())

Workers need this wheel and, for rows in a file, the file at the same path. Rows come back to the caller, who
alone writes: each task's when it ends, under Ray those of ``2 * jobs`` tasks together.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import joblib
from rich.console import Console

from fedmed.cli.frontier_data import Rows
from fedmed.cli.frontier_progress import shown_tasks
from fedmed.cli.frontier_rows import RowFolder
from fedmed.cli.runs import owned_folder
from fedmed.errors import ConfigError
from fedmed.frontier.advice import advise
from fedmed.frontier.grid import Grid
from fedmed.frontier.rows import Row
from fedmed.frontier.runs import Ground, Study, Task, run
from fedmed.frontier.summary import FEDERATED, costed, levels_of, points_of
from fedmed.frontier.tasks import all_tasks, pending, task_key, work
from fedmed.report.frontier_page import render_frontier
from fedmed.report.frontier_plots import auc_plot
from fedmed.report.frontier_result import Frontier
from fedmed.report.svg import standalone_svg
from fedmed.study import TrainingStudy

PAGE_NAME, PLOT_NAME = "frontier.html", "frontier.svg"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontierOptions:
    """How to run.

    Attributes:
        folder: Where everything goes; rows of an earlier frontier in it are used again.
        jobs: Runs at the same time.
        budget: Epsilon that a person may lose in a year, for the advice.
        is_fresh: Forget the rows of an earlier frontier.
    """

    folder: Path
    jobs: int
    budget: float
    is_fresh: bool


def run_frontier(
    spec: TrainingStudy, rows: Rows, grid: Grid, *, options: FrontierOptions, console: Console
) -> Frontier:
    """Run what is not done yet, and write table, picture and page.

    Args:
        spec: The researcher's study.
        rows: Where its rows come from.
        grid: What is tried.
        options: How to run.
        console: Where progress goes.

    Returns:
        What the page shows. The folder has ``rows/``, ``frontier.parquet``, ``frontier.svg`` and
        ``frontier.html``.

    Guarantees:
        What is finished survives a kill and is not computed again.

    Raises:
        FedMedError: whatever stops a run; what was finished before stays.
    """
    began = time.monotonic()
    ground = Ground(spec=spec, population=rows)
    store = RowFolder(folder=options.folder)
    with owned_folder(options.folder):
        if options.is_fresh:
            store.clear()
        todo = pending(grid, ground, store.read(), rows_of=rows.identity)
        with shown_tasks(console, tasks=len(todo), work=sum(work(task) for _, task in todo)) as on_done:
            for key, task, found in _results(todo, ground, jobs=options.jobs):
                store.keep(key, found)
                on_done(work(task), _words(task))
        wanted = {task_key(task, ground, rows_of=rows.identity) for task in all_tasks(grid)}
        merged = costed(row for key, kept in store.read().items() if key in wanted for row in kept)
        store.merge(merged)
        frontier = replace(
            frontier_of(spec, merged, grid, budget=options.budget),
            computed=len(todo),
            wall_seconds=time.monotonic() - began,
        )
        _write(options.folder, frontier)
    return frontier


def _results(
    todo: Sequence[tuple[str, Task]], ground: Ground, *, jobs: int
) -> Iterator[tuple[str, Task, tuple[Row, ...]]]:
    """Tasks with their rows, in the order in which they end as far as the backend tells it."""
    calls = [joblib.delayed(_one)(key, task, ground) for key, task in todo]
    backend, _ = joblib.parallel.get_active_backend()
    if backend.supports_return_generator:
        parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", pre_dispatch="2*n_jobs")
        yield from parallel(calls)
        return
    # Ray's backend gives rows back only when a whole list is done: short lists, so that a kill loses little.
    with joblib.Parallel(n_jobs=jobs) as pool:
        for first in range(0, len(calls), 2 * jobs):
            yield from pool(calls[first : first + 2 * jobs])


def _one(key: str, task: Task, ground: Ground) -> tuple[str, Task, tuple[Row, ...]]:
    """One task, in whatever process or machine the backend chose."""
    return key, task, run(task, ground)


def _words(task: Task) -> str:
    """A task in a few words."""
    choice = task.choice
    if isinstance(task, Study):
        how = ", encrypted" if task.is_encrypted else ""
        return f"{choice.mode.value}, epsilon {choice.epsilon:g}, seed {task.seed}{how}"
    if task.is_private:
        return f"central and alone, epsilon {choice.epsilon:g}, seed {task.seed}"
    return f"pooled and alone without privacy, seed {task.seed}"


def frontier_of(spec: TrainingStudy, rows: Sequence[Row], grid: Grid, *, budget: float) -> Frontier:
    """Everything that the page shows; the advice is for the grid's first provinces and people.

    Raises:
        ConfigError: there is no federated row.
    """
    points, levels = points_of(rows, budget=budget), levels_of(rows)
    if not points:
        raise ConfigError("a frontier needs at least one federated run")
    studies = [row for row in rows if row.arm == FEDERATED]
    label = spec.dataset_spec.label
    return Frontier(
        study=spec.title,
        study_id=spec.id,
        outcome=label.column if label.at_least is None else f"{label.column} >= {label.at_least:g}",
        delta=max(row.delta or 0.0 for row in studies),
        budget=budget,
        seeds=grid.seeds,
        points=points,
        levels=levels,
        advice=advise(points, levels, setting=points[0].setting, budget=budget),
        encrypted_runs=sum(row.is_encrypted for row in studies),
        runs=len(studies),
        created=datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _write(folder: Path, frontier: Frontier) -> None:
    """Picture and page."""
    plot = auc_plot(frontier, setting=frontier.settings[0], name="auc")
    try:
        (folder / PLOT_NAME).write_text(standalone_svg(plot.wide), encoding="utf-8")
        (folder / PAGE_NAME).write_text(render_frontier(frontier), encoding="utf-8")
    except OSError as fault:
        raise ConfigError(f"cannot write to {folder}: {fault.strerror}; choose another with --out") from None
