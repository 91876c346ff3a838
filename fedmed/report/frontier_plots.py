"""The pictures of a frontier: AUC against epsilon with bands, and what is bought for bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.report.frontier_result import Frontier, FrontierPoint, Level, Setting
from fedmed.report.looks import LOOKS
from fedmed.report.plots import LEAST_SPAN
from fedmed.report.svg import INK, MUTED, WIDE, Plot, draw_twice, mark, place
from fedmed.report.units import byte_size, metric
from fedmed.types import Mode

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MODE_COLOURS = {Mode.AGGREGATE: "#0072B2", Mode.LOCAL: "#CC79A7", Mode.STATISTICS: "#009E73"}
MODE_MARKERS = {Mode.AGGREGATE: "o", Mode.LOCAL: "^", Mode.STATISTICS: "s"}
DASHES = ("solid", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
BASELINE_NAMES = {
    True: {
        "central": "central",
        "alone_private": "alone, same epsilon",
        "pooled": "pooled, no privacy",
        "alone": "alone, no privacy",
    },
    False: {
        "central": "central",
        "alone_private": "alone, private",
        "pooled": "pooled, open",
        "alone": "alone, open",
    },
}
"""Names of baselines on a wide and on a narrow picture."""

LABEL_POINTS = 13.0
"""Least distance of two lines' names, in points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Points that differ in epsilon only.

    Attributes:
        name: For people.
        points: By rising epsilon.
        dash: Which of `DASHES`: lines of one mode differ in it.
    """

    name: str
    points: tuple[FrontierPoint, ...]
    dash: int


def lines_of(points: Sequence[FrontierPoint], setting: Setting) -> tuple[Line, ...]:
    """The lines of a setting; a name says only what differs between them."""
    groups: dict[tuple[Mode, str, float, int], list[FrontierPoint]] = {}
    for point in points:
        if point.setting == setting:
            key = (point.mode, point.scheme.value, point.clip_norm, point.aggregations)
            groups.setdefault(key, []).append(point)
    varies = [len({(key[0], key[i]) for key in groups}) > len({key[0] for key in groups}) for i in (1, 2, 3)]
    lines, seen = [], dict.fromkeys((key[0] for key in groups), 0)
    for (mode, scheme, clip, rounds), members in groups.items():
        extra = (scheme, f"clip {clip:g}", f"{rounds} sums")
        parts = [text for text, shown in zip(extra, varies, strict=True) if shown]
        members.sort(key=lambda point: point.epsilon)
        name = ", ".join([mode.value, *parts])
        lines.append(Line(name=name, points=tuple(members), dash=seen[mode] % len(DASHES)))
        seen[mode] += 1
    return tuple(lines)


def auc_plot(frontier: Frontier, *, setting: Setting, name: str) -> Plot:
    """Draw mean AUC against epsilon: a line and a band a mode, baselines as lines, the advice ringed."""
    lines = lines_of(frontier.points, setting)
    levels = [level for level in frontier.levels if level.setting == setting]
    advised = frontier.advice.point

    def draw(figure: Figure, width: float) -> float:
        return _draw_auc(figure, width, lines=lines, levels=levels, advised=advised)

    labels = tuple(line.name for line in lines)
    return draw_twice(name, _words(lines, setting), draw=draw, labels=labels)


def worst_plot(frontier: Frontier, *, setting: Setting, name: str) -> Plot:
    """Draw the worst province's AUC against epsilon, together and alone."""
    lines = lines_of(frontier.points, setting)
    levels = [level for level in frontier.levels if level.setting == setting]

    def draw(figure: Figure, width: float) -> float:
        return _draw_worst(figure, width, lines=lines, levels=levels)

    parts = (f"{line.name} {metric(line.points[-1].worst_auc)}" for line in lines)
    words = f"AUC of the worst province against epsilon; at the largest epsilon {', '.join(parts)}."
    return draw_twice(name, words, draw=draw, labels=tuple(line.name for line in lines))


def _words(lines: Sequence[Line], setting: Setting) -> str:
    """The picture in words."""
    parts = (
        f"{line.name} from {metric(line.points[0].auc.mean)} at epsilon {line.points[0].epsilon:g} to "
        f"{metric(line.points[-1].auc.mean)} at {line.points[-1].epsilon:g}"
        for line in lines
    )
    return f"Mean AUC against epsilon, {setting.words}: {'; '.join(parts)}."


