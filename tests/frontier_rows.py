"""Rows of a frontier that nobody computed."""

from __future__ import annotations

from dataclasses import replace

from fedmed.frontier.rows import Row

ROW = Row(
    arm="federated",
    mode="aggregate",
    scheme="threshold",
    epsilon=1.0,
    delta=1e-5,
    nodes=4,
    people=1000,
    clip_norm=1.0,
    aggregations=40,
    seed=1,
    auc=0.8,
    worst_auc=0.75,
    average_precision=0.3,
    expected_over_observed=1.1,
    fallback_epsilon=1.5,
    events="[[23.59, 1.0, 42]]",
    layout="one",
    is_encrypted=True,
    size_bytes=1_000_000,
    seconds=5.0,
)
SIGMAS = {0.25: 90.0, 0.5: 45.57, 1.0: 24.18, 4.0: 7.0}


def federated(epsilon: float, auc: float, *, seed: int = 1, **changes: object) -> Row:
    """A federated run; noise about as its epsilon needs."""
    row = replace(ROW, epsilon=epsilon, auc=auc, seed=seed, events=f"[[{SIGMAS[epsilon]}, 1.0, 42]]")
    return replace(row, **changes)  # type: ignore[arg-type]  # names and values are written by tests


def baseline(arm: str, auc: float, *, epsilon: float | None = None) -> Row:
    """A baseline."""
    row = replace(ROW, arm=arm, mode="", scheme="", epsilon=epsilon, auc=auc, fallback_epsilon=None)
    row = replace(row, events="[]", layout="", is_encrypted=False, size_bytes=None, seconds=None)
    return row if epsilon is not None else replace(row, clip_norm=None, aggregations=None, delta=None)
