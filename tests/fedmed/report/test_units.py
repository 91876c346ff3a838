"""How figures are written."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.report import units

SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


def delta_of(text: str) -> float:
    """Read a written delta back."""
    mantissa, _, power = text.rpartition("×")
    exponent = int(power.strip().removeprefix("10").translate(SUPERSCRIPTS))
    return float(f"{mantissa.strip() or '1'}e{exponent}")


@settings(deadline=None)
@given(value=st.floats(0, 1e6))
def test_an_epsilon_is_never_written_smaller_than_it_is(value: float) -> None:
    assert float(units.epsilon(value)) >= value - 1e-7
    assert float(units.epsilon(value)) < value + 0.0101


@settings(deadline=None)
@given(value=st.floats(1e-300, 0.999))
def test_a_delta_is_never_written_smaller_than_it_is(value: float) -> None:
    read = delta_of(units.delta(value))
    assert value * (1 - 1e-6) <= read <= value * 1.11


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-5, "10⁻⁵"), (1.25e-6, "1.3\u00a0×\u00a010⁻⁶"), (2e-10, "2\u00a0×\u00a010⁻¹⁰"), (9.99e-7, "10⁻⁶")],
)
def test_a_delta_is_written_as_a_power_of_ten(value: float, text: str) -> None:
    assert units.delta(value) == text


@settings(deadline=None)
@given(one=st.floats(0, 1), other=st.floats(0, 1))
def test_a_gap_is_the_difference_of_the_printed_figures(one: float, other: float) -> None:
    printed = float(units.metric(one)) - float(units.metric(other))
    assert units.metric_gap(one, other) == pytest.approx(printed, abs=1e-12)


@pytest.mark.parametrize(("value", "text"), [(0.0342, "+0.034"), (-0.002, "−0.002"), (-0.0001, "±0.000")])
def test_a_difference_carries_its_sign(value: float, text: str) -> None:
    assert units.difference(value) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.7, "1.00 kB"),
        (1_234, "1.23 kB"),
        (48_300_000, "48.3 MB"),
        (7e15, "7000 TB"),
    ],
)
def test_bytes_are_written_in_steps_of_a_thousand(size: float, text: str) -> None:
    assert units.byte_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 ms"), (0.41, "410 ms"), (3.84, "3.84 s"), (59.97, "1 min 00 s"), (3725, "1 h 02 min")],
)
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    assert units.duration(seconds) == text


@settings(deadline=None)
@given(seconds=st.floats(0, 1e7))
def test_a_duration_never_shows_sixty_of_anything(seconds: float) -> None:
    assert not re.search(r"(?<![.\d])(60(\.0*)?|1000) (ms|s|min)\b", units.duration(seconds))


def test_unknown_figures_are_a_dash() -> None:
    assert units.metric(None) == units.ratio(None) == units.ABSENT


def test_one_thing_has_no_plural() -> None:
    assert [units.plural(number, "node") for number in (0, 1, 2000)] == ["0 nodes", "1 node", "2,000 nodes"]
