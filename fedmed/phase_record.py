"""What a study's phases took, and the rules for what that adds up to: totals, losses, epsilon, progress.

A simulation gathers the records as they come, a deployment reads them from its run's folder.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fedmed.privacy.accounting import epsilon
from fedmed.progress import Progress
from fedmed.protocol.schedule import Schedule
from fedmed.study import StudySpec
from fedmed.types import PrivacyEvent

DONE: Final = "done"
CONTRIBUTE: Final = "contribute"
OPEN: Final = "open"
_OF_A_ROUND: Final = ("nonce", CONTRIBUTE, OPEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseRecord:
    """What one phase took.

    Attributes:
        name: Of the phase.
        seconds: From the first message sent to the last reply taken.
        bytes_down: Payload bytes to all nodes.
        bytes_up: Payload bytes from all nodes.
        by_point: Bytes both ways and the outcome (``done`` or a code) of each node.
    """

    name: str
    seconds: float
    bytes_down: int
    bytes_up: int
    by_point: Mapping[int, tuple[int, str]]

    @property
    def group(self) -> str:
        """First word of the name: all steps of a ceremony, its rehearsals too, are ``ceremony``."""
        return self.name.split()[0]

    @property
    def failed_points(self) -> tuple[int, ...]:
        """Points of the nodes that were lost or refused."""
        return tuple(p for p, (_, outcome) in self.by_point.items() if outcome != DONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseTotals:
    """Seconds and payload bytes of all phases of one group."""

    seconds: float = 0.0
    down: int = 0
    up: int = 0

    def plus(self, *, seconds: float, down: int, up: int) -> PhaseTotals:
        """The totals with one more phase."""
        return PhaseTotals(seconds=self.seconds + seconds, down=self.down + down, up=self.up + up)


def totals(records: Iterable[PhaseRecord]) -> dict[str, PhaseTotals]:
    """Seconds and bytes by group, in the order in which the groups began."""
    found: dict[str, PhaseTotals] = {}
    for record in records:
        found[record.group] = found.get(record.group, PhaseTotals()).plus(
            seconds=record.seconds, down=record.bytes_down, up=record.bytes_up
        )
    return found


def losses_in(spec: StudySpec, record: PhaseRecord, *, round_number: int) -> list[tuple[str, int, str]]:
    """(node, aggregation, phase) of each loss or refusal in a phase of an aggregation; none in other phases.

    Args:
        spec: The study.
        record: The phase.
        round_number: Aggregation that the phase belongs to.
    """
    if record.name not in (CONTRIBUTE, OPEN):
        return []
    return [(spec.nodes[p - 1], round_number, record.name) for p in record.failed_points]


def plans_sent(records: Iterable[PhaseRecord]) -> int:
    """Plans that went out, each of them charged; a rehearsal's are not."""
    return sum(record.name == CONTRIBUTE for record in records)


def spent(schedule: Schedule, plans: int) -> float:
    """Epsilon of the charged attempts; 0 before the first, infinite where sums are exact."""
    if plans == 0 or not math.isfinite(schedule.epsilon):
        return 0.0 if plans == 0 else math.inf
    return _epsilon(schedule.events(plans), schedule.accounted_delta)


@functools.lru_cache(maxsize=64)
def _epsilon(events: tuple[PrivacyEvent, ...], delta: float) -> float:
    """Kept, for every phase of a round asks for the same: it takes milliseconds."""
    return epsilon(events, delta)


def progress(
    spec: StudySpec, schedule: Schedule, records: Sequence[PhaseRecord], *, finished: int
) -> Progress:
    """Where a study stands after its last phase.

    Args:
        spec: The study.
        schedule: The study worked out.
        records: All its phases so far, at least one.
        finished: Aggregations that were over before the last phase.
    """
    last, plans, rounds = records[-1], plans_sent(records), schedule.rounds
    moved: dict[str, int] = {}
    for record in records:
        for point, (size, _) in record.by_point.items():
            node = spec.nodes[point - 1]
            moved[node] = moved.get(node, 0) + size
    return Progress(
        phase=last.group,
        round_number=min(finished + 1, rounds) if last.group in _OF_A_ROUND else 0,
        rounds=rounds,
        attempt=max(1, plans - finished),
        states={spec.nodes[p - 1]: outcome for p, (_, outcome) in last.by_point.items()},
        bytes_moved=moved,
        epsilon_spent=spent(schedule, plans),
        epsilon_planned=schedule.epsilon,
    )
