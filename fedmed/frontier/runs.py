"""One run of a frontier: a study in simulation, or baselines of the same persons; rows come out.

Threat model: none. Everything here reads rows of all provinces, which only a simulation on local tables may.
The custodians that are asked are made in this process for this run; no address of another one is known.

The fast path. ``threshold`` and ``ckks`` open exactly the integers that ``plain`` adds, so a run's accuracy
does not depend on which of them carried the sum. Of all runs with the same layout one is encrypted, and its
bytes and seconds stand for the others; these take clips, noise, encoding and decoding from the same code, in
the clear.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import pyarrow as pa

from fedmed.comparison import Bench, judge, judge_alone, make_bench, plain_arm, private_arm
from fedmed.frontier.grid import Choice, variant
from fedmed.frontier.population import deal, persons_of
from fedmed.frontier.rows import Row, written_events
from fedmed.plans.training import model_of
from fedmed.progress import ignore_progress
from fedmed.protocol.schedule import Schedule, schedule_for
from fedmed.report.result import Arm, worst_node
from fedmed.simulation import Faults, federate
from fedmed.study import TrainingStudy, canonical_bytes, study_digest
from fedmed.types import Mode, Scheme

EXACT = frozenset({Scheme.THRESHOLD, Scheme.CKKS})
"""Schemes that open the very integers that were added, so that ``plain`` may stand in for them."""


class Population(Protocol):
    """Where rows come from; it can be sent to another process."""

    def __call__(self, *, people: int, seed: int) -> Mapping[str, pa.Table]:
        """Rows of each node, at least ``people`` persons in all; the same for equal arguments."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What all runs of a frontier share.

    Attributes:
        spec: The researcher's study.
        population: Where its rows come from.
    """

    spec: TrainingStudy
    population: Population

    def tables(self, *, people: int, nodes: int, seed: int) -> dict[str, pa.Table]:
        """Rows of a run; errors are those of `fedmed.frontier.population.deal`."""
        return deal(
            self.population(people=people, seed=seed),
            person=self.spec.data.person,
            people=people,
            nodes=nodes,
            seed=seed,
        )

    def declared(self, tables: Mapping[str, pa.Table]) -> dict[str, int]:
        """Declared persons: the study's own where these are its nodes and its numbers, else counted."""
        counted = persons_of(tables, person=self.spec.data.person)
        own = dict(self.spec.data.declared_persons)
        fits = list(own) == list(counted) and all(counted[node] <= own[node] for node in own)
        return own if fits and sum(counted.values()) == sum(own.values()) else counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A federated run.

    Attributes:
        choice: What is tried.
        seed: Of the rows.
        is_encrypted: Whether to run the secure sums under encryption where ``plain`` could stand in.
    """

    choice: Choice
    seed: int
    is_encrypted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """Arms that the federated runs of the same persons are set beside.

    Attributes:
        choice: Whose people, nodes, clip and aggregations; its mode and scheme play no part.
        seed: Of the rows.
        is_private: ``central`` and ``alone_private`` at the choice's epsilon, or ``pooled`` and ``alone``.
    """

    choice: Choice
    seed: int
    is_private: bool


Task = Study | Baselines


def run(task: Task, ground: Ground) -> tuple[Row, ...]:
    """Do one task.

    Args:
        task: What to do.
        ground: What all tasks share.

    Returns:
        One row an arm.

    Raises:
        FedMedError: whatever stops the run.
    """
    choice = task.choice
    tables = ground.tables(people=choice.people, nodes=choice.nodes, seed=task.seed)
    declared = ground.declared(tables)
    if isinstance(task, Study):
        return (_federated(task, variant(ground.spec, choice, declared), tables),)
    # A baseline is trained like the federated default, whatever mode it is set beside.
    plain = replace(choice, mode=Mode.AGGREGATE, scheme=Scheme.PLAIN)
    return _baselines(task, variant(ground.spec, plain, declared), tables)


def layout_key(spec: TrainingStudy, schedule: Schedule) -> str:
    """Runs with equal keys move equal bytes: nodes, rounds, and how each stage's values are packed."""
    stages = (
        f"{s.kind.value}*{s.rounds}:{s.layout.values}/{s.layout.fields}/{s.layout.field_bits}"
        for s in schedule.stages
    )
    carried = f"{spec.aggregation.scheme.value}-{schedule.layout.parameter_set}"
    return " ".join((spec.privacy.mode.value, carried, f"{len(spec.nodes)} nodes", *stages))


