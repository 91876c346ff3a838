"""Every refusal of a proposal or of a nonce request (PROTOCOL.md section 6), each with its own code.

| refusal | code | check |
|---|---|---|
| unapproved, or approved without a reservation | study_unknown | study_desk.check_approved |
| withdrawn by the operators | study_revoked | study_desk.check_not_revoked |
| roster not the pinned one | roster_mismatch | study_desk.check_roster |
| epoch not signed by all, or its keys destroyed | epoch_mismatch | study_desk.check_epoch_active |
| epoch unknown, or scheme plain with an epoch | epoch_mismatch | none can be taken away: no keys to use |
| over budget | budget_exceeded | budget_desk.check_budget |
| declared cohort below the minimum | cohort_too_small | policy._check_cohort |
| declared count not the catalogue's | study_refused | study_desk.check_declared |

What else a policy refuses is tested with the policy itself.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from fedmed.protocol import envelope
from fedmed.protocol.steps import PhaseKind
from fedmed.types import Scheme
from fedmed_nodes.ceremony_desk import EpochRecord, epoch_key
from fedmed_nodes.sources import TableSource
from fedmed_nodes.stores import Batch
from tests.attacks import Attack, Case, assert_needed, assert_refused
from tests.federation import (
    COORDINATOR,
    DECLARED,
    NOW,
    OPEN_POLICY,
    Trial,
    UnreadableSource,
    make_trial,
    no_check,
    small_study,
    small_table,
)

POINT = 2
DESK = "fedmed_nodes.study_desk."


def plain_trial() -> Trial:
    return make_trial(scheme=Scheme.PLAIN)


def other_study(trial: Trial, **changes: Any) -> Trial:
    """Another study in the same federation, not yet proposed."""
    return Trial(trial.federation, small_study(scheme=Scheme.PLAIN, **changes))


def unapproved(*, approve: bool) -> Attack:
    """A nonce request in a study that waits, or that the operator approved before anything was reserved."""
    trial = plain_trial()
    federation, node = trial.federation, trial.federation.nodes[POINT]
    node.with_policy(replace(OPEN_POLICY, auto_approve=False))
    other = other_study(trial, training__learning_rate=0.5)
    assert federation.ask(POINT, PhaseKind.PROPOSE, other.proposal()).code == "approval_pending"
    if approve:
        node.custodian.studies.approve(other.digest)
    request = federation.sign(COORDINATOR, envelope.NONCE, b"", context=other.digest, receiver=POINT)

    def honest() -> tuple[bytes, ...]:
        node.custodian.studies.approve(other.digest)
        other.propose(POINT)
        return (request,)

    return Attack(trial=other, point=POINT, kind=PhaseKind.NONCE, hostile=(request,), honest=honest)


def revoked() -> Attack:
    """A study that the operators withdrew, proposed again; its rows were free for another since."""
    trial = plain_trial()
    trial.federation.nodes[POINT].custodian.studies.revoke(trial.digest)
    attack = proposal_attack(trial)
    return replace(attack, honest=lambda: (other_study(trial, training__learning_rate=0.5).proposal(),))


def proposal_attack(trial: Trial, **changes: Any) -> Attack:
    """A second proposal of the study that differs in the given fields."""
    return Attack(
        trial=trial,
        point=POINT,
        kind=PhaseKind.PROPOSE,
        hostile=(trial.proposal(**changes),),
        honest=lambda: (trial.proposal(),),
    )


def unsigned_epoch() -> Attack:
    """A study under an epoch whose result was never signed by all."""
    trial = make_trial()
    key, active = (
        epoch_key(trial.epoch_id),
        EpochRecord(is_active=True, polynomials_opened=2, last_day=NOW.date()),
    )
    store = trial.federation.nodes[POINT].effects.store
    store.commit(Batch(puts={key: replace(active, is_active=False).to_bytes()}))

    def honest() -> tuple[bytes, ...]:
        store.commit(Batch(puts={key: active.to_bytes()}))
        return (trial.proposal(),)

    return replace(proposal_attack(trial), honest=honest)


def ended_epoch() -> Attack:
    """The proposal of a study whose keys were destroyed, replayed."""
    trial = make_trial()
    secrets = trial.federation.nodes[POINT].effects.secrets
    keys = secrets.get(trial.epoch_id)
    assert keys is not None
    secrets.destroy(trial.epoch_id)

    def honest() -> tuple[bytes, ...]:
        secrets.put(trial.epoch_id, keys)
        return (trial.proposal(),)

    return replace(proposal_attack(trial), honest=honest)


def over_budget() -> Attack:
    """A second study where the year's cap holds one."""
    trial = plain_trial()
    node = trial.federation.nodes[POINT]
    node.with_policy(replace(OPEN_POLICY, max_epsilon_per_year=OPEN_POLICY.max_epsilon_per_study))
    second = other_study(trial, training__learning_rate=0.5)
    return replace(proposal_attack(trial), hostile=(second.proposal(),))


