"""Which studies this province said yes to, as the policy that is loaded now sees it.

Threat model. A yes outlives the policy under which it was given: later the policy asks for more signatures,
lists an operator no more after their key was stolen, or lets no rule approve what it approved. What was said
under the old policy must not go on under the new one. So nothing but the roster is remembered of a yes: who
stands behind it is read anew from the operators' signed acts each time, against the keys and the number that
the policy lists today. A policy that is put back finds its approvals again.
"""

from __future__ import annotations

from typing import Final

from fedmed.errors import StudyRefused, StudyUnknown
from fedmed.governance.operators import ActKind, SignedAct, is_agreed, standing_signers
from fedmed.governance.policy import Policy
from fedmed.protocol.node_ceremony import Seat
from fedmed_nodes.logbook import Logbook
from fedmed_nodes.study_keys import study_key

DIFFERENCE_ALLOWED: Final = "difference_allowed"
"""Part of a study's store keys (`fedmed_nodes.study_keys.study_key`): operators said yes to an exception."""
# What the store says of an approval: the roster under which operators gave it, or who gave it instead.
BY_POLICY: Final = b"by policy"
_BEFORE_ROSTERS: Final = b"1"
_YES: Final = frozenset({ActKind.APPROVE, ActKind.APPROVE_DIFFERENCE})


def check_approved(*, approved: bool, reserved: bool, missing: str = "") -> None:
    """The study is approved and its budget reserved: an operator's yes alone reserves nothing.

    Args:
        approved: Whether the yes holds under the policy of now.
        reserved: Whether its budget is reserved.
        missing: What a yes of before lacks under the policy of now, with the rule's name; empty for none.

    Raises:
        StudyRefused: approved once, and not as the policy of now asks for.
        StudyUnknown: never approved, or nothing is reserved.
    """
    if not approved and missing:
        raise StudyRefused(missing)
    if not approved:
        raise StudyUnknown("the study waits for the operator's approval")
    if not reserved:
        raise StudyUnknown("the study's budget is not reserved: it must be proposed again after approval")


class Approvals:
    """Reads approvals from a custodian's store; `fedmed_nodes.study_desk` writes them."""

    def __init__(self, seat: Seat, policy: Policy, logbook: Logbook) -> None:
        """Judge by ``policy``; ``seat`` says for which node and roster operators must have signed."""
        self._seat = seat
        self._operators = policy.operators
        self._logbook = logbook

    def of(self, digest: bytes, *, by_policy: bool) -> bytes | None:
        """What approves a study: operators under this roster, or the policy as it is now; None for neither.

        A yes is for those who take part. What only a policy approved ends with that policy.

        Args:
            digest: The study.
            by_policy: Whether the policy approves it without operators.
        """
        if self._operators is not None:
            if self._is_signed(digest, _YES):
                return self._seat.roster_digest
        else:
            stored = self._stored(digest)
            if stored in (_BEFORE_ROSTERS, self._seat.roster_digest):
                return stored
        return BY_POLICY if by_policy else None

    def is_by_policy(self, digest: bytes) -> bool:
        """Whether the policy approved the study when it was last proposed; it may have changed since."""
        return self._stored(digest) == BY_POLICY

    def allows_difference(self, digest: bytes) -> bool:
        """Whether operators allow a study although it is near to one that was answered before."""
        if self._operators is not None:
            return self._is_signed(digest, frozenset({ActKind.APPROVE_DIFFERENCE}))
        return self._logbook.get(study_key(digest, DIFFERENCE_ALLOWED)) is not None

    def signed_by(self, digest: bytes) -> tuple[str, ...]:
        """Operators of today who stand behind a yes that was agreed; may be fewer than are needed now."""
        operators = self._operators
        return () if operators is None else standing_signers(self._acts(digest, _YES), operators)

    def missing(self, digest: bytes) -> str:
        """What a yes lacks that held once, with the policy's rule; empty where there never was one."""
        operators, acts = self._operators, [signed.act for signed in self._acts(digest, _YES)]
        if self.is_by_policy(digest):
            return "auto_approve: the policy of now starts no such study by itself; approve it, or end it"
        if operators is None or not (self._stored(digest) or any(is_agreed(acts, act) for act in acts)):
            return ""
        return (
            f"approvals_needed: the policy of now asks for {operators.approvals_needed} operators, and "
            f"{len(self.signed_by(digest))} of those that it lists signed; let them sign anew"
        )

    def _is_signed(self, digest: bytes, kinds: frozenset[ActKind]) -> bool:
        """Whether as many of today's operators as today's policy asks for signed one act of these kinds."""
        operators = self._operators
        if operators is None:
            return False
        return len(standing_signers(self._acts(digest, kinds), operators)) >= operators.approvals_needed

    def _acts(self, digest: bytes, kinds: frozenset[ActKind]) -> list[SignedAct]:
        """Acts of these kinds on a study, given at this node for this roster."""
        here = (digest, self._seat.identity.name, self._seat.roster_digest)
        acts = ((signed, signed.act) for signed in self._logbook.acts())
        return [
            signed
            for signed, act in acts
            if act.kind in kinds and (act.study_digest, act.node, act.roster_digest) == here
        ]

    def _stored(self, digest: bytes) -> bytes | None:
        """What the store says of an approval."""
        return self._logbook.get(study_key(digest, "approved"))
