"""What operators can do, and what one of them, a thief of a key or an old signature cannot."""

from __future__ import annotations

import contextlib
import resource
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.data.nhsa.schema import Grade
from fedmed.errors import (
    ActStale,
    FedMedError,
    RaiseRefused,
    SignatureInvalid,
    SignatureNeeded,
    StudyRevoked,
    StudyUnknown,
)
from fedmed.governance.audit_chain import AuditKind
from fedmed.governance.operators import ActKind, OperatorAct, SignedAct, sign_act
from fedmed.governance.policy import AutoApprove
from fedmed.protocol.steps import PhaseKind
from fedmed.socket_messages import ActOutcome, StudyStanding
from fedmed.types import Scheme
from fedmed_nodes.office import Office
from fedmed_nodes.sources import TableSource
from fedmed_nodes.sqlite_store import SqliteStore
from fedmed_nodes.stores import Batch
from fedmed_nodes.study_keys import study_key
from tests.federation import (
    DATASET,
    DECLARED,
    NOW,
    OPEN_POLICY,
    CopyableStore,
    SetClock,
    Trial,
    UnreadableSource,
    make_trial,
    small_source,
    small_study,
    small_table,
)
from tests.operator_acts import OPERATORS, act_at, operator

# Together these take more than the fast part of the suite can spare.
pytestmark = pytest.mark.slow

POINT = 2
CAREFUL = replace(OPEN_POLICY, auto_approve=False, operators=OPERATORS)


class Desk:
    """One province with operators: a study that waits there, and hands that sign."""

    def __init__(self, *, cap: float = 4.0, **changes: object) -> None:
        first = make_trial(scheme=Scheme.PLAIN)
        self.node = first.federation.nodes[POINT]
        policy = replace(CAREFUL, max_epsilon_per_year=cap, **changes)  # type: ignore[arg-type]
        self.node.with_policy(policy)
        self.trial = self.study(first, 0.5)
        self.office = Office(self.node.custodian, self.node.settings, self.node.effects.store)

    @staticmethod
    def study(trial: Trial, rate: float) -> Trial:
        return Trial(trial.federation, small_study(scheme=Scheme.PLAIN, training__learning_rate=rate))

    def propose(self, trial: Trial | None = None) -> str:
        given = trial or self.trial
        return self.office.answer(PhaseKind.PROPOSE, (given.proposal(),)).code

    def signed(self, kind: ActKind, by: str, **fields: object) -> SignedAct:
        subject: Mapping[str, object] = {"study_digest": self.trial.digest}
        if kind is ActKind.RAISE:
            (rows,) = self.node.settings.datasets.values()
            subject = {"dataset_fingerprint": rows.fingerprint, "data_year": rows.data_year}
        act = act_at(self.office.budget().place, kind, by=by, **{**subject, **fields})
        return sign_act(act, operator(by))

    def give(self, signed: SignedAct) -> ActOutcome:
        return self.office.act(signed.body, signed.signature)

    def do(self, kind: ActKind, by: str, **fields: object) -> ActOutcome:
        return self.give(self.signed(kind, by, **fields))

    def refused(self, signed: SignedAct, error: type[FedMedError]) -> None:
        """The act is refused and leaves nothing."""
        before, acts = self.node.contents(), self.node.effects.store.acts()
        with pytest.raises(error):
            self.give(signed)
        assert (self.node.contents(), self.node.effects.store.acts()) == (before, acts)

    @property
    def standing(self) -> StudyStanding:
        return self.office.review(self.trial.digest).standing

    def entries(self, last: int) -> list[tuple[AuditKind, str]]:
        return [(e.event.kind, e.event.detail) for e in self.node.audit[-last:]]


@pytest.fixture
def desk() -> Desk:
    made = Desk()
    assert made.propose() == "approval_pending"
    return made


# --- k of n ------------------------------------------------------------------------------------------


