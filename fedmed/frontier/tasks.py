"""What is still to be done of a grid, and which of the runs are encrypted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from enum import Enum

from fedmed.frontier.grid import Choice, Grid, variant
from fedmed.frontier.rows import VERSION, Row
from fedmed.frontier.runs import EXACT, Baselines, Ground, Study, Task, layout_key
from fedmed.protocol.schedule import schedule_for
from fedmed.study import canonical_bytes
from fedmed.types import Mode, digest

MOST_ENCRYPTED_NODES = 64
"""Above, one process would hold every node's share of every other one: 0.23 MB times nodes squared."""

Done = Mapping[str, tuple[Row, ...]]
"""Rows by the key of the task that gave them."""


def all_tasks(grid: Grid) -> tuple[Task, ...]:
    """Every task of a grid, none encrypted; each baseline once, whatever it is set beside.

    Baselines train like mode ``aggregate``, so choices of another mode with rounds of its own share one.
    """
    studies = [Study(choice=c, seed=s, is_encrypted=False) for c in grid.choices for s in grid.seeds]
    beside = dict.fromkeys(
        replace(choice, mode=Mode.AGGREGATE, scheme=grid.schemes[0], aggregations=rounds)
        for choice in grid.choices
        for rounds in grid.aggregations
    )
    plain = {(choice.nodes, choice.people): choice for choice in reversed(beside)}
    baselines = (
        Baselines(choice=choice, seed=seed, is_private=is_private)
        for is_private, choices in ((True, tuple(beside)), (False, tuple(plain.values())))
        for choice in choices
        for seed in grid.seeds
    )
    return (*studies, *baselines)


def task_key(task: Task, ground: Ground, *, rows_of: str) -> str:
    """Name of a task: equal for equal work, whether under encryption or not.

    Args:
        task: The task.
        ground: What all tasks share.
        rows_of: Says which rows the population gives, by their contents.
    """
    about = asdict(task)
    about.pop("is_encrypted", None)
    if isinstance(task, Baselines):
        ignored = {"mode", "scheme"} | (
            set() if task.is_private else {"epsilon", "clip_norm", "aggregations"}
        )
        about["choice"] = {name: value for name, value in about["choice"].items() if name not in ignored}
    text = json.dumps([VERSION, rows_of, about], sort_keys=True, default=_value_of)
    return digest("fedmed/frontier", canonical_bytes(ground.spec), text.encode()).hex()[:32]


def _value_of(value: object) -> object:
    """An enum's value, for JSON."""
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"{type(value).__name__} has no place in a key")


def pending(grid: Grid, ground: Ground, done: Done, *, rows_of: str) -> tuple[tuple[str, Task], ...]:
    """What is still to be done, with each task's key; runs under encryption first, for they take longest.

    Of the runs with one layout the first is encrypted, unless a finished one was; if all of them are
    finished and none was, the first is done again.

    Args:
        grid: The grid.
        ground: What all tasks share.
        done: What is finished.
        rows_of: As in `task_key`.

    Raises:
        FedMedError: a choice cannot be run at all: said before the first run.
    """
    keyed = {task_key(task, ground, rows_of=rows_of): task for task in all_tasks(grid)}
    measured = {row.layout for rows in done.values() for row in rows if row.is_encrypted}
    layouts = _layouts(grid, ground)
    todo: dict[str, Task] = {}
    for key in sorted(keyed, key=lambda key: key in done):  # stable: unfinished ones come first
        task = keyed[key]
        layout = layouts[task.choice] if isinstance(task, Study) else ""
        if isinstance(task, Study) and layout and layout not in measured:
            measured.add(layout)
            todo[key] = replace(task, is_encrypted=True)
        elif key not in done:
            todo[key] = task
    return tuple(sorted(todo.items(), key=lambda item: -work(item[1])))


def work(task: Task) -> float:
    """About how long a task takes beside others; by it the time left is told."""
    if isinstance(task, Study):
        return 1.5 if task.is_encrypted else 1.0
    return 0.8 if task.is_private else 0.3


def _layouts(grid: Grid, ground: Ground) -> dict[Choice, str]:
    """Layout of each choice; empty where no run of it is encrypted only to be measured."""
    declared: dict[tuple[int, int], dict[str, int]] = {}
    found = {}
    for choice in grid.choices:
        place = (choice.people, choice.nodes)
        if place not in declared:
            tables = ground.tables(people=choice.people, nodes=choice.nodes, seed=grid.seeds[0])
            declared[place] = ground.declared(tables)
        spec = variant(ground.spec, choice, declared[place])
        is_measured = choice.scheme in EXACT and choice.nodes <= MOST_ENCRYPTED_NODES
        schedule = schedule_for(spec)
        found[choice] = layout_key(spec, schedule) if is_measured else ""
    return found
