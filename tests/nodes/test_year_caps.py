"""A year's cap: the first one binds, a lower one holds at once, and only a signature lifts it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from fedmed.errors import IntegrityError
from fedmed.governance.operators import ActKind
from fedmed.protocol.steps import PhaseKind
from fedmed.types import Scheme
from fedmed_nodes.office import Office
from fedmed_nodes.stores import Batch, MemoryStore
from fedmed_nodes.year_caps import FIRST_CAPS, first_caps, puts_of_serving, year_cap
from tests.federation import OPEN_POLICY, Trial, make_trial, small_study
from tests.operator_acts import OPERATORS, act_at, signed


@dataclass(frozen=True)
class Rows:
    fingerprint: bytes = b"\1" * 32
    data_year: int = 2024


def served_under(epsilon: float) -> MemoryStore:
    store = MemoryStore()
    store.commit(Batch(puts=puts_of_serving(store, Rows(), policy_cap=epsilon)))
    return store


def test_a_higher_number_in_the_policy_counts_for_nothing_once_the_year_was_served() -> None:
    assert year_cap(MemoryStore(), Rows(), policy_cap=50.0) == 50.0
    assert year_cap(served_under(2.0), Rows(), policy_cap=50.0) == 2.0


def test_a_lower_number_holds_at_once_and_may_go_back() -> None:
    store = served_under(2.0)
    assert year_cap(store, Rows(), policy_cap=1.2) == 1.2
    assert year_cap(store, Rows(), policy_cap=2.0) == 2.0


@pytest.mark.parametrize("other", [Rows(fingerprint=b"\2" * 32), Rows(data_year=2025)])
def test_neither_new_rows_of_the_year_nor_another_year_of_the_rows_begin_anew(other: Rows) -> None:
    store = served_under(2.0)
    assert year_cap(store, other, policy_cap=50.0) == 2.0
    store.commit(Batch(puts=puts_of_serving(store, other, policy_cap=50.0)))
    assert [cap.epsilon for cap in first_caps(store)] == [2.0, 2.0]
    assert year_cap(store, Rows(fingerprint=b"\3" * 32, data_year=2023), policy_cap=50.0) == 50.0


def test_the_first_cap_is_written_once() -> None:
    assert puts_of_serving(served_under(2.0), Rows(), policy_cap=1.0) == {}


@pytest.mark.parametrize("altered", [b"x", b"[[2024]]", b'[[2024, "zz", 2.0]]', b"7"])
def test_first_caps_that_cannot_be_read_are_an_alteration(altered: bytes) -> None:
    store = MemoryStore()
    store.commit(Batch(puts={FIRST_CAPS: altered}))
    with pytest.raises(IntegrityError, match="first caps"):
        year_cap(store, Rows(), policy_cap=2.0)


@pytest.mark.slow
def test_an_edited_policy_buys_no_second_study_and_a_signed_raise_does() -> None:
    trial = make_trial(scheme=Scheme.PLAIN)  # its study was accepted under the open policy
    node, first = trial.federation.nodes[2], OPEN_POLICY.max_epsilon_per_year
    assert [cap.epsilon for cap in first_caps(node.effects.store)] == [first]

    large = Trial(trial.federation, small_study(scheme=Scheme.PLAIN, privacy__epsilon=first))
    edited = replace(OPEN_POLICY, max_epsilon_per_study=50.0, max_epsilon_per_year=50.0)
    node.with_policy(replace(edited, operators=OPERATORS))
    assert trial.federation.ask(2, PhaseKind.PROPOSE, large.proposal()).code == "budget_exceeded"
    office = Office(node.custodian, node.settings, node.effects.store)
    assert office.budget().datasets[0].cap_epsilon == first

    (rows,) = node.settings.datasets.values()
    subject = {"dataset_fingerprint": rows.fingerprint, "data_year": rows.data_year, "cap_epsilon": 2 * first}
    for name in list(OPERATORS.keys)[: OPERATORS.approvals_needed]:
        raised = signed(act_at(office.budget().place, ActKind.RAISE, by=name, **subject))
        outcome = office.act(raised.body, raised.signature)
    assert outcome.is_agreed
    assert office.budget().datasets[0].cap_epsilon == 2 * first
    assert trial.federation.ask(2, PhaseKind.PROPOSE, large.proposal()).code != "budget_exceeded"
