"""The monthly chart: what came, the band in which it was expected, and the months that left it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.report.svg import INK, WIDE, Plot, draw_twice, place

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOUR = "#0072B2"
ALARM = "#D55E00"
BAND = "#cfd8e0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """One month.

    Attributes:
        name: ``2024-03``.
        value: What came, in the unit of the axis; None = blank.
        low: Lower end of the band of expectation; None where the rule has none yet.
        high: Upper end.
        is_alarm: Whether the rule warns.
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    is_alarm: bool = False


def month_plot(months: tuple[Month, ...], *, name: str, axis: str, description: str) -> Plot:
    """Draw a series of months.

    Args:
        months: In order; at least one.
        name: Prefix of the ids inside.
        axis: Name of the axis, with its unit.
        description: What the picture shows, for those who do not see it.

    Guarantees:
        A month that the rule warns of has a marker and a colour of its own; a blank month leaves a gap.
    """

    def draw(figure: Figure, width: float) -> float:
        return _draw(figure, width, months=months, axis=axis)

    return draw_twice(name, description, draw=draw, labels=())


def _draw(figure: Figure, width: float, *, months: tuple[Month, ...], axis: str) -> float:
    """Band, line, alarms."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

    is_wide = width >= WIDE
    height = 280.0 if is_wide else 250.0
    axes = place(figure, (64, 30, 14, 34), width=width, height=height)
    _draw_band(axes, months)
    for run in _runs(months):
        axes.plot(*zip(*run, strict=True), color=COLOUR, linewidth=2, marker="o", markersize=5)
    for at, month in enumerate(months):
        if month.is_alarm and month.value is not None:
            axes.plot([at], [month.value], marker="D", color=ALARM, markersize=9, linestyle="none", zorder=4)
    step = max(1, -(-len(months) // (6 if is_wide else 4)))
    axes.xaxis.set_major_locator(FixedLocator(list(range(0, len(months), step))))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: months[round(at)].name))
    axes.set_xlim(-0.4, len(months) - 0.6)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda at, _: axis_text(at)))
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    axes.text(-50 / (width - 78), 1.05, axis, transform=axes.transAxes, ha="left", fontsize=11.5, color=INK)
    return height


def axis_text(value: float) -> str:
    """A value of the axis without an exponent: large ones in thousands and millions."""
    for size, sign in ((1e9, " bn"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            unit = 1e3 if sign == " k" else size
            return f"{value / unit:,.4g}{sign}"
    return f"{value:,.4g}"


def _draw_band(axes: Axes, months: tuple[Month, ...]) -> None:
    """The band over the months that have one."""
    banded = [
        (at, month.low, month.high)
        for at, month in enumerate(months)
        if month.low is not None and month.high is not None
    ]
    if banded:
        places, lows, highs = zip(*banded, strict=True)
        axes.fill_between(places, lows, highs, color=BAND, alpha=0.6, linewidth=0)


def _runs(months: tuple[Month, ...]) -> list[list[tuple[int, float]]]:
    """Stretches of months without a blank between them: place and value."""
    runs: list[list[tuple[int, float]]] = [[]]
    for at, month in enumerate(months):
        if month.value is None:
            runs.append([])
        else:
            runs[-1].append((at, month.value))
    return [run for run in runs if run]
