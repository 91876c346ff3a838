from __future__ import annotations

import io
import math

from rich.console import Console

from fedmed.progress import Progress
from fedmed.report.live import shown_progress


def shown(events: list[Progress], *, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    with shown_progress(console, title="A [bold]study[/bold]") as on_progress:
        for event in events:
            on_progress(event)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def events() -> list[Progress]:
    nodes = ("anhui", "jiangsu")
    rounds = [
        Progress(
            phase=phase,
            round_number=number,
            rounds=40,
            states=dict.fromkeys(nodes, "done"),
            bytes_moved=dict.fromkeys(nodes, 1000 * number),
            epsilon_spent=number / 50,
            epsilon_planned=1.0,
        )
        for number in range(1, 41)
        for phase in ("contribute", "open")
    ]
    return [Progress(phase="ceremony"), *rounds, Progress(phase="baselines", note="central")]


def test_without_a_terminal_a_study_takes_a_dozen_lines() -> None:
    lines = shown(events(), terminal=False).splitlines()
    assert lines[0] == "ceremony"
    assert lines[-1] == "baselines: central"
    assert len(lines) < 16
    assert lines[-2].startswith("aggregation 40/40: 80")
    assert "epsilon spent 0.800 of 1.000" in lines[-2]


def test_a_lost_node_shows_at_once() -> None:
    lost = Progress(phase="open", round_number=3, rounds=40, states={"anhui": "lost"})
    assert "anhui: lost in open, round 3, attempt 1" in shown([lost], terminal=False)


def test_a_terminal_gets_a_table_with_every_node() -> None:
    text = shown(events()[:-1], terminal=True)
    for words in ("anhui", "jiangsu", "40/40", "epsilon spent 0.800, left of the plan 0.200"):
        assert words in text
    assert "[bold]" in text, "a study's title is never read as markup"


def test_exact_sums_have_no_epsilon() -> None:
    exact = Progress(phase="open", round_number=1, rounds=1, epsilon_spent=math.inf, epsilon_planned=math.inf)
    assert "exact sums" in shown([exact], terminal=False)
    assert "inf" not in shown([exact], terminal=False)
