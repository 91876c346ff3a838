"""SIGKILL for every process of a federation, in every phase of a study.

After each drill `Arena.run` has checked what must always hold: no ledger lost a record, no attempt was
charged twice, no custodian contributed or answered twice for one attempt, every audit chain is whole. What a
drill adds is how the study ends: it finishes, or stops with the code that stands here and may be launched
anew.
"""

from __future__ import annotations

import pytest

from fedmed.types import Scheme
from tests.drills.arena import (
    CAN_RUN,
    NODES,
    SERVER_APP,
    WHY_NOT,
    Arena,
    Result,
    Strike,
    between,
    contributed,
    in_ceremony,
    in_propose,
    opened,
)
from tests.federation import names

pytestmark = [
    pytest.mark.slow,
    pytest.mark.drill,
    pytest.mark.skipif(not CAN_RUN, reason=WHY_NOT),
]

CEREMONY_STOPS = {"too_few_nodes", "ceremony_stopped", "custodian_unreachable"}
"""A custodian takes each step of a ceremony once, so one that was cut off stops it; nothing was spent."""


def finished(result: Result, *, strikes: int, aggregations: int = 2) -> None:
    """The study came to its end with everybody in every sum, under all its strikes."""
    assert result.run is not None, f"{result.code} after {result.struck}: {result.fault}"
    assert len(result.struck) == strikes
    assert result.run.contributors == (names(NODES),) * aggregations


def rounds(target: str) -> tuple[Strike, ...]:
    """Strikes while the node contributes, while it opens, and after the first sum."""
    return tuple(Strike(target=target, when=when) for when in (contributed(1), opened(1), between(1)))


@pytest.mark.parametrize("target", ["superlink", "front-door", SERVER_APP])
def test_the_coordinators_processes_may_die_in_any_round(field: Arena, target: str) -> None:
    strikes = (Strike(target=target, when=in_propose), *rounds(target))
    result = field.run(field.study(), *strikes)
    finished(result, strikes=4)
    assert result.run is not None
    assert result.run.plans == 2, "no custodian was asked to spend for it"
    assert result.resumed == (4 if target == SERVER_APP else 0)


@pytest.mark.parametrize("target", ["superlink", "front-door", SERVER_APP, "supernode", "custodian"])
def test_whatever_dies_in_a_ceremony_it_is_finished_or_stopped_for_good(field: Arena, target: str) -> None:
    spec = field.study(aggregations=1)
    result = field.run(spec, Strike(target=target, when=in_ceremony))
    if result.run is None:
        assert result.code in CEREMONY_STOPS
        field.wait_until_online()
        result = field.run(spec)  # under its own name: nobody spent for it
    assert result.run is not None, result.fault


def test_a_supernode_may_die_in_any_round(field: Arena) -> None:
    result = field.run(field.study(), *rounds("supernode"))
    finished(result, strikes=3)
    assert "supernode-node1" in result.restarted


def test_a_supernode_may_die_while_a_study_is_proposed(field: Arena) -> None:
    spec = field.study(scheme=Scheme.PLAIN, aggregations=1)
    result = field.run(spec, Strike(target="supernode", when=in_propose))
    finished(result, strikes=1, aggregations=1)


def test_a_custodian_may_die_in_any_round_and_each_death_costs_one_plan(field: Arena) -> None:
    result = field.run(field.study(), *rounds("custodian"))
    finished(result, strikes=3)
    assert result.run is not None
    assert 2 < result.run.plans <= 2 + 3
    assert result.restarted.count("custodian-node1") == 3


def test_a_custodian_that_dies_while_a_study_is_proposed_stops_it_before_anybody_spends(field: Arena) -> None:
    spec = field.study(scheme=Scheme.PLAIN, aggregations=1)
    before = field.books()
    result = field.run(spec, Strike(target="custodian", when=in_propose))
    if result.run is None:
        assert result.code == "custodian_unreachable"
        assert all(field.books()[name][0] == before[name][0] for name in before), "nobody was charged"
    else:
        assert result.struck == ["custodian"], "its answer was faster than the kill"
