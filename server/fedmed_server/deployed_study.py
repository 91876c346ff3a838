"""What a deployed ServerApp does with one study: finds the nodes, runs it, keeps it, hands over the outcome.

It runs in a process that Flower starts for each run and may kill at any moment, so everything that matters
lies in the run's folder before the next message leaves.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from safetensors.numpy import load, save

from fedmed import wire
from fedmed.audit_document import audit_result
from fedmed.crypto.supernode_key import supernode_pem
from fedmed.errors import ConfigError, FedMedError, TooFewNodes, all_errors
from fedmed.outcome import FederatedRun
from fedmed.phase_record import PhaseRecord, spent, totals
from fedmed.plans.training import model_of
from fedmed.programs.audited import AuditFindings
from fedmed.programs.contract import Arrays
from fedmed.programs.training import PARAMETERS
from fedmed.release.exchange import witnessed
from fedmed.release.payloads import retained
from fedmed.report.audit_page import AUDIT_DOCUMENT
from fedmed.study import StudySpec, TrainingStudy, canonical_bytes, load_study, study_digest
from fedmed_server.chronicle import Chronicle, losses, read_phases
from fedmed_server.driver import GridDriver
from fedmed_server.files import read_private, replace_private
from fedmed_server.home import Home
from fedmed_server.journal import journaled
from fedmed_server.published import PUBLISHED_FOLDER, publish
from fedmed_server.run_store import Began, RunStore, opened_store
from fedmed_server.study_flow import StudyOutcome, StudyRun, conduct

STUDY_FILE: Final = "study.toml"
OUTCOME_FILE: Final = "outcome.json"
FAILURE_FILE: Final = "failure.json"
MODEL_FILE: Final = "model.safetensors"
HISTORY_FILE: Final = "history.safetensors"
ROSTER_FILE: Final = "roster.bin"
JOURNAL: Final = "journal"
STATE_FILE: Final = "state.safetensors"
_WAIT_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a run's configuration asks for.

    Attributes:
        home: The coordinator's home.
        study: Id of the study; its file lies in the run's folder.
        resume: Whether a killed run goes on.
        phase_deadline_s: How long a phase may take.
        nodes_deadline_s: How long to wait for all nodes to be online.
    """

    home: Home
    study: str
    resume: bool
    phase_deadline_s: float
    nodes_deadline_s: float

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Order:  # Any: what TOML can say
        """Read Flower's run configuration.

        Raises:
            ConfigError: a setting is missing or of another type; names it.
        """

        def take(key: str, kind: type) -> Any:  # checked against ``kind`` here
            value = config.get(key)
            if not isinstance(value, kind) or value == "":
                raise ConfigError(f"run configuration: {key} must be a {kind.__name__}")
            return value

        return cls(
            home=Home(Path(take("coordinator-home", str))),
            study=take("study", str),
            resume=take("resume", bool),
            phase_deadline_s=take("phase-deadline-s", float),
            nodes_deadline_s=take("nodes-deadline-s", float),
        )


class Listed(Protocol):
    """A node as Flower's grid lists it."""

    node_id: int
    public_key: bytes


OnPhase = Callable[[PhaseRecord], None]
OpenDriver = Callable[[Mapping[int, int], OnPhase], GridDriver]
"""Makes a driver for a directory (Flower's node id by roster point) and an observer of phases."""


class NodeList(Protocol):
    """The part of Flower's grid that names nodes."""

    def get_nodes(self) -> Iterable[Listed]:
        """Nodes that are online."""
        ...


def find_nodes(grid: NodeList, expected: Mapping[bytes, int], *, deadline_s: float) -> dict[int, int]:
    """Wait until every node of the roster is online, and find it by its SuperNode's key.

    Args:
        grid: Flower's grid.
        expected: Roster point by public key, PEM.
        deadline_s: Longest wait; Flower itself would wait for ever.

    Returns:
        Flower's node id by roster point.

    Raises:
        TooFewNodes: some did not come in time; names their points.
    """
    deadline = time.monotonic() + deadline_s
    while True:
        found = {expected[n.public_key]: n.node_id for n in grid.get_nodes() if n.public_key in expected}
        missing = sorted(set(expected.values()) - set(found))
        if not missing:
            return found
        if time.monotonic() > deadline:
            raise TooFewNodes(
                f"the nodes at roster points {', '.join(map(str, missing))} are not online after "
                f"{deadline_s:.0f} s; start their SuperNodes and launch the study again"
            )
        time.sleep(_WAIT_S)


def expected_nodes(home: Home) -> dict[bytes, int]:
    """Roster point of each SuperNode's public key; raises `ConfigError` if one has none."""
    roster, keys = home.roster(), home.supernode_keys()
    missing = [m.name for m in roster.members if m.name not in keys]
    if missing:
        raise ConfigError(f"nodes.toml has no SuperNode key of {', '.join(missing)}")
    return {supernode_pem(keys[m.name].encode()): p for p, m in enumerate(roster.members, start=1)}


