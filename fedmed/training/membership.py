"""How well losses tell who trained a model: a black-box membership attack, as a risk figure.

An attacker who has the model and a person's rows guesses that the person trained it when the loss is small.
That such an attack fails proves nothing about others; that it succeeds is a warning. The guarantee is
epsilon, never this figure.

Source:
    Yeom, Giacomelli, Fredrikson, Jha 2018, arXiv:1709.01604 (threshold on the loss); DeLong, DeLong,
    Clarke-Pearson 1988 (standard error of an area under a curve).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from fedmed.types import FloatArray, IntArray, require

_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipRisk:
    """What the attack achieves.

    Attributes:
        auc: Chance that a person who trained has a smaller loss than one who did not; 0.5 = no better than
            a coin.
        low: Lower end of the 95 % interval of ``auc``.
        high: Upper end.
        advantage: Largest share of members found less share of others accused, over all thresholds.
        found_at_one_percent: Share of members found where one other in a hundred is accused.
        members: Persons who trained.
        others: Persons who did not.
    """

    auc: float
    low: float
    high: float
    advantage: float
    found_at_one_percent: float
    members: int
    others: int


def person_losses(probabilities: FloatArray, labels: FloatArray, person_starts: IntArray) -> FloatArray:
    """Mean logistic loss of each person's rows.

    Args:
        probabilities: Shape (rows,), of the outcome.
        labels: Shape (rows,), 0 or 1.
        person_starts: Shape (persons + 1,): rows of person p are ``person_starts[p]:person_starts[p + 1]``.

    Returns:
        Shape (persons,), finite: probabilities are kept 1e-12 away from 0 and 1.
    """
    right = np.clip(np.where(labels > 0.5, probabilities, 1.0 - probabilities), 1e-12, 1.0)
    return np.add.reduceat(-np.log(right), person_starts[:-1]) / np.diff(person_starts)


def membership_risk(members: FloatArray, others: FloatArray) -> MembershipRisk:
    """Attack with a threshold on the loss.

    Args:
        members: Shape (persons who trained,), their losses; at least two.
        others: Shape (persons who did not,), theirs; at least two.

    Returns:
        What the best thresholds achieve; thresholds are chosen on these very persons, so it errs towards
        a larger risk.

    Raises:
        ConfigError: fewer than two persons on a side, or a loss is not finite.
    """
    counts = (len(members), len(others))
    require(min(counts) >= 2, f"the attack needs two persons on each side, got {counts}")
    losses = np.concatenate([members, others])
    require(bool(np.all(np.isfinite(losses))), "losses must be finite")
    auc, error = _area(members, others)
    thresholds = np.unique(losses)
    found = np.searchsorted(np.sort(members), thresholds, side="right") / counts[0]
    accused = np.searchsorted(np.sort(others), thresholds, side="right") / counts[1]
    few = accused <= 0.01
    return MembershipRisk(
        auc=auc,
        low=max(0.0, auc - _NORMAL_95 * error),
        high=min(1.0, auc + _NORMAL_95 * error),
        advantage=max(0.0, float(np.max(found - accused))),
        found_at_one_percent=float(found[few].max(initial=0.0)),
        members=counts[0],
        others=counts[1],
    )


def largest_advantage(epsilon: float, delta: float) -> float:
    """The most advantage that (epsilon, delta)-DP leaves any attack on one person.

    Args:
        epsilon: >= 0.
        delta: In [0, 1).

    Returns:
        (e^epsilon - 1 + 2 delta) / (e^epsilon + 1), at most 1.

    Source:
        Humphries et al. 2023, arXiv:2010.12112, theorem 3.1; written with tanh so that no epsilon overflows.
    """
    return min(1.0, math.tanh(epsilon / 2) + 2 * delta / (1 + math.exp(min(epsilon, 700.0))))


def _area(members: FloatArray, others: FloatArray) -> tuple[float, float]:
    """Area under the attack's curve and its standard error, from placements (ties count half)."""
    m, n = len(members), len(others)
    together = rankdata(np.concatenate([members, others]))
    # Share of the others with a larger loss, for each member; of the members with a smaller, for each other.
    above = 1 - (together[:m] - rankdata(members)) / n
    below = (together[m:] - rankdata(others)) / m
    error = math.sqrt(float(above.var(ddof=1)) / m + float(below.var(ddof=1)) / n)
    return float(above.mean()), error
