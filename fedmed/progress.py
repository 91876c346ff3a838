"""What a running study tells whoever watches: one frozen value an event, public figures only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fedmed.types import require


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One step of a run, as seen from the coordinator.

    Attributes:
        phase: What happens: ``ceremony``, ``contribute``, ``open``, ``combine``, ``baselines``, ``report``.
        round_number: Aggregation that it belongs to, from 1; 0 outside the aggregations.
        rounds: Aggregations that the study plans.
        attempt: Attempt within the round, from 1.
        states: Node key to a word on where it stands: ``working``, ``done``, ``lost`` or an error's code.
        bytes_moved: Node key to payload bytes so far, both ways.
        epsilon_spent: Epsilon of the attempts charged so far.
        epsilon_planned: Epsilon of the whole plan.
        note: A word for people, for instance which baseline is trained; may be empty.
    """

    phase: str
    round_number: int = 0
    rounds: int = 0
    attempt: int = 1
    states: Mapping[str, str] = field(default_factory=dict)
    bytes_moved: Mapping[str, int] = field(default_factory=dict)
    epsilon_spent: float = 0.0
    epsilon_planned: float = 0.0
    note: str = ""

    def __post_init__(self) -> None:
        require(bool(self.phase), "a progress event needs a phase")
        require(0 <= self.round_number <= self.rounds, "round_number must be in 0..rounds")


OnProgress = Callable[[Progress], None]


def ignore_progress(event: Progress) -> None:
    """Watch nothing."""
    del event
