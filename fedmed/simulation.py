"""A whole study in one process: the real ClientApp, ServerApp and custodians on an in-process grid.

The apps are found by entry point (group ``fedmed.apps``), so the library imports neither side. Each
custodian is built from its own rows, keys and store and sees nothing but bytes.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from flwr.app import Context, RecordDict

from fedmed.audit_document import audit_result
from fedmed.comparison import (
    Bench,
    judge,
    judge_alone,
    make_bench,
    mean_auc,
    plain_arm,
    private_arm,
    statistics_arm,
)
from fedmed.crypto.identity import Identity
from fedmed.data.checks import check_tables
from fedmed.errors import ConfigError, DataContractError
from fedmed.governance.policy import LEAST_CELL, Policy
from fedmed.local_grid import Fault, LocalGrid, no_faults
from fedmed.messages import Member, Roster
from fedmed.outcome import FederatedRun, make_result, write_run
from fedmed.phase_record import PhaseRecord, losses_in, plans_sent, progress, spent, totals
from fedmed.plans.training import model_of
from fedmed.programs.training import PARAMETERS
from fedmed.progress import OnProgress, Progress, ignore_progress
from fedmed.protocol.schedule import Schedule, schedule_for
from fedmed.question import question_document, write_question
from fedmed.report.result import Arms, CurvePoint, Result
from fedmed.report.write import write_audit
from fedmed.study import StudySpec, TrainingStudy, canonical_bytes, study_digest
from fedmed.types import FloatArray, Mode, OnDropout, Scheme

APPS_GROUP = "fedmed.apps"
COORDINATOR = "coordinator"
NODE_ID_BASE = 1000
CURVE_POINTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong on the grid: requests or replies that are lost, by point and message type."""

    loses: Fault = no_faults
    loses_reply: Fault = no_faults


def run_study(
    spec: TrainingStudy,
    tables: Mapping[str, pa.Table],
    *,
    folder: Path,
    seed: int,
    on_progress: OnProgress = ignore_progress,
    faults: Faults | None = None,
) -> Result:
    """Run a study and its comparison arms, and write the run's folder.

    Args:
        spec: The study.
        tables: Rows of each node, by node key.
        folder: Gets ``study.toml``, ``result.json``, ``model.safetensors`` and ``model_card.md``; of an
            audited study ``audit.json`` and ``audit.html`` as well.
        seed: Recorded with the result; what it seeds (synthetic rows) was seeded by the caller. Noise and
            keys have none.
        on_progress: Called at each step.
        faults: What goes wrong on the grid, for drills and tests.

    Returns:
        The result document.

    Raises:
        DataContractError: a node's table does not hold what the study needs; said before anything is spent.
        FedMedError: whatever stops the study; the folder is then not written.
    """
    began = time.monotonic()
    ordered = _ordered(spec, tables)
    check_tables(ordered, spec.dataset_spec)
    schedule = schedule_for(spec)
    run = federate(spec, ordered, on_progress=on_progress, faults=faults or Faults())
    model = model_of(spec)
    start = model.initial(study_digest(canonical_bytes(spec)))
    bench = make_bench(spec, schedule, ordered, start=start)
    baselines_began = time.monotonic()
    arms, central_curve = _arms(bench, run, on_progress=on_progress)
    # Rounds of another mode are no gradient steps: the curves would not stand above each other.
    curve = _curve(bench, run, central_curve if spec.privacy.mode is Mode.AGGREGATE else {})
    seconds = {
        "baselines": time.monotonic() - baselines_began,
        "total": time.monotonic() - began,
    }
    now = datetime.datetime.now(tz=datetime.UTC)
    result = make_result(
        spec,
        schedule,
        run,
        arms=arms,
        curve=curve,
        seconds=seconds,
        now=now,
    )
    if run.audit is not None:
        write_audit(folder, audit_result(spec, [run.audit], ended=now, simulation=True))
    write_run(folder, spec, result, parameters=run.parameters, model=model, seed=seed)
    return result


