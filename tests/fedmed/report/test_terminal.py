"""The summary in the terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from fedmed.report.result import Result
from fedmed.report.terminal import summary_lines

Make = Callable[..., Result]


def printed(result: Result, width: int = 100) -> str:
    """What a terminal of this width shows."""
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as captured:
        for line in summary_lines(result):
            console.print(line)
    return captured.get()


def test_the_summary_names_arms_privacy_cost_and_conclusions(make_result: Make) -> None:
    said = " ".join(printed(make_result()).split())
    for words in (
        "Federated epsilon 1.00 0.811 0.799 上海 Shanghai 0.391 1.02",
        "Pooled none 0.828",
        "epsilon 0.98 spent of 1.00 planned",
        "fallback epsilon 1.44",
        "48.3 MB in 52.7 s",
        "worth +0.032 AUC",
        "It costs 0.001 AUC",
    ):
        assert words in said, words


@pytest.mark.parametrize("nodes", [1, 4, 31])
def test_columns_line_up_when_names_are_chinese(make_result: Make, nodes: int) -> None:
    lines = printed(make_result(nodes=nodes)).splitlines()
    (start,) = (at for at, line in enumerate(lines) if line.lstrip().startswith("Arm"))
    widths = {cell_len(line) for line in lines[start : start + 7]}
    assert len(widths) == 1


def test_brackets_in_names_are_not_markup(make_result: Make) -> None:
    def change(document: dict[str, Any]) -> None:
        document["study"]["title"] = "[red]title[/red]"
        document["nodes"][0]["name"] = "[bold]x"

    said = printed(make_result(change), width=140)
    assert "[red]title[/red]" in said
    assert "[bold]x" in said


def test_trouble_and_warnings_are_printed(make_result: Make) -> None:
    def change(document: dict[str, Any]) -> None:
        document["aggregation"].update(
            attempts=41, lost_nodes=[{"node": "anhui", "aggregation": 3, "phase": "open"}]
        )
        document["arms"]["federated"]["auc"] = 0.75

    said = printed(make_result(change))
    assert "Trouble  安徽 Anhui was lost" in said
    assert "Warning  Federated does not beat" in said


def test_a_lone_arm_without_scores_is_printed(make_result: Make) -> None:
    said = printed(make_result(lambda d: d.update(arms={"federated": {"auc": 0.8}})))
    assert "0.800   –" in said
    assert "None" not in said


def test_a_summary_without_scores_has_no_table_of_arms(unscored: Result) -> None:
    text = printed(unscored)
    assert "Arm" not in text
    assert "No scores are in this result" in text
