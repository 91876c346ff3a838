"""A frontier as one self-contained HTML page: what to run, pictures, and every figure in tables."""

from __future__ import annotations

from collections.abc import Iterator

from fedmed.report.frontier_plots import auc_plot, cost_plot, worst_plot
from fedmed.report.frontier_result import (
    Band,
    Frontier,
    FrontierPoint,
    Level,
    Setting,
    baseline_of,
    several_settings,
)
from fedmed.report.looks import LOOKS
from fedmed.report.page import Tile
from fedmed.report.sheet import Cell, Section, Sheet, Tone, render_sheet
from fedmed.report.units import (
    ABSENT,
    byte_size,
    delta,
    difference,
    duration,
    metric,
    metric_gap,
    plural,
    ratio,
)
from fedmed.report.units import epsilon as epsilon_text
from fedmed.types import Mode

PLOT_LEAD = (
    "Lines are means over seeds, bands reach from the least to the largest seed. Filled marks are on the "
    "Pareto front: no other choice is as good in epsilon, AUC, bytes and seconds and better in one; the ring "
    "is the advice. Dashed: baselines at the same epsilon; dotted (open): baselines without privacy."
)


def render_frontier(frontier: Frontier) -> str:
    """Render the page.

    Args:
        frontier: At least one point.

    Returns:
        One HTML document, UTF-8 text, that refers to nothing outside itself.

    Guarantees:
        Every text is escaped; the same value gives the same page.
    """
    return render_sheet(
        Sheet(
            kicker="FedMed frontier · simulation on local tables",
            title=frontier.study,
            finding=frontier.advice.headline,
            meta=_meta(frontier),
            tiles=_tiles(frontier),
            sections=tuple(_sections(frontier)),
            footer=f"FedMed, {frontier.created}. Nothing of this was released: no province was asked.",
        )
    )


def _meta(frontier: Frontier) -> tuple[tuple[str, str], ...]:
    """What was tried."""
    return (
        ("Study", frontier.study_id),
        ("Outcome", frontier.outcome),
        ("Budget", f"{frontier.budget:g} a year"),
        ("Delta", delta(frontier.delta)),
        ("Choices", f"{len(frontier.points)}"),
        ("Seeds", ", ".join(str(seed) for seed in frontier.seeds)),
        *((("Computed", frontier.effort),) if frontier.computed else ()),
    )


def _tiles(frontier: Frontier) -> tuple[Tile, ...]:
    """What the advice comes to."""
    point = frontier.advice.point
    if point is None:
        return ()
    tiles = [
        Tile(name="Run", value=point.mode.value, note=f"at epsilon {point.epsilon:g} a study"),
        Tile(name="Studies a year", value=f"{point.a_year}", note=f"within epsilon {frontier.budget:g}"),
        Tile(
            name="Mean AUC",
            value=metric(point.auc.mean),
            note=_seeds(point.auc),
        ),
    ]
    alone = baseline_of(frontier.levels, point, "alone_private")
    if alone is not None:
        gain = metric_gap(point.auc.mean, alone.auc.mean)
        tiles.append(Tile(name="Gain over alone", value=difference(gain), note="AUC, same epsilon"))
    if point.size_bytes is not None and point.seconds is not None:
        note = f"in {duration(point.seconds)}, simulated"
        tiles.append(Tile(name="Bytes of a study", value=byte_size(point.size_bytes), note=note))
    return tuple(tiles)


def _seeds(band: Band) -> str:
    """How far seeds lie apart."""
    if len(band.values) == 1:
        return "one seed"
    return f"seeds {metric(band.low)} to {metric(band.high)}"


def _sections(frontier: Frontier) -> Iterator[Section]:
    """Advice, then pictures and tables of each setting, then what the figures mean."""
    yield Section(name="why", heading="Why", sentences=frontier.advice.reasons)
    for number, setting in enumerate(frontier.settings, start=1):
        plots = (
            auc_plot(frontier, setting=setting, name=f"auc{number}"),
            worst_plot(frontier, setting=setting, name=f"worst{number}"),
        )
        yield Section(
            name=f"curve-{number}",
            heading=f"AUC against epsilon: {setting.words}",
            lead=PLOT_LEAD,
            plots=plots,
        )
        yield _choices(frontier, setting, number)
        yield _baselines(frontier, setting, number)
    yield Section(name="meaning", heading="What these figures are", sentences=_meaning(frontier))


def _choices(frontier: Frontier, setting: Setting, number: int) -> Section:
    """Every choice of a setting."""
    cost = cost_plot(frontier, setting=setting, name=f"cost{number}")
    points = [point for point in frontier.points if point.setting == setting]
    varies = several_settings(points)
    return Section(
        name=f"choices-{number}",
        heading=f"What each choice buys and costs: {setting.words}",
        lead=(
            "Studies a year: how many fit the budget by the ledger's own accounting. Fallback epsilon: if "
            "all other provinces collude. E/O: expected over observed cases, 1 is right."
        ),
        columns=(
            "Choice",
            "Front",
            "AUC",
            "Worst province",
            "AP",
            "E/O",
            "Fallback epsilon",
            "Studies a year",
            "Bytes",
            "Seconds",
        ),
        rows=tuple(_row(point, frontier, with_settings=varies) for point in points),
        plots=() if cost is None else (cost,),
    )