def test_a_study_runs_once_enough_operators_signed(desk: Desk) -> None:
    assert not desk.do(ActKind.APPROVE, "li.wei").is_agreed
    assert (desk.standing, desk.propose()) == (StudyStanding.WAITING, "approval_pending")
    assert desk.do(ActKind.APPROVE, "zhao.min") == ActOutcome(signed_by=("li.wei", "zhao.min"), needed=2)
    assert desk.entries(1) == [(AuditKind.APPROVED, "approve signed by zhao.min, 2 of 2")]
    assert desk.standing is StudyStanding.APPROVED
    assert (desk.propose(), desk.standing) == ("", StudyStanding.RESERVED)
    assert desk.office.review(desk.trial.digest).signed_by == ("li.wei", "zhao.min")


def test_one_operator_does_not_count_twice(desk: Desk) -> None:
    desk.do(ActKind.APPROVE, "li.wei")
    assert desk.do(ActKind.APPROVE, "li.wei", reason="again").signed_by == ("li.wei",)
    assert len(desk.node.effects.store.acts()) == 1
    assert desk.propose() == "approval_pending"


def test_where_operators_are_listed_the_group_alone_approves_and_revokes_nothing(desk: Desk) -> None:
    before = desk.node.contents()
    for call in (desk.office.approve, desk.office.revoke):
        with pytest.raises(SignatureNeeded):
            call(desk.trial.digest)
    assert desk.node.contents() == before


def test_without_operators_in_the_policy_nobody_can_sign() -> None:
    desk = Desk(operators=None)
    desk.propose()
    assert desk.office.budget().place.approvals_needed == 0
    place = replace(desk.office.budget().place, approvals_needed=1)
    act = act_at(place, ActKind.APPROVE, study_digest=desk.trial.digest)
    desk.refused(sign_act(act, operator("li.wei")), SignatureNeeded)
    desk.office.approve(desk.trial.digest)
    assert desk.propose() == ""


def test_a_signature_is_good_for_its_study_its_place_and_its_policy_only(desk: Desk) -> None:
    first = desk.signed(ActKind.APPROVE, "li.wei")
    desk.refused(replace(first, signature=desk.signed(ActKind.REVOKE, "li.wei").signature), SignatureInvalid)
    desk.refused(desk.signed(ActKind.APPROVE, "li.wei", study_digest=bytes([1]) * 32), StudyUnknown)
    desk.refused(desk.signed(ActKind.APPROVE, "li.wei", node="node3"), ActStale)
    desk.give(first)
    desk.refused(first, ActStale)
    second = desk.signed(ActKind.APPROVE, "zhao.min")
    desk.node.with_policy(replace(CAREFUL, min_colluders=1))
    desk.office = Office(desk.node.custodian, desk.node.settings, desk.node.effects.store)
    desk.refused(second, ActStale)
    assert desk.office.review(desk.trial.digest).signed_by == (), "under another policy all sign anew"
    assert not desk.do(ActKind.APPROVE, "zhao.min").is_agreed


def test_a_stranger_signs_nothing(desk: Desk) -> None:
    desk.refused(desk.signed(ActKind.APPROVE, "mallory"), SignatureInvalid)


def test_a_rule_of_the_policy_approves_without_operators() -> None:
    desk = Desk(auto_approve=AutoApprove(max_epsilon=1.0, owners=frozenset({"tests"})))
    assert desk.propose() == ""


# --- revoking ----------------------------------------------------------------------------------------


def approved() -> Desk:
    desk = Desk(cap=2.0)
    desk.propose()
    for name in ("li.wei", "zhao.min"):
        desk.do(ActKind.APPROVE, name)
    assert desk.propose() == ""
    return desk


def test_a_revoked_study_is_answered_no_more_and_what_it_spent_stays_spent() -> None:
    desk = approved()
    trial = desk.trial
    trial.ask_nonce(POINT)
    plan = trial.plan()
    trial.contribute(POINT, plan)
    before = {s.study_digest: s for s in desk.office.budget().studies}[trial.digest]
    desk.do(ActKind.REVOKE, "li.wei", reason="the agreement ended")
    assert desk.standing is StudyStanding.RESERVED, "one of two withdraws nothing"
    assert desk.do(ActKind.REVOKE, "wang.fang").is_agreed
    for restarted in (False, True):
        if restarted:
            desk.node.restart()
        ask = trial.federation.ask
        assert ask(POINT, PhaseKind.CONTRIBUTE, plan, trial.inputs).code == "study_revoked"
        assert ask(POINT, PhaseKind.PROPOSE, trial.proposal()).code == "study_revoked"
    after = {s.study_digest: s for s in desk.office.budget().studies}[trial.digest]
    assert after.standing is StudyStanding.REVOKED
    assert after.spent_epsilon == before.spent_epsilon > 0
    assert after.reserved_epsilon == after.spent_epsilon < before.reserved_epsilon
    desk.refused(desk.signed(ActKind.APPROVE, "li.wei"), StudyRevoked)


