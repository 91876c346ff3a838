"""Shamir sharing over the ring: any threshold custodians, and no fewer."""

from __future__ import annotations

import io
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.crypto.parameters import PRIMES
from fedmed.crypto.residues import Residues, uniform_residues
from fedmed.crypto.sharing import lagrange, share
from fedmed.errors import ConfigError, SetMalformed
from tests.examples import at_most


def reconstructed(shares: tuple[Residues, ...], openers: tuple[int, ...]) -> list[list[int]]:
    """Constant term by Python's integers."""
    weights = {point: lagrange(openers, point) for point in openers}
    rows = []
    for index, prime in enumerate(PRIMES):
        parts = [[int(v) * weights[p][index] for v in shares[p - 1][index]] for p in openers]
        rows.append([sum(column) % prime for column in zip(*parts, strict=True)])
    return rows


@settings(deadline=None, max_examples=at_most(40))
@given(data=st.data(), custodians=st.integers(1, 31), seed=st.integers(0, 2**32))
def test_any_threshold_custodians_reconstruct(data: st.DataObject, custodians: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    threshold = data.draw(st.integers(1, custodians))
    secret = uniform_residues(rng.bytes, 2)
    shares = share(secret, custodians, threshold, rng.bytes)
    points = data.draw(st.permutations(range(1, custodians + 1)))
    assert reconstructed(shares, tuple(points[:threshold])) == secret.tolist()


@pytest.mark.parametrize("colluders", list(combinations((1, 2, 3, 4), 2)))
def test_fewer_than_threshold_shares_fit_every_secret(colluders: tuple[int, int]) -> None:
    # With threshold 3 and two shares in hand: for any other secret there are upper coefficients u x + v x^2
    # that leave both shares as they are, so the two say nothing about the secret.
    rng = np.random.default_rng(1)
    secret, other = uniform_residues(rng.bytes, 1), uniform_residues(rng.bytes, 1)
    shares = share(secret, 4, 3, rng.bytes)
    x, y = colluders
    upper: list[list[int]] = [[], []]
    for index, prime in enumerate(PRIMES):
        at_x, at_y = (int(shares[p - 1][index, 0]) - int(other[index, 0]) for p in colluders)
        inverse = pow(x * y * (y - x), -1, prime)
        upper[0].append((at_x * y * y - at_y * x * x) * inverse % prime)
        upper[1].append((at_y * x - at_x * y) * inverse % prime)
    stream = io.BytesIO(b"".join(value.to_bytes(8, "little") for row in upper for value in row))
    again = share(other, 4, 3, stream.read)
    for point in colluders:
        assert np.array_equal(again[point - 1], shares[point - 1])


def test_the_largest_roster_does_not_overflow() -> None:
    rng = np.random.default_rng(2)
    secret = np.array([[prime - 1] for prime in PRIMES], np.uint64)
    shares = share(secret, 400, 3, lambda size: (2**53).to_bytes(8, "little") * (size // 8))
    chosen = tuple(sorted(rng.choice(range(1, 401), 3, replace=False).tolist()))
    assert reconstructed(shares, chosen) == secret.tolist()
    assert reconstructed(shares, (398, 399, 400)) == secret.tolist()


def test_shares_are_read_only() -> None:
    shares = share(np.zeros((4, 1), np.uint64), 3, 2, bytes)
    with pytest.raises(ValueError, match="read-only"):
        shares[0][0, 0] = 1


@pytest.mark.parametrize(("custodians", "threshold"), [(3, 0), (3, 4), (401, 3)])
def test_an_impossible_sharing_is_refused(custodians: int, threshold: int) -> None:
    with pytest.raises(ConfigError, match="threshold"):
        share(np.zeros((4, 1), np.uint64), custodians, threshold, bytes)


@pytest.mark.parametrize(("openers", "own"), [((1, 1, 2), 1), ((1, 2), 3), ((0, 1), 1), ((1, 401), 1)])
def test_openers_that_are_no_set_of_points_are_refused(openers: tuple[int, ...], own: int) -> None:
    with pytest.raises(SetMalformed):
        lagrange(openers, own)
