"""Directly standardised rates: what the rate would be in a standard population.

Source:
    Fay and Feuer 1997, Statistics in Medicine 16, 791-801 (gamma interval of a weighted sum of Poisson
    counts; with one stratum it is the exact Poisson interval of Garwood 1936).
"""

from __future__ import annotations

import numpy as np
from scipy.stats import chi2

from fedmed.analytics.statistics.estimates import LEVEL, Estimates, Z
from fedmed.types import FloatArray, require


def standardised_rate(events: FloatArray, rows: FloatArray, standard: FloatArray) -> Estimates:
    """Rates of several groups, from exact counts.

    Args:
        events: Shape (groups, strata): events.
        rows: Shape (groups, strata): persons, or years of them.
        standard: Shape (strata,): standard population, >= 0, not all zero.

    Returns:
        Rate, standard error and 95 % interval that take the events as Poisson counts, the persons as given.
        NaN for a group that lacks persons in a stratum of the standard population.
    """
    share = _shares(standard)
    told = np.all((rows > 0) | (share == 0), axis=1)
    weight = share / np.where(rows > 0, rows, 1.0)
    value, spread = np.sum(weight * events, axis=1), np.sum(weight**2 * events, axis=1)
    most = weight.max(axis=1)
    tail = (1 - LEVEL) / 2
    some = spread > 0
    safe, rate = np.where(some, spread, 1.0), np.where(some, value, 1.0)
    low = np.where(some, safe / (2 * rate) * chi2.ppf(tail, 2 * rate**2 / safe), 0.0)
    above, wide = value + most, spread + most**2
    high = wide / (2 * above) * chi2.ppf(1 - tail, 2 * above**2 / wide)
    found = (value, np.sqrt(spread), low, high)
    value, error, low, high = (np.where(told, each, np.nan) for each in found)
    return Estimates(value=value, std_error=error, low=low, high=high)


def noisy_standardised_rate(
    events: FloatArray, rows: FloatArray, standard: FloatArray, *, noise: tuple[float, float]
) -> Estimates:
    """Rates of several groups, from counts with noise.

    Args:
        events: Shape (groups, strata).
        rows: Shape (groups, strata).
        standard: Shape (strata,).
        noise: Standard deviations of the noise in events and in rows.

    Returns:
        Normal intervals whose variance is that of Poisson counts plus that of the noise (delta method). NaN
        where the noise drowns the persons of a stratum that counts.
    """
    share = _shares(standard)
    told = np.all((rows > Z * noise[1]) | (share == 0), axis=1)
    safe = np.where(rows > 0, rows, 1.0)
    rates, weight = events / safe, share / safe
    value = np.sum(weight * events, axis=1)
    own = weight**2 * (np.maximum(events, 0.0) + noise[0] ** 2 + (rates * noise[1]) ** 2)
    error = np.sqrt(np.sum(own, axis=1))
    found = (value, error, np.maximum(value - Z * error, 0.0), value + Z * error)
    value, error, low, high = (np.where(told, each, np.nan) for each in found)
    return Estimates(value=value, std_error=error, low=low, high=high)


def _shares(standard: FloatArray) -> FloatArray:
    """Share of each stratum in the standard population."""
    require(bool(np.all(standard >= 0)) and standard.sum() > 0, "standard must be >= 0 and not all zero")
    return np.asarray(standard / standard.sum(), dtype=np.float64)
