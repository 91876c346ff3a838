"""What an audit proves about epsilon from canaries whose presence a sealed coin decided.

An audit can only ever bound epsilon from below: a small bound proves nothing, a bound above the claim proves
that the claim is false. The claim itself stands on the accounting.

Source:
    Steinke, Nasr, Jagielski 2023, Privacy Auditing with One (1) Training Run, theorem 5.2 and appendix D;
    Dong, Roth, Su 2022, arXiv:1905.02383, section 2.3 (epsilon of a Gaussian separation).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import binom, norm

from fedmed.types import FloatArray, require

BoolArray = npt.NDArray[np.bool_]

# Shares of the canaries that are guessed, the surest first; the confidence is split over them.
_GUESSED = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 1.0)
_FEWEST_GUESSES = 8
_LARGEST_EPSILON = 60.0


def one_run_lower_bound(
    scores: FloatArray, present: BoolArray, *, delta: float, confidence: float = 0.95
) -> float:
    """Epsilon that the release refutes: with this confidence the mechanism is not (epsilon, delta)-DP below.

    Args:
        scores: Shape (canaries,), larger where the release looks as if the canary were present.
        present: Shape (canaries,), bool: the sealed coins, fair and independent.
        delta: Delta of the claim, in (0, 1).
        confidence: Chance that the bound holds, in (0, 1).

    Returns:
        A bound >= 0. For m canaries it cannot exceed about log(m / log(1 / (1 - confidence))), however
        broken the mechanism: 4.7 for 1,000 canaries.

    Guarantees:
        For an (epsilon, delta)-DP mechanism the result exceeds epsilon with a chance of at most
        1 - confidence.

    Raises:
        ConfigError: shapes differ, there are fewer than 8 canaries, or an argument is out of range.
    """
    _check(scores, present, delta)
    require(0 < confidence < 1, f"confidence must be in (0, 1), got {confidence}")
    canaries = len(scores)
    order = np.argsort(-scores, kind="stable")
    levels = sorted({max(_FEWEST_GUESSES, int(canaries * share)) for share in _GUESSED})
    refuse_at = (1 - confidence) / len(levels)
    best = 0.0
    for guesses in levels:
        half = guesses // 2
        right = int(present[order[:half]].sum() + (~present[order[canaries - half :]]).sum())

        def surprise(epsilon: float, right: int = right, guesses: int = 2 * half) -> float:
            return _p_value(epsilon, delta, canaries=canaries, guesses=guesses, right=right) - refuse_at

        if surprise(0.0) >= 0:
            continue
        if surprise(_LARGEST_EPSILON) < 0:
            best = _LARGEST_EPSILON
        else:
            best = max(best, float(brentq(surprise, 0.0, _LARGEST_EPSILON, xtol=1e-6)) - 1e-6)
    return best


def _p_value(epsilon: float, delta: float, *, canaries: int, guesses: int, right: int) -> float:
    """Largest chance of so many right guesses under (epsilon, delta)-DP."""
    chance = 1.0 / (1.0 + math.exp(-epsilon))
    beta = float(binom.sf(right - 1, guesses, chance))
    if right == 0:
        return 1.0
    below = np.cumsum(binom.pmf(np.arange(right - 1, -1, -1), guesses, chance))
    alpha = float(np.max(below / np.arange(1, right + 1)))
    return min(1.0, beta + alpha * delta * 2 * canaries)


def gaussian_estimate(scores: FloatArray, present: BoolArray, *, delta: float) -> float:
    """Epsilon of the Gaussian mechanism that would separate the scores as far as they are.

    A point estimate without confidence, only for a Gaussian mechanism; it sees a missing noise share that
    the proven bound cannot.

    Args:
        scores: Shape (canaries,).
        present: Shape (canaries,), bool; both values must occur.
        delta: Delta of the claim.

    Returns:
        Epsilon >= 0; infinity when the scores do not overlap beyond float range.

    Raises:
        ConfigError: as `one_run_lower_bound`, or one side is empty.
    """
    _check(scores, present, delta)
    require(0 < int(present.sum()) < len(present), "canaries must be present and absent")
    inside, outside = scores[present], scores[~present]
    spread = float(outside.std(ddof=1)) if len(outside) > 1 else 0.0
    distance = float(inside.mean() - outside.mean())
    if distance <= 0:
        return 0.0
    # A separation of 40 is an epsilon above 900: beyond it nothing is left to tell apart.
    if spread == 0 or distance / spread > 40:
        return math.inf
    return gaussian_epsilon(distance / spread, delta)


def gaussian_epsilon(separation: float, delta: float) -> float:
    """Epsilon at ``delta`` of one Gaussian release whose means lie ``separation`` deviations apart.

    Args:
        separation: In (0, 40].
        delta: In (0, 1).
    """
    require(0 < separation <= 40, f"separation must be in (0, 40], got {separation}")

    def excess(epsilon: float) -> float:
        first = norm.cdf(separation / 2 - epsilon / separation)
        second = math.exp(epsilon + norm.logcdf(-separation / 2 - epsilon / separation))
        return float(first - second - delta)

    if excess(0.0) <= 0:
        return 0.0
    top = separation**2 / 2 + separation * (8 + math.sqrt(2 * math.log(1 / delta)))
    return float(brentq(excess, 0.0, top, xtol=1e-9))


def _check(scores: FloatArray, present: BoolArray, delta: float) -> None:
    """Shapes and delta."""
    require(scores.shape == present.shape and scores.ndim == 1, "one score and one coin a canary")
    require(len(scores) >= _FEWEST_GUESSES, f"at least {_FEWEST_GUESSES} canaries, got {len(scores)}")
    require(bool(np.all(np.isfinite(scores))), "scores must be finite")
    require(0 < delta < 1, f"delta must be in (0, 1), got {delta}")
