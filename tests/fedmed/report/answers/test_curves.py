from __future__ import annotations

import re
from dataclasses import replace

from fedmed.report.answers.curves import Steps, survival_plot


def steps(name: str, last: float) -> Steps:
    return Steps(
        name=name,
        times=(30.0, 60.0, 90.0),
        shares=(0.95, last, None),
        low=(0.9, last - 0.05, None),
        high=(1.0, last + 0.05, None),
        at_risk=("900", "850", None),
    )


def test_numbers_at_risk_stand_below_and_a_cut_axis_says_so() -> None:
    curves = (steps("level 3", 0.9), steps("level 2", 0.8))
    plot = survival_plot(curves, name="survival", axis="days", start=0.0, description="two groups")
    assert "axis cut" in plot.wide
    assert plot.wide.count("900") == 2
    low = survival_plot((steps("all", 0.2),), name="survival", axis="days", start=0.0, description="one")
    assert "axis cut" not in low.wide


def test_a_number_at_risk_stands_under_the_time_from_which_on_it_counts() -> None:
    """The first interval begins at the start; nothing is known from its last time on."""
    joined = Steps(
        name="b",
        times=(60.0, 90.0),
        shares=(0.9, 0.8),
        low=(0.8, 0.7),
        high=(1.0, 0.9),
        at_risk=("700", "600"),
    )
    curves = (replace(steps("a", 0.9), at_risk=("900", "850", "800")), joined)
    plot = survival_plot(curves, name="s", axis="days", start=0.0, description="d")
    shown = re.findall(r">(900|850|800|700|600|·)<", plot.wide)
    assert shown == ["900", "850", "800", "·", "700", "·", "600", "·"]


def test_every_curve_has_a_dash_of_its_own() -> None:
    curves = (steps("a", 0.9), steps("b", 0.8))
    assert "stroke-dasharray" in survival_plot(curves, name="s", axis="t", start=0.0, description="d").wide
