"""A ceremony that a test stops at any step, to send what it likes there (no tests here)."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fedmed.aggregation.threshold_coordinator import ThresholdCombiner
from fedmed.governance.audit_chain import ChainHead
from fedmed.protocol.coordinator_ceremony import Epoch, hold_ceremony
from fedmed.protocol.steps import Phase, Steps
from tests.federation import (
    COORDINATOR,
    NOW,
    Federation,
    Tamper,
    fresh_federation,
    identity_of,
    untouched,
)

NODES, THRESHOLD = 3, 3
VICTIM, FRIEND, ATTACKER = 1, 2, 3
OTHER_POSITION = ChainHead(counter=7, head=bytes(32))
Parts = tuple[bytes, ...]


class Reached(Exception):
    """The ceremony came to the step under attack."""

    def __init__(self, phase: Phase) -> None:
        super().__init__(phase.name)
        self.phase = phase


def ceremony(federation: Federation, combiner: type[ThresholdCombiner] = ThresholdCombiner) -> Steps[Epoch]:
    return hold_ceremony(identity_of(COORDINATOR), federation.roster, today=NOW.date(), combiner=combiner)


def up_to(federation: Federation, step: str, tamper: Tamper = untouched) -> Mapping[int, Parts]:
    """Run a ceremony until a step is due; the honest requests of that step, by point."""

    def watch(phase: Phase, point: int, parts: Parts) -> Parts | None:
        if phase.name == f"ceremony {step}":
            raise Reached(phase)
        return tamper(phase, point, parts)

    with pytest.raises(Reached) as reached:
        federation.drive(ceremony(federation), tamper=watch)
    return reached.value.phase.requests


def replaced(parts: Parts, at: int, value: bytes) -> Parts:
    return (*parts[:at], value, *parts[at + 1 :])


def new_federation(nodes: int = NODES, threshold: int = THRESHOLD) -> Federation:
    return fresh_federation(nodes, threshold=threshold, colluders=1)
