"""Where operators decide: they look at a study, approve or withdraw it, and raise a year's budget.

Threat model. The relay cannot reach this desk at all (`custodian_service`). Who reaches it is in the
operators' group by the kernel's word; where the policy lists operators, that is not enough, and every act
needs a listed key's signature over exactly this node, roster, policy, subject and place in the chain of acts
(`fedmed.governance.operators`). A raise never lowers a cap and belongs to one dataset version and year, so
that it does not follow an alias to other rows. Everything is refused before anything is written, and an act
is on disk with its consequence in one commit.
"""

from __future__ import annotations

import datetime

from fedmed import wire
from fedmed.errors import FedMedError, RaiseRefused, SignatureNeeded, StudyUnknown
from fedmed.governance.audit_chain import AuditKind
from fedmed.governance.operators import (
    ActKind,
    OperatorAct,
    SignedAct,
    act_head,
    check_act,
    is_agreed,
    signers,
)
from fedmed.governance.policy import NO_GRADES, decide
from fedmed.protocol.schedule import schedule_for
from fedmed.socket_messages import ActOutcome, Budget, StudyReview
from fedmed.study import StudySpec, from_canonical_bytes
from fedmed.types import ActPlace
from fedmed_nodes.budget_desk import BudgetBook, check_budget, read_book, reservation_for
from fedmed_nodes.budget_view import budget_of, proposed_bytes, standing_of
from fedmed_nodes.custodian import Settings
from fedmed_nodes.sources import RowSource, require_served
from fedmed_nodes.stores import CustodianStore
from fedmed_nodes.study_desk import StudyDesk
from fedmed_nodes.study_keys import RESTORED, study_key
from fedmed_nodes.year_caps import year_cap

AFTER_RESTORE = (
    "this node was restored from a backup: a study that it took part in before must not be approved again"
)

LAPSED = "the yes of before does not hold"