def run_order(order: Order, grid: NodeList, open_driver: OpenDriver, *, today: datetime.date) -> None:
    """Run the study that an order names, and leave its outcome or its failure in the run's folder.

    Args:
        order: What to run.
        grid: Where the nodes are listed.
        open_driver: Makes a driver on that grid.
        today: The coordinator's date.

    Raises:
        FedMedError: whatever stops the study; ``failure.json`` says the same.

    Guarantees:
        ``outcome.json`` is written last: where it is, everything is.
    """
    folder = order.home.run_folder(order.study)
    (folder / FAILURE_FILE).unlink(missing_ok=True)
    try:
        with opened_store(folder / JOURNAL) as store:
            run = _begin(order, store, today=today)
            directory = find_nodes(grid, expected_nodes(order.home), deadline_s=order.nodes_deadline_s)
            with contextlib.closing(Chronicle(folder)) as chronicle:
                outcome = _conduct(run, open_driver(directory, chronicle.note), store)
            _write_outcome(folder, run, outcome, register=order.home.path / PUBLISHED_FOLDER)
            store.end()
    except FedMedError as fault:
        told = {"code": fault.code, "cause": str(fault)}
        replace_private(folder / FAILURE_FILE, json.dumps(told).encode())
        raise


def _begin(order: Order, store: RunStore, *, today: datetime.date) -> StudyRun:
    """Read what the order names, and begin or resume its run."""
    text = read_private(order.home.run_folder(order.study) / STUDY_FILE).decode()
    spec, roster = load_study(text), order.home.roster()
    began = store.begin(
        Began(
            study_digest=study_digest(canonical_bytes(spec)),
            roster_digest=wire.roster_digest(roster),
            today=today,
        ),
        resume=order.resume,
    )
    # The home's roster may be replaced after the study; its release needs the one that it ran under.
    replace_private(order.home.run_folder(order.study) / ROSTER_FILE, wire.encode_roster(roster))
    return StudyRun(spec=spec, identity=order.home.identity(), roster=roster, today=began.today)


def _conduct(run: StudyRun, driver: GridDriver, store: RunStore) -> StudyOutcome:
    """Run the study with its journal; a study that fails is over, one that is killed is not."""
    steps = conduct(run, on_state=store.save, start=store.state())
    steps = retained(steps, store.retain, scheme=run.spec.aggregation.scheme)
    steps = witnessed(steps, store.witness())
    try:
        return driver.run(journaled(steps, store))
    except FedMedError:
        if store.state() is None:
            store.forget()  # nobody knows the study yet: it may be launched again under its name
        else:
            store.end()
        raise


def _write_outcome(folder: Path, run: StudyRun, outcome: StudyOutcome, *, register: Path) -> None:
    """Write state, history, the model of a training study, and the outcome; `publish` says what it shows."""
    digest, spec = outcome.study_digest.hex(), run.spec
    replace_private(folder / STATE_FILE, _tensors(outcome.state, study=digest))
    if isinstance(spec, TrainingStudy):
        model = model_of(spec)
        tensors = _tensors(model.split(outcome.parameters), study=digest, kind=model.kind)
        replace_private(folder / MODEL_FILE, tensors)
        if outcome.audit is not None:
            _write_audit(folder, spec, outcome.audit)
    history = {f"{r.round_number:04d}": r.parameters for r in outcome.rounds if PARAMETERS in r.trace}
    replace_private(folder / HISTORY_FILE, _tensors(history, study=digest))
    names = spec.nodes
    told = {
        "version": 1,
        "study": {"id": spec.id, "digest": digest, "kind": spec.kind.value},
        "roster": wire.roster_digest(run.roster).hex(),
        "epoch": outcome.epoch_id.hex(),
        "rounds": [
            {
                "contributors": [names[p - 1] for p in r.contributors],
                "openers": [names[p - 1] for p in r.openers],
                "attempts": r.attempts,
            }
            for r in outcome.rounds
        ],
        "plans": outcome.plans,
        "epsilon_spent": None if spec.privacy.is_exact else spent(outcome.schedule, outcome.plans),
        "lost": {names[p - 1]: code for p, code in outcome.lost.items()},
        "ended": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
        "result": publish(register, folder, spec, outcome.state),
    }
    replace_private(folder / OUTCOME_FILE, json.dumps(told, ensure_ascii=False, indent=2).encode())


def _write_audit(folder: Path, spec: TrainingStudy, found: AuditFindings) -> None:
    """Write what the audit block says."""
    now = datetime.datetime.now(tz=datetime.UTC)
    audit = audit_result(spec, [found], ended=now, simulation=False)
    replace_private(folder / AUDIT_DOCUMENT, audit.to_json().encode())


def _tensors(arrays: Arrays, **metadata: str) -> bytes:
    """Named arrays as a safetensors file."""
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata=metadata)


def read_outcome(folder: Path, spec: StudySpec) -> FederatedRun | None:
    """What a finished run left, in the form that a result document is made from; None while it runs.

    Args:
        folder: The run's folder.
        spec: Its study.
    """
    if not (folder / OUTCOME_FILE).exists():
        return None
    told = json.loads(read_private(folder / OUTCOME_FILE))
    history = load(read_private(folder / HISTORY_FILE))
    records = read_phases(folder)
    return FederatedRun(
        state=load(read_private(folder / STATE_FILE)),
        history=tuple(history[name] for name in sorted(history)),
        contributors=tuple(tuple(r["contributors"]) for r in told["rounds"]),
        plans=told["plans"],
        lost=losses(spec, records),
        totals=totals(records),
        seconds=sum(r.seconds for r in records),
        epsilon_spent=math.inf if told["epsilon_spent"] is None else told["epsilon_spent"],
    )


def read_failure(folder: Path) -> FedMedError | None:
    """The error that stopped a run; None when none did."""
    if not (folder / FAILURE_FILE).exists():
        return None
    told = json.loads(read_private(folder / FAILURE_FILE))
    kind = all_errors().get(told["code"], FedMedError)
    return kind(told["cause"])
