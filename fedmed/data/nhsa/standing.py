"""How a province stands: its scores against a gate, and its codes against the federation's."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from fedmed.data.nhsa.results import QualityReport
from fedmed.types import FloatArray, require


def published_scores(report: QualityReport) -> dict[str, float]:
    """Scores as a province may publish them.

    Returns:
        Dimension -> score with three digits after the point, rounded down; what was not checked is absent.
    """
    known = {d.value: score for d, score in report.scores.items() if score is not None}
    return {name: math.floor(score * 1000 + 1e-9) / 1000 for name, score in known.items()}


def quality_refusal(scores: Mapping[str, float], gate: float | None) -> str:
    """Say why scores do not reach a gate.

    Args:
        scores: Dimension -> score, as registered; they are public, so a refusal tells nothing new.
        gate: Least score, in [0, 1]; None = any, and none is needed.

    Returns:
        One sentence with cause, bound and remedy, which begins with the policy's rule; empty where every
        score reaches the gate.

    Guarantees:
        With a gate it is empty only if there is at least one score and none is below the gate.
    """
    if gate is None:
        return ""
    if not scores:
        cause = f"quality_gate: no scores are registered, {gate:g} is needed"
        return f"{cause}; name the insurance tables as claims in node.toml and register again"
    low = [f"{name} {score:g}" for name, score in sorted(scores.items()) if not score >= gate]
    if not low:
        return ""
    cause = f"quality_gate: {', '.join(low)} below the gate {gate:g}"
    return f"{cause}; run fedmed data check on the claims, mend them and register again"


def comparability(own: FloatArray, federation: FloatArray) -> float:
    """Compare a province's code frequencies with the federation's.

    Args:
        own: Shape (codes,): counts or sums, >= 0; noisy ones below 0 count as 0.
        federation: Shape (codes,): the same over all provinces, from a secure sum.

    Returns:
        One minus the Jensen-Shannon divergence in bits: 1 for equal frequencies, 0 for disjoint codes.

    Raises:
        ConfigError: shapes differ, or one of the two has no positive count.

    Source:
        Lin 1991, Divergence measures based on the Shannon entropy, IEEE Transactions on Information Theory
        37(1), equation (3.1) with equal weights.
    """
    require(own.shape == federation.shape, f"histograms must agree, got {own.shape} and {federation.shape}")
    mine, theirs = _frequencies(own), _frequencies(federation)
    middle = (mine + theirs) / 2
    divergence = (_bits(mine, middle) + _bits(theirs, middle)) / 2
    return float(min(1.0, max(0.0, 1.0 - divergence)))


def _frequencies(counts: FloatArray) -> FloatArray:
    """Counts as shares; what noise made negative is none."""
    kept = np.maximum(counts.astype(np.float64), 0.0)
    total = float(kept.sum())
    require(total > 0, "a histogram must have a positive count")
    return kept / total


def _bits(shares: FloatArray, other: FloatArray) -> float:
    """Kullback-Leibler divergence in bits; 0 log 0 is 0."""
    there = shares > 0
    return float(np.sum(shares[there] * np.log2(shares[there] / other[there])))
