from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from fedmed.cli.check import check_document
from fedmed.cli.question_view import SHOWN_CELLS, question_lines
from tests.small_question import small_question


def shown(document: Mapping[str, Any]) -> str:
    console = Console(width=100)
    with console.capture() as captured:
        for line in question_lines(document, "runs/stays"):
            console.print(line)
    return captured.get()


def document(value: float, *, exact: bool, cells: int = 1) -> dict[str, Any]:
    noise = None if exact else 3.5
    epsilons = {"epsilon": 1.0, "epsilon_spent": 0.7, "delta": 1e-5, "fallback_epsilon": 1.2}
    return {
        "study": {"title": "Cost by level"},
        "privacy": {"exact": exact, **({} if exact else epsilons)},
        "result": {
            "exact": exact,
            "measures": [{"name": "cost", "kind": "sum", "decimals": 2, "noise_std": noise}],
            "cells": [{"by": {"level": str(n)}, "cost": value} for n in range(cells)],
        },
    }


def test_exact_totals_are_shown_to_the_last_fen() -> None:
    text = shown(document(498_579_552, exact=True))
    assert "4,985,795.52" in text
    assert "no noise, no epsilon" in text
    assert "-0.07" in shown(document(-7, exact=True))


def test_noise_stands_beside_what_carries_it() -> None:
    text = shown(document(12.345, exact=False))
    assert "(noise 3.5)" in text
    assert "12.35" in text or "12.34" in text
    assert "epsilon 0.700 of 1 a person spent" in text


def test_a_long_table_says_how_much_is_left() -> None:
    assert "... and 2 cells more" in shown(document(1, exact=True, cells=SHOWN_CELLS + 2))


def test_the_check_of_an_exact_question_names_no_epsilon() -> None:
    told = check_document(small_question(aggregation__scheme="threshold"))
    privacy = told["privacy"]
    assert isinstance(privacy, dict)
    assert not {"epsilon", "delta", "fallback_epsilon"} & set(privacy)
    assert "exact" in privacy["protection"]
    assert "planned epsilon" not in str(told["who_can_decrypt"])
