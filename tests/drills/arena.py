"""A federation of real processes on which drills run, one small study after the other (no tests here).

What ends or stands still is started again by the supervisor of a deployment; a drill watches the custodians'
audit chains and the coordinator's record, and kills with SIGKILL at the moment that it names.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pyarrow.parquet import write_table

from fedmed.errors import FedMedError, ProcessFailed
from fedmed.governance.audit_chain import AuditEntry, AuditKind, verify_chain
from fedmed.outcome import FederatedRun
from fedmed.phase_record import PhaseRecord
from fedmed.privacy.ledger_record import LedgerRecord
from fedmed.progress import Progress
from fedmed.study import StudySpec, canonical_bytes, study_digest
from fedmed.supervision.keeper import Kept
from fedmed.types import Scheme
from fedmed_nodes.home import Home as NodeHome
from fedmed_server import control
from fedmed_server.chronicle import read_phases
from fedmed_server.home import Home as CoordinatorHome
from fedmed_server.launch import Pace, follow, submit
from fedmed_server.local_federation import (
    LocalFederation,
    LocalNode,
    federation,
    policy_text,
    set_up,
    start_all,
)
from tests.federation import names, small_study, small_table

NODES = 3
# Flower holds a reply whose upload was cut off for 180 s before it says so.
PACE = Pace(phase_deadline_s=400.0, nodes_deadline_s=150.0)
PROGRAMS = Path(sys.executable).parent
CAN_RUN = Path("/proc/self/environ").exists() and (PROGRAMS / "flower-superlink").exists()
WHY_NOT = "needs Linux and flwr's programs beside this Python: install FedMed with its dependencies"
SERVER_APP = "server-app"
# A supervisor takes two minutes to be sure that a main loop is over, and pauses of up to one between starts.
REJOIN_S = 400.0
_LOOK_S = 0.02
_BETWEEN_LOOKS_S = 1.0
_TELLING = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a drill sees of a study: the struck node's entries since it began, phases that are over."""

    entries: tuple[AuditEntry, ...]
    phases: tuple[PhaseRecord, ...]
    study: str

    def count(self, kind: AuditKind, detail: str = "") -> int:
        """Entries of this study of one kind."""
        return sum(
            e.event.kind is kind and e.event.study == self.study and e.event.detail.startswith(detail)
            for e in self.entries
        )

    @property
    def sums(self) -> int:
        """Sums that the coordinator has opened."""
        return sum(p.name == "open" and not p.failed_points for p in self.phases)


When = Callable[[Scene], bool]
Prepare = Callable[[CoordinatorHome, tuple[LocalNode, ...]], object]


def in_ceremony(scene: Scene) -> bool:
    """The custodian has agreed to a transcript; rehearsals follow."""
    return any(e.event.kind is AuditKind.CEREMONY and "agreed" in e.event.detail for e in scene.entries)


def in_propose(scene: Scene) -> bool:
    """The custodian has accepted the study and not yet a plan of it."""
    return scene.count(AuditKind.ACCEPTED, "study") > 0


def contributed(times: int) -> When:
    """The custodian has computed that many contributions; the last one is on its way."""
    return lambda scene: scene.count(AuditKind.CONTRIBUTED) >= times


def opened(times: int) -> When:
    """The custodian has computed that many opening shares; the last one is on its way."""
    return lambda scene: scene.count(AuditKind.OPENED) >= times


def between(sums: int) -> When:
    """The coordinator has opened that many sums."""
    return lambda scene: scene.sums >= sums


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """SIGKILL for one process, at one moment."""

    target: str
    when: When


@dataclass(slots=True, kw_only=True)
class Result:
    """How a study ended: its run or the error that stopped it; what was struck and started again."""

    run: FederatedRun | None = None
    fault: FedMedError | None = None
    restarted: list[str] = field(default_factory=list)
    resumed: int = 0
    struck: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def code(self) -> str:
        """Code of the error that stopped the study; empty when it finished."""
        return self.fault.code if self.fault is not None else ""


