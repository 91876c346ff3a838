"""The forest plot: an estimate and its interval for every term, on one axis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.report.svg import INK, MUTED, WIDE, Plot, draw_twice, mark, place, plot_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOUR = "#0072B2"
NOISE_COLOUR = "#E69F00"
MOST_RATIO = 1000.0
"""Ratios outside 1/1000 .. 1000 are drawn at the edge of the axis with an arrow; the table has the number."""
_NARROW = 0.02
_STEPS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.5, 0.7, 1, 1.4, 2, 5, 10, 20, 100, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestRow:
    """One line of the plot, on the scale that is drawn.

    Attributes:
        name: What it is about.
        estimate: Its estimate, > 0 on a ratio axis.
        low: Lower end of the interval.
        high: Upper end.
        noise_low: Lower end of the interval of the noise alone; None = no noise.
        noise_high: Upper end likewise.
    """

    name: str
    estimate: float
    low: float
    high: float
    noise_low: float | None = None
    noise_high: float | None = None


def forest_plot(
    rows: tuple[ForestRow, ...], *, name: str, axis: str, is_ratio: bool, description: str
) -> Plot:
    """Draw estimates and intervals.

    Args:
        rows: From above to below; at least one.
        name: Prefix of the ids inside.
        axis: Name of the axis, with its unit.
        is_ratio: Logarithmic axis with the line of no effect at 1; otherwise linear, at 0.
        description: What the picture shows, for those who do not see it.

    Guarantees:
        Names are escaped. An interval that leaves the axis ends in an arrow.
    """

    def draw(figure: Figure, width: float) -> float:
        return _draw(figure, width, rows=rows, axis=axis, is_ratio=is_ratio)

    return draw_twice(name, description, draw=draw, labels=tuple(plot_label(row.name) for row in rows))


def _draw(figure: Figure, width: float, *, rows: tuple[ForestRow, ...], axis: str, is_ratio: bool) -> float:
    """Rows with the name to the left and the figures to the right; on a telephone both stand above."""
    is_wide = width >= WIDE
    step = 27.0 if is_wide else 40.0
    height = step * len(rows) + 52
    margins = (158.0, 6.0, 136.0, 46.0) if is_wide else (10.0, 6.0, 14.0, 46.0)
    axes = place(figure, margins, width=width, height=height)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    low, high = _range(rows, is_ratio=is_ratio)
    if is_ratio:
        _ratio_axis(axes, low, high, most=6 if is_wide else 4)
    axes.set_xlim(low, high)
    axes.grid(axis="x")
    axes.axvline(1.0 if is_ratio else 0.0, color=MUTED, linewidth=1.2, zorder=1.2)
    for at, row in enumerate(rows):
        _draw_row(axes, at if is_wide else at + 0.18, row=row, ends=(low, high))
        _write_row(axes, at, row=row, is_wide=is_wide)
    axes.set_xlabel(axis, loc="right" if is_wide else "center")
    return height


def _range(rows: tuple[ForestRow, ...], *, is_ratio: bool) -> tuple[float, float]:
    """Ends of the axis: all intervals, the line of no effect, and some room."""
    ends = [end for row in rows for end in (row.low, row.high) if math.isfinite(end)]
    if not is_ratio:
        low, high = min([0.0, *ends]), max([0.0, *ends])
        room = 0.06 * (high - low or 1.0)
        return low - room, high + room
    inside = [min(max(end, 1 / MOST_RATIO), MOST_RATIO) for end in ends]
    return min([0.9, *inside]) / 1.08, max([1.1, *inside]) * 1.08


def _ratio_axis(axes: Axes, low: float, high: float, *, most: int) -> None:
    """A logarithmic axis with few round ticks, 1 always among them."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_xscale("log")
    ticks = [at for at in _STEPS if low <= at <= high]
    fine = [at / 100 for at in range(50, 200, 10) if low <= at / 100 <= high]
    if len(ticks) < 3:
        ticks = fine
    while len(ticks) > most:
        keep = ticks.index(1) % 2
        ticks = [at for place_, at in enumerate(ticks) if place_ % 2 == keep]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at:g}"))


def _draw_row(axes: Axes, at: float, *, row: ForestRow, ends: tuple[float, float]) -> None:
    """The interval with arrows where it leaves the axis, the noise's share of it, the estimate."""
    low, high = max(row.low, ends[0]), min(row.high, ends[1])
    axes.plot([low, high], [at, at], color=COLOUR, linewidth=2.0, zorder=2, solid_capstyle="butt")
    for end, edge, arrow in ((row.low, ends[0], "<"), (row.high, ends[1], ">")):
        if end < ends[0] or end > ends[1]:
            axes.plot([edge], [at], marker=arrow, color=COLOUR, markersize=6, clip_on=False, linestyle="none")
    if row.noise_low is not None and row.noise_high is not None:
        inner = [max(row.noise_low, ends[0]), min(row.noise_high, ends[1])]
        axes.plot(inner, [at, at], color=NOISE_COLOUR, linewidth=5.0, zorder=1.8, solid_capstyle="butt")
    if ends[0] <= row.estimate <= ends[1]:
        axes.plot([row.estimate], [at], marker="s", color=COLOUR, markersize=7, linestyle="none", zorder=3)


def _write_row(axes: Axes, at: int, *, row: ForestRow, is_wide: bool) -> None:
    """The name, and the figures in words."""
    # An interval of two equal ends would say less than is known.
    digits = 3 if row.high - row.low < _NARROW else 2
    estimate, low, high = (ratio_text(v, digits=digits) for v in (row.estimate, row.low, row.high))
    figures = f"{estimate} ({low} to {high})"
    across = axes.get_yaxis_transform()
    if is_wide:
        axes.text(-0.03, at, mark(at), transform=across, ha="right", va="center")
        axes.text(1.03, at, figures, transform=across, ha="left", va="center", fontsize=11.5, color=INK)
        return
    axes.text(0.0, at - 0.22, mark(at), transform=across, ha="left", va="center", fontsize=11.5)
    axes.text(1.0, at - 0.22, figures, transform=across, ha="right", va="center", fontsize=11, color=INK)


def ratio_text(value: float, *, digits: int = 2) -> str:
    """An effect with so many digits after the point, or none where it is large; not finite as a sign."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞" if value < 0 else "?"
    size = abs(value)
    text = f"{size:.{digits}f}" if size < 99.95 else f"{size:,.0f}" if size < 1e6 else f"{size:.1e}"
    return f"−{text}" if value < 0 and float(text.replace(",", "")) else text