def _draw_auc(
    figure: Figure,
    width: float,
    *,
    lines: Sequence[Line],
    levels: Sequence[Level],
    advised: FrontierPoint | None,
) -> float:
    """The main picture."""
    axes, height = _axes(figure, width)
    names = [(_draw_line(axes, line), mark(at), _colour(line)) for at, line in enumerate(lines)]
    names += _draw_levels(axes, levels, wide=width >= WIDE, of_worst=False)
    if advised is not None and any(advised in line.points for line in lines):
        axes.plot(
            advised.epsilon,
            advised.auc.mean,
            marker="o",
            markersize=15,
            markerfacecolor="none",
            markeredgecolor=INK,
            markeredgewidth=1.6,
            zorder=5,
        )
    _finish(axes, names, lines=lines, height=height, label="Mean AUC")
    return height


def _axes(figure: Figure, width: float) -> tuple[Axes, float]:
    """Axes with room for names at the right, and the height of the picture."""
    wide = width >= WIDE
    height, right = (380.0, 138.0) if wide else (330.0, 96.0)
    return place(figure, (50, 12, right, 44), width=width, height=height), height


def _finish(
    axes: Axes,
    names: Sequence[tuple[float, str, str]],
    *,
    lines: Sequence[Line],
    height: float,
    label: str,
) -> None:
    """Scales, and names of the lines."""
    _epsilon_axis(axes, [point.epsilon for line in lines for point in line.points])
    low, high = axes.dataLim.y0, axes.dataLim.y1
    room = max(0.06 * (high - low), (LEAST_SPAN - (high - low)) / 2)
    axes.set_ylim(low - room, high + room)
    axes.set_ylabel(label)
    _name_ends(axes, names, points_per_auc=(height - 56) / (high - low + 2 * room))


def _colour(line: Line) -> str:
    """Of its mode."""
    return MODE_COLOURS[line.points[0].mode]


def _draw_line(axes: Axes, line: Line) -> float:
    """A mode's mean with the band of its seeds; returns the height of its right end."""
    first = line.points[0]
    colour, at = MODE_COLOURS[first.mode], [point.epsilon for point in line.points]
    low, high = [p.auc.low for p in line.points], [p.auc.high for p in line.points]
    axes.fill_between(at, low, high, color=colour, alpha=0.16, linewidth=0)
    means = [point.auc.mean for point in line.points]
    axes.plot(at, means, color=colour, linewidth=2.2, linestyle=DASHES[line.dash], zorder=3)
    for point in line.points:
        face = colour if point.is_on_front else "#ffffff"
        axes.plot(
            point.epsilon,
            point.auc.mean,
            marker=MODE_MARKERS[first.mode],
            markersize=7,
            markerfacecolor=face,
            markeredgecolor=colour,
            markeredgewidth=1.6,
            zorder=4,
        )
    return means[-1]


def _draw_levels(
    axes: Axes, levels: Sequence[Level], *, wide: bool, of_worst: bool
) -> list[tuple[float, str, str]]:
    """Baselines: dashed over epsilon with privacy, dotted without; of several clips the best is drawn."""
    names = []
    for arm, label in BASELINE_NAMES[wide].items():
        look, mine = LOOKS[arm], [level for level in levels if level.arm == arm]
        best = {level.epsilon: level for level in sorted(mine, key=lambda level: level.auc.mean)}
        heights = {e: level.worst_auc if of_worst else level.auc.mean for e, level in best.items()}
        private = sorted((e, height) for e, height in heights.items() if e is not None)
        if private:
            axes.plot(*zip(*private, strict=True), color=look.colour, linewidth=1.5, linestyle=(0, (4, 2.5)))
            names.append((private[-1][1], label, look.colour))
        elif heights:
            end = heights[None]
            axes.axhline(end, color=look.colour, linewidth=1.4, linestyle=(0, (1, 2)))
            axes.update_datalim([(1, end)], updatex=False)
            names.append((end, label, look.colour))
    return names


