"""The audit of a released study, worked out again: seals, coins, and what the audit block says."""

from __future__ import annotations

from collections.abc import Sequence

from fedmed.phase_record import spent
from fedmed.programs.audited import AuditFindings, Claim, audit_findings, require_conformance
from fedmed.programs.contract import OpenedSum, decoded
from fedmed.protocol.schedule import Schedule
from fedmed.protocol.sealed_coins import read_coins, read_seals
from fedmed.protocol.steps import Replies, Reply
from fedmed.release.exchange import Exchange
from fedmed.release.rounds import Rounds
from fedmed.types import WordArray


def follow_audit(
    rounds: Rounds, sums: Sequence[WordArray], *, schedule: Schedule, proposal: Exchange, end: Exchange
) -> AuditFindings:
    """Check the gate that the release had to pass.

    Args:
        rounds: All rounds, followed.
        sums: Opened fields of each aggregation.
        schedule: The study worked out.
        proposal: The phase in which the seals came.
        end: The phase in which the coins came.

    Returns:
        What the audit block says.

    Raises:
        AuditFailed: a seal, coins or a check does not hold.
        IntegrityError, ProtocolError: a message does not hold.
    """
    terms = rounds.terms
    roster, digest = terms.roster, terms.study_digest
    seals = read_seals(roster, _replies(proposal), study_digest=digest)
    coins = read_coins(roster, _replies(end), study_digest=digest, seals=seals, canaries=terms.canaries)
    opened = []
    for number, (attempt, fields) in enumerate(zip(rounds.opened, sums, strict=True), start=1):
        stage, contributors = terms.stage(number), attempt.contributors
        values = decoded(fields, stage, contributors=len(contributors))
        opened.append(OpenedSum(stage=stage, round_number=number, values=values, contributors=contributors))
    claim = Claim(
        epsilon=spent(schedule, len(rounds.attempts)),
        delta=schedule.accounted_delta,
        dropouts=schedule.allowance.dropouts,
    )
    findings = audit_findings(opened, coins, nodes=len(roster.members), claim=claim)
    return require_conformance(findings)


def _replies(exchange: Exchange) -> Replies:
    """What was answered, as far as the release shows it."""
    return {
        point: Reply(code=said.code, parts=tuple(part.kept for part in said.parts))
        for point, said in exchange.answered.items()
    }
