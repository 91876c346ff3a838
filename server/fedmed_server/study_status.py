"""Where the studies of a coordinator stand, read from their folders: nothing is asked of anybody."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from fedmed.errors import ConfigError, FedMedError
from fedmed.phase_record import PhaseRecord
from fedmed.progress import Progress
from fedmed.protocol.schedule import schedule_for
from fedmed.study import StudySpec, load_study
from fedmed.supervision.run_folder import RunFolder
from fedmed_server.chronicle import progress, read_phases
from fedmed_server.deployed_study import JOURNAL, OUTCOME_FILE, STUDY_FILE, read_failure
from fedmed_server.files import read_private, replace_private
from fedmed_server.home import Home

RUN_FILE: Final = "run.json"


class State(Enum):
    """What became of a study."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyStatus:
    """One study as its folder shows it.

    Attributes:
        study: Its id.
        state: What became of it.
        code: Code of what stopped it; empty unless it failed.
        at: Where it stands; None before its first phase is over.
    """

    study: str
    state: State
    code: str
    at: Progress | None

    def document(self) -> dict[str, object]:
        """The same for ``--json``; what is not known is left out."""
        told: dict[str, object] = {"study": self.study, "state": self.state.value}
        if self.code:
            told["code"] = self.code
        if self.at is not None:
            told |= {
                "phase": self.at.phase,
                "round": self.at.round_number,
                "rounds": self.at.rounds,
                "nodes": dict(self.at.states),
                "bytes_moved": dict(self.at.bytes_moved),
            }
            if math.isfinite(self.at.epsilon_planned):  # sums without noise have no epsilon
                told |= {
                    "epsilon_spent": self.at.epsilon_spent,
                    "epsilon_planned": self.at.epsilon_planned,
                }
        return told


def study_status(home: Home, study: str) -> StudyStatus:
    """Where one study stands.

    Raises:
        ConfigError: no study of that id was launched here.
    """
    folder = home.run_folder(study)
    spec, failure = read_study(home, study), read_failure(folder)
    records = read_phases(folder)
    return StudyStatus(
        study=study,
        state=_state(folder, failure),
        code="" if failure is None else failure.code,
        at=_progress(spec, records),
    )


def studies(home: Home) -> tuple[StudyStatus, ...]:
    """Where every study stands that was launched here, the latest first."""
    found = sorted(
        (home.path / "runs").glob(f"*/{STUDY_FILE}"), key=lambda path: path.stat().st_mtime, reverse=True
    )
    return tuple(study_status(home, path.parent.name) for path in found)


def read_study(home: Home, study: str) -> StudySpec:
    """The study as it was launched; raises `ConfigError` when none of that id was."""
    place = home.run_folder(study) / STUDY_FILE
    if not place.exists():
        raise ConfigError(f"no study {study} was launched on {home.path}; fedmed server status lists them")
    return load_study(read_private(place).decode())


def note_run(folder: Path, run_id: int) -> None:
    """Remember Flower's id of a study's run, so that the run can be stopped."""
    replace_private(folder / RUN_FILE, json.dumps({"run_id": run_id}).encode())


def note_stop(folder: Path, run_id: int) -> None:
    """Remember that the operator stopped this run; launching the study again forgets it."""
    replace_private(folder / RUN_FILE, json.dumps({"run_id": run_id, "stopped": True}).encode())


def was_stopped(folder: Path) -> bool:
    """Whether the operator stopped a study's last run."""
    place = folder / RUN_FILE
    return place.exists() and json.loads(read_private(place)).get("stopped") is True


def read_run(folder: Path) -> int | None:
    """Flower's id of a study's last run; None when it has none."""
    place = folder / RUN_FILE
    return int(json.loads(read_private(place))["run_id"]) if place.exists() else None


def _state(folder: Path, failure: FedMedError | None) -> State:
    """What became of a study: an outcome is written last, and a ServerApp holds its journal's lock."""
    if (folder / OUTCOME_FILE).exists():
        return State.FINISHED
    if failure is not None:
        return State.FAILED
    journal = RunFolder(path=folder / JOURNAL, what="ServerApp", at=folder)
    return State.RUNNING if journal.is_running() else State.STOPPED


def _progress(spec: StudySpec, records: tuple[PhaseRecord, ...]) -> Progress | None:
    """Where the last phase left the study."""
    return progress(spec, schedule_for(spec), records) if records else None