def test_what_a_revoked_study_can_never_spend_is_free_for_another() -> None:
    desk = Desk(cap=1.5, auto_approve=AutoApprove(max_epsilon=1.0))
    other = desk.study(desk.trial, 0.25)
    first = {s.id: s for s in desk.office.budget().studies}["small"]
    assert first.spent_epsilon == 0
    # The study that began the federation and this one fit; a third one does not.
    assert (desk.propose(), desk.propose(other)) == ("", "budget_exceeded")
    for name in ("li.wei", "zhao.min"):
        desk.do(ActKind.REVOKE, name)
    assert desk.propose(other) == ""


# --- raises ------------------------------------------------------------------------------------------


def test_a_raise_takes_all_signatures_and_makes_room_for_a_study() -> None:
    desk = Desk(cap=1.0, auto_approve=AutoApprove(max_epsilon=1.0))
    assert desk.propose() == "budget_exceeded"
    desk.do(ActKind.RAISE, "li.wei", cap_epsilon=3.0, reason="second half of the pilot")
    assert (desk.propose(), desk.office.budget().datasets[0].cap_epsilon) == ("budget_exceeded", 1.0)
    assert desk.do(ActKind.RAISE, "wang.fang", cap_epsilon=3.0, reason="agreed").is_agreed
    budget = desk.office.budget()
    assert (desk.propose(), budget.datasets[0].cap_epsilon) == ("", 3.0)
    (shown,) = budget.raises
    assert (shown.signed_by, shown.reason) == (("li.wei", "wang.fang"), "second half of the pilot")
    assert [kind for kind, _ in desk.entries(9) if kind is AuditKind.BUDGET_RAISED]
    desk.node.restart()
    assert desk.office.budget().datasets[0].cap_epsilon == 3.0


def test_a_raise_never_lowers_and_is_never_replayed(desk: Desk) -> None:
    first = desk.signed(ActKind.RAISE, "li.wei", cap_epsilon=6.0)
    desk.give(first)
    desk.refused(first, ActStale)
    desk.do(ActKind.RAISE, "wang.fang", cap_epsilon=6.0)
    for cap in (6.0, 5.0):
        desk.refused(desk.signed(ActKind.RAISE, "zhao.min", cap_epsilon=cap), RaiseRefused)
    assert desk.office.budget().datasets[0].cap_epsilon == 6.0


def test_a_raise_belongs_to_rows_and_year_and_does_not_follow_an_alias(desk: Desk) -> None:
    desk.refused(desk.signed(ActKind.RAISE, "li.wei", cap_epsilon=9.0, data_year=NOW.year + 1), RaiseRefused)
    for name in ("li.wei", "zhao.min"):
        desk.do(ActKind.RAISE, name, cap_epsilon=9.0)
    assert desk.office.budget().datasets[0].cap_epsilon == 9.0
    desk.node.with_source(small_source(POINT + 1))
    office = Office(desk.node.custodian, desk.node.settings, desk.node.effects.store)
    assert office.budget().datasets[0].cap_epsilon == 4.0, "other rows under the same name"


# --- what the operator sees --------------------------------------------------------------------------


def test_a_review_says_what_the_year_holds_before_and_after(desk: Desk) -> None:
    review = desk.office.review(desk.trial.digest)
    assert (review.dataset, review.data_year, review.cap_epsilon) == (DATASET, NOW.year, 4.0)
    assert review.spent_epsilon == 0 < review.committed_epsilon < review.with_study_epsilon
    assert (review.refusal, review.operators) == ("", tuple(OPERATORS.keys))
    with pytest.raises(StudyUnknown):
        desk.office.review(bytes(32))


