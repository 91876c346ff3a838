"""What the audit block of a finished study says: the gate on its release, and three epsilons side by side.

Source: PRIVACY.md section 7; `fedmed.privacy.conformance` for the checks, `fedmed.privacy.audit` for the
bound and the estimate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fedmed.errors import AuditFailed
from fedmed.privacy.audit import gaussian_epsilon, gaussian_estimate, one_run_lower_bound
from fedmed.privacy.canaries import BoolArray, Coins, owned
from fedmed.privacy.conformance import AuditBlock, Check, conformance
from fedmed.programs.contract import OpenedSum
from fedmed.types import FloatArray

FEWEST_OF_A_SIDE = 8
CONFIDENCE = 0.95
# Beyond this separation epsilon is in the hundreds and nothing is left to tell apart.
_WIDEST = 40.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the study claims.

    Attributes:
        epsilon: Of all attempts of the study, with the noise that is sure to be there.
        delta: Of the accounting.
        dropouts: Contributors that may be lost, hence whose coins may be missing.
    """

    epsilon: float
    delta: float
    dropouts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFindings:
    """What an audit block says.

    Attributes:
        claim: What the study claims.
        rounds: Opened sums that carried the block.
        nodes: Roster points whose canaries count: in every sum, coins shown.
        missing: Points in every sum that did not show their coins.
        checks: Of `fedmed.privacy.conformance.conformance`.
        expected: Epsilon at which the canaries must look if every contributor's noise is there; a claim
            reckons with less noise, so it is larger.
        proven: Epsilon that the release refutes with confidence `CONFIDENCE`.
        estimated: Epsilon of the Gaussian mechanism that separates the canaries so far; no confidence.
        scores: Shape (canaries,): all sums of a canary's coordinate together, in deviations of the noise.
        present: Shape (canaries,), bool: which canaries took part.
    """

    claim: Claim
    rounds: int
    nodes: tuple[int, ...]
    missing: tuple[int, ...]
    checks: tuple[Check, ...]
    expected: float
    proven: float
    estimated: float
    scores: FloatArray = field(repr=False)
    present: BoolArray = field(repr=False)

    @property
    def failed(self) -> tuple[Check, ...]:
        """Checks that do not hold."""
        return tuple(check for check in self.checks if not check.holds)


def audit_findings(
    opened: Sequence[OpenedSum], coins: Mapping[int, Coins], *, nodes: int, claim: Claim
) -> AuditFindings:
    """Look at the audit block of all opened sums.

    Args:
        opened: Sums of a finished study; those without a block are left out.
        coins: By roster point, as the nodes sealed and showed them.
        nodes: Nodes in the roster.
        claim: What the study claims.

    Raises:
        AuditFailed: fewer than 8 canaries took part, or fewer than 8 did not: nothing can be said.
    """
    audited = [one for one in opened if one.stage.canaries]
    contributors = sorted(set.intersection(*(set(one.contributors) for one in audited)))
    shown = {point: coins[point] for point in contributors if point in coins}
    block = _block(audited, shown, nodes=nodes)
    weights = 1.0 / block.noise**2
    scores = weights @ block.releases / math.sqrt(float(weights.sum()))
    return AuditFindings(
        claim=claim,
        rounds=len(audited),
        nodes=tuple(shown),
        missing=tuple(point for point in contributors if point not in coins),
        checks=conformance(block),
        expected=_epsilon_apart(math.sqrt(float(weights.sum())), claim.delta),
        proven=one_run_lower_bound(scores, block.present, delta=claim.delta, confidence=CONFIDENCE),
        estimated=gaussian_estimate(scores, block.present, delta=claim.delta),
        scores=scores,
        present=block.present,
    )


def require_conformance(findings: AuditFindings) -> AuditFindings:
    """The gate: what may be released passes it.

    Args:
        findings: Of the study that is to be released.

    Returns:
        The same findings.

    Guarantees:
        An honest study is stopped with a chance of at most 1e-6 a check.

    Raises:
        AuditFailed: a check does not hold, or coins of more contributors are missing than may drop out;
            names each check with its figure and bounds.
    """
    faults = [f"{c.name} is {c.found:.4g}, must be {c.low:.4g} to {c.high:.4g}" for c in findings.failed]
    if len(findings.missing) > findings.claim.dropouts:
        faults.append(
            f"{len(findings.missing)} contributors showed no coins, at most {findings.claim.dropouts} may"
        )
    if faults:
        raise AuditFailed(
            f"the audit block does not hold: {'; '.join(faults)}. No model is released: find which part "
            "clips or draws noise wrongly before the next study"
        )
    return findings


def _block(opened: Sequence[OpenedSum], coins: Mapping[int, Coins], *, nodes: int) -> AuditBlock:
    """Coordinates of the canaries of these nodes, in clip norms."""
    slices = [owned(opened[0].stage.canaries, point, nodes=nodes) for point in coins]
    rows = [np.concatenate([one.block[own] for own in slices]) / one.stage.clip_norm for one in opened]
    present = np.concatenate([one.present for one in coins.values()])
    sides = (int(present.sum()), int((~present).sum()))
    if min(sides) < FEWEST_OF_A_SIDE:
        raise AuditFailed(f"{sides[0]} canaries took part and {sides[1]} did not: each needs 8; add canaries")
    return AuditBlock(
        releases=np.stack(rows).astype(np.float64),
        present=present,
        noise=np.array([_noise_in_sum(one) for one in opened]),
    )


def _noise_in_sum(opened: OpenedSum) -> float:
    """Deviation of the noise of all contributors together, in clip norms."""
    layout = opened.stage.layout
    steps = layout.noise_scale * math.sqrt(len(opened.contributors))
    return steps * layout.grid / opened.stage.clip_norm


def _epsilon_apart(separation: float, delta: float) -> float:
    """Epsilon of a Gaussian separation, infinite beyond what can be told apart."""
    return math.inf if separation > _WIDEST else gaussian_epsilon(separation, delta)