def _draw_worst(figure: Figure, width: float, *, lines: Sequence[Line], levels: Sequence[Level]) -> float:
    """One line a mode, without bands."""
    axes, height = _axes(figure, width)
    names = []
    for number, line in enumerate(lines):
        at, heights = [p.epsilon for p in line.points], [p.worst_auc for p in line.points]
        axes.plot(
            at,
            heights,
            color=_colour(line),
            marker=MODE_MARKERS[line.points[0].mode],
            markersize=5.5,
            linewidth=2,
            linestyle=DASHES[line.dash],
        )
        names.append((heights[-1], mark(number), _colour(line)))
    names += _draw_levels(axes, levels, wide=width >= WIDE, of_worst=True)
    _finish(axes, names, lines=lines, height=height, label="AUC of the worst province")
    return height


def _epsilon_axis(axes: Axes, epsilons: Sequence[float]) -> None:
    """A logarithmic axis with the epsilons that were tried as its ticks."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    ticks = sorted(set(epsilons))
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.set_xlim(ticks[0] / 1.15, ticks[-1] * 1.15)
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("Epsilon of one study, per person")


def _name_ends(axes: Axes, names: Sequence[tuple[float, str, str]], *, points_per_auc: float) -> None:
    """Names at the right end, moved apart where they would touch; a thin line leads to each."""
    ordered = sorted(names, key=lambda one: one[0])
    places: list[float] = []
    for height, _, _ in ordered:
        wanted = height * points_per_auc
        places.append(max(wanted, places[-1] + LABEL_POINTS) if places else wanted)
    # What was pushed up on one side is let down again, so that the middle stays where it belongs.
    shift = sum(p - h[0] * points_per_auc for p, h in zip(places, ordered, strict=True)) / max(1, len(places))
    for (height, text, colour), at in zip(ordered, places, strict=True):
        axes.annotate(
            text,
            (1.0, height),
            xycoords=axes.get_yaxis_transform(),
            xytext=(14, at - shift - height * points_per_auc),
            textcoords="offset points",
            va="center",
            fontsize=11,
            color=INK,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 1.1, "shrinkA": 1, "shrinkB": 1},
        )


def cost_plot(frontier: Frontier, *, setting: Setting, name: str) -> Plot | None:
    """Draw AUC against bytes, a mark a choice; None where bytes were not measured or are all alike."""
    here = [p for p in frontier.points if p.setting == setting and p.size_bytes is not None]
    sizes = [point.size_bytes or 0 for point in here]
    if not here or max(sizes) < 1.1 * min(sizes):
        return None

    def draw(figure: Figure, width: float) -> float:
        return _draw_cost(figure, width, points=here)

    front = sum(point.is_on_front for point in here)
    words = f"AUC against bytes of one study; {front} of {len(here)} choices are on the Pareto front."
    return draw_twice(name, words, draw=draw, labels=())


def _draw_cost(figure: Figure, width: float, *, points: Sequence[FrontierPoint]) -> float:
    """Filled marks are on the front; beside each mark its epsilon."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes, height = _axes(figure, width)
    for point in points:
        colour, size = MODE_COLOURS[point.mode], float(point.size_bytes or 0)
        axes.plot(
            size,
            point.auc.mean,
            marker=MODE_MARKERS[point.mode],
            color=colour,
            markersize=7,
            markerfacecolor=colour if point.is_on_front else "#ffffff",
            markeredgewidth=1.6,
            linestyle="none",
        )
        axes.annotate(
            f"{point.epsilon:g}",
            (size, point.auc.mean),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=10.5,
            color=MUTED,
        )
    for mode in dict.fromkeys(point.mode for point in points):
        colour = MODE_COLOURS[mode]
        axes.plot([], [], marker=MODE_MARKERS[mode], color=colour, linestyle="none", label=mode.value)
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, fontsize=11, handletextpad=0.2)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=3))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: byte_size(size)))
    low, high = axes.dataLim.y0, axes.dataLim.y1
    room = max(0.12 * (high - low), (LEAST_SPAN - (high - low)) / 2)
    axes.set_ylim(low - room, high + 1.5 * room)
    sizes = [float(point.size_bytes or 0) for point in points]
    axes.set_xlim(0, max(sizes) * 1.15)
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("Bytes of one study, all provinces")
    axes.set_ylabel("Mean AUC")
    return height
