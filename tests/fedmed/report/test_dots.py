"""The dot plot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fedmed.report.dots import dot_plot
from fedmed.report.result import Result

Make = Callable[..., Result]


def test_every_node_and_the_mean_have_a_row(make_result: Make) -> None:
    plot = dot_plot(make_result(), "auc", description="AUC")
    assert plot is not None
    for name in ("Mean", "上海 Shanghai", "江苏 Jiangsu", "浙江 Zhejiang", "安徽 Anhui"):
        assert f">{name}</text>" in plot.wide
        assert f">{name}</text>" in plot.narrow


def test_without_scores_by_node_there_is_no_plot(make_result: Make) -> None:
    def change(document: dict[str, Any]) -> None:
        for arm in document["arms"].values():
            arm.pop("per_node")

    assert dot_plot(make_result(change), "auc", description="AUC") is None


@pytest.mark.slow
@pytest.mark.parametrize("value", [0.0, 0.001, 300.0])
def test_an_extreme_ratio_can_be_drawn(make_result: Make, value: float) -> None:
    def change(document: dict[str, Any]) -> None:
        document["arms"] = {"federated": document["arms"]["federated"]}
        document["arms"]["federated"]["per_node"]["anhui"]["expected_over_observed"] = value

    assert dot_plot(make_result(change), "expected_over_observed", description="E/O") is not None


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_node_at_the_end_of_the_range_can_be_drawn(make_result: Make, value: float) -> None:
    def change(document: dict[str, Any]) -> None:
        arm = document["arms"]["federated"]
        arm["auc"] = arm["per_node"]["shanghai"]["auc"] = value
        document["arms"] = {"federated": arm}

    assert dot_plot(make_result(change, nodes=1), "auc", description="AUC") is not None
