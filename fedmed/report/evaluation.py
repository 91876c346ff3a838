"""What the report says and shows of an evaluation by noisy score histograms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmed.report.result import EstimatePart, EvaluationPart, RatePart, Result
from fedmed.report.svg import MUTED, WIDE, Plot, draw_twice, place
from fedmed.report.units import epsilon, metric, ratio

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOUR = "#0072B2"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRow:
    """One metric: its name, the estimate, its interval, and what it says."""

    name: str
    value: str
    interval: str
    meaning: str


def evaluation_rows(part: EvaluationPart) -> tuple[EvaluationRow, ...]:
    """The metrics of an evaluation, in words and figures."""
    return (
        EvaluationRow(
            name="AUC",
            value=metric(part.auc.value),
            interval=_interval(part.auc, metric),
            meaning="chance that a person with the outcome is ranked above one without it",
        ),
        EvaluationRow(
            name="Average precision",
            value=metric(part.average_precision.value),
            interval=_interval(part.average_precision, metric),
            meaning="share of true cases when the list is read from the top",
        ),
        EvaluationRow(
            name="Expected / observed",
            value=ratio(part.expected_over_observed.value),
            interval=_interval(part.expected_over_observed, ratio),
            meaning="predicted cases over observed cases; 1 is right",
        ),
    )


def evaluation_words(part: EvaluationPart) -> str:
    """One sentence: where the figures come from and what they cost."""
    return (
        f"From noisy counts of held-out persons by label and {part.bins} score bins, all nodes together: "
        f"epsilon {epsilon(part.epsilon)} of the study's, noise of {part.noise_std:.1f} persons a count. "
        "Intervals are 95 % and cover chance and noise; persons of one bin count as ties."
    )


def evaluation_line(part: EvaluationPart) -> str:
    """One line for a terminal."""
    return "; ".join(f"{row.name} {row.value} ({row.interval})" for row in evaluation_rows(part))


def evaluation_plot(result: Result, *, description: str) -> Plot | None:
    """Draw observed rates against scores with their intervals; None without an evaluation or its bins."""
    part = result.evaluation
    if part is None or not part.calibration:
        return None
    points = part.calibration

    def draw(figure: Figure, width: float) -> float:
        return _draw_rates(figure, width, points=points)

    return draw_twice("evaluation", description, draw=draw, labels=())


def evaluation_plot_words(result: Result) -> str:
    """The picture in words."""
    part = result.evaluation
    if part is None or not part.calibration:
        return ""
    worst = max(part.calibration, key=lambda point: abs(point.rate - point.score))
    return (
        "Observed share of the outcome by score bin with 95 % intervals. Largest difference: predicted "
        f"{worst.score:.1%}, observed {worst.rate:.1%}."
    )


def _interval(estimate: EstimatePart, write: Callable[[float], str]) -> str:
    """Both ends of an interval."""
    return f"{write(estimate.low)} to {write(estimate.high)}"


def _draw_rates(figure: Figure, width: float, *, points: tuple[RatePart, ...]) -> float:
    """Points with bars, the diagonal behind."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    height = 300.0 if width >= WIDE else 280.0
    axes = place(figure, (50, 14, 14, 42), width=width, height=height)
    scores = [point.score for point in points]
    rates = [point.rate for point in points]
    bars = [[p.rate - p.low for p in points], [p.high - p.rate for p in points]]
    top = min(1.0, 1.06 * max(*scores, *(point.high for point in points)) + 0.005)
    axes.plot([0, top], [0, top], color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
    axes.errorbar(scores, rates, yerr=bars, color=_COLOUR, fmt="o", markersize=5.5, capsize=3, linewidth=1.4)
    axes.set_xlim(0, top)
    axes.set_ylim(0, top)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=5))
        axis.set_major_formatter(PercentFormatter(1, decimals=None if top > 0.05 else 1))
    axes.grid()
    axes.set_xlabel("Predicted risk (middle of the bin)")
    axes.set_ylabel("Observed share")
    return height
