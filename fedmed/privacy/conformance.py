"""Hard checks of a release on its audit block: is the noise there, is it fresh, is a person bounded?

The block holds canaries and noise only, so its coordinates say directly what a model's coordinates hide. Each
check raises a false alarm with a chance of at most `FALSE_ALARM`, so two hundred honest runs raise none.

Source:
    PRIVACY.md section 7; chi-square interval of a normal variance, Fisher's z for a correlation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2, norm

from fedmed.types import FloatArray, require

FALSE_ALARM = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditBlock:
    """What the coordinator saw in the block, with the coins that were sealed until then.

    Attributes:
        releases: Shape (rounds, canaries), the opened block, in clip norms.
        present: Shape (canaries,), bool: which canaries took part.
        noise: Shape (rounds,), claimed standard deviation of the noise in each round's sum, in clip norms.
    """

    releases: FloatArray
    present: npt.NDArray[np.bool_]
    noise: FloatArray

    def __post_init__(self) -> None:
        rounds, canaries = self.releases.shape
        require(self.present.shape == (canaries,), f"present must have {canaries} values")
        require(self.noise.shape == (rounds,) and bool(np.all(self.noise > 0)), "noise: one positive a round")
        sides = (int(self.present.sum()), int((~self.present).sum()))
        require(min(sides) >= 8, f"at least 8 canaries present and 8 absent, got {sides}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check.

    Attributes:
        name: What was looked at.
        found: The figure.
        low: Least figure that passes.
        high: Largest figure that passes.
    """

    name: str
    found: float
    low: float
    high: float

    @property
    def holds(self) -> bool:
        """Whether the figure lies inside its bounds; one that is no number does not."""
        return bool(self.low <= self.found <= self.high)


def conformance(block: AuditBlock) -> tuple[Check, ...]:
    """All checks of a block; a release whose checks do not all hold must not be published.

    Returns:
        ``noise_scale`` (deviation of absent canaries over the claim), ``noise_scale_of_rounds`` (the least
        over single rounds), ``freshness`` (correlation of successive rounds), ``freshness_overall`` (spread
        of the rounds' sum over the claim: noise that returns adds up), ``canary_size`` (mean of present
        canaries in clip norms). With one round there is no freshness to look at.
    """
    standard = block.releases[:, ~block.present] / block.noise[:, None]
    rounds, absent = standard.shape
    checks = [
        _spread("noise_scale", float(np.mean(standard**2)), rounds * absent),
        _least_round(standard),
        _canary_size(block, standard),
    ]
    if rounds > 1:
        checks += [_freshness(standard), _summed(standard)]
    return tuple(checks)


def _spread(name: str, mean_square: float, values: int, *, chances: int = 1) -> Check:
    """Root mean square of standardised noise against its chi-square interval."""
    low, high = (
        float(np.sqrt(chi2.ppf(p, values) / values))
        for p in (FALSE_ALARM / 2 / chances, 1 - FALSE_ALARM / 2 / chances)
    )
    return Check(name=name, found=float(np.sqrt(mean_square)), low=low, high=high)


def _least_round(standard: FloatArray) -> Check:
    """The quietest round: noise that is missing once is missing."""
    rounds, absent = standard.shape
    least = float(np.mean(standard**2, axis=1).min())
    bounds = _spread("noise_scale_of_rounds", least, absent, chances=rounds)
    return Check(name=bounds.name, found=bounds.found, low=bounds.low, high=bounds.high)


def _freshness(standard: FloatArray) -> Check:
    """Correlation of each round with the one before."""
    first, second = standard[:-1].ravel(), standard[1:].ravel()
    scale = float(np.sqrt(np.mean(first**2) * np.mean(second**2)))
    found = float(np.mean(first * second) / scale) if scale > 0 else float("nan")
    limit = float(np.tanh(norm.ppf(1 - FALSE_ALARM / 2) / np.sqrt(max(len(first) - 3, 1))))
    return Check(name="freshness", found=found, low=-limit, high=limit)


def _summed(standard: FloatArray) -> Check:
    """Spread of the sum over rounds, over its claim: independent rounds add variances."""
    rounds, absent = standard.shape
    return _spread("freshness_overall", float(np.mean(standard.sum(axis=0) ** 2)) / rounds, absent)


def _canary_size(block: AuditBlock, standard: FloatArray) -> Check:
    """Mean of present canaries less that of absent ones: a person adds at most one clip norm.

    The lower bound says that canaries took part at all: a block that nobody filled proves nothing.
    """
    weights = 1.0 / block.noise**2
    means = block.releases[:, block.present].mean(axis=1) - block.releases[:, ~block.present].mean(axis=1)
    found = float(weights @ means / weights.sum())
    counts = (int(block.present.sum()), standard.shape[1])
    error = float(np.sqrt((1 / counts[0] + 1 / counts[1]) / weights.sum()))
    slack = float(norm.ppf(1 - FALSE_ALARM / 2)) * error
    return Check(name="canary_size", found=found, low=1 - slack - 1e-3, high=1 + slack + 1e-3)
