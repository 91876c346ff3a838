"""The named sets of scheme ``ckks``: margins as worst cases, and how a field is cut into slots."""

import math

import pytest

from fedmed.crypto.ckks_parameters import (
    CKKS_SETS,
    PRIMES,
    SCALE_BITS,
    SLOTS,
    TOLERANCE,
    CkksSet,
    check_ckks_sets,
    ciphertexts_for,
    ckks_set_for,
    limbs_of,
    named_ckks_set,
)
from fedmed.errors import ConfigError


def test_the_primes_and_the_security_are_seals_own() -> None:
    assert check_ckks_sets() == tuple(CKKS_SETS.values())


@pytest.mark.parametrize("name", CKKS_SETS)
def test_every_set_rounds_right_in_the_worst_case_and_fits_the_modulus(name: str) -> None:
    one = named_ckks_set(name)
    assert one.error < TOLERANCE < 0.5
    assert one.margin_bits == pytest.approx(math.log2(TOLERANCE / one.error))
    assert one.margin_bits > 1
    assert one.max_value * 2 ** (SCALE_BITS + 1) < math.prod(PRIMES)


@pytest.mark.parametrize(("nodes", "bits"), [(400, 28), (1 << 13, 26)])
def test_a_set_without_margin_cannot_be_named(nodes: int, bits: int) -> None:
    with pytest.raises(ConfigError, match="margin"):
        CkksSet(name="too wide", max_nodes=nodes, limb_bits=bits)


def test_a_sum_beyond_the_modulus_cannot_be_named() -> None:
    with pytest.raises(ConfigError, match="modulus"):
        CkksSet(name="too large", max_nodes=400, limb_bits=52)


def test_sets_serve_up_to_400_nodes_and_unknown_names_are_refused() -> None:
    assert ckks_set_for(400).name == "ckks400"
    for call in (lambda: ckks_set_for(401), lambda: named_ckks_set("ckks8")):
        with pytest.raises(ConfigError, match="ckks"):
            call()


@pytest.mark.parametrize("field_bits", range(2, 63))
def test_limbs_cover_a_field_without_its_guard_bit(field_bits: int) -> None:
    count, bits = limbs_of(field_bits)
    assert bits <= 26
    assert (count - 1) * bits < field_bits - 1 <= count * bits
    assert ciphertexts_for(SLOTS, field_bits) == count


@pytest.mark.parametrize("field_bits", [1, 63])
def test_a_field_that_no_layout_has_is_refused(field_bits: int) -> None:
    with pytest.raises(ConfigError):
        limbs_of(field_bits)