def test_a_review_names_what_refuses_the_study_today(desk: Desk) -> None:
    desk.node.with_policy(replace(CAREFUL, max_epsilon_per_year=1.0))
    office = Office(desk.node.custodian, desk.node.settings, desk.node.effects.store)
    assert office.review(desk.trial.digest).refusal.startswith("budget_exceeded: max_epsilon_per_year: ")
    desk.node.settings = replace(desk.node.settings, datasets={})
    office = Office(desk.node.custodian, desk.node.settings, desk.node.effects.store)
    assert office.review(desk.trial.digest).refusal.startswith("study_refused: dataset: ")


# --- columns, years, and two at once -----------------------------------------------------------------


def test_grades_of_the_registration_decide_at_the_custodian() -> None:
    desk = Desk(grades=frozenset({Grade.INTERNAL, Grade.SENSITIVE}))
    assert desk.propose() == "study_refused", "no column carries a grade"
    grades = dict.fromkeys(("age", "visits", "sick"), Grade.SENSITIVE)
    desk.node.settings = replace(desk.node.settings, grades={DATASET: grades})
    desk.node.restart()
    assert desk.trial.federation.ask(POINT, PhaseKind.PROPOSE, desk.trial.proposal()).code == (
        "approval_pending"
    )


def test_a_policy_that_ended_refuses_studies_begun_before() -> None:
    desk = approved()
    desk.node.with_policy(replace(CAREFUL, expires=NOW.date()))
    desk.trial.ask_nonce(POINT)
    clock = desk.node.effects.clock
    assert isinstance(clock, SetClock)
    clock.at = NOW.replace(day=NOW.day + 1)
    desk.node.restart()
    code = desk.trial.federation.ask(POINT, PhaseKind.PROPOSE, desk.trial.proposal()).code
    assert code == "study_refused"


def test_last_years_reservations_leave_this_years_budget_alone() -> None:
    desk = Desk(cap=1.0, auto_approve=AutoApprove(max_epsilon=1.0))
    assert desk.propose() == "budget_exceeded"
    table = small_table(POINT).set_column(1, "age", [[float(age) for age in range(40, 46)]])
    later = TableSource(table, declared_persons=DECLARED, data_year=NOW.year + 1)
    desk.node.with_source(later)
    office = Office(desk.node.custodian, desk.node.settings, desk.node.effects.store)
    assert office.budget().datasets[0].committed_epsilon == 0
    assert office.answer(PhaseKind.PROPOSE, (desk.trial.proposal(),)).code == ""
    # The first study's reservation is for last year: it must be proposed again before it may go on.
    desk.node.restart()
    begun = [s for s in office.budget().studies if s.study_digest != desk.trial.digest]
    assert [s.data_year for s in begun] == [NOW.year]


