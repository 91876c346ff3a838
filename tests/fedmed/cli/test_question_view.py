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


def document(value: float | None, *, exact: bool, cells: int = 1) -> dict[str, Any]:
    columns: dict[str, Any] = {"estimate": [value] * cells}
    if not exact:
        columns |= {"conf_low": [-3.5] * cells, "conf_high": [23.25] * cells}
    epsilons = {"epsilon": 1.0, "epsilon_spent": 0.7, "delta": 1e-5, "fallback_epsilon": 1.2}
    statistic = {
        "name": "cost",
        "kind": "sum",
        "unit": "medfee_sumamt",
        "decimals": 2,
        "interval": "none" if exact else "noise",
        "by": {"level": [str(n) for n in range(cells)]},
        "columns": columns,
    }
    return {
        "study": {"title": "Cost by level"},
        "privacy": {"exact": exact, **({} if exact else epsilons)},
        "result": {"exact": exact, "statistics": [statistic]},
    }


def test_exact_totals_are_shown_to_the_last_fen() -> None:
    text = shown(document(4_985_795.52, exact=True))
    assert "4,985,795.52" in text
    assert "no noise, no epsilon" in text
    assert "interval" not in text


def test_an_interval_stands_beside_what_carries_noise() -> None:
    text = shown(document(12.345, exact=False))
    assert "-3.50 to 23.25" in text
    assert "epsilon 0.700 of 1 a person spent" in text


def test_a_cell_without_an_estimate_has_a_dash() -> None:
    assert " - " in shown(document(None, exact=True))


def test_a_long_table_says_how_much_is_left() -> None:
    assert "... and 2 rows more" in shown(document(1, exact=True, cells=SHOWN_CELLS + 2))


def test_the_check_of_an_exact_question_names_no_epsilon() -> None:
    told = check_document(small_question(aggregation__scheme="threshold"))
    privacy = told["privacy"]
    assert isinstance(privacy, dict)
    assert not {"epsilon", "delta", "fallback_epsilon"} & set(privacy)
    assert "exact" in privacy["protection"]
    assert "planned epsilon" not in str(told["who_can_decrypt"])
