"""The monthly chart: what came and where it was expected; below, the departures that a warning adds up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.report.svg import INK, MUTED, WIDE, Plot, draw_twice, place

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOUR = "#0072B2"
ALARM = "#D55E00"
BAND = "#cfd8e0"
_SUMS_POINTS = 170.0
"""Height of the sums below the months."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """One month.

    Attributes:
        name: ``2024-03``.
        value: What came, in the unit of the axis; None = blank.
        low: Lower end of the band of a month by itself; None where there is none.
        high: Upper end.
        above: Departures upwards, added up, in standard deviations; None where there are none.
        below: Departures downwards, likewise >= 0.
        is_alarm: Whether the rule warns.
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    is_alarm: bool = False


def month_plot(
    months: tuple[Month, ...], *, name: str, axis: str, description: str, limit: float | None = None
) -> Plot:
    """Draw a series of months.

    Args:
        months: In order; at least one.
        name: Prefix of the ids inside.
        axis: Name of the axis, with its unit.
        description: What the picture shows, for those who do not see it.
        limit: Sum of departures beyond which there is an alarm; None = without the sums.

    Guarantees:
        A month that the rule warns of has a marker and a colour of its own; a blank month leaves a gap. Sums
        are drawn with their limit.
    """

    def draw(figure: Figure, width: float) -> float:
        return _draw(figure, width, months=months, axis=axis, limit=limit)

    return draw_twice(name, description, draw=draw, labels=())


def _draw(
    figure: Figure, width: float, *, months: tuple[Month, ...], axis: str, limit: float | None
) -> float:
    """Band, line, alarms; below, the sums that raise them."""
    is_wide = width >= WIDE
    has_sums = limit is not None and any(month.above is not None for month in months)
    own, more = (280.0 if is_wide else 250.0), (_SUMS_POINTS if has_sums else 0.0)
    axes = place(figure, (64, 30, 14, 34 + more), width=width, height=own + more)
    _draw_months(axes, months)
    _name_axes(axes, months, width=width, name=axis)
    if limit is not None and has_sums:
        sums = place(figure, (64, own + 22, 14, 34), width=width, height=own + more)
        _draw_sums(sums, months, limit=limit)
        _name_axes(sums, months, width=width, name="Departures added up, standard deviations")
    return own + more


def _draw_months(axes: Axes, months: tuple[Month, ...]) -> None:
    """What came, the band of a month by itself, and the months warned of."""
    _draw_band(axes, months)
    for run in _runs(months):
        axes.plot(*zip(*run, strict=True), color=COLOUR, linewidth=2, marker="o", markersize=5)
    for at, month in enumerate(months):
        if month.is_alarm and month.value is not None:
            axes.plot([at], [month.value], marker="D", color=ALARM, markersize=9, linestyle="none", zorder=4)


def _draw_sums(axes: Axes, months: tuple[Month, ...], *, limit: float) -> None:
    """Departures added up, upwards and downwards, between the limits beyond which there is an alarm."""
    above = [month.above or 0.0 for month in months]
    below = [-(month.below or 0.0) for month in months]
    for sums in (above, below):
        axes.bar(range(len(months)), sums, width=0.7, color=COLOUR)
    for at, month in enumerate(months):
        if month.is_alarm:
            furthest = max(above[at], below[at], key=abs)
            axes.bar([at], [furthest], width=0.7, color=ALARM)
            axes.plot([at], [furthest], marker="D", color=ALARM, markersize=7, linestyle="none", zorder=4)
    for side in (limit, -limit):
        axes.axhline(side, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.axhline(0, color=MUTED, linewidth=1)
    reach = 1.25 * max(limit, *above, *(-v for v in below))
    axes.set_ylim(-reach, reach)


def _name_axes(axes: Axes, months: tuple[Month, ...], *, width: float, name: str) -> None:
    """Months below, few values at the left, their name above."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

    step = max(1, -(-len(months) // (6 if width >= WIDE else 4)))
    axes.xaxis.set_major_locator(FixedLocator(list(range(0, len(months), step))))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: months[round(at)].name))
    axes.set_xlim(-0.6, len(months) - 0.4)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda at, _: axis_text(at)))
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    axes.annotate(
        name,
        (0, 1),
        (-50, 9),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=11.5,
        color=INK,
    )


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
