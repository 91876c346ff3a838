"""Composition beyond a plan on one node: persons at several nodes, and plans chosen from results.

dp_accounting is imported inside the functions, as in `fedmed.privacy.accounting`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from fedmed.privacy.accounting import DISCRETIZATION, check_events
from fedmed.types import PrivacyEvent, require


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


def filter_order(epsilon_target: float, delta: float) -> float:
    """Renyi order at which an adaptive plan of Gaussians is watched; fixed before the plan begins.

    Args:
        epsilon_target: Budget, > 0.
        delta: Chance of failure, in (0, 1).

    Returns:
        The order, of a fixed list, at which full-batch Gaussians fill the budget best.
    """
    check_events((), delta)
    require(epsilon_target > 0, f"epsilon must be > 0, got {epsilon_target}")
    orders = [1 + 1.05**k / 100 for k in range(250)]
    return max(orders, key=lambda order: _divergence_budget(epsilon_target, delta, order) / order)


def _divergence_budget(epsilon_target: float, delta: float, order: float) -> float:
    """Renyi divergence at ``order`` that still gives (epsilon_target, delta); may be negative.

    Source: Canonne, Kamath, Steinke 2020, arXiv:2004.00010, proposition 12.
    """
    return epsilon_target - math.log1p(-1 / order) + (math.log(delta) + math.log(order)) / (order - 1)


def filter_admits(
    spent: Sequence[PrivacyEvent],
    proposed: PrivacyEvent,
    *,
    epsilon_target: float,
    delta: float,
    order: float,
) -> bool:
    """Whether a release that was chosen after seeing earlier ones still fits a budget.

    Privacy-loss composition in `epsilon` needs a plan that is fixed in advance. Where noise, sampling or the
    stop depend on results, the sum of Renyi divergences at one order, fixed with the budget, is a filter.

    Args:
        spent: Releases so far, in any order.
        proposed: The next one.
        epsilon_target: Budget, > 0.
        delta: Chance of failure, in (0, 1).
        order: Renyi order, > 1, the same for the whole plan and chosen before it begins; `filter_order`
            suits full batches, sampled releases want a smaller one.

    Returns:
        Whether all of them together stay within (epsilon_target, delta); false is final for this release, a
        smaller one may still fit.

    Guarantees:
        Whatever rule chooses the events, those admitted one after the other satisfy
        (epsilon_target, delta)-DP.

    Raises:
        ConfigError: ``delta`` or ``order`` is outside its bounds.
        UnknownPrivacyEvent: an event is no `PrivacyEvent`.

    Source:
        Feldman and Zrnic 2021, arXiv:2008.11193, theorem 4.3.
    """
    events = [*spent, proposed]
    check_events(events, delta)
    require(order > 1, f"order must be > 1, got {order}")
    divergence = math.fsum(event.count * _divergence(event, order) for event in events)
    return divergence <= _divergence_budget(epsilon_target, delta, order)


def _divergence(event: PrivacyEvent, order: float) -> float:
    """Renyi divergence of one release at an order."""
    if event.sample_rate == 1:
        return order / (2 * event.noise_multiplier**2)
    from dp_accounting import dp_event, rdp

    accountant = rdp.RdpAccountant(orders=[order])
    gaussian = dp_event.GaussianDpEvent(event.noise_multiplier)
    accountant.compose(dp_event.PoissonSampledDpEvent(event.sample_rate, gaussian))
    return float(accountant._rdp[0])  # the accountant gives divergences out in no public way
