"""What a custodian writes into its log over whole studies: who did what, and no count of persons."""

from __future__ import annotations

import re

import pytest

from fedmed.errors import all_errors
from fedmed.governance.audit_chain import verify_chain
from fedmed.protocol.steps import PhaseKind
from tests.federation import (
    PERSONS,
    Trial,
    UnreadableSource,
    identity_of,
    make_trial,
    small_study,
)

# A whole study and its refusals: too long for the fast part of the suite.
pytestmark = pytest.mark.slow

KNOWN_WORDS = re.compile(
    r"|study|answer|contribution|transcript agreed|epoch active|epoch ended by the coordinator"
    r"|rehearsals removed|ceremony stopped|ceremony begun anew|a later message of this node was shown"
    r"|plan of round [1-9][0-9]{0,3} of [1-9][0-9]{0,3} attempt [1-9][0-9]{0,2}"
    r"(; ledger [1-9][0-9]{0,3} [0-9a-f]{64})?|"
    # What the coordinator signed of a proposal: the study file's own words.
    rf"{PhaseKind.PROPOSE.value} \[study small: Small\]|" + "|".join(k.value for k in PhaseKind)
)


def test_no_entry_of_a_whole_study_tells_a_count() -> None:
    """Six persons lie below every minimum: their number must not stand anywhere but as a round's."""
    assert PERSONS == 6
    trial = make_trial()
    for number in range(1, trial.spec.training.aggregations + 1):
        trial.round(number)
    for kind in PhaseKind:  # refusals of every kind
        for point in trial.points:
            trial.federation.ask(point, kind, b"nonsense with 6 persons in it")
    node = trial.federation.nodes[1]
    node.with_source(UnreadableSource())
    second = Trial(trial.federation, small_study(training__learning_rate=0.5))
    assert trial.federation.ask(1, PhaseKind.PROPOSE, second.proposal()).is_refusal
    node.custodian.studies.mark_restored()
    for point, one in trial.federation.nodes.items():
        verify_chain(one.audit, identity_of(point).public)
        assert len(one.audit) > 10
        for entry in one.audit:
            assert KNOWN_WORDS.fullmatch(entry.event.detail), entry.event
            assert entry.event.code in {"", *all_errors()}
