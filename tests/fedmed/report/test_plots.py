"""Curve, calibration and phases."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from fedmed.report.plots import calibration_plot, curve_plot, phase_plot
from fedmed.report.result import Result

Make = Callable[..., Result]


@pytest.mark.slow
@pytest.mark.parametrize("aggregations", [1, 2, 40])
def test_a_curve_of_any_length_can_be_drawn(make_result: Make, aggregations: int) -> None:
    plot = curve_plot(make_result(aggregations=aggregations), description="curve")
    assert plot is not None
    assert "Pooled, no privacy 0.828" in plot.wide


def test_the_curve_speaks_of_no_absent_arm(make_result: Make) -> None:
    def change(document: dict[str, Any]) -> None:
        document["arms"] = {"federated": document["arms"]["federated"]}

    plot = curve_plot(make_result(change), description="curve")
    assert plot is not None
    assert "Pooled" not in plot.wide
    assert "Alone" not in plot.wide
    assert "#e69f00" not in plot.wide  # central's colour, although the curve holds its figures


@pytest.mark.slow
@pytest.mark.parametrize("alone", [0.3, 0.8279, 0.828, 0.9])
def test_level_lines_at_any_distance_keep_their_names(make_result: Make, alone: float) -> None:
    plot = curve_plot(
        make_result(lambda d: d["arms"]["alone_private"].update(auc=alone)), description="curve"
    )
    assert plot is not None
    heights = [float(y) for y in re.findall(r'y="([\d.]+)"[^>]*>(?:Pooled|Alone), ', plot.wide)]
    assert len(heights) == 2
    assert abs(heights[0] - heights[1]) > 10


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1, 6, 7])
def test_calibration_names_its_lines_only_while_colours_last(make_result: Make, nodes: int) -> None:
    plot = calibration_plot(make_result(nodes=nodes), description="calibration")
    assert plot is not None
    assert ("上海 Shanghai" in plot.wide) == (nodes <= 6)


def test_phases_carry_their_figures(make_result: Make) -> None:
    plot = phase_plot(make_result(), description="phases")
    assert plot is not None
    for words in ("ceremony", "3.84 s", "19.8 MB", "410 ms", "none"):
        assert f">{words}</text>" in plot.wide
        assert f">{words}</text>" in plot.narrow


def test_phases_that_took_nothing_can_be_drawn(make_result: Make) -> None:
    result = make_result(lambda d: d.update(phases=[{"phase": "open", "seconds": 0.0, "bytes": 0}]))
    assert phase_plot(result, description="phases") is not None


def test_what_is_not_there_is_not_drawn(make_result: Make) -> None:
    def change(document: dict[str, Any]) -> None:
        document.update(curve=[], phases=[])
        document["arms"]["federated"].pop("per_node")

    result = make_result(change)
    assert curve_plot(result, description="") is None
    assert phase_plot(result, description="") is None
    assert calibration_plot(result, description="") is None
