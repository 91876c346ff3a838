"""Composition beyond a plan on one node: persons at several nodes, and plans chosen from results.

dp_accounting is imported inside the functions, as in `fedmed.privacy.accounting`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Final

from fedmed.privacy.accounting import DISCRETIZATION, check_events, epsilon
from fedmed.types import PrivacyEvent, require

_ORDER_DELTA: Final = 1e-6


def home_epsilon(events: Sequence[PrivacyEvent], delta: float, *, homes: int, clip_is_divided: bool) -> float:
    """Epsilon of a person whose rows lie at several nodes, under noise that the nodes share.

    Args:
        events: Releases of sums over all nodes; with ``sample_rate`` < 1 every node draws its batch apart.
        delta: Chance of failure, in (0, 1).
        homes: Nodes that hold rows of the person, >= 1.
        clip_is_divided: Whether each node clips to C / homes, so that the person still moves a sum by at
            most C; otherwise each clips to C.

    Returns:
        Epsilon; that of `epsilon` for one home, or for full batches with divided clips. For noise of the
        nodes' own (mode ``local``) compose ``homes`` times as many events with `epsilon` instead.

    Raises:
        ConfigError: ``homes`` < 1 or ``delta`` outside (0, 1).
        UnknownPrivacyEvent: an event is no `PrivacyEvent`.

    Source:
        PRIVACY.md section 3; mixtures of Gaussians after dp_accounting 0.6: the person is in j of the
        batches with binomial chance and moves the sum by j shares of C.
    """
    check_events(events, delta)
    require(homes >= 1, f"homes must be >= 1, got {homes}")
    from dp_accounting import dp_event, pld
    from scipy.stats import binom

    share = 1 / homes if clip_is_divided else 1.0
    accountant = pld.PLDAccountant(value_discretization_interval=DISCRETIZATION)
    for event in events:
        sigma, rate = event.noise_multiplier, event.sample_rate
        if rate == 1:
            accountant.compose(dp_event.GaussianDpEvent(sigma / (homes * share)), event.count)
        else:
            moves = [j * share for j in range(homes + 1)]
            chances = [float(binom.pmf(j, homes, rate)) for j in range(homes + 1)]
            accountant.compose(dp_event.MixtureOfGaussiansDpEvent(sigma, moves, chances), event.count)
    return max(0.0, float(accountant.get_epsilon(delta)))


def year_epsilon(events: Sequence[PrivacyEvent], delta: float, *, cap: float, studies: int) -> float:
    """What studies hold of a year's cap when each was chosen after the results of those before it.

    Args:
        events: Releases of all of them on the same persons, planned or made.
        delta: Chance of failure, in (0, 1).
        cap: Epsilon that the year may cost, > 0.
        studies: Studies that the events belong to.

    Returns:
        It fits while the number is at most ``cap``. `epsilon` where all batches are full, and for one study,
        whose plan is fixed before its first release; otherwise the larger of that and the share of a Renyi
        filter that is used up, times ``cap``.

    Guarantees:
        Whatever rule chooses them, full-batch studies that fit one after the other satisfy (cap, delta)-DP:
        they compose to one Gaussian, and a bound on the sum of 1 / sigma**2 is a filter. With sampled ones
        among them two rules are in use, and results may choose which binds: (cap, 2 delta)-DP.

    Raises:
        ConfigError: ``delta`` or ``cap`` is outside its bounds.
        UnknownPrivacyEvent: an event is no `PrivacyEvent`.

    Source:
        Smith and Thakurta 2022, arXiv:2210.17520 (Gaussian filter); `filter_share`.
    """
    spent = epsilon(events, delta)
    if studies <= 1 or all(event.sample_rate == 1 for event in events):
        return spent
    return max(spent, cap * filter_share(events, delta, budget=cap))


def filter_share(events: Sequence[PrivacyEvent], delta: float, *, budget: float) -> float:
    """Share of a budget that releases use up which were chosen after seeing earlier ones.

    Privacy-loss composition in `epsilon` needs a plan that is fixed in advance. Where noise, sampling or the
    stop depend on results, the sum of Renyi divergences at one order, fixed with the budget, is a filter.

    Args:
        events: Releases, in any order.
        delta: Chance of failure, in (0, 1).
        budget: Epsilon, > 0.

    Returns:
        Share >= 0; infinity where the budget is too small for any release at its order.

    Guarantees:
        Whatever rule chooses the events, those admitted one after the other while the share is at most 1
        satisfy (budget, delta)-DP.

    Raises:
        ConfigError: ``delta`` or ``budget`` is outside its bounds.
        UnknownPrivacyEvent: an event is no `PrivacyEvent`.

    Source:
        Feldman and Zrnic 2021, arXiv:2008.11193, theorem 4.3.
    """
    check_events(events, delta)
    order = filter_order(budget)
    whole = _divergence_budget(budget, delta, order)
    divergence = math.fsum(event.count * _divergence(event, order) for event in events)
    return divergence / whole if whole > 0 else math.inf


@functools.lru_cache(maxsize=64)
def filter_order(budget: float) -> int:
    """Renyi order at which releases are watched: of the budget alone, so that no result can move it.

    Args:
        budget: Epsilon, > 0.

    Returns:
        The whole order, at least 2, at which full-batch Gaussians fill the budget best at delta 1e-6.

    Raises:
        ConfigError: ``budget`` is not above 0.
    """
    require(budget > 0, f"epsilon must be > 0, got {budget}")
    # Of a sampled Gaussian the divergence is a finite sum at whole orders only.
    return max(range(2, 513), key=lambda order: _divergence_budget(budget, _ORDER_DELTA, order) / order)


def _divergence_budget(epsilon_target: float, delta: float, order: int) -> float:
    """Renyi divergence at ``order`` that still gives (epsilon_target, delta); may be negative.

    Source: Canonne, Kamath, Steinke 2020, arXiv:2004.00010, proposition 12.
    """
    return epsilon_target - math.log1p(-1 / order) + (math.log(delta) + math.log(order)) / (order - 1)


@functools.lru_cache(maxsize=256)
def _divergence(event: PrivacyEvent, order: int) -> float:
    """Renyi divergence of one release at an order."""
    if event.sample_rate == 1:
        return order / (2 * event.noise_multiplier**2)
    from dp_accounting import dp_event, rdp

    accountant = rdp.RdpAccountant(orders=[order])
    gaussian = dp_event.GaussianDpEvent(event.noise_multiplier)
    accountant.compose(dp_event.PoissonSampledDpEvent(event.sample_rate, gaussian))
    return float(accountant._rdp[0])  # the accountant gives divergences out in no public way
