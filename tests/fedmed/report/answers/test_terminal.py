from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from fedmed.report.answers.terminal import SHOWN_ROWS, question_lines


def shown(document: dict[str, Any], *, width: int = 100) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        for line in question_lines(document, Path("runs/stays/report.html")):
            console.print(line)
    return captured.get()


def document(estimates: list[float | None], *, exact: bool, scheme: str = "threshold") -> dict[str, Any]:
    epsilons = {"epsilon": 1.0, "epsilon_spent": 0.7, "delta": 1e-5, "fallback_epsilon": 1.2}
    ends = {"conf_low": estimates, "conf_high": estimates}
    names = [str(place) for place in range(len(estimates))]
    return {
        "study": {"title": "Cost by level", "kind": "statistics"},
        "privacy": {"exact": exact, **({} if exact else epsilons)},
        "aggregation": {"scheme": scheme},
        "result": {
            "exact": exact,
            "max_rows_per_person": 3,
            "statistics": [
                {
                    "name": "cost",
                    "kind": "sum",
                    "unit": "cost",
                    "decimals": 2,
                    "interval": "none" if exact else "noise",
                    "levels": {"level": [*names, "others"]},
                    "by": {"level": names},
                    "columns": {"estimate": estimates, **({} if exact else ends)},
                }
            ],
        },
    }


def test_exact_totals_are_shown_to_the_last_fen_and_blanks_as_blanks() -> None:
    text = shown(document([4985795.52, None], exact=True))
    assert "4,985,795.52" in text
    assert "None" not in text
    assert "no noise and no epsilon" in text


def test_noise_is_said_with_its_epsilon() -> None:
    text = shown(document([12.5], exact=False))
    assert "Epsilon 0.70 of 1.00 a person spent" in text
    assert "1.20 if all others collude." in text


def test_a_scheme_that_keeps_less_than_the_default_says_so_at_the_end() -> None:
    for exact in (True, False):
        assert "can open it." in " ".join(shown(document([1.0], exact=exact, scheme="ckks")).split())
        assert "could read each one." in " ".join(shown(document([1.0], exact=exact, scheme="plain")).split())
        assert "No row left" not in shown(document([1.0], exact=exact))


def test_a_long_table_says_where_the_rest_is() -> None:
    assert "... 2 rows more in cost.csv" in shown(document([1.0] * (SHOWN_ROWS + 2), exact=True))


def test_a_narrow_terminal_folds_numbers_and_cuts_none():
    assert "…" not in shown(document([123_456_789.25, 987_654_321.75], exact=True), width=20)