def small_cohort(*, by: str) -> Attack:
    """A study on fewer declared persons than the policy or the study itself asks for."""
    trial = plain_trial()
    if by == "policy":
        trial.federation.nodes[POINT].with_policy(replace(OPEN_POLICY, min_cohort=DECLARED + 1))
        return replace(proposal_attack(trial), honest=None)
    demanding = other_study(trial, data__min_cohort=DECLARED + 1)
    return replace(proposal_attack(trial), hostile=(demanding.proposal(),))


def other_count() -> Attack:
    """A study that counts more persons here than this node's catalogue."""
    trial = plain_trial()
    counts = {name: DECLARED + (name == f"node{POINT}") for name in trial.spec.nodes}
    return replace(
        proposal_attack(trial), hostile=(other_study(trial, data__declared_persons=counts).proposal(),)
    )


def other_person() -> Attack:
    """A study that takes another column for the person: every value of it would be clipped by itself."""
    trial = plain_trial()
    table = small_table(POINT)
    visits = pa.array([f"v{row}" for row in range(table.num_rows)])
    source = TableSource(
        table.append_column("visit_no", visits), declared_persons=DECLARED, data_year=NOW.year
    )
    trial.federation.nodes[POINT].with_source(source)
    hostile = other_study(trial, data__person="visit_no").proposal()
    return replace(proposal_attack(trial), hostile=(hostile,))


CASES = (
    Case(
        code="study_unknown",
        what="waits for the operator",
        arrange=functools.partial(unapproved, approve=False),
        checks=(DESK + "check_approved",),
    ),
    Case(
        code="study_unknown",
        what="approved, and nothing reserved",
        arrange=functools.partial(unapproved, approve=True),
        checks=(DESK + "check_approved",),
    ),
    Case(
        code="study_revoked",
        what="withdrawn",
        arrange=revoked,
        checks=(DESK + "check_not_revoked",),
    ),
    Case(
        code="roster_mismatch",
        what="another roster",
        arrange=lambda: proposal_attack(plain_trial(), roster_digest=bytes(32)),
        checks=(DESK + "check_roster",),
    ),
    Case(
        code="epoch_mismatch",
        what="epoch not signed by all",
        arrange=unsigned_epoch,
        checks=(DESK + "check_epoch_active",),
    ),
    Case(
        code="epoch_mismatch",
        what="keys of the epoch destroyed",
        arrange=ended_epoch,
        checks=(DESK + "check_epoch_active",),
    ),
    Case(code="budget_exceeded", what="a second study", arrange=over_budget, checks=(DESK + "check_budget",)),
    *(
        Case(
            code="cohort_too_small",
            what=f"by the {by}'s minimum",
            arrange=functools.partial(small_cohort, by=by),
            checks=("fedmed.governance.policy._check_cohort",),
        )
        for by in ("policy", "study")
    ),
    Case(
        code="study_refused",
        what="another person column",
        arrange=other_person,
        checks=(DESK + "check_person",),
    ),
    Case(code="study_refused", what="another count", arrange=other_count, checks=(DESK + "check_declared",)),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_hostile_proposal_is_refused_with_its_own_code_and_changes_nothing(case: Case) -> None:
    assert_refused(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_without_its_check_the_hostile_proposal_is_accepted(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_needed(case, monkeypatch)


def test_an_epoch_that_is_unknown_or_that_plain_does_not_have_is_refused() -> None:
    for trial in (make_trial(), plain_trial()):
        attack = proposal_attack(trial, epoch_id=bytes([5]) * 32)
        assert trial.federation.refused(POINT, attack.kind, *attack.hostile) == "epoch_mismatch"


def test_a_study_over_budget_is_refused_before_a_row_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    attack = over_budget()
    node, rows = attack.trial.federation.nodes[POINT], UnreadableSource()
    node.with_source(rows)
    assert attack.trial.federation.refused(POINT, attack.kind, *attack.hostile) == "budget_exceeded"
    assert rows.reads == 0
    monkeypatch.setattr(DESK + "check_budget", no_check)
    assert attack.trial.federation.ask(POINT, attack.kind, *attack.hostile).code == "fedmed_error"
    assert rows.reads == 1, "only the check kept the rows unread"


def test_an_approval_without_a_second_proposal_cannot_overdraw_the_year(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two studies wait, each fits the year alone; the operator approves both."""
    trial = plain_trial()
    node = trial.federation.nodes[POINT]
    limited = replace(OPEN_POLICY, max_epsilon_per_year=OPEN_POLICY.max_epsilon_per_study)
    node.with_policy(replace(limited, auto_approve=False, max_epsilon_per_year=2.0))
    second = other_study(trial, training__learning_rate=0.5)
    trial.federation.ask(POINT, PhaseKind.PROPOSE, second.proposal())
    node.custodian.studies.approve(second.digest)
    node.with_policy(replace(limited, auto_approve=False))
    proposal = second.proposal()
    assert trial.federation.refused(POINT, PhaseKind.PROPOSE, proposal) == "budget_exceeded"
    monkeypatch.setattr(DESK + "check_approved", no_check)
    second.ask_nonce(POINT)
    second.contribute(POINT, second.plan())
    assert len(node.effects.store.ledger()) == 1, "a charge that nothing was reserved for"
