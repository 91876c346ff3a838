"""How figures are written for people: one rule each, the same on the page, the card and the terminal."""

from __future__ import annotations

import math

ABSENT = "–"
_BYTE_STEPS = ("B", "kB", "MB", "GB", "TB")


def metric(value: float | None) -> str:
    """Write a metric such as AUC with three digits after the point; an unknown one as a dash."""
    return ABSENT if value is None else f"{value:.3f}"


def ratio(value: float | None) -> str:
    """Write expected / observed with two digits after the point; an unknown one as a dash."""
    return ABSENT if value is None else f"{value:.2f}"


def difference(value: float) -> str:
    """Write a difference of metrics with its sign, three digits, and a true minus."""
    rounded = round(value, 3)
    sign = "+" if rounded > 0 else "−" if rounded < 0 else "±"
    return f"{sign}{abs(rounded):.3f}"


def metric_gap(one: float, other: float) -> float:
    """Subtract two metrics as they are printed, so that a reader who subtracts gets the same figure."""
    return round(round(one, 3) - round(other, 3), 3)


def epsilon(value: float) -> str:
    """Write an epsilon with two digits after the point, never rounded down."""
    steps = math.ceil(round(value * 100, 6))
    return f"{steps / 100:.2f}"


def delta(value: float) -> str:
    """Write a delta with two significant digits, never rounded down; ``1.2 × 10⁻⁶`` stays on one line."""
    exponent = math.floor(math.log10(value))
    tenths = math.ceil(round(value / 10**exponent * 10, 6))
    if tenths == 100:
        tenths, exponent = 10, exponent + 1
    power = "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return power if tenths == 10 else f"{tenths / 10:g}\u00a0×\u00a0{power}"


def byte_size(size: float) -> str:
    """Write a number of bytes with three significant digits, in steps of 1,000."""
    step = 0
    while size >= 999.5 and step < len(_BYTE_STEPS) - 1:
        size, step = size / 1000, step + 1
    return f"{_three_digits(size)} {_BYTE_STEPS[step]}"


def duration(seconds: float) -> str:
    """Write seconds with three significant digits below a minute; minutes and hours above."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{_three_digits(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def count(number: int) -> str:
    """Write a whole number with commas between thousands."""
    return f"{number:,}"


def plural(number: int, noun: str) -> str:
    """Write a number with its noun: ``1 node``, ``4 nodes``."""
    return f"{count(number)} {noun if number == 1 else noun + 's'}"


def _three_digits(value: float) -> str:
    """Three significant digits without an exponent, for values below 1,000; a whole number stays whole."""
    if value == int(value) and value < 1000:
        return str(int(value))
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f}"
