"""Launches a study on a running coordinator and watches it to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedmed import wire
from fedmed.errors import CohortTooSmall, ConfigError, ProcessFailed, StudyStopped, TooFewNodes
from fedmed.messages import NO_EPOCH
from fedmed.outcome import FederatedRun
from fedmed.progress import OnProgress, Progress
from fedmed.protocol.schedule import Schedule, schedule_for, terms_for
from fedmed.study import StudySpec, canonical_bytes, study_digest, to_toml
from fedmed_server import control
from fedmed_server.chronicle import progress, read_phases
from fedmed_server.deployed_study import FAILURE_FILE, OUTCOME_FILE, STUDY_FILE, read_failure, read_outcome
from fedmed_server.files import private_folder, read_private, replace_private
from fedmed_server.home import Home
from fedmed_server.reviews import APP, is_reviewed
from fedmed_server.study_status import State, note_run, note_stop, read_run, study_status, was_stopped

_LOOK_S: Final = 0.5
_LOOK_NODES_S: Final = 3.0
# A look at Flower's own word for a run takes a process of a second or two: rarely, and only in silence.
ASK_FLOWER_S: Final = 30.0
AWAY_S: Final = 240.0
"""Longest wait for a SuperLink: its supervisor may take 120 s to see it stand still, and then pause 60 s."""
_FINISHED: Final = "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long to wait for what, in seconds.

    Attributes:
        phase_deadline_s: A node that is silent longer in a phase counts as lost.
        nodes_deadline_s: Wait for all nodes to be online.
    """

    phase_deadline_s: float = 600.0
    nodes_deadline_s: float = 120.0


def check(home: Home, spec: StudySpec) -> Schedule:
    """Check a study against the roster and the declared persons before anything is sent.

    Raises:
        ConfigError: it cannot be run as written, or does not fit the roster; names the remedy.
        CohortTooSmall: a node declares fewer persons than the study's own ``min_cohort``.
    """
    schedule, roster = schedule_for(spec), home.roster()
    digests = (study_digest(canonical_bytes(spec)), wire.roster_digest(roster), NO_EPOCH)
    terms_for(spec, schedule, roster, digests=digests)
    small = {n: c for n, c in spec.data.declared_persons.items() if c < spec.data.min_cohort}
    if small:
        told = ", ".join(f"{name} declares {count}" for name, count in small.items())
        raise CohortTooSmall(f"min_cohort is {spec.data.min_cohort}, {told}")
    return schedule


def wait_for_nodes(home: Home, *, deadline_s: float, on_wait: Callable[[Sequence[str]], None]) -> None:
    """Wait until every node of the roster is online.

    Args:
        home: The coordinator's home; its processes must run.
        deadline_s: Longest wait.
        on_wait: Called with the names of those that are missing, at each change.

    Raises:
        TooFewNodes: some did not come in time; names them.
        ProcessFailed: the SuperLink is away.
    """
    deadline, told = time.monotonic() + deadline_s, [""]
    while True:
        known = control.node_statuses(home)
        missing = [m.name for m in home.roster().members if known.get(m.name) != control.ONLINE]
        if not missing:
            return
        if time.monotonic() > deadline:
            raise TooFewNodes(
                f"{', '.join(missing)} not online after {deadline_s:.0f} s; ask the operators to start them "
                "(fedmed node up), then launch again: nothing was sent or spent"
            )
        if missing != told:
            on_wait(missing)
            told = missing
        time.sleep(_LOOK_NODES_S)


def submit(home: Home, spec: StudySpec, *, resume: bool, pace: Pace) -> int:
    """Check a study and hand it to Flower.

    Args:
        home: The coordinator's home; its processes must run.
        spec: The study.
        resume: Whether a killed run of it goes on.
        pace: How long to wait for what.

    Returns:
        Flower's id of the run.

    Raises:
        ConfigError: the study does not fit the roster, or another study had its id.
        ProcessFailed: the SuperLink is away.
    """
    check(home, spec)
    private_folder(home.path / "runs")
    folder, text = private_folder(home.run_folder(spec.id)), to_toml(spec).encode()
    place = folder / STUDY_FILE
    if place.exists() and read_private(place) != text:
        raise ConfigError(f"{folder} holds another study with the id {spec.id}; give this one another id")
    if (folder / OUTCOME_FILE).exists():
        raise ConfigError(f"study {spec.id} is finished: {folder}; give a new one another id")
    replace_private(place, text)
    (folder / FAILURE_FILE).unlink(missing_ok=True)
    run_id = control.start_run(
        home,
        APP if is_reviewed(home) else str(home.path / "bundle"),
        {
            "coordinator-home": str(home.path),
            "study": spec.id,
            "resume": resume,
            "phase-deadline-s": pace.phase_deadline_s,
            "nodes-deadline-s": pace.nodes_deadline_s,
        },
    )
    note_run(folder, run_id)
    return run_id


