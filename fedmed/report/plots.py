"""The curve over aggregations, predicted against observed risk, and what the phases took."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fedmed.report.looks import LOOKS, ArmLook
from fedmed.report.result import CurvePoint, NodePart, NodeScore, Result
from fedmed.report.svg import INK, MUTED, WIDE, Plot, draw_twice, mark, place, plot_label
from fedmed.report.units import byte_size, duration, metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURED_NODES = 6
"""Up to here every node has its own colour; above, one faint colour shows the spread."""

LEAST_SPAN = 0.02
"""Least range of an AUC axis: closer would enlarge noise."""

LABEL_HEIGHT = 22.0
NODE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
NODE_MARKERS = ("o", "s", "^", "D", "v", "P")


def curve_plot(result: Result, *, description: str) -> Plot | None:
    """Draw mean AUC over aggregations; None without a curve."""
    if not result.curve:
        return None

    def draw(figure: Figure, width: float) -> float:
        return _draw_curve(figure, width, result=result)

    return draw_twice("curve", description, draw=draw, labels=())


def calibration_plot(result: Result, *, description: str) -> Plot | None:
    """Draw observed against predicted risk of the federated model for each node; None without bins."""
    federated = result.arms.federated
    scores = {} if federated is None else federated.per_node
    shown = [
        (node, scores[node.key])
        for node in result.nodes
        if node.key in scores and scores[node.key].calibration
    ]
    if not shown:
        return None

    def draw(figure: Figure, width: float) -> float:
        return _draw_calibration(figure, width, shown=shown)

    return draw_twice(
        "calibration", description, draw=draw, labels=tuple(plot_label(node.label) for node, _ in shown)
    )


def phase_plot(result: Result, *, description: str) -> Plot | None:
    """Draw seconds and bytes of every phase as bars; None without phases."""
    if not result.phases:
        return None
    labels = tuple(plot_label(phase.phase) for phase in result.phases)

    def draw(figure: Figure, width: float) -> float:
        return _draw_phases(figure, width, result=result)

    return draw_twice("phases", description, draw=draw, labels=labels)


def _draw_curve(figure: Figure, width: float, *, result: Result) -> float:
    """AUC over aggregations with the level of the arms that do not learn in steps."""
    from matplotlib.ticker import MaxNLocator

    height = 300.0 if width >= WIDE else 260.0
    axes = place(figure, (46, 14, 14, 42), width=width, height=height)
    _draw_lines(axes, result)
    levels = _draw_levels(axes, result)
    last = result.curve[-1].aggregation
    axes.set_xlim(0, last * 1.02 + 0.2)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    _room_above_and_below(axes)
    low, high = axes.get_ylim()
    _name_levels(axes, levels, points_per_auc=(height - 56) / (high - low))
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("Aggregations")
    axes.set_ylabel("Mean AUC")
    return height


def _draw_lines(axes: Axes, result: Result) -> None:
    """The arms that learn in steps, federated on top, each with its marker at the end."""
    for look in (LOOKS["central"], LOOKS["federated"]):
        steps = [(point.aggregation, _curve_value(point, look.key)) for point in result.curve]
        line = [(at, value) for at, value in steps if value is not None]
        if not line or getattr(result.arms, look.key) is None:
            continue
        style = "solid" if look.key == "federated" else (0, (4, 2))
        axes.plot(*zip(*line, strict=True), color=look.colour, linewidth=2.2, linestyle=style)
        axes.plot(*line[-1], color=look.colour, marker=look.marker, markersize=7, clip_on=False)


def _draw_levels(axes: Axes, result: Result) -> list[tuple[float, ArmLook]]:
    """Level lines of `pooled` and `alone_private`, those that are known, from above to below."""
    arms = ((getattr(result.arms, look.key), look) for look in (LOOKS["pooled"], LOOKS["alone_private"]))
    levels = sorted(((arm.auc, look) for arm, look in arms if arm is not None), key=lambda one: -one[0])
    for auc, look in levels:
        axes.axhline(auc, color=look.colour, linewidth=1.4, linestyle=(0, (1, 2)))
    return levels


def _name_levels(axes: Axes, levels: list[tuple[float, ArmLook]], *, points_per_auc: float) -> None:
    """Names at the left end, where a rising curve is still low; below a line if the next is too near."""
    ceiling = float("inf")
    for auc, look in levels:
        above = (ceiling - auc) * points_per_auc > LABEL_HEIGHT
        ceiling = auc
        privacy = "private" if look.private else "no privacy"
        axes.annotate(
            f"{look.name}, {privacy} {metric(auc)}",
            (0, auc),
            xycoords=axes.get_yaxis_transform(),
            xytext=(2, 5 if above else -5),
            textcoords="offset points",
            ha="left",
            va="bottom" if above else "top",
            fontsize=11,
            color=INK,
        )


def _room_above_and_below(axes: Axes) -> None:
    """Leave room for the level lines' names, and never zoom in below `LEAST_SPAN`."""
    low, high = axes.dataLim.y0, axes.dataLim.y1
    room = max(0.14 * (high - low), (LEAST_SPAN - (high - low)) / 2)
    axes.set_ylim(low - room, high + room)