def _federated(task: Study, spec: TrainingStudy, tables: Mapping[str, pa.Table]) -> Row:
    """Run the study; under encryption, or its fast path."""
    schedule = schedule_for(spec)
    is_exact = spec.aggregation.scheme in EXACT
    stood_in = is_exact and not task.is_encrypted
    found = federate(
        in_the_clear(spec) if stood_in else spec, tables, on_progress=ignore_progress, faults=Faults()
    )
    arm = judge(_bench(spec, schedule, tables), found.parameters)
    row = _row(arm, name="federated", task=task, spec=spec)
    return replace(
        row,
        mode=spec.privacy.mode.value,
        scheme=spec.aggregation.scheme.value,
        delta=schedule.delta,
        fallback_epsilon=schedule.fallback_epsilon(),
        events=written_events(schedule.planned_events),
        layout=layout_key(spec, schedule),
        is_encrypted=is_exact and task.is_encrypted,
        size_bytes=None if stood_in else sum(t.up + t.down for t in found.totals.values()),
        seconds=None if stood_in else found.seconds,
    )


def in_the_clear(spec: TrainingStudy) -> TrainingStudy:
    """The same study with ``plain`` sums: grid, clamp and noise do not depend on what carries them."""
    aggregation = spec.aggregation.model_copy(update={"scheme": Scheme.PLAIN})
    return spec.model_copy(update={"aggregation": aggregation})


def _baselines(task: Baselines, spec: TrainingStudy, tables: Mapping[str, pa.Table]) -> tuple[Row, ...]:
    """Two arms: all persons in one place, and each province alone."""
    bench = _bench(spec, schedule_for(spec), tables)
    arm = private_arm if task.is_private else plain_arm
    together = judge(bench, arm(bench, spec.nodes))
    alone = judge_alone(bench, {node: arm(bench, [node]) for node in spec.nodes})
    names = ("central", "alone_private") if task.is_private else ("pooled", "alone")
    rows = (
        _row(found, name=name, task=task, spec=spec)
        for name, found in zip(names, (together, alone), strict=True)
    )
    if task.is_private:
        return tuple(replace(row, delta=spec.privacy.delta) for row in rows)
    return tuple(replace(row, epsilon=None, clip_norm=None, aggregations=None) for row in rows)


def _bench(spec: TrainingStudy, schedule: Schedule, tables: Mapping[str, pa.Table]) -> Bench:
    """What arms are trained and judged on."""
    start = model_of(spec).initial(study_digest(canonical_bytes(spec)))
    return make_bench(spec, schedule, tables, start=start)


def _row(arm: Arm, *, name: str, task: Task, spec: TrainingStudy) -> Row:
    """The scores of an arm; what is known of federated runs only is empty."""
    worst = worst_node(arm)
    return Row(
        arm=name,
        mode="",
        scheme="",
        epsilon=spec.privacy.epsilon,
        delta=None,
        nodes=task.choice.nodes,
        people=task.choice.people,
        clip_norm=spec.privacy.clip_norm,
        aggregations=spec.training.aggregations,
        seed=task.seed,
        auc=arm.auc,
        worst_auc=arm.auc if worst is None else worst[1],
        average_precision=arm.average_precision,
        expected_over_observed=arm.expected_over_observed,
        fallback_epsilon=None,
        events="[]",
        layout="",
        is_encrypted=False,
        size_bytes=None,
        seconds=None,
    )
