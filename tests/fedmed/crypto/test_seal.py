"""SEAL's ring arithmetic against big integers, and its refusals."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from fedmed.crypto.parameters import PRIMES, RING_DEGREE
from fedmed.crypto.seal import Ring, require_platform, security_limit_bits, standard_primes
from fedmed.errors import ConfigError, PlatformUnsupported
from fedmed.types import WordArray

SLOT_BITS = 128  # a product's coefficient has at most 55 + 55 + 13 bits


@pytest.fixture(scope="module")
def ring() -> Ring:
    return Ring(RING_DEGREE, PRIMES)


def random_polynomial(seed: int) -> WordArray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, prime, RING_DEGREE, dtype=np.uint64) for prime in PRIMES])


def negacyclic_product(left: WordArray, right: WordArray, prime: int) -> list[int]:
    """Schoolbook product modulo X^N + 1 and the prime: one multiplication of two very long integers."""

    def joined(values: WordArray) -> int:
        slot = SLOT_BITS // 8
        return int.from_bytes(b"".join(int(v).to_bytes(slot, "little") for v in values), "little")

    data = (joined(left) * joined(right)).to_bytes(2 * RING_DEGREE * SLOT_BITS // 8, "little")
    slot = SLOT_BITS // 8
    full = [int.from_bytes(data[at : at + slot], "little") for at in range(0, len(data), slot)]
    return [(full[i] - full[i + RING_DEGREE]) % prime for i in range(RING_DEGREE)]


@pytest.mark.parametrize(
    ("system", "machine"), [("Darwin", "arm64"), ("Windows", "AMD64"), ("Linux", "aarch64"), ("", "")]
)
def test_another_platform_is_refused_with_the_remedy(system: str, machine: str) -> None:
    with pytest.raises(PlatformUnsupported, match=r"Linux on x86-64.*container"):
        require_platform(system=system, machine=machine)


def test_linux_on_x86_64_is_accepted() -> None:
    """It raises on every other platform."""
    require_platform(system="Linux", machine="x86_64")
    require_platform()


def test_seal_gives_these_primes_and_this_limit() -> None:
    assert standard_primes(RING_DEGREE, (54, 54, 55, 55)) == PRIMES
    assert security_limit_bits(RING_DEGREE) == 218


@pytest.mark.slow
def test_a_product_equals_the_negacyclic_product_of_big_integers(ring: Ring) -> None:
    left, right = random_polynomial(1), random_polynomial(2)
    factor = ring.factor(ring.to_ntt(right))
    (product,) = ring.products([ring.to_ntt(left)], factor)
    for index, prime in enumerate(PRIMES):
        assert product[index].tolist() == negacyclic_product(left[index], right[index], prime)


def test_multiplying_by_x_shifts_and_negates_so_no_order_of_the_transform_matters(ring: Ring) -> None:
    monomial = np.zeros((4, RING_DEGREE), np.uint64)
    monomial[:, 1] = 1
    polynomial = random_polynomial(3)
    (shifted,) = ring.products([ring.to_ntt(polynomial)], ring.factor(ring.to_ntt(monomial)))
    assert np.array_equal(shifted[:, 1:], polynomial[:, :-1])
    negated = [(prime - int(last)) % prime for prime, last in zip(PRIMES, polynomial[:, -1], strict=True)]
    assert shifted[:, 0].tolist() == negated


def test_a_product_in_transform_form_is_pointwise(ring: Ring) -> None:
    left, right = ring.to_ntt(random_polynomial(4)), ring.to_ntt(random_polynomial(5))
    (product,) = ring.products([left], ring.factor(right))
    transformed = ring.to_ntt(product)
    for index, prime in enumerate(PRIMES):
        pairs = zip(left[index].tolist(), right[index].tolist(), strict=True)
        assert transformed[index].tolist() == [a * b % prime for a, b in pairs]


def test_the_transform_is_undone_by_its_inverse(ring: Ring) -> None:
    polynomial = random_polynomial(6)
    assert np.array_equal(ring.from_ntt(ring.to_ntt(polynomial)), polynomial)


@pytest.mark.parametrize("count", [0, 1, 2, 8, 9, 17])
def test_a_batch_gives_what_single_products_give(ring: Ring, count: int) -> None:
    factor = ring.factor(random_polynomial(7))
    polynomials = [random_polynomial(10 + index) for index in range(count)]
    together = ring.products(polynomials, factor)
    assert len(together) == count
    for at in (0, count - 1)[: min(count, 2)]:
        (alone,) = ring.products([polynomials[at]], factor)
        assert np.array_equal(together[at], alone)


def test_zero_polynomials_and_zero_products_give_zero(ring: Ring) -> None:
    zero, polynomial = np.zeros((4, RING_DEGREE), np.uint64), random_polynomial(8)
    left, right = polynomial.copy(), polynomial.copy()
    left[:, ::2] = 0
    right[:, 1::2] = 0
    assert not ring.to_ntt(zero).any()
    assert not ring.from_ntt(zero).any()
    assert not ring.products([polynomial], ring.factor(zero))[0].any()
    disjoint, ordinary, nothing = ring.products([left, polynomial, zero], ring.factor(right))
    assert not disjoint.any()
    assert not nothing.any()
    assert np.array_equal(ordinary, ring.products([polynomial], ring.factor(right))[0])


def test_a_polynomial_of_another_shape_is_refused(ring: Ring) -> None:
    with pytest.raises(ConfigError, match="shape"):
        ring.to_ntt(np.zeros((4, 4096), np.uint64))
    with pytest.raises(ConfigError, match="uint64"):
        ring.factor(np.zeros((4, RING_DEGREE), np.float64).astype(object))


def test_a_prime_that_the_ring_cannot_use_is_refused() -> None:
    with pytest.raises(ConfigError, match="SEAL refuses"):
        Ring(RING_DEGREE, [65_521])  # prime, but not 1 modulo 16384


def test_a_factor_shows_and_pickles_nothing(ring: Ring) -> None:
    factor = ring.factor(random_polynomial(9))
    assert repr(factor) == "Factor(hidden)"
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(factor)
