"""The dot plot: one metric for every node and arm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.report.findings import WELL_CALIBRATED
from fedmed.report.looks import ArmLook, known_arms
from fedmed.report.result import Arm, NodePart, Result
from fedmed.report.svg import MUTED, WIDE, Plot, draw_twice, mark, place, plot_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEAST_SPAN = 0.02
"""Least range of an axis: closer would enlarge noise."""

LANE = 0.13
"""Distance between two arms across a row, in rows: equal scores would hide each other otherwise."""


def dot_plot(result: Result, metric_name: str, *, description: str) -> Plot | None:
    """Draw one metric for every node and arm, the mean on top.

    Args:
        result: Any result.
        metric_name: ``auc``, ``average_precision`` or ``expected_over_observed``; the last is drawn on a
            logarithmic axis around 1.
        description: What the picture shows, for those who do not see it.

    Returns:
        The picture, or None when no node has a score.
    """
    arms = known_arms(result)
    if not any(_score(arm, n, metric_name) is not None for _, arm in arms for n in result.nodes):
        return None
    labels = ("Mean", *(plot_label(node.label) for node in result.nodes))

    def draw(figure: Figure, width: float) -> float:
        return _draw_dots(figure, width, rows=_dot_rows(result, metric_name), metric_name=metric_name)

    return draw_twice(f"dots-{metric_name}", description, draw=draw, labels=labels)


def _score(arm: Arm, node: NodePart, metric_name: str) -> float | None:
    """One node's metric, None when it is not known."""
    score = arm.per_node.get(node.key)
    value: float | None = None if score is None else getattr(score, metric_name)
    return value


def _dot_rows(result: Result, metric_name: str) -> list[list[tuple[ArmLook, float]]]:
    """The mean's row, then one row for each node: the arms that have a value there."""
    arms = known_arms(result)
    rows = [[(look, getattr(arm, metric_name)) for look, arm in arms]]
    rows += [[(look, _score(arm, node, metric_name)) for look, arm in arms] for node in result.nodes]
    return [[(look, value) for look, value in row if value is not None] for row in rows]


def _draw_dots(
    figure: Figure, width: float, *, rows: list[list[tuple[ArmLook, float]]], metric_name: str
) -> float:
    """Rows of dots; returns the height."""
    step = 38.0 if width >= WIDE or len(rows) <= 14 else 28.0
    height = step * len(rows) + 46
    left = 150.0 if width >= WIDE else 112.0
    axes = place(figure, (left, 8, 14, 38), width=width, height=height)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.axhspan(-0.5, 0.5, color="#f3f6f9", linewidth=0)
    if metric_name == "expected_over_observed":
        _ratio_axis(axes, [value for row in rows for _, value in row])
    else:
        _metric_axis(axes, [value for row in rows for _, value in row], ticks=5 if width >= WIDE else 4)
    axes.grid(axis="x")
    for at, row in enumerate(rows):
        _draw_dot_row(axes, at, row=row)
    axes.set_xlabel(
        {
            "auc": "AUC, higher is better",
            "average_precision": "Average precision, higher is better",
            "expected_over_observed": "Expected / observed cases, 1 is calibrated",
        }[metric_name],
        loc="right",
    )
    return height


def _draw_dot_row(axes: Axes, at: int, *, row: list[tuple[ArmLook, float]]) -> None:
    """One row: its name, the span of its dots, the dots with federated on top."""
    weight = "bold" if at == 0 else "normal"
    axes.text(
        -0.03, at, mark(at), transform=axes.get_yaxis_transform(), ha="right", va="center", fontweight=weight
    )
    values = [value for _, value in row]
    if values:
        axes.plot([min(values), max(values)], [at, at], color="#cbd2d9", linewidth=2, zorder=1.5)
    for order, (look, value) in enumerate(row):
        axes.plot(
            [value],
            [at + (order - (len(row) - 1) / 2) * LANE],
            marker=look.marker,
            markersize=9 if look.key == "federated" else 7.5,
            markerfacecolor=look.colour if look.private else "white",
            markeredgecolor="white" if look.private else look.colour,
            markeredgewidth=0.8 if look.private else 1.8,
            linestyle="none",
            zorder=10 - order,
        )


def _metric_axis(axes: Axes, values: list[float], *, ticks: int) -> None:
    """A linear axis that holds all values with room on both sides, inside [0, 1]."""
    from matplotlib.ticker import MaxNLocator

    low, high = min(values), max(values)
    room = max((high - low) * 0.1, LEAST_SPAN / 2)
    axes.set_xlim(max(0.0, low - room), min(1.0, high + room))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=ticks))


def _ratio_axis(axes: Axes, values: list[float]) -> None:
    """A logarithmic axis around 1 with the calibrated band."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    positive = [value for value in values if value > 0]
    low, high = min([0.75, *positive]) * 0.95, max([1.35, *positive]) * 1.05
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    steps = [0.01, 0.1, 0.25, 0.5, 0.8, 1, 1.25, 2, 4, 10, 100]
    axes.xaxis.set_major_locator(FixedLocator([at for at in steps if low <= at <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at:g}"))
    axes.axvspan(*WELL_CALIBRATED, color="#e8f5ee", linewidth=0, zorder=0.4)
    axes.axvline(1, color=MUTED, linewidth=1.2, zorder=1.2)