def _curve_value(point: CurvePoint, key: str) -> float | None:
    """The AUC of one arm at one point."""
    value: float | None = getattr(point, key)
    return value


def _draw_calibration(figure: Figure, width: float, *, shown: list[tuple[NodePart, NodeScore]]) -> float:
    """Observed against predicted risk, one line a node, the diagonal behind."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    height = 300.0 if width >= WIDE else 280.0
    axes = place(figure, (50, 14, 14, 42), width=width, height=height)
    few = len(shown) <= COLOURED_NODES
    top = 0.0
    for at, (_, score) in enumerate(shown):
        xs = [one.predicted for one in score.calibration]
        ys = [one.observed for one in score.calibration]
        top = max(top, *xs, *ys)
        if few:
            colour, sign = NODE_COLOURS[at], NODE_MARKERS[at]
            axes.plot(xs, ys, color=colour, marker=sign, markersize=5.5, linewidth=1.6, label=mark(at))
        else:
            axes.plot(xs, ys, color=NODE_COLOURS[0], marker="o", markersize=2.5, linewidth=1, alpha=0.35)
    top = min(1.0, top * 1.08 + 0.005)
    axes.plot([0, top], [0, top], color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
    axes.set_xlim(0, top)
    axes.set_ylim(0, top)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=5))
        axis.set_major_formatter(PercentFormatter(1, decimals=None if top > 0.05 else 1))
    axes.grid()
    axes.set_xlabel("Predicted risk")
    axes.set_ylabel("Observed share")
    if few:
        axes.legend(loc="upper left", frameon=False, fontsize=11.5, handlelength=1.8, borderaxespad=0.1)
    return height


def _draw_phases(figure: Figure, width: float, *, result: Result) -> float:
    """Two panels of bars: seconds and bytes; beside each other when wide, else one above the other."""
    step, head, rows = 28.0, 26.0, len(result.phases)
    panel = head + step * rows + 8
    wide = width >= WIDE
    height = panel if wide else 2 * panel + 6
    left, room = 92.0, 64.0
    half = (width - left) / 2
    seconds = place(
        figure,
        (left, head, half + room if wide else room + 6, height - panel + 8),
        width=width,
        height=height,
    )
    sizes = place(
        figure,
        (left + half + 10 if wide else left, height - panel + head, room + 6, 8),
        width=width,
        height=height,
    )
    _draw_bars(seconds, [p.seconds for p in result.phases], words=duration, colour="#0072B2", title="Time")
    _draw_bars(
        sizes, [p.bytes for p in result.phases], words=byte_size, colour="#009E73", title="Bytes moved"
    )
    for axes in (seconds,) if wide else (seconds, sizes):
        for at in range(rows):
            axes.text(-0.03, at, mark(at), transform=axes.get_yaxis_transform(), ha="right", va="center")
    return height


def _draw_bars(
    axes: Axes, values: list[float], *, words: Callable[[float], str], colour: str, title: str
) -> None:
    """One panel: bars with their figures at the end, no axis."""
    axes.barh(range(len(values)), values, height=0.62, color=colour)
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_xlim(0, max([*values, 1e-9]))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_title(title, loc="left", fontsize=11.5, color=MUTED, pad=8)
    for at, value in enumerate(values):
        axes.annotate(
            words(value) if value else "none",
            (value, at),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=11.5,
            color=INK if value else MUTED,
        )
