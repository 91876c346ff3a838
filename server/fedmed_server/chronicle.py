"""A run's record of its phases: a line each, readable while the study runs and after it.

Whoever watches a deployed study reads this file: the ServerApp is another process, which Flower started.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from fedmed.outcome import PhaseTotals
from fedmed.privacy.accounting import epsilon
from fedmed.progress import Progress
from fedmed.protocol.schedule import Schedule
from fedmed.study import StudySpec
from fedmed.types import PrivacyEvent
from fedmed_server.driver import PhaseRecord

FILE: Final = "phases.jsonl"
_CONTRIBUTE: Final = "contribute"
_OF_A_ROUND: Final = ("nonce", _CONTRIBUTE, "open")


class Chronicle:
    """Appends to a run's record."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        whole = _whole_lines(self._path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o600)
        # A line that was cut off by a kill is dropped before the next one is written behind it.
        os.ftruncate(self._descriptor, len(whole))
        os.lseek(self._descriptor, 0, os.SEEK_END)

    def note(self, record: PhaseRecord) -> None:
        """Write one phase; visible to readers at once."""
        os.write(self._descriptor, json.dumps(asdict(record)).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def read_phases(folder: Path) -> tuple[PhaseRecord, ...]:
    """All phases that are noted so far, in order; none when nothing was noted yet."""
    return tuple(_record(line) for line in _whole_lines(folder / FILE).splitlines())


def totals(records: Iterable[PhaseRecord]) -> dict[str, PhaseTotals]:
    """Seconds and bytes by the first word of the phases' names."""
    found: dict[str, PhaseTotals] = {}
    for record in records:
        name = record.name.split()[0]
        found[name] = found.get(name, PhaseTotals()).plus(
            seconds=record.seconds, down=record.bytes_down, up=record.bytes_up
        )
    return found


def losses(spec: StudySpec, records: Iterable[PhaseRecord]) -> tuple[tuple[str, int, str], ...]:
    """(node, aggregation, phase) of each loss or refusal in an aggregation."""
    found, opened = [], 0
    for record in records:
        bad = [p for p, (_, outcome) in record.by_point.items() if outcome != "done"]
        if record.name in (_CONTRIBUTE, "open"):
            found += [(spec.nodes[p - 1], opened + 1, record.name) for p in bad]
        opened += record.name == "open" and not bad
    return tuple(found)


def spent(schedule: Schedule, plans: int) -> float:
    """Epsilon of the charged attempts."""
    if plans == 0:
        return 0.0
    event = PrivacyEvent(noise_multiplier=schedule.noise_multiplier, count=plans)
    return epsilon([event], schedule.accounted_delta)


def progress(spec: StudySpec, schedule: Schedule, records: Sequence[PhaseRecord]) -> Progress:
    """Where a study stands after its last noted phase.

    Args:
        spec: The study.
        schedule: The study worked out.
        records: All its phases so far, at least one.
    """
    last = records[-1]
    name = last.name.split()[0]
    plans = sum(r.name == _CONTRIBUTE for r in records)
    whole = [r for r in records if r.name == "open" and _all_done(r)]
    finished = len(whole) - (name == "open" and _all_done(last))
    moved: dict[str, int] = {}
    for record in records:
        for point, (size, _) in record.by_point.items():
            node = spec.nodes[point - 1]
            moved[node] = moved.get(node, 0) + size
    rounds = spec.training.aggregations
    return Progress(
        phase=name,
        round_number=min(finished + 1, rounds) if name in _OF_A_ROUND else 0,
        rounds=rounds,
        attempt=max(1, plans - finished),
        states={spec.nodes[p - 1]: outcome for p, (_, outcome) in last.by_point.items()},
        bytes_moved=moved,
        epsilon_spent=spent(schedule, plans),
        epsilon_planned=schedule.epsilon,
    )


def _all_done(record: PhaseRecord) -> bool:
    """Whether every node that was asked answered."""
    return all(outcome == "done" for _, outcome in record.by_point.values())


def _whole_lines(path: Path) -> bytes:
    """The file up to its last line's end."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return b""
    return data[: data.rfind(b"\n") + 1]


def _record(line: bytes) -> PhaseRecord:
    """One phase from its line."""
    told: Mapping[str, object] = json.loads(line)
    by_point = told["by_point"]
    seconds, down, up = told["seconds"], told["bytes_down"], told["bytes_up"]
    if not (isinstance(by_point, dict) and isinstance(seconds, int | float)):
        raise TypeError("a line of the record has another form")
    if not (isinstance(down, int) and isinstance(up, int)):
        raise TypeError("a line of the record has another form")
    return PhaseRecord(
        name=str(told["name"]),
        seconds=seconds,
        bytes_down=down,
        bytes_up=up,
        by_point={int(p): (int(size), str(outcome)) for p, (size, outcome) in by_point.items()},
    )
