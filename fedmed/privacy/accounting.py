"""Epsilon and delta of a study: the one door to dp_accounting.

Adjacency is add or remove one person. Every figure here may err towards spending more and never the other
way. dp_accounting is imported inside the functions: it takes over a second, and the command line's start
must not pay for it.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from fedmed.errors import UnknownPrivacyEvent
from fedmed.types import PrivacyEvent, require

DISCRETIZATION = 1e-3  # width of a privacy-loss cell, PRIVACY.md section 2
_FINE_UP_TO = 25.0  # beyond this sum of count / sigma**2 (epsilon about 30) cells widen, to bound memory
_MEANINGFUL_UP_TO = 1e4  # beyond this sum epsilon is above 5,000
_SAMPLING_SHARE = 0.01  # share of delta that the sampler may use up
_WHOLE_ORDERS = [*range(2, 64), 64, 80, 96, 128, 192, 256, 512]
_DIGITS = 5  # significant digits of a calibrated multiplier
_SAMPLED_DIGITS = 4  # of one for sampled releases, where each trial takes 40 ms

_Merged = tuple[tuple[tuple[float, float], int], ...]  # ((noise multiplier, sample rate), count), sorted


def epsilon(events: Sequence[PrivacyEvent], delta: float) -> float:
    """Epsilon of all events together, by privacy-loss distributions.

    Args:
        events: Releases on the same persons, fixed in advance (not chosen from earlier results).
        delta: Chance of failure, in (0, 1).

    Returns:
        Epsilon >= 0; 0.0 without events. Losses are rounded up to multiples of 0.001, so it errs towards
        spending more: by less than 1e-6 of epsilon for 40 full-batch releases at epsilon 0.5 to 4.
        Infinity when it would exceed 5,000.

    Guarantees:
        More releases or less noise never give a smaller epsilon.

    Raises:
        ConfigError: ``delta`` is outside (0, 1).
        UnknownPrivacyEvent: an event is no `PrivacyEvent`.

    Source:
        Koskela, Jaelkoe, Honkela 2020, arXiv:1906.03049; pessimistic estimate of dp_accounting 0.6.
    """
    check_events(events, delta)
    size = sum(e.count * e.sample_rate / e.noise_multiplier**2 for e in events)
    if size > _MEANINGFUL_UP_TO:
        return math.inf
    return _by_distributions(_merged(events), delta, DISCRETIZATION * max(1.0, size / _FINE_UP_TO))


def epsilon_rdp(events: Sequence[PrivacyEvent], delta: float) -> float:
    """Epsilon of all events together, by Renyi differential privacy; printed beside `epsilon`.

    An independent route, 7 to 30 % above `epsilon` at usual settings. Arguments, result and errors are
    those of `epsilon`.

    Source:
        Mironov 2017, arXiv:1702.07476.
    """
    check_events(events, delta)
    from dp_accounting import rdp

    sampled = any(event.sample_rate < 1 for event in events)
    # Fractional orders of sampled Gaussians are series that need not converge; whole ones are finite sums.
    orders = _WHOLE_ORDERS if sampled else None
    return _spent(rdp.RdpAccountant(orders=orders), _merged(events), delta)


@functools.lru_cache(maxsize=64)
def noise_multiplier_for(
    epsilon_target: float, delta: float, count: int, *, beside: tuple[PrivacyEvent, ...] = ()
) -> float:
    """Least noise multiplier with which ``count`` full-batch releases spend at most ``epsilon_target``.

    Args:
        epsilon_target: In (0, 100].
        delta: Chance of failure, in (0, 1).
        count: Releases, >= 1.
        beside: Full-batch releases on the same persons that spend of the same target.

    Returns:
        A decimal number of five digits, rounded towards more noise. The few digits make custodians with
        different processors agree on it.

    Guarantees:
        ``epsilon([PrivacyEvent(noise_multiplier=result, count=count), *beside], delta) <= epsilon_target``.

    Raises:
        ConfigError: an argument is outside its bounds, or ``beside`` leaves nothing of the target.
    """
    require(0 < epsilon_target <= 100, f"epsilon must be in (0, 100], got {epsilon_target}")
    require(count >= 1, f"count must be >= 1, got {count}")

    least = math.sqrt(count) / _ratio_left(epsilon_target, delta, beside)
    exponent = math.floor(math.log10(least)) - (_DIGITS - 1)
    units = math.ceil(least * 10.0**-exponent)
    while True:
        result = float(f"{units}e{exponent}")
        mine = PrivacyEvent(noise_multiplier=result, count=count)
        if epsilon([mine, *beside], delta) <= epsilon_target:
            return result
        units += 1


@functools.lru_cache(maxsize=64)
def sampled_noise_multiplier_for(
    epsilon_target: float,
    delta: float,
    count: int,
    *,
    sample_rate: float,
    beside: tuple[PrivacyEvent, ...] = (),
) -> float:
    """Noise multiplier with which ``count`` releases on Poisson samples spend at most ``epsilon_target``.

    Args:
        epsilon_target: In (0, 100].
        delta: Chance of failure, in (0, 1).
        count: Releases, >= 1, each on a sample of its own.
        sample_rate: Chance that one person is in a sample, in (0, 1]; 1 is `noise_multiplier_for`.
        beside: As in `noise_multiplier_for`.

    Returns:
        A decimal number of four digits, less than 0.2 % above the least one that fits.

    Guarantees:
        ``epsilon([PrivacyEvent(noise_multiplier=result, sample_rate=sample_rate, count=count), *beside],
        delta) <= epsilon_target``.

    Raises:
        ConfigError: an argument is outside its bounds, or ``beside`` leaves nothing of the target.
    """
    if sample_rate == 1:
        return noise_multiplier_for(epsilon_target, delta, count, beside=beside)
    require(0 < epsilon_target <= 100, f"epsilon must be in (0, 100], got {epsilon_target}")
    require(count >= 1, f"count must be >= 1, got {count}")

    def excess(noise_multiplier: float) -> float:
        mine = PrivacyEvent(noise_multiplier=noise_multiplier, sample_rate=sample_rate, count=count)
        spent = epsilon([mine, *beside], delta)
        return math.log(max(spent, 1e-9) / epsilon_target)

    # The central limit of sampled Gaussians: off by less than a factor of two where it matters.
    guess = max(0.3, sample_rate * math.sqrt(count) / _ratio_left(epsilon_target, delta, beside))
    least = _first_that_fits(excess, guess)
    exponent = math.floor(math.log10(least)) - (_SAMPLED_DIGITS - 1)
    units = math.ceil(least * 10.0**-exponent)
    while excess(float(f"{units}e{exponent}")) > 0:
        units += 1
    return float(f"{units}e{exponent}")


def _first_that_fits(excess: Callable[[float], float], guess: float) -> float:
    """Least argument, within 0.02 %, at which a falling function is at most 0, by false position."""
    low = high = guess
    while excess(high) > 0:
        low, high = high, 1.5 * high
    while excess(low) <= 0:
        low, high = low / 1.5, low
    above, below = excess(low), excess(high)
    while high > low * (1 + 2e-4):
        share = min(0.9, max(0.1, above / (above - below))) if math.isfinite(above) else 0.5
        middle = low * (high / low) ** share
        found = excess(middle)
        # Halving the end that stays (Illinois) keeps both ends moving.
        if found > 0:
            low, above, below = middle, found, below / 2
        else:
            high, below, above = middle, found, above / 2
    return high


def _ratio_left(epsilon_target: float, delta: float, beside: tuple[PrivacyEvent, ...]) -> float:
    """Largest sensitivity / sd of one Gaussian beside others: squares of full-batch ratios add up."""
    whole = _largest_ratio(epsilon_target, delta)
    if not beside:
        return whole
    require(all(event.sample_rate == 1 for event in beside), "only full-batch releases can stand beside")
    left = whole**2 - math.fsum(event.count / event.noise_multiplier**2 for event in beside)
    require(left > 0, f"the other releases spend all of epsilon {epsilon_target}: lower theirs")
    return math.sqrt(left)


@functools.lru_cache(maxsize=64)
def _largest_ratio(epsilon_target: float, delta: float) -> float:
    """Largest sensitivity / sd of one Gaussian that fits, less at most 2**-20 of itself."""

    def fits(ratio: float) -> bool:
        return epsilon([PrivacyEvent(noise_multiplier=1 / ratio)], delta) <= epsilon_target

    low = 1.0
    while not fits(low):
        low /= 2
    while fits(2 * low):
        low *= 2
    step = low
    for _ in range(20):
        step /= 2
        if fits(low + step):
            low += step
    return low


def fallback_noise_multiplier(noise_multiplier: float, honest_contributors: int) -> float:
    """Noise multiplier that protects a node when every other node colludes: its own share alone.

    Args:
        noise_multiplier: Of the claim.
        honest_contributors: Contributors whose noise the claim counts on (planned less dropouts less
            colluders), >= 1; each adds 1 / honest_contributors of the variance.

    Returns:
        noise_multiplier / sqrt(honest_contributors).
    """
    require(honest_contributors >= 1, f"honest_contributors must be >= 1, got {honest_contributors}")
    return noise_multiplier / math.sqrt(honest_contributors)


def fallback_epsilon(events: Sequence[PrivacyEvent], delta: float, *, honest_contributors: int) -> float:
    """Epsilon of the same events when every other node colludes; errors are those of `epsilon`.

    Args:
        events: Events of the claim.
        delta: Chance of failure, in (0, 1).
        honest_contributors: As in `fallback_noise_multiplier`.
    """
    check_events(events, delta)
    alone = [
        PrivacyEvent(
            noise_multiplier=fallback_noise_multiplier(e.noise_multiplier, honest_contributors),
            sample_rate=e.sample_rate,
            count=e.count,
        )
        for e in events
    ]
    return epsilon(alone, delta)


def delta_for(persons: int) -> float:
    """Default delta for ``persons`` protected persons, a public number: min(1e-5, 1 / (10 persons))."""
    require(persons >= 1, f"persons must be >= 1, got {persons}")
    return min(1e-5, 1.0 / (10 * persons))


def sampling_delta(epsilon: float, delta: float, *, variation_per_draw: float, draws: int) -> float:
    """Delta that inexact noise costs: (1 + e**epsilon) times the total variation of all draws.

    Args:
        epsilon: Epsilon that the study claims.
        delta: Delta that the study claims.
        variation_per_draw: `DiscreteGaussian.total_variation_per_draw`.
        draws: Draws of all nodes in all releases.

    Returns:
        The extra delta, below 1 % of ``delta``.

    Raises:
        ConfigError: the extra delta is 1 % of ``delta`` or more.
    """
    _check_delta(delta)
    extra = (1 + math.exp(min(epsilon, 700.0))) * variation_per_draw * draws
    require(
        extra < _SAMPLING_SHARE * delta,
        f"the sampler's extra delta {extra:.2g} must stay below 1 % of delta {delta:.2g}: "
        "lower epsilon or the number of values, or raise delta",
    )
    return extra


def check_events(events: Sequence[PrivacyEvent], delta: float) -> None:
    """Refuse what the accounting does not know; a subclass could mean something else."""
    _check_delta(delta)
    for event in events:
        if type(event) is not PrivacyEvent:
            raise UnknownPrivacyEvent(f"events must be PrivacyEvent, got {type(event).__name__}")


def _check_delta(delta: float) -> None:
    """Refuse a delta that is no probability of failure."""
    require(0 < delta < 1, f"delta must be in (0, 1), got {delta}")


def _merged(events: Sequence[PrivacyEvent]) -> _Merged:
    """Count releases by (noise multiplier, sample rate), with all full-batch ones as a single Gaussian.

    Gaussians compose exactly to the Gaussian whose 1 / sigma**2 is the sum of theirs (Dong, Roth, Su 2022,
    arXiv:1905.02383, corollary 3.3): a long ledger costs no more than a short one.
    """
    merged: Counter[tuple[float, float]] = Counter()
    for event in events:
        if event.sample_rate < 1:
            merged[event.noise_multiplier, event.sample_rate] += event.count
    full = math.fsum(e.count / e.noise_multiplier**2 for e in events if e.sample_rate == 1)
    if full > 0:
        merged[1 / math.sqrt(full), 1.0] = 1
    return tuple(sorted(merged.items()))


@functools.lru_cache(maxsize=256)
def _by_distributions(merged: _Merged, delta: float, interval: float) -> float:
    """Epsilon by privacy-loss distributions; kept, since planning, approval and budget ask for the same."""
    from dp_accounting import pld

    return _spent(pld.PLDAccountant(value_discretization_interval=interval), merged, delta)


# Any: dp_accounting carries no type information.
def _spent(accountant: Any, merged: _Merged, delta: float) -> float:
    """Compose the releases in a fresh accountant and read epsilon."""
    import dp_accounting

    for (noise_multiplier, sample_rate), count in merged:
        event = dp_accounting.GaussianDpEvent(noise_multiplier)
        if sample_rate < 1:
            event = dp_accounting.PoissonSampledDpEvent(sample_rate, event)
        accountant.compose(event, count)
    return max(0.0, float(accountant.get_epsilon(delta)))