def follow(
    home: Home,
    spec: StudySpec,
    run_id: int | None,
    *,
    on_progress: OnProgress,
    while_waiting: Callable[[], None] = lambda: None,
) -> FederatedRun:
    """Watch a run until it is over.

    Args:
        home: The coordinator's home.
        spec: The study.
        run_id: Flower's id of the run; None when nobody knows it any more.
        on_progress: Called after each phase.
        while_waiting: Called about twice a second; its errors end the watching.

    Returns:
        What the run gave.

    Raises:
        FedMedError: what stopped the study, as the ServerApp left it.
        StudyStopped: the operator stopped it (`stop_study`).
        ProcessFailed: the ServerApp was lost, or the SuperLink is away for four minutes; the study can be
            resumed.
    """
    folder, schedule = home.run_folder(spec.id), schedule_for(spec)
    shown, flower = len(read_phases(folder)), FlowersWord(home, run_id)
    on_progress(Progress(phase="start", rounds=schedule.rounds))
    while True:
        # Flower is asked before the folder is read: what a run left with its end must not be missed.
        is_over = flower.is_over()
        records = read_phases(folder)
        for count in range(shown + 1, len(records) + 1):
            on_progress(progress(spec, schedule, records[:count]))
        if len(records) > shown:
            shown = len(records)
            flower.put_off()
        _raise_failure(folder)
        run = read_outcome(folder, spec)
        if run is not None:
            return run
        if was_stopped(folder):
            raise StudyStopped(
                f"study {spec.id} was stopped here; what was opened stays, and custodians keep its keys "
                "until it ends or their last day"
            )
        if is_over:
            raise ProcessFailed(f"the ServerApp of run {run_id} is gone without a result; launch with resume")
        while_waiting()
        time.sleep(_LOOK_S)


class FlowersWord:
    """Flower's word for whether a run is over: asked rarely, and waited for while a SuperLink comes back.

    Guarantees:
        A SuperLink that is away for less than `AWAY_S` ends no watching.
    """

    def __init__(
        self,
        home: Home,
        run_id: int | None,
        *,
        status: Callable[[Home, int], str] = control.run_status,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch a run.

        Args:
            home: The coordinator's home.
            run_id: Flower's id of the run; None when nobody knows it, then nobody is asked.
            status: Asks Flower, as `control.run_status`.
            now: A clock in seconds that never goes back.
        """
        self._home, self._run_id, self._status, self._now = home, run_id, status, now
        self.put_off()

    def put_off(self) -> None:
        """The run goes on, so nobody need ask for a while."""
        self._ask_at = self._now() + ASK_FLOWER_S
        self._away_at = self._now() + AWAY_S

    def is_over(self) -> bool:
        """Whether the run is known to be over; raises `ProcessFailed` when nobody answered for too long."""
        if self._run_id is None or self._now() <= self._ask_at:
            return False
        try:
            is_over = self._status(self._home, self._run_id).startswith(_FINISHED)
        except ProcessFailed:  # a SuperLink that was killed is on its way back, and the run goes on with it
            if self._now() > self._away_at:
                raise
            self._ask_at = self._now() + ASK_FLOWER_S
            return False
        self.put_off()
        return is_over


def stop_study(home: Home, study: str) -> bool:
    """Stop a study's run; it can be launched again with resume.

    Args:
        home: The coordinator's home; its processes must run.
        study: The study's id.

    Returns:
        Whether it was running.

    Raises:
        ConfigError: no study of that id was launched here.
        ProcessFailed: the SuperLink is away.
    """
    if study_status(home, study).state is not State.RUNNING:
        return False
    run_id = read_run(home.run_folder(study))
    if run_id is None:
        raise ConfigError(f"nobody noted the run of study {study}; stop the coordinator: fedmed server stop")
    control.stop_run(home, run_id)
    note_stop(home.run_folder(study), run_id)
    return True


def _raise_failure(folder: Path) -> None:
    """Raise what stopped the run, if something did."""
    failure = read_failure(folder)
    if failure is not None:
        raise failure
