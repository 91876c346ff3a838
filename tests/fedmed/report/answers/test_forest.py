from __future__ import annotations

import math

import pytest

from fedmed.report.answers.forest import ForestRow, forest_plot, ratio_text


def row(name: str, estimate: float, low: float, high: float) -> ForestRow:
    return ForestRow(name=name, estimate=estimate, low=low, high=high)


def test_names_are_escaped_and_intervals_that_leave_the_axis_end_in_an_arrow() -> None:
    rows = (row("<script>", 1.2, 1.0, 1.4), row("endless", 1.0, 0.0, math.inf))
    plot = forest_plot(rows, name="forest", axis="Odds ratio", is_ratio=True, description="two terms")
    for drawing in (plot.wide, plot.narrow):
        assert "&lt;script&gt;" in drawing
        assert "<script" not in drawing
        assert "(0.00 to ∞)" in drawing


def test_a_linear_axis_holds_no_effect() -> None:
    plot = forest_plot((row("age", 5.0, 4.0, 6.0),), name="f", axis="Yuan", is_ratio=False, description="d")
    assert "5.00 (4.00 to 6.00)" in plot.wide


def test_a_narrow_interval_shows_its_two_ends() -> None:
    plot = forest_plot(
        (row("age", 1.0127, 1.0122, 1.0131),), name="f", axis="Rate ratio", is_ratio=True, description="d"
    )
    assert "1.013 (1.012 to 1.013)" in plot.wide


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.234, "1.23"),
        (-0.5, "−0.50"),
        (-0.001, "0.00"),
        (1234.5, "1,234"),
        (2e9, "2.0e+09"),
        (math.nan, "?"),
    ],
)
def test_an_effect_is_written_short(value: float, text: str) -> None:
    assert ratio_text(value) == text
