"""Survival curves as steps with their intervals, and the numbers at risk below them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.report.svg import INK, MUTED, WIDE, Plot, draw_twice, mark, place, plot_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("solid", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)), (0, (1, 1)), (0, (9, 3)))
MOST_CURVES = len(COLOURS)
_SIGN_POINTS = 6.6
"""Width of a sign of the table of numbers at risk; one that is not ASCII is taken for two."""
_NAME_GAP = 30.0
LEAST_SPAN = 0.1
"""Least range of the axis of shares: closer would enlarge noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """One curve.

    Attributes:
        name: Its group.
        times: Ends of the intervals, rising, in the unit of the axis.
        shares: Share that outlives each time; None = not shown.
        low: Lower end of the pointwise interval, likewise.
        high: Upper end.
        at_risk: Persons at risk in the interval that ends at each time, as written; None = blank.
    """

    name: str
    times: tuple[float, ...]
    shares: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    at_risk: tuple[str | None, ...]


def survival_plot(curves: tuple[Steps, ...], *, name: str, axis: str, start: float, description: str) -> Plot:
    """Draw curves of one question.

    Args:
        curves: At least one; above `MOST_CURVES` colours repeat and intervals are left out.
        name: Prefix of the ids inside.
        axis: Name of the time axis, with its unit.
        start: Where the grid of times begins.
        description: What the picture shows, for those who do not see it.

    Guarantees:
        Every curve has a dash of its own beside its colour; the axis is cut only above 0.5, and says so.
        A number at risk stands under the time from which on it counts; a dot where none begins there.
    """
    groups = tuple(plot_label(curve.name) for curve in curves)

    def draw(figure: Figure, width: float) -> float:
        return _draw(figure, width, curves=curves, axis=axis, start=start)

    return draw_twice(name, description, draw=draw, labels=groups)


def _draw(figure: Figure, width: float, *, curves: tuple[Steps, ...], axis: str, start: float) -> float:
    """The curves, a legend inside the margin, the table of numbers at risk."""
    is_wide = width >= WIDE
    top = 10.0 + 18.0 * len(curves)
    table = 24.0 + 17.0 * len(curves) * (1 if is_wide else 2)
    height = top + (250.0 if is_wide else 210.0) + 44 + table
    left = max(108.0, _NAME_GAP + _name_points(curves)) if is_wide else 44.0
    margins = (left, top, 18.0, 44.0 + table)
    axes = place(figure, margins, width=width, height=height)
    last = max(time for curve in curves for time in curve.times)
    axes.set_xlim(start, last)
    for at, curve in enumerate(curves):
        _draw_curve(axes, at, curve=curve, start=start, with_band=len(curves) <= MOST_CURVES)
    lowest = min((v for c in curves for v in (*c.low, *c.shares) if v is not None), default=0.0)
    floor = 0.0 if lowest < 0.5 else min(lowest - 0.02, 1.0 - LEAST_SPAN)
    axes.set_ylim(max(0.0, floor), 1.0)
    axes.grid(axis="y")
    axes.set_xlabel(axis)
    axes.set_ylabel("Share without the event" if floor <= 0 else "Share without (axis cut)")
    inner = height - top - 44.0 - table
    for at in range(len(curves)):
        _legend_line(axes, at, above=(top - 8 - 18 * at) / inner)
    _risk_table(axes, curves, size=(width - left - 18.0, inner), is_wide=is_wide)
    return height


def _name_points(curves: tuple[Steps, ...]) -> float:
    """Room that the longest name takes, in points."""
    names = (plot_label(curve.name) for curve in curves)
    return _SIGN_POINTS * max(sum(1 if sign.isascii() else 2 for sign in name) for name in names)


def _draw_curve(axes: Axes, at: int, *, curve: Steps, start: float, with_band: bool) -> None:
    """Steps up to the last point that is shown, with the band of its interval."""
    points = zip(curve.times, curve.shares, curve.low, curve.high, strict=True)
    shown = [(t, s, low, high) for t, s, low, high in points if s is not None]
    if not shown:
        return
    xs = [start, *(point[0] for point in shown)]
    colour, dash = COLOURS[at % MOST_CURVES], DASHES[at % MOST_CURVES]
    shares = [1.0, *(point[1] for point in shown)]
    axes.step(xs, shares, where="post", color=colour, linewidth=2, linestyle=dash)
    lows = [1.0, *(low for _, _, low, _ in shown if low is not None)]
    highs = [1.0, *(high for _, _, _, high in shown if high is not None)]
    if with_band and len(lows) == len(highs) == len(xs):
        axes.fill_between(xs, lows, highs, step="post", color=colour, alpha=0.14, linewidth=0)


def _legend_line(axes: Axes, at: int, *, above: float) -> None:
    """One line of the legend above the axes: a piece of the curve and its name."""
    y = 1.0 + above
    axes.plot(
        [0.0, 0.07],
        [y, y],
        transform=axes.transAxes,
        color=COLOURS[at % MOST_CURVES],
        linestyle=DASHES[at % MOST_CURVES],
        linewidth=2.2,
        clip_on=False,
    )
    axes.text(0.085, y, mark(at), transform=axes.transAxes, ha="left", va="center", fontsize=11.5)


def _risk_table(axes: Axes, curves: tuple[Steps, ...], *, size: tuple[float, float], is_wide: bool) -> None:
    """Numbers at risk under the ticks, a line a group; on a telephone the name stands above its line."""
    ticks = _ticks(axes, curves, most=6 if is_wide else 4)
    below, points = 52.0, size[1]
    # The first number is centred on the axis: the name keeps clear of its half.
    edge = -(_NAME_GAP - 4) / size[0] if is_wide else 0.0
    axes.text(
        edge,
        -below / points,
        "At risk",
        transform=axes.transAxes,
        ha="left" if not is_wide else "right",
        va="center",
        fontsize=11,
        color=MUTED,
    )
    for at, curve in enumerate(curves):
        line = below + 17.0 * ((at + 1) if is_wide else 2 * at + 1)
        axes.text(
            edge,
            -line / points,
            mark(at),
            transform=axes.transAxes,
            ha="right" if is_wide else "left",
            va="center",
            fontsize=11,
            color=COLOURS[at % MOST_CURVES],
        )
        for time in ticks:
            axes.text(
                time,
                -(line if is_wide else line + 16) / points,
                _from(curve, time, start=ticks[0]),
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="center",
                fontsize=11,
                color=INK,
            )


def _ticks(axes: Axes, curves: tuple[Steps, ...], *, most: int) -> list[float]:
    """The start, and times of the longest curve evenly among them; set on the axis too."""
    from matplotlib.ticker import FixedLocator, FuncFormatter

    times = max((curve.times for curve in curves), key=len)
    step = max(1, -(-len(times) // most))
    ticks = [axes.get_xlim()[0], *times[step - 1 :: step]]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at:g}"))
    return ticks


def _from(curve: Steps, time: float, *, start: float) -> str:
    """The number at risk from a time on, or a dot where no interval begins there."""
    begins = zip((start, *curve.times), curve.at_risk, strict=False)
    return next((text for begin, text in begins if text and math.isclose(begin, time)), "·")
