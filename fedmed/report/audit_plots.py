"""The pictures of an audit: epsilons side by side, and the canaries that epsilon must hide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedmed.report.audit_result import AuditResult
from fedmed.report.svg import INK, MUTED, RULE, WIDE, Plot, draw_twice, place
from fedmed.report.units import epsilon as epsilon_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIMED, EXPECTED, ESTIMATED, PROVEN = "#0072B2", "#56B4E9", "#E69F00", "#D55E00"
PRESENT, ABSENT_COLOUR = "#D55E00", "#0072B2"
_BINS = 28


def epsilon_plot(audit: AuditResult) -> Plot:
    """Claimed, expected, estimated and proven epsilon, one bar each, with a mark for every run."""
    runs = audit.runs
    estimates = [run.estimated for run in runs if run.estimated is not None]
    bars = (
        ("Claimed", audit.claimed, (), CLAIMED),
        ("With all noise", audit.expected, tuple(run.expected for run in runs), EXPECTED),
        ("Estimated", audit.estimated, tuple(estimates), ESTIMATED),
        ("Proven at least", audit.proven, tuple(run.proven for run in runs), PROVEN),
    )
    words = ", ".join(f"{name} {_figure(value)}" for name, value, _, _ in bars)

    def draw(figure: Figure, width: float) -> float:
        return _draw_bars(figure, width, bars=bars)

    return draw_twice("audit-epsilons", f"Epsilon: {words}", draw=draw, labels=())


def score_plot(audit: AuditResult) -> Plot:
    """How far canaries that took part stand from those that did not."""
    scores = np.array([score for run in audit.runs for score in run.scores])
    present = np.array([took for run in audit.runs for took in run.present])

    def draw(figure: Figure, width: float) -> float:
        height = 250.0
        axes = place(figure, (46, 30, 12, 42), width=width, height=height)
        edges = np.linspace(scores.min(), scores.max(), _BINS + 1)
        for chosen, colour, hatch, name in (
            (~present, ABSENT_COLOUR, "", "did not take part"),
            (present, PRESENT, "///", "took part"),
        ):
            counts, _ = np.histogram(scores[chosen], edges)
            axes.stairs(counts, edges, fill=True, color=colour, alpha=0.22)
            axes.stairs(counts, edges, color=colour, linewidth=1.8, hatch=hatch, label=name)
        axes.grid(axis="y")
        axes.set_xlabel("Score of a canary, in deviations of the noise")
        axes.set_ylabel("Canaries")
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(-0.02, 1.0),
            ncols=2,
            frameon=False,
            fontsize=11.5,
            handlelength=1.6,
            borderaxespad=0.1,
        )
        return height

    words = "Scores of canaries that took part and of those that did not, as two overlapping histograms"
    return draw_twice("audit-scores", words, draw=draw, labels=())


def _draw_bars(
    figure: Figure,
    width: float,
    *,
    bars: tuple[tuple[str, float | None, tuple[float, ...], str], ...],
) -> float:
    """Bars with their figures; returns the height. A figure beyond all bounds runs to the edge."""
    height = 46.0 * len(bars) + 44
    left = 118.0 if width >= WIDE else 104.0
    axes = place(figure, (left, 6, 58, 38), width=width, height=height)
    finite = [x for _, value, marks, _ in bars for x in (value, *marks) if x is not None]
    top = 1.12 * max([*finite, 1e-3])
    for at, (name, value, marks, colour) in enumerate(bars):
        length = top if value is None else value
        axes.barh(at, length, height=0.52, color=colour)
        if len(marks) > 1:
            axes.plot(marks, [at] * len(marks), "|", color=INK, markersize=13, markeredgewidth=1.3)
        axes.annotate(
            _figure(value),
            (max([length, *marks]), at),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            color=INK,
        )
        axes.text(
            -8 / (width - left - 58), at, name, transform=axes.get_yaxis_transform(), ha="right", va="center"
        )
    axes.axvline(bars[0][1] or 0.0, color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)), zorder=3)
    axes.set_xlim(0, top)
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_color(RULE)
    axes.grid(axis="x")
    axes.set_xlabel("Epsilon of one person")
    return height


def _figure(value: float | None) -> str:
    """An epsilon for a label."""
    return "no bound" if value is None else epsilon_text(value)
