"""Shamir sharing over the ring, prime by prime in transform form.

Custodian j holds the value at point j of a polynomial of degree threshold - 1 whose constant term is the
secret; any ``threshold`` values give the secret, fewer are independent of it. Points 1..n are far below
every prime, so their differences are invertible (Mouchet, Bertrand, Hubaux, J. Cryptology 2023).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedmed.crypto.parameters import PRIMES
from fedmed.crypto.residues import WORD_PRIMES, ByteSource, Residues, frozen, uniform_residues
from fedmed.errors import SetMalformed
from fedmed.types import WordArray, require

# A Horner step takes residue * point + residue: below 2^55 * 401 < 2^64.
_MAX_POINT = 400


def share(secret_ntt: Residues, custodians: int, threshold: int, source: ByteSource) -> tuple[Residues, ...]:
    """Split a secret so that any ``threshold`` custodians can use it together.

    Args:
        secret_ntt: Shape (4, coefficients), in transform form.
        custodians: Points 1..custodians; at most 400.
        threshold: Values that determine the secret.
        source: Random bytes of the threshold - 1 upper coefficients, uniform by rejection.

    Returns:
        The value at each point, each of the secret's shape, read-only.

    Raises:
        ConfigError: 1 <= threshold <= custodians <= 400 does not hold.
    """
    require(
        1 <= threshold <= custodians <= _MAX_POINT,
        f"1 <= threshold <= custodians <= {_MAX_POINT} must hold, got {threshold} and {custodians}",
    )
    upper = [uniform_residues(source, secret_ntt.shape[1]) for _ in range(threshold - 1)]
    return tuple(frozen(_value_at(point, [secret_ntt, *upper])) for point in range(1, custodians + 1))


def _value_at(point: int, coefficients: Sequence[Residues]) -> Residues:
    """Evaluate a polynomial with ring coefficients, constant term first."""
    out = np.empty_like(coefficients[0])
    for index, prime in enumerate(WORD_PRIMES):
        value: WordArray = coefficients[-1][index]
        for coefficient in reversed(coefficients[:-1]):
            value = (value * np.uint64(point) + coefficient[index]) % prime
        out[index] = value
    return out


def lagrange(openers: Sequence[int], own_point: int) -> tuple[int, ...]:
    """Weight of one custodian's value when ``openers`` reconstruct the constant term.

    Args:
        openers: Distinct points between 1 and 400.
        own_point: One of them.

    Returns:
        For each prime the product over m != own of m / (m - own).

    Raises:
        SetMalformed: points repeat, lie outside 1..400, or ``own_point`` is not among them.
    """
    points = set(openers)
    if len(points) != len(openers) or own_point not in points:
        raise SetMalformed("openers must be distinct points with this custodian's among them")
    if not all(1 <= point <= _MAX_POINT for point in points):
        raise SetMalformed(f"openers must be points in 1..{_MAX_POINT}")
    weights = []
    for prime in PRIMES:
        weight = 1
        for other in points - {own_point}:
            weight = weight * other * pow(other - own_point, -1, prime) % prime
        weights.append(weight)
    return tuple(weights)
