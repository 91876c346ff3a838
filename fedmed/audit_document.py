"""From what an audit block says to the document that people read."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence

from fedmed.privacy.audit import one_run_lower_bound
from fedmed.privacy.conformance import Check
from fedmed.programs.audited import CONFIDENCE, AuditFindings
from fedmed.report.audit_result import AuditResult, AuditRun, CheckPart, MembershipPart
from fedmed.study import TrainingStudy, canonical_bytes, study_digest
from fedmed.training.membership import MembershipRisk, largest_advantage


def audit_result(
    spec: TrainingStudy,
    findings: Sequence[AuditFindings],
    *,
    ended: datetime.datetime,
    simulation: bool,
    membership: MembershipRisk | None = None,
) -> AuditResult:
    """The document of one audit.

    Args:
        spec: The study.
        findings: Of one or more runs of it.
        ended: When the last ended, with its time zone.
        simulation: Whether all nodes were in one process.
        membership: The attack on the last run's model.

    Returns:
        The document; with several runs each bound is widened, so that `CONFIDENCE` holds for the largest.
    """
    first = findings[0]
    claim = first.claim
    return AuditResult(
        study_id=spec.id,
        title=spec.title,
        digest=study_digest(canonical_bytes(spec)).hex(),
        simulation=simulation,
        claimed=claim.epsilon,
        delta=claim.delta,
        confidence=CONFIDENCE,
        nodes=tuple(spec.nodes[point - 1] for point in first.nodes),
        missing=tuple(spec.nodes[point - 1] for point in first.missing),
        rounds=first.rounds,
        runs=tuple(_run(one, runs=len(findings)) for one in findings),
        membership=None if membership is None else _membership(membership, claim.epsilon, claim.delta),
        created=ended.isoformat(timespec="seconds"),
    )


def _run(found: AuditFindings, *, runs: int) -> AuditRun:
    """One run among several."""
    proven = found.proven
    if runs > 1:
        confidence = 1 - (1 - CONFIDENCE) / runs
        proven = one_run_lower_bound(
            found.scores, found.present, delta=found.claim.delta, confidence=confidence
        )
    return AuditRun(
        expected=found.expected,
        proven=proven,
        estimated=found.estimated if math.isfinite(found.estimated) else None,
        checks=tuple(_check(check) for check in found.checks),
        scores=tuple(float(score) for score in found.scores),
        present=tuple(bool(present) for present in found.present),
    )


def _check(check: Check) -> CheckPart:
    """One check."""
    found = check.found if math.isfinite(check.found) else None
    return CheckPart(name=check.name, found=found, low=check.low, high=check.high, holds=check.holds)


def _membership(risk: MembershipRisk, epsilon: float, delta: float) -> MembershipPart:
    """The attack, beside the most that epsilon leaves it."""
    return MembershipPart(
        auc=risk.auc,
        low=risk.low,
        high=risk.high,
        advantage=risk.advantage,
        allowed=largest_advantage(epsilon, delta),
        found_at_one_percent=risk.found_at_one_percent,
        members=risk.members,
        others=risk.others,
    )