def run_question(
    spec: StudySpec,
    tables: Mapping[str, pa.Table],
    *,
    folder: Path,
    on_progress: OnProgress = ignore_progress,
    faults: Faults | None = None,
) -> Mapping[str, object]:
    """Run a study of any kind, without comparison arms, and write the run's folder.

    Args:
        spec: The study.
        tables: Rows of each node, by node key.
        folder: Gets ``study.toml``, ``state.safetensors`` (the program's final state) and ``result.json``.
        on_progress: Called at each step.
        faults: What goes wrong on the grid, for drills and tests.

    Returns:
        The result document, see `fedmed.question.question_document`.

    Raises:
        DataContractError: a node's table lacks a column; said before anything is spent.
        FedMedError: whatever stops the study; the folder is then not written.
    """
    ordered = _ordered(spec, tables)
    for node, table in ordered.items():
        missing = sorted(set(spec.columns) - set(table.column_names))
        if missing:
            raise DataContractError(f"{node}: column {', '.join(missing)} is missing in its rows")
    run = federate(spec, ordered, on_progress=on_progress, faults=faults or Faults())
    now = datetime.datetime.now(tz=datetime.UTC)
    document = question_document(spec, schedule_for(spec), run, ended=now, simulation=True)
    write_question(folder, spec, document, state=run.state)
    return document