class ServerAppKilled(Exception):
    """Ends the watching of a run whose ServerApp the drill has killed."""


class Arena:
    """One federation for many drills."""

    def __init__(self, running: LocalFederation, said: list[str]) -> None:
        self.running = running
        self.said = said
        self._numbers = iter(range(1, 1000))

    @property
    def nodes(self) -> tuple[LocalNode, ...]:
        """The provinces."""
        return self.running.nodes

    def study(self, *, scheme: Scheme = Scheme.THRESHOLD, aggregations: int = 2) -> StudySpec:
        """A new small study, with plans to spare."""
        return small_study(
            NODES,
            scheme=scheme,
            study__id=f"drill{next(self._numbers)}",
            study__expires="2030-12-31",
            training__aggregations=aggregations,
            training__spare_attempts=4,
        )

    def mend(self, result: Result | None = None) -> None:
        """Have the supervisor look once; it starts again what ended or stood still."""
        before = self.running.running.pids()
        self.running.keeper.look()
        if result is not None:
            after = self.running.running.pids()
            result.restarted += [name for name, pid in after.items() if before.get(name) != pid]

    def wait_until_online(self, *, timeout_s: float = REJOIN_S) -> float:
        """Wait until all parts run and every SuperNode is online by itself; the seconds it took."""
        began = time.monotonic()
        while not self.is_online():
            told = "; ".join(self.said[-5:])
            assert time.monotonic() - began < timeout_s, f"a restarted part did not rejoin by itself: {told}"
            time.sleep(_BETWEEN_LOOKS_S)
        return time.monotonic() - began

    def is_online(self, *which: str) -> bool:
        """Whether some nodes are online, all unless named, after a look of the supervisor at everything."""
        self.mend()
        try:
            standing = control.node_statuses(self.running.home)
        except ProcessFailed:  # the SuperLink is on its way
            return False
        return all(standing.get(name) == control.ONLINE for name in which or [n.name for n in self.nodes])

    def replace(self, kept: Kept) -> None:
        """Run a program otherwise than now, under the same name."""
        self.running.running.stop([kept.program.name])
        self.running.keeper.start(kept)

    def rebuild(self) -> None:
        """Start everything anew on the same folders, so that one drill's damage is not the next one's."""
        self.running.running.stop()
        start_all(self.running, on_progress=_ignore)

    def run(self, spec: StudySpec, *strikes: Strike, struck: int = 0) -> Result:
        """Run a study under strikes to its end, whichever it is, and check what must hold after any.

        Args:
            spec: The study.
            strikes: In their order.
            struck: Which node's processes are struck, and whose chain is watched.
        """
        began, result, before = time.monotonic(), Result(), self.books()
        stop = threading.Event()
        killer = threading.Thread(
            target=self._strike, args=(spec, strikes, self.nodes[struck], stop, result), daemon=True
        )
        killer.start()
        try:
            result.run = self._follow(spec, result)
        except FedMedError as fault:
            result.fault = fault
        finally:
            stop.set()
            killer.join(timeout=10)
        result.seconds = time.monotonic() - began
        self.check_books(before)
        return result

    def _follow(self, spec: StudySpec, result: Result) -> FederatedRun:
        """Submit and watch; a ServerApp that the drill killed is resumed, as its operator would."""
        known = 0

        def while_waiting() -> None:
            self.mend(result)
            if result.struck.count(SERVER_APP) > known:
                raise ServerAppKilled

        run_id = submit(self.running.home, spec, resume=False, pace=PACE)
        while True:
            try:
                return follow(
                    self.running.home, spec, run_id, on_progress=_ignore, while_waiting=while_waiting
                )
            except ServerAppKilled:
                known, result.resumed = known + 1, result.resumed + 1
                run_id = submit(self.running.home, spec, resume=True, pace=PACE)

    def _strike(
        self,
        spec: StudySpec,
        strikes: Sequence[Strike],
        node: LocalNode,
        stop: threading.Event,
        result: Result,
    ) -> None:
        """Kill what each strike names when its moment has come; runs beside the study."""
        store, digest = NodeHome(node.home).store(), study_digest(canonical_bytes(spec)).hex()
        start = len(store.audit())
        try:
            for strike in strikes:
                while not stop.is_set():
                    entries = tuple(e for e in store.audit(_TELLING) if e.counter > start)
                    phases = read_phases(self.running.home.run_folder(spec.id))
                    scene = Scene(entries=entries, phases=phases, study=digest)
                    if strike.when(scene) and self.kill(strike.target, node):
                        result.struck.append(strike.target)
                        break
                    time.sleep(_LOOK_S)
        finally:
            store.close()

    def kill(self, target: str, node: LocalNode) -> bool:
        """SIGKILL for a process of the node, or of the coordinator; False when it does not run now."""
        pids = self.running.running.pids()
        if target == SERVER_APP:
            victims = server_app(self.running)
        else:
            victims = [pids[name] for name in (target, f"{target}-{node.name}") if name in pids]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        return bool(victims)

    def books(self) -> dict[str, tuple[tuple[LedgerRecord, ...], tuple[AuditEntry, ...]]]:
        """Ledger and audit chain of every node."""
        found = {}
        for node in self.nodes:
            store = NodeHome(node.home).store()
            found[node.name] = (store.ledger(), store.audit())
            store.close()
        return found

    def check_books(
        self, before: Mapping[str, tuple[tuple[LedgerRecord, ...], tuple[AuditEntry, ...]]]
    ) -> None:
        """What holds after any drill: spending only grew, once an attempt; nobody trained or opened twice."""
        for node in self.nodes:
            ledger, chain = self.books()[node.name]
            old_ledger, old_chain = before[node.name]
            assert ledger[: len(old_ledger)] == old_ledger, "the ledger lost a record"
            assert chain[: len(old_chain)] == old_chain, "the audit chain lost an entry"
            plans = [record.plan_digest for record in ledger]
            assert len(plans) == len(set(plans)), "one attempt was charged twice"
            verify_chain(chain, NodeHome(node.home).identity().public)
            check_attempts(chain)