class OperatorDesk:
    """Answers operators; the caller excludes other writers (`fedmed_nodes.office.Office`)."""

    def __init__(self, settings: Settings, studies: StudyDesk, store: CustodianStore) -> None:
        self._settings = settings
        self._studies = studies
        self._store = store

    @property
    def place(self) -> ActPlace:
        """Where the node stands: what the next act must name."""
        settings, acts = self._settings, self._store.acts()
        operators = settings.policy.operators
        return ActPlace(
            node=settings.identity.name,
            roster_digest=wire.roster_digest(settings.roster),
            policy_digest=settings.policy.digest,
            approvals_needed=0 if operators is None else operators.approvals_needed,
            counter=len(acts),
            head=act_head(acts),
        )

    def budget(self) -> Budget:
        """What is reserved, spent and left; see `budget_of`."""
        settings = self._settings
        return budget_of(
            self._store,
            datasets=settings.datasets,
            cap_epsilon=settings.policy.max_epsilon_per_year,
            place=self.place,
            has_lapsed=lambda study: bool(self._studies.lapse(study)),
        )

    def review(self, study: bytes) -> StudyReview:
        """A study with what it costs here, for an operator who thinks about a yes; no row is read.

        Raises:
            StudyUnknown: it was never proposed here.
        """
        if self._store.get(study_key(study, "proposal")) is None:
            raise StudyUnknown("no such study was proposed here")
        canonical, place = proposed_bytes(self._store, study), self.place
        spec = from_canonical_bytes(canonical)
        rows = self._settings.datasets.get(spec.data.dataset)
        book, cap = read_book(self._store), self._cap(rows)
        with_study = (
            book if rows is None else book.with_study(study, reservation_for(schedule_for(spec), rows))
        )
        remarks, refusal = self._verdict(spec, rows, with_study)
        lapse = self._studies.lapse(study)
        operators = self._settings.policy.operators
        grades = self._settings.grades.get(spec.data.dataset, NO_GRADES)
        return StudyReview(
            canonical=canonical,
            place=place,
            operators=() if operators is None else tuple(operators.keys),
            signed_by=self._approvers(study, place),
            standing=standing_of(
                self._store,
                study,
                is_reserved=study.hex() in book.reservations,
                has_lapsed=bool(lapse),
            ),
            dataset=spec.data.dataset,
            data_year=0 if rows is None else rows.data_year,
            cap_epsilon=cap,
            spent_epsilon=0.0 if rows is None else book.spent_on(rows, cap=cap),
            committed_epsilon=0.0 if rows is None else book.committed(rows, cap=cap),
            with_study_epsilon=0.0 if rows is None else with_study.committed(rows, cap=cap),
            grades=tuple((name, grades[name].value) for name in spec.columns if name in grades),
            remarks=remarks + ((f"{LAPSED}: {lapse}",) if lapse else ()),
            refusal=refusal,
        )

    def act(self, body: bytes, signature: bytes) -> ActOutcome:
        """Take a signed act; carry it out once enough operators signed the same.

        Args:
            body: The exact bytes that were signed.
            signature: The operator's, 64 bytes.

        Returns:
            Who signed the same so far. An operator who signs twice changes nothing.

        Raises:
            SignatureNeeded: the policy lists no operators, so that nobody can sign.
            SignatureInvalid, ActStale, IntegrityError: the act does not hold here and now.
            StudyUnknown, StudyRevoked: there is no such study to decide on.
            RaiseRefused: the raise is not above the present cap, or not on a registered dataset version.
        """
        operators = self._settings.policy.operators
        if operators is None:
            raise SignatureNeeded("the policy lists no operators; write their keys into policy.toml first")
        signed = SignedAct(body=body, signature=signature)
        act = check_act(signed, operators, self.place)
        if act.kind is ActKind.RAISE:
            self._check_raise(act)
        else:
            self._studies.require_live(act.study_digest)
        before = [kept.act for kept in self._store.acts()]
        outcome = ActOutcome(signed_by=signers([*before, act], act), needed=act.approvals_needed)
        if act.operator not in signers(before, act):
            self._keep(signed, act, outcome, agreed=is_agreed([*before, act], act))
        return outcome

    def _keep(self, signed: SignedAct, act: OperatorAct, outcome: ActOutcome, *, agreed: bool) -> None:
        """Write the act, with its consequence if it is the one that completes the number."""
        count = len(outcome.signed_by)
        words = f"{act.kind.value} signed by {act.operator}, {count} of {outcome.needed}"
        if act.kind is ActKind.RAISE:
            words += f": data year {act.data_year} to epsilon {act.cap_epsilon:g}, {act.reason}"
            kind = AuditKind.BUDGET_RAISED if agreed else AuditKind.SIGNED
            self._studies.logbook.write(kind, detail=words, acts=(signed,))
        elif not agreed:
            self._studies.logbook.write(
                AuditKind.SIGNED, study=act.study_digest, detail=words, acts=(signed,)
            )
        elif act.kind is ActKind.REVOKE:
            self._studies.revoke(act.study_digest, acts=(signed,), detail=words)
        else:
            exception = act.kind is ActKind.APPROVE_DIFFERENCE
            self._studies.approve(act.study_digest, acts=(signed,), detail=words, allow_difference=exception)

    def _check_raise(self, act: OperatorAct) -> None:
        """A raise is for rows that are registered now, and above what holds for them now."""
        named = (act.dataset_fingerprint, act.data_year)
        rows = [r for r in self._settings.datasets.values() if (r.fingerprint, r.data_year) == named]
        if not rows:
            raise RaiseRefused("the raise names a dataset version or year that is not registered here")
        if act.cap_epsilon <= self._cap(rows[0]):
            raise RaiseRefused(f"the cap is {self._cap(rows[0]):g} already; a raise must be above it")

    def _cap(self, rows: RowSource | None) -> float:
        """The year's cap on a dataset; without one, the policy's."""
        policy_cap = self._settings.policy.max_epsilon_per_year
        return policy_cap if rows is None else year_cap(self._store, rows, policy_cap=policy_cap)

    def _approvers(self, study: bytes, place: ActPlace) -> tuple[str, ...]:
        """Who stands behind a yes that holds; else who signed under the roster and policy in force so far."""
        standing = self._studies.signed_by(study)
        if place.approvals_needed and len(standing) >= place.approvals_needed:
            return standing
        acts = [signed.act for signed in self._store.acts()]
        now = (place.roster_digest, place.policy_digest)
        mine = [a for a in acts if a.kind is ActKind.APPROVE and a.study_digest == study]
        return tuple(dict.fromkeys(a.operator for a in mine if (a.roster_digest, a.policy_digest) == now))

    def _verdict(
        self, spec: StudySpec, rows: RowSource | None, with_study: BudgetBook
    ) -> tuple[tuple[str, ...], str]:
        """What policy and budget say today: remarks, and a refusal's code with what the rule says."""
        settings, today = self._settings, datetime.date.fromisoformat(self._studies.logbook.now()[:10])
        restored = (AFTER_RESTORE,) if self._store.get(RESTORED) is not None else ()
        if rows is None:
            return restored, f"study_refused: dataset: {spec.data.dataset} is not registered here"
        try:
            require_served(rows)
            decision = decide(
                spec,
                settings.policy,
                declared_persons=rows.declared_persons,
                today=today,
                allowance=schedule_for(spec).allowance,
                grades=settings.grades.get(spec.data.dataset, NO_GRADES),
            )
            cap = self._cap(rows)
            check_budget(with_study.committed(rows, cap=cap), cap)
        except FedMedError as refusal:
            return restored, f"{refusal.code}: {refusal}"
        return restored + decision.remarks, ""
