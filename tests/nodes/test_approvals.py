"""A yes holds as long as the policy that is loaded agrees, and comes back with it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedmed import wire
from fedmed.crypto.identity import Identity
from fedmed.errors import StudyRefused
from fedmed.governance.audit_chain import AuditKind
from fedmed.governance.operators import ActKind, Operators, sign_act
from fedmed.governance.policy import AutoApprove, Policy
from fedmed.protocol.node_ceremony import Seat
from fedmed.protocol.steps import PhaseKind
from fedmed.socket_messages import StudyReview, StudyStanding
from fedmed.types import Scheme
from fedmed_nodes.approvals import Approvals
from fedmed_nodes.office import Office
from tests.federation import NOW, OPEN_POLICY, SetClock, Trial, make_trial, small_study
from tests.operator_acts import OPERATORS, act_at, operator

# Together these take more than the fast part of the suite can spare.
pytestmark = pytest.mark.slow

POINT = 2
SIGNED = replace(OPEN_POLICY, auto_approve=False, operators=OPERATORS, max_epsilon_per_year=4.0)


def listing(needed: int, **keys: Identity) -> Policy:
    """The policy with other operators; their names have a dot where the argument has an underscore."""
    named = {name.replace("_", "."): key.public.signing_key for name, key in keys.items()}
    return replace(SIGNED, operators=Operators(keys=named, approvals_needed=needed))


LI, WANG, ZHAO = operator("li.wei"), operator("wang.fang"), operator("zhao.min")


class Province:
    """One province whose operators have approved a study of which nothing is contributed yet."""

    def __init__(
        self,
        policy: Policy = SIGNED,
        *,
        signers: tuple[str, ...] = ("li.wei", "zhao.min"),
        kind: ActKind = ActKind.APPROVE,
    ) -> None:
        first = make_trial(scheme=Scheme.PLAIN)
        self.node = first.federation.nodes[POINT]
        self.trial = Trial(first.federation, small_study(scheme=Scheme.PLAIN, training__learning_rate=0.5))
        self.under(policy)
        self.propose()
        for name in signers:
            self.sign(name, kind)
        assert self.propose() == ""
        self.trial.propose(POINT)

    def under(self, policy: Policy) -> None:
        """The operator writes a policy; the custodian starts anew."""
        self.node.with_policy(policy)
        self.office = Office(self.node.custodian, self.node.settings, self.node.effects.store)

    def propose(self) -> str:
        return self.office.answer(PhaseKind.PROPOSE, (self.trial.proposal(),)).code

    def sign(self, name: str, kind: ActKind = ActKind.APPROVE) -> None:
        act = act_at(self.office.budget().place, kind, by=name, study_digest=self.trial.digest)
        signed = sign_act(act, operator(name))
        self.office.act(signed.body, signed.signature)

    def refused(self) -> str:
        """Ask for a contribution that must be refused: what the log says of it; nothing else changed."""
        asked = (self.trial.plan(), self.trial.inputs)
        code = self.trial.federation.refused(POINT, PhaseKind.CONTRIBUTE, *asked)
        assert self.node.effects.store.ledger() == ()
        return f"{code}, {self.node.audit[-1].event.detail}"

    def contributes(self) -> bool:
        """Whether it answers; a restart voids nonces, so a new one is asked for."""
        self.trial.ask_nonce(POINT)
        self.trial.contribute(POINT, self.trial.plan())
        return len(self.node.effects.store.ledger()) == 1

    @property
    def review(self) -> StudyReview:
        return self.office.review(self.trial.digest)


STRICTER = {
    "one more signature": listing(3, li_wei=LI, wang_fang=WANG, zhao_min=ZHAO),
    "a signer who is listed no more": listing(2, li_wei=LI, wang_fang=WANG),
    "another key for a signer": listing(2, li_wei=LI, wang_fang=WANG, zhao_min=operator("thief")),
}


@pytest.mark.parametrize("policy", STRICTER.values(), ids=STRICTER)
def test_a_yes_that_the_policy_of_now_does_not_take_contributes_nothing(policy: Policy) -> None:
    """Guarantee of `StudyDesk.get`: refused by name, nothing spent; the old policy brings it back."""
    province = Province()
    province.under(policy)
    assert province.refused() == "study_refused, train: rule approvals_needed"
    review = province.review
    assert (review.standing, review.signed_by) == (StudyStanding.WAITING, ())
    assert "the yes of before does not hold: approvals_needed: " in " ".join(review.remarks)
    province.under(SIGNED)
    assert province.review.signed_by == ("li.wei", "zhao.min")
    assert province.contributes()


def test_the_old_policy_brings_a_yes_back_after_another_proposal_too() -> None:
    """Nobody could sign twice under one policy: what was signed once must be found again."""
    province = Province()
    province.under(STRICTER["one more signature"])
    assert province.propose() == "approval_pending"
    assert province.refused().startswith("study_refused")
    province.under(SIGNED)
    assert province.contributes()


def test_all_sign_anew_where_the_policy_asks_for_more() -> None:
    province = Province()
    province.under(STRICTER["one more signature"])
    for name in ("wang.fang", "li.wei"):
        province.sign(name)
    assert province.refused() == "study_refused, train: rule approvals_needed"
    province.sign("zhao.min")
    assert province.contributes()


def test_a_yes_outlives_a_change_that_takes_nobody_away() -> None:
    province = Province()
    newcomer = listing(2, li_wei=LI, wang_fang=WANG, zhao_min=ZHAO, chen_hua=operator("chen.hua"))
    province.under(replace(newcomer, min_cohort=2))
    assert province.contributes()


def test_a_yes_without_signatures_ends_when_operators_are_listed() -> None:
    without = replace(SIGNED, operators=None)
    province = Province(replace(without, auto_approve=True), signers=())
    province.under(without)
    assert province.refused() == "study_refused, train: rule auto_approve"
    province.office.approve(province.trial.digest)
    province.under(SIGNED)
    assert province.refused() == "study_refused, train: rule approvals_needed"


def test_what_the_policy_approves_by_itself_needs_no_operator() -> None:
    policy = replace(SIGNED, auto_approve=AutoApprove(max_epsilon=1.0))
    province = Province(policy, signers=())
    province.under(policy)
    assert province.contributes()


@pytest.mark.parametrize(
    ("change", "rule"), [({"min_cohort": 10_000}, "min_cohort"), ({"expires": NOW.date()}, "policy expires")]
)
def test_any_rule_of_the_policy_of_now_stops_what_was_approved(change: dict[str, object], rule: str) -> None:
    province = Province()
    clock = province.node.effects.clock
    assert isinstance(clock, SetClock)
    clock.at = NOW.replace(day=NOW.day + 1)
    province.under(replace(SIGNED, **change))  # type: ignore[arg-type]
    assert province.refused().endswith(f"train: rule {rule}")
    refusals = {e.event.study for e in province.node.audit if e.event.kind is AuditKind.REFUSED}
    assert refusals == {province.trial.digest.hex()}, "a refusal names its study"
    with pytest.raises(StudyRefused, match=f"^{rule}: "):
        province.node.custodian.studies.get(province.trial.digest)


def test_an_exception_is_only_as_good_as_its_signatures() -> None:
    province = Province(kind=ActKind.APPROVE_DIFFERENCE)
    settings = province.node.settings
    roster = settings.roster
    seat = Seat(
        identity=settings.identity, roster=roster, roster_digest=wire.roster_digest(roster), point=POINT
    )
    logbook, study = province.node.custodian.logbook, province.trial.digest
    assert Approvals(seat, SIGNED, logbook).allows_difference(study)
    for policy in STRICTER.values():
        assert not Approvals(seat, policy, logbook).allows_difference(study)
    assert not Approvals(seat, SIGNED, Province().node.custodian.logbook).allows_difference(study)