def check_attempts(chain: Sequence[AuditEntry]) -> None:
    """Between two plans of a study a custodian contributes at most once and answers at most one set."""
    done: dict[tuple[str, AuditKind], int] = {}
    for entry in chain:
        event = entry.event
        if event.kind is AuditKind.ACCEPTED and event.detail.startswith("plan"):
            done[event.study, AuditKind.CONTRIBUTED] = done[event.study, AuditKind.OPENED] = 0
        if event.kind in (AuditKind.CONTRIBUTED, AuditKind.OPENED):
            done[event.study, event.kind] = done.get((event.study, event.kind), 0) + 1
            assert done[event.study, event.kind] == 1, f"{event.kind.value} twice for one attempt"


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


@contextlib.contextmanager
def arena(prepare: Prepare = lambda home, nodes: None) -> Iterator[Arena]:
    """Three provinces whose policies allow many small studies; nothing of them is left behind.

    Args:
        prepare: Changes the homes before the processes start.
    """
    folder = Path(tempfile.mkdtemp(prefix="fm-"))
    try:
        spec, tables = small_study(NODES), {}
        for point, name in enumerate(names(NODES), start=1):
            tables[name] = folder / f"{name}.parquet"
            write_table(small_table(point), tables[name])
        home, nodes = set_up(spec, tables, folder=folder / "f")
        for node in nodes:
            lines = policy_text(spec).splitlines()
            kept = [line for line in lines if not line.startswith(("max_epsilon_per_year", "schemes"))]
            more = ["max_epsilon_per_year = 1000.0", 'schemes = ["threshold", "plain"]']
            (node.home / "policy.toml").write_text(
                "\n".join([*kept, *more]).replace("research = false", "research = true") + "\n"
            )
        prepare(home, nodes)
        said: list[str] = []
        with federation(home, nodes, on_progress=_ignore, say=said.append) as running:
            yield Arena(running, said)
        assert processes_of(folder) == [], "a process was left behind"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _ignore(event: Progress) -> None:
    """Tell nobody."""