def _ordered(spec: StudySpec, tables: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """The tables in roster order; refuses missing and foreign nodes."""
    missing = [node for node in spec.nodes if node not in tables]
    foreign = [node for node in tables if node not in spec.nodes]
    if missing or foreign:
        raise ConfigError(
            f"tables are given for {', '.join(tables)}, the study's nodes are {', '.join(spec.nodes)}"
        )
    return {node: tables[node] for node in spec.nodes}


def load_app(name: str) -> Callable[..., Any]:  # the apps' own signatures are checked where they are made
    """A factory from the entry-point group ``fedmed.apps``; `ConfigError` when it is not installed."""
    for entry in entry_points(group=APPS_GROUP):
        if entry.name == name:
            factory: Callable[..., Any] = entry.load()
            return factory
    raise ConfigError(f"no app {name} is installed in group {APPS_GROUP}; install the fedmed distribution")


@dataclass(slots=True)
class _Watch:
    """Gathers what the driver and the coordinator tell, and passes it on as progress."""

    spec: StudySpec
    schedule: Schedule
    on_progress: OnProgress
    round_number: int = 0
    records: list[PhaseRecord] = field(default_factory=list)
    lost: list[tuple[str, int, str]] = field(default_factory=list)
    parameters: list[FloatArray] = field(default_factory=list)

    def phase(self, record: PhaseRecord) -> None:
        """One phase is over."""
        self.records.append(record)
        self.lost += losses_in(self.spec, record, round_number=self.round_number + 1)
        self.on_progress(progress(self.spec, self.schedule, self.records, finished=self.round_number))

    def round_done(self, summary: Any) -> None:  # fedmed_server.study_flow.RoundSummary
        """One aggregation is over; a contribution that arrived and did not hold is a loss as well."""
        self.round_number = summary.round_number
        named = {node for node, _, _ in self.lost}
        for point, node in enumerate(self.spec.nodes, start=1):
            if point not in summary.contributors and node not in named:
                self.lost.append((node, summary.round_number, "contribute"))
        if PARAMETERS in summary.trace:
            self.parameters.append(summary.trace[PARAMETERS])


def make_roster(spec: StudySpec, schedule: Schedule) -> tuple[Roster, dict[str, Identity]]:
    """Fresh keys for every node and the coordinator, and the roster that names them."""
    names = (*spec.nodes, COORDINATOR)
    identities = {name: Identity.create(name) for name in names}
    members = {
        name: Member(name=name, signing_key=i.public.signing_key, sealing_key=i.public.sealing_key)
        for name, i in identities.items()
    }
    roster = Roster(
        version=1,
        members=tuple(members[node] for node in spec.nodes),
        threshold=schedule.allowance.threshold,
        colluders=schedule.allowance.colluders,
        coordinator=members[COORDINATOR],
    )
    return roster, identities


def simulated_policy(spec: StudySpec) -> Policy:
    """What a simulated province allows: this study, once."""
    epsilon = 1.0 if spec.privacy.is_exact else spec.privacy.epsilon
    return Policy(
        max_epsilon_per_study=epsilon,
        max_epsilon_per_year=epsilon,
        modes=frozenset({spec.privacy.mode}),
        exact_statistics=spec.privacy.is_exact,
        schemes=frozenset({spec.aggregation.scheme}),
        min_cohort=1,
        min_cell=LEAST_CELL,
        allow_continue=spec.aggregation.on_dropout is OnDropout.CONTINUE,
        research=spec.aggregation.scheme is Scheme.PLAIN,
        auto_approve=True,
    )


def federate(
    spec: StudySpec, tables: Mapping[str, pa.Table], *, on_progress: OnProgress, faults: Faults
) -> FederatedRun:
    """Run the federated part: ceremony, proposal, aggregations, end.

    Args:
        spec: The study.
        tables: Rows of each node in roster order.
        on_progress: Called at each step.
        faults: What goes wrong on the grid.
    """
    began = time.monotonic()
    now = datetime.datetime.now(tz=datetime.UTC)
    schedule = schedule_for(spec)
    roster, identities = make_roster(spec, schedule)
    policy, build = simulated_policy(spec), load_app("custodian")
    custodians = {
        NODE_ID_BASE + point: build(
            identities[node],
            roster,
            policy=policy,
            dataset=(spec.data.dataset, tables[node], spec.data.declared_persons[node], spec.data.person),
            now=now,
        )
        for point, node in enumerate(spec.nodes, start=1)
    }
    grid = _grid(custodians, faults)
    watch = _Watch(spec=spec, schedule=schedule, on_progress=on_progress)
    delivered: list[Any] = []  # fedmed_server.study_flow.StudyOutcome
    app = load_app("server")(
        spec=spec,
        identity=identities[COORDINATOR],
        roster=roster,
        today=now.date(),
        directory={point: NODE_ID_BASE + point for point in roster.points},
        make_message=lambda g: g.create_message,
        deadline_s=600.0,
        on_phase=watch.phase,
        on_round=watch.round_done,
        deliver=delivered.append,
    )
    app(grid, _context(0))
    (outcome,) = delivered
    return FederatedRun(
        state=outcome.state,
        history=tuple(watch.parameters),
        contributors=tuple(tuple(spec.nodes[p - 1] for p in r.contributors) for r in outcome.rounds),
        plans=outcome.plans,
        lost=tuple(watch.lost),
        totals=totals(watch.records),
        seconds=time.monotonic() - began,
        epsilon_spent=spent(schedule, plans_sent(watch.records)),
        audit=outcome.audit,
    )


def _grid(custodians: Mapping[int, Any], faults: Faults) -> LocalGrid:  # values: fedmed_nodes.custodian
    """An in-process grid whose ClientApps relay to these custodians."""
    app = load_app("client")(lambda context: custodians[context.node_id])

    def by_point(fault: Fault) -> Fault:
        return lambda node_id, kind: fault(node_id - NODE_ID_BASE, kind)

    return LocalGrid(
        dict.fromkeys(custodians, app),
        {node_id: _context(node_id) for node_id in custodians},
        loses=by_point(faults.loses),
        loses_reply=by_point(faults.loses_reply),
    )


def _context(node_id: int) -> Context:
    """An empty Flower context of a node."""
    return Context(run_id=1, node_id=node_id, node_config={}, state=RecordDict(), run_config={})


def _arms(bench: Bench, run: FederatedRun, *, on_progress: OnProgress) -> tuple[Arms, dict[int, FloatArray]]:
    """Score the study's model and, if the study asks for them, the comparison arms."""
    federated = judge(bench, run.parameters)
    if not bench.spec.report.baselines:
        return Arms(federated=federated), {}
    nodes = tuple(bench.train)
    history: dict[int, FloatArray] = {}

    def say(what: str) -> None:
        on_progress(Progress(phase="baselines", rounds=bench.spec.training.aggregations, note=what))

    say("central: all persons in one place, same epsilon")
    central = private_arm(bench, nodes, watch=lambda n, p: history.__setitem__(n, p))
    say("each province alone, same epsilon")
    alone_private = {node: private_arm(bench, [node]) for node in nodes}
    say("one sum of second moments, same epsilon")
    moments = None if bench.is_of_statistics else statistics_arm(bench)
    say("all persons in one place, no privacy")
    pooled = plain_arm(bench, nodes)
    say("each province alone, no privacy")
    alone = {node: plain_arm(bench, [node]) for node in nodes}
    return Arms(
        federated=federated,
        central=judge(bench, central),
        alone_private=judge_alone(bench, alone_private),
        alone=judge_alone(bench, alone),
        pooled=judge(bench, pooled),
        statistics=None if moments is None else judge(bench, moments[0], model=moments[1]),
    ), history


def _curve(bench: Bench, run: FederatedRun, central: Mapping[int, FloatArray]) -> tuple[CurvePoint, ...]:
    """Mean AUC after about `CURVE_POINTS` of the aggregations, the first and the last among them."""
    last = len(run.history)
    chosen = sorted({round(x) for x in np.linspace(1, last, min(last, CURVE_POINTS))})
    return tuple(
        CurvePoint(
            aggregation=n,
            federated=mean_auc(bench, run.history[n - 1]),
            central=mean_auc(bench, central[n]) if n in central else None,
        )
        for n in chosen
    )