def test_two_studies_at_once_do_not_both_fit_where_one_does() -> None:
    desk = Desk(cap=1.6, auto_approve=AutoApprove(max_epsilon=1.0))
    trials = [desk.study(desk.trial, rate) for rate in (0.1, 0.2, 0.3, 0.4)]
    proposals = [trial.proposal() for trial in trials]
    codes: list[str] = []
    start = threading.Barrier(len(trials))

    def propose(proposal: bytes) -> None:
        start.wait()
        codes.append(desk.office.answer(PhaseKind.PROPOSE, (proposal,)).code)

    threads = [threading.Thread(target=propose, args=(proposal,)) for proposal in proposals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == ["", "budget_exceeded", "budget_exceeded", "budget_exceeded"]


def test_over_budget_is_refused_before_a_row_is_read_and_stands_in_the_log() -> None:
    desk, rows = Desk(cap=1.0), UnreadableSource()
    desk.node.with_source(rows)
    desk.office = Office(desk.node.custodian, desk.node.settings, desk.node.effects.store)
    assert (desk.propose(), rows.reads) == ("budget_exceeded", 0)
    last = desk.node.audit[-1].event
    assert (last.kind, last.code) == (AuditKind.REFUSED, "budget_exceeded")


def test_an_act_says_who_and_why_in_the_log_and_no_key(desk: Desk) -> None:
    desk.do(ActKind.APPROVE, "li.wei", reason="按协议第3条")
    assert isinstance(desk.node.effects.store.acts()[0].act, OperatorAct)
    assert desk.entries(1) == [(AuditKind.SIGNED, "approve signed by li.wei, 1 of 2")]


def test_a_full_disk_refuses_before_a_row_is_read_and_loses_nothing(tmp_path: Path) -> None:
    """The limit is on the size of files, so the ledger's log cannot grow by a page."""
    path = tmp_path / "node" / "custodian.db"
    trial = make_trial(
        scheme=Scheme.PLAIN, store=lambda point: SqliteStore(path) if point == POINT else CopyableStore()
    )
    node, rows = trial.federation.nodes[POINT], UnreadableSource()
    trial.contribute(POINT, trial.plan())
    store, charged, entries = node.effects.store, node.effects.store.ledger(), node.audit
    node.with_source(rows)
    trial.ask_nonce(POINT)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    full = path.with_name("custodian.db-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (full, hard))
    try:
        parts = (trial.plan(1, 2), trial.inputs)
        code = trial.federation.ask(POINT, PhaseKind.CONTRIBUTE, *parts).code
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (code, rows.reads) == ("store_failed", 0)
    assert (store.ledger(), node.audit) == (charged, entries)
    node.with_source(small_source(POINT))
    trial.ask_nonce(POINT)
    trial.contribute(POINT, trial.plan(2, 1))
    assert len(store.ledger()) == 2
    store.close()


@settings(deadline=None, max_examples=3)
@given(
    sequence=st.lists(
        st.tuples(
            st.sampled_from(ActKind), st.sampled_from(list(OPERATORS.keys)), st.sampled_from([3.0, 5.0])
        ),
        max_size=8,
    )
)
def test_no_sequence_of_acts_lowers_a_cap_or_what_was_spent(
    sequence: list[tuple[ActKind, str, float]],
) -> None:
    desk = approved()
    desk.trial.ask_nonce(POINT)
    desk.trial.contribute(POINT, desk.trial.plan())
    (before,) = desk.office.budget().datasets
    for kind, by, cap in sequence:
        raised = {"cap_epsilon": cap} if kind is ActKind.RAISE else {}
        with contextlib.suppress(FedMedError):
            desk.do(kind, by, **raised)
        (after,) = desk.office.budget().datasets
        assert after.cap_epsilon >= before.cap_epsilon
        assert after.spent_epsilon >= before.spent_epsilon
        assert after.committed_epsilon >= after.spent_epsilon - 1e-9
        before = after


def test_a_yes_is_for_those_who_take_part() -> None:
    """Under another roster the operators' yes is stale, and the study waits again."""
    desk = Desk(operators=None)
    desk.propose()
    desk.office.approve(desk.trial.digest)
    store, key = desk.node.effects.store, study_key(desk.trial.digest, "approved")
    assert store.get(key) == desk.trial.federation.roster_digest
    store.commit(Batch(puts={key: bytes(32)}))  # as if they had said it under another roster
    assert (desk.propose(), desk.standing) == ("approval_pending", StudyStanding.WAITING)


def test_what_only_the_policy_approved_ends_with_that_policy() -> None:
    desk = Desk(auto_approve=AutoApprove(max_epsilon=1.0))
    assert desk.propose() == ""
    desk.node.restart()
    desk.trial.ask_nonce(POINT)
    desk.node.with_policy(CAREFUL)
    ask = desk.trial.federation.ask
    assert ask(POINT, PhaseKind.PROPOSE, desk.trial.proposal()).code == "approval_pending"
    with pytest.raises(StudyUnknown):
        desk.node.custodian.studies.get(desk.trial.digest)


def test_a_study_under_way_stops_with_the_policy() -> None:
    desk = approved()
    desk.node.with_policy(replace(CAREFUL, expires=NOW.date()))
    desk.trial.ask_nonce(POINT)
    plan, clock = desk.trial.plan(), desk.node.effects.clock
    assert isinstance(clock, SetClock)
    clock.at = NOW.replace(day=NOW.day + 1)
    ask = desk.trial.federation.ask
    assert ask(POINT, PhaseKind.CONTRIBUTE, plan, desk.trial.inputs).code == "study_refused"
    assert desk.node.effects.store.ledger() == ()
