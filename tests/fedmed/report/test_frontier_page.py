"""A frontier's page: self-contained, escaped, and its advice is on it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedmed.report.frontier_page import render_frontier
from fedmed.report.frontier_plots import auc_plot, cost_plot, lines_of
from fedmed.report.frontier_result import (
    Advice,
    Band,
    Frontier,
    FrontierPoint,
    Level,
    Setting,
    baseline_of,
)
from fedmed.types import Mode, Scheme

HOSTILE = '<script>alert("x")</script>'
SETTING = Setting(nodes=4, people=80_000)
POINT = FrontierPoint(
    setting=SETTING,
    mode=Mode.AGGREGATE,
    scheme=Scheme.THRESHOLD,
    epsilon=0.5,
    clip_norm=3.0,
    aggregations=40,
    auc=Band(values=(0.80, 0.82)),
    worst_auc=0.78,
    average_precision=0.3,
    expected_over_observed=1.1,
    fallback_epsilon=0.73,
    size_bytes=20_000_000,
    seconds=9.0,
    a_year=12,
    year_epsilon=1.96,
    is_on_front=True,
)
MORE = replace(POINT, epsilon=2.0, auc=Band(values=(0.82, 0.83)), a_year=1, is_on_front=False)
LOCAL = replace(POINT, mode=Mode.LOCAL, auc=Band(values=(0.77, 0.80)), size_bytes=5_000_000)
LEVELS = tuple(
    Level(
        setting=SETTING,
        arm=arm,
        epsilon=epsilon,
        clip_norm=3.0,
        aggregations=40,
        auc=Band(values=(auc,)),
        worst_auc=auc - 0.02,
    )
    for arm, epsilon, auc in (
        ("central", 0.5, 0.82),
        ("alone_private", 0.5, 0.74),
        ("alone_private", 2.0, 0.79),
        ("pooled", None, 0.85),
        ("alone", None, 0.84),
    )
)


def frontier(text: str = "高费用") -> Frontier:
    return Frontier(
        study=text,
        study_id="demo",
        outcome=text,
        delta=1e-5,
        budget=2.0,
        seeds=(1, 2),
        points=(POINT, MORE, LOCAL),
        levels=LEVELS,
        advice=Advice(headline=text, reasons=(text, "Because."), point=POINT),
        encrypted_runs=2,
        runs=6,
        created="2026-03-02",
    )


def test_a_band_knows_its_ends_and_compares_seed_by_seed() -> None:
    assert (POINT.auc.low, POINT.auc.high) == (0.80, 0.82)
    assert POINT.auc.error_against(MORE.auc) == pytest.approx(0.005)
    assert POINT.auc.error_against(Band(values=(0.8,))) is None


def test_the_best_baseline_of_the_same_epsilon_stands_beside_a_point() -> None:
    found = baseline_of(LEVELS, MORE, "alone_private")
    assert found is not None
    assert found.epsilon == 2.0
    assert baseline_of(LEVELS, MORE, "central") is None
    assert baseline_of(LEVELS, replace(POINT, setting=Setting(nodes=31, people=9)), "pooled") is None


def test_lines_say_only_what_differs() -> None:
    assert [line.name for line in lines_of((POINT, MORE, LOCAL), SETTING)] == ["aggregate", "local"]
    other = replace(POINT, clip_norm=4.0)
    assert [line.name for line in lines_of((POINT, other), SETTING)] == [
        "aggregate, clip 3",
        "aggregate, clip 4",
    ]


@pytest.mark.slow
def test_bytes_are_drawn_where_they_differ() -> None:
    assert cost_plot(frontier(), setting=SETTING, name="cost") is not None
    assert cost_plot(replace(frontier(), points=(POINT, MORE)), setting=SETTING, name="cost") is None


@pytest.mark.slow
def test_a_page_is_escaped_self_contained_and_always_the_same() -> None:
    page = render_frontier(frontier())
    assert page == render_frontier(frontier())
    assert not any(word in page for word in ("src=", "<script", "@import", "mathdefault"))
    assert "epsilon 0.5" in page
    assert "the advice above" in page
    assert "Mode aggregate: all provinces take each step" in page
    assert "Mode statistics:" not in page
    assert "<script" not in render_frontier(frontier(HOSTILE))


@pytest.mark.slow
def test_the_picture_in_words_names_both_ends_of_every_line() -> None:
    plot = auc_plot(frontier(), setting=SETTING, name="auc")
    assert "aggregate from 0.810 at epsilon 0.5 to 0.825 at 2" in plot.description
    assert "alone, no privacy" in plot.wide
    assert "alone, open" in plot.narrow


def test_a_page_says_how_long_it_took_unless_every_run_was_kept() -> None:
    page = render_frontier(replace(frontier(), computed=12, wall_seconds=90.0))
    assert "Computed <b>12 runs in " in page
    assert "Computed <b>" not in render_frontier(frontier())
