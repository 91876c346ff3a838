from __future__ import annotations

import pytest

from fedmed.report.answers.months import ALARM, Month, axis_text, month_plot


def test_an_alarm_has_its_own_colour_and_a_blank_month_leaves_a_gap() -> None:
    months = tuple(
        Month(name=f"2024-{m:02d}", value=None if m == 3 else 10.0 * m, low=0.0, high=50.0, is_alarm=m == 9)
        for m in range(1, 13)
    )
    plot = month_plot(months, name="months", axis="Million yuan", description="twelve months")
    assert ALARM.lower() in plot.wide
    calm = tuple(Month(name=m.name, value=m.value) for m in months)
    assert ALARM.lower() not in month_plot(calm, name="months", axis="x", description="d").wide


def test_sums_of_departures_are_drawn_with_their_limit() -> None:
    months = tuple(Month(name=f"2024-{m:02d}", value=1.0, above=float(m), below=0.0) for m in range(1, 7))

    def dashes(limit: float | None) -> int:
        drawn = month_plot(months, name="m", axis="yuan", description="d", limit=limit).wide
        return drawn.count("stroke-dasharray")

    assert dashes(5.0) == dashes(None) + 2, "one above, one below"


@pytest.mark.parametrize(
    ("value", "text"), [(950, "950"), (25_000, "25 k"), (2_400_000, "2.4 M"), (-3e9, "-3 bn"), (0, "0")]
)
def test_an_axis_has_no_exponents(value: float, text: str) -> None:
    assert axis_text(value) == text
