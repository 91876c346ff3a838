"""The table of PROTOCOL.md section 2, recomputed."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from fedmed.crypto.parameters import (
    ERROR_BOUND,
    MAX_POLYNOMIALS_PER_EPOCH,
    MODULUS,
    PARAMETER_SETS,
    PRIMES,
    RING_DEGREE,
    ParameterSet,
    check_parameter_sets,
    fields_per_coefficient,
    named_set,
    noise_bound,
    parameter_set_for,
    scale,
)
from fedmed.errors import ConfigError


def test_the_reports_show_the_margins_of_the_protocol() -> None:
    reports = {report.name: report for report in check_parameter_sets()}
    assert {name: math.floor(10 * one.margin_bits) / 10 for name, one in reports.items()} == {
        "t8": 2.4,
        "t64": 1.5,
        "t400": 2.9,
    }
    for one in reports.values():
        assert one.modulus_bits == one.security_limit_bits == 218


@pytest.mark.parametrize("name", PARAMETER_SETS)
def test_the_worst_noise_fits_half_the_distance_of_payloads(name: str) -> None:
    one = PARAMETER_SETS[name]
    worst = noise_bound(one, contributors=one.max_custodians, openers=one.max_threshold)
    assert worst == one.max_custodians * ERROR_BOUND + one.max_threshold * 2**one.smudging_bits
    assert worst < scale(1, one.payload_bits) // 2


@pytest.mark.parametrize("name", PARAMETER_SETS)
def test_the_smudging_hides_the_error_as_far_as_the_protocol_says(name: str) -> None:
    one = PARAMETER_SETS[name]
    distance = Fraction(one.max_custodians * ERROR_BOUND, 2 ** (one.smudging_bits + 1))
    assert math.log2(distance) == pytest.approx(one.smudging_distance_bits)
    assert one.smudging_distance_bits <= -65.6
    epoch = math.log2(distance * RING_DEGREE * MAX_POLYNOMIALS_PER_EPOCH)
    assert epoch <= -40.6


def test_every_prime_allows_the_transform() -> None:
    assert all(prime % (2 * RING_DEGREE) == 1 for prime in PRIMES)
    assert [prime.bit_length() for prime in PRIMES] == [54, 54, 55, 55]
    assert math.prod(PRIMES) == MODULUS


@pytest.mark.parametrize(
    ("custodians", "threshold", "name"),
    [
        (3, 3, "t8"),
        (8, 6, "t8"),
        (8, 7, "t64"),
        (9, 6, "t64"),
        (31, 21, "t64"),
        (64, 43, "t64"),
        (64, 44, "t400"),
        (65, 44, "t400"),
        (400, 267, "t400"),
    ],
)
def test_the_smallest_set_that_fits_is_chosen(custodians: int, threshold: int, name: str) -> None:
    assert parameter_set_for(custodians, threshold) is PARAMETER_SETS[name]


@pytest.mark.parametrize(("custodians", "threshold"), [(401, 200), (400, 268), (3, 4), (3, 0)])
def test_a_roster_that_no_set_serves_is_refused(custodians: int, threshold: int) -> None:
    with pytest.raises(ConfigError):
        parameter_set_for(custodians, threshold)


@pytest.mark.parametrize(
    ("name", "field_bits", "fields"),
    [
        ("t8", 28, 5),
        ("t8", 35, 4),
        ("t8", 46, 3),
        ("t64", 27, 5),
        ("t64", 33, 4),
        ("t64", 45, 3),
        ("t400", 32, 4),
        ("t400", 42, 3),
    ],
)
def test_fields_fill_the_payload_as_in_the_table(name: str, field_bits: int, fields: int) -> None:
    assert fields_per_coefficient(named_set(name), field_bits) == fields
    assert 28 / fields == pytest.approx({5: 5.6, 4: 7.0, 3: 9.33}[fields], abs=0.01)


@pytest.mark.parametrize("field_bits", [1, 63])
def test_a_field_width_out_of_range_is_refused(field_bits: int) -> None:
    with pytest.raises(ConfigError, match="field_bits"):
        fields_per_coefficient(PARAMETER_SETS["t8"], field_bits)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="plain"):
        named_set("plain")


def test_a_set_without_margin_cannot_be_made() -> None:
    with pytest.raises(ConfigError, match=r"margin|fit"):
        ParameterSet(name="bad", max_custodians=8, max_threshold=6, smudging_bits=74, payload_bits=140)
    with pytest.raises(ConfigError, match=r"margin|fit"):
        ParameterSet(name="bad", max_custodians=8, max_threshold=6, smudging_bits=79, payload_bits=140)
    with pytest.raises(ConfigError, match="errors"):
        ParameterSet(name="bad", max_custodians=9, max_threshold=6, smudging_bits=72, payload_bits=140)
    with pytest.raises(ConfigError, match="threshold"):
        ParameterSet(name="bad", max_custodians=5, max_threshold=6, smudging_bits=72, payload_bits=140)


def test_the_distance_of_payloads_is_the_floor() -> None:
    assert scale(5, 28) == MODULUS // 2**140
