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

from fedmed import phase_record
from fedmed.phase_record import OPEN, PhaseRecord, losses_in
from fedmed.progress import Progress
from fedmed.protocol.schedule import Schedule
from fedmed.study import StudySpec

FILE: Final = "phases.jsonl"


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


def losses(spec: StudySpec, records: Iterable[PhaseRecord]) -> tuple[tuple[str, int, str], ...]:
    """(node, aggregation, phase) of each loss or refusal in an aggregation."""
    found: list[tuple[str, int, str]] = []
    round_number = 1
    for record in records:
        found += losses_in(spec, record, round_number=round_number)
        round_number += _is_opened(record)
    return tuple(found)


def progress(spec: StudySpec, schedule: Schedule, records: Sequence[PhaseRecord]) -> Progress:
    """Where a study stands after its last noted phase.

    Args:
        spec: The study.
        schedule: The study worked out.
        records: All its phases so far, at least one.
    """
    finished = sum(map(_is_opened, records[:-1]))
    return phase_record.progress(spec, schedule, records, finished=finished)


def _is_opened(record: PhaseRecord) -> bool:
    """Whether the phase ended an aggregation: every opener that was asked answered."""
    return record.name == OPEN and not record.failed_points


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