def _row(point: FrontierPoint, frontier: Frontier, *, with_settings: bool) -> tuple[Cell, ...]:
    """One choice."""
    settings = f", clip {point.clip_norm:g}, {plural(point.aggregations, 'sum')}" if with_settings else ""
    scheme = "" if point.scheme.value == "threshold" else f", {point.scheme.value}"
    is_chosen = point == frontier.advice.point
    return (
        Cell(
            text=f"{point.mode.value}, epsilon {point.epsilon:g}{settings}{scheme}",
            note="the advice above" if is_chosen else "",
        ),
        Cell(text="yes", tone=Tone.GOOD) if point.is_on_front else Cell(text="no"),
        Cell(
            text=metric(point.auc.mean),
            note=_seeds(point.auc),
            is_number=True,
        ),
        Cell(text=metric(point.worst_auc), is_number=True),
        Cell(text=metric(point.average_precision), is_number=True),
        Cell(text=ratio(point.expected_over_observed), is_number=True),
        Cell(text=epsilon_text(point.fallback_epsilon), is_number=True),
        Cell(text=str(point.a_year), is_number=True),
        Cell(text=ABSENT if point.size_bytes is None else byte_size(point.size_bytes), is_number=True),
        Cell(text=ABSENT if point.seconds is None else duration(point.seconds), is_number=True),
    )


def _baselines(frontier: Frontier, setting: Setting, number: int) -> Section:
    """Every baseline of a setting: a row an arm, a column an epsilon."""
    levels = [level for level in frontier.levels if level.setting == setting]
    epsilons = sorted({level.epsilon for level in levels if level.epsilon is not None})
    columns: list[float | None] = [*epsilons, None]
    rows: dict[tuple[str, str], dict[float | None, Level]] = {}
    varies = len({(level.clip_norm, level.aggregations) for level in levels if level.epsilon}) > 1
    for level in levels:
        rows.setdefault((level.arm, _settings(level) if varies else ""), {})[level.epsilon] = level
    return Section(
        name=f"baselines-{number}",
        heading=f"Beside them: {setting.words}",
        lead="Mean AUC, and below it that of the worst province.",
        columns=("Baseline", *("no privacy" if e is None else f"epsilon {e:g}" for e in columns)),
        rows=tuple(
            (
                Cell(text=LOOKS[arm].name + settings, note=LOOKS[arm].meaning),
                *(_level_cell(found.get(epsilon)) for epsilon in columns),
            )
            for (arm, settings), found in rows.items()
        ),
    )


def _settings(level: Level) -> str:
    """Clip and rounds of a private baseline."""
    if level.clip_norm is None or level.aggregations is None:
        return ""
    return f", clip {level.clip_norm:g}, {plural(level.aggregations, 'sum')}"


def _level_cell(level: Level | None) -> Cell:
    """A baseline's figures."""
    if level is None:
        return Cell(text=ABSENT, is_number=True)
    return Cell(text=metric(level.auc.mean), note=metric(level.worst_auc), is_number=True)


MODE_WORDS = {
    Mode.AGGREGATE: "all provinces take each step of the training together: every one adds its clipped "
    "gradients and its share of the noise, and only the sum is opened",
    Mode.LOCAL: "each province takes some steps on its own rows, adds all the noise itself, and the models "
    "are averaged",
    Mode.STATISTICS: "the provinces add up noisy sums and products of the columns once, and the model is "
    "worked out from these",
}


def _words(frontier: Frontier) -> Iterator[str]:
    """What the words on the page mean, for a reader who knows none of them."""
    yield (
        "Epsilon bounds what taking part can reveal: whatever anyone knew of a person, the odds of a guess "
        "about that person change at most by a factor of e to the power of epsilon, 2.7 at 1 and 7.4 at 2 "
        f"(but for a chance of about delta, {delta(frontier.delta)})."
    )
    yield (
        "AUC is the chance that the model ranks a person with the outcome above one without it: 0.5 is "
        "guessing, 1 is perfect."
    )
    for mode in dict.fromkeys(point.mode for point in frontier.points):
        yield f"Mode {mode.value}: {MODE_WORDS[mode]}."


def _meaning(frontier: Frontier) -> tuple[str, ...]:
    """What the reader must know of how it was made."""
    return (
        *_words(frontier),
        "Everything is simulated on local tables with known rows; every figure is the mean over "
        f"{plural(len(frontier.seeds), 'seed')}. A seed decides the rows; noise comes from the operating "
        "system, so a repeated run differs within its standard error.",
        "The unit is one insured person with all rows; neighbouring data sets differ by one person. Each "
        "choice is a study of its own that would spend its epsilon; the exact scores here could not be "
        "published.",
        f"{frontier.encrypted_runs} of {frontier.runs} federated runs were really encrypted: one for each "
        "layout of the sums, and its bytes and seconds stand for the others. These ran the same clipping, "
        "noise, encoding and decoding with sums in the clear: schemes threshold and ckks open exactly the "
        "same integers, so accuracy does not depend on them. Seconds hold for this machine with other runs "
        "beside; what was computed counts baselines as runs, and leaves out what an earlier frontier kept.",
        "Provinces of another number than the study names are dealt by chance, so differences between "
        "provinces are gone there.",
    )
