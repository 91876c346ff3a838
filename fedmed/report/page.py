"""The report as one self-contained HTML page: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fedmed.report.dots import dot_plot
from fedmed.report.evaluation import (
    evaluation_plot,
    evaluation_plot_words,
    evaluation_rows,
    evaluation_words,
)
from fedmed.report.findings import findings, site_noun, went_wrong
from fedmed.report.guarantee import limits, privacy_facts, privacy_statement, sight_table
from fedmed.report.looks import known_arms
from fedmed.report.plots import calibration_plot, curve_plot, phase_plot
from fedmed.report.result import AggregationPart, Arm, NodePart, Result
from fedmed.report.svg import Plot
from fedmed.report.templates import load_template, style
from fedmed.report.units import (
    ABSENT,
    byte_size,
    count,
    delta,
    difference,
    duration,
    epsilon,
    metric,
    metric_gap,
    plural,
)
from fedmed.report.units import ratio as ratio_text
from fedmed.types import Scheme


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One figure at the top: what it is, the figure, and what it is measured against."""

    name: str
    value: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSection:
    """One metric: its heading, one sentence, the table's rows and the picture.

    Attributes:
        heading: For people.
        explanation: What the metric says.
        rows: A node (None = the mean), then one text for each known arm; the best private one is marked.
        pooled_test: Texts of the row over all held-out persons together; empty when there is none.
        plot: The picture, or None.
    """

    heading: str
    explanation: str
    rows: tuple[tuple[NodePart | None, tuple[str, ...]], ...]
    pooled_test: tuple[str, ...]
    plot: Plot | None


def render_html(result: Result) -> str:
    """Render the report.

    Args:
        result: Any valid result; sections without data are left out.

    Returns:
        One HTML document, UTF-8 text, that refers to nothing outside itself.

    Guarantees:
        Every text from the result is escaped; the same result gives the same page.
    """
    arms = known_arms(result)
    return load_template("page.html.j2").render(
        style=style(),
        result=result,
        noun=site_noun(result),
        found=findings(result),
        tiles=_tiles(result),
        looks=[look for look, _ in arms],
        private_arms=sum(look.private for look, _ in arms),
        sections=_sections(result),
        curve=curve_plot(result, description=_curve_words(result)),
        calibration=calibration_plot(result, description=_calibration_words(result)),
        evaluation=() if result.evaluation is None else evaluation_rows(result.evaluation),
        evaluation_words="" if result.evaluation is None else evaluation_words(result.evaluation),
        evaluation_plot=evaluation_plot(result, description=evaluation_plot_words(result)),
        phases=phase_plot(result, description=_phase_words(result)),
        statement=privacy_statement(result),
        facts=privacy_facts(result),
        sights=sight_table(result),
        wrong=went_wrong(result),
        limits=limits(result),
        created=_created(result),
        transport=_transport(result),
    )


def _created(result: Result) -> str:
    """The end of the study to the minute, with its zone."""
    return datetime.fromisoformat(result.created).strftime("%Y-%m-%d %H:%M %Z").strip()


def _tiles(result: Result) -> tuple[Tile, ...]:
    """The four figures at the top."""
    arms, privacy, sums = result.arms, result.privacy, result.aggregation
    tiles = [_first_tile(result)]
    if arms.federated is not None and arms.alone_private is not None:
        gain = metric_gap(arms.federated.auc, arms.alone_private.auc)
        tiles.append(Tile(name="Gain over alone", value=difference(gain), note="AUC, same epsilon"))
    if arms.federated is not None and arms.central is not None:
        gap = metric_gap(arms.federated.auc, arms.central.auc)
        tiles.append(Tile(name="Against central", value=difference(gap), note="AUC, all rows in one place"))
    tiles.append(
        Tile(
            name="Epsilon spent",
            value=epsilon(privacy.epsilon_spent),
            note=f"of {epsilon(privacy.epsilon)}, delta {delta(privacy.delta)}",
        )
    )
    tiles.append(
        Tile(
            name="All bytes moved",
            value=byte_size(sums.bytes_total),
            note=f"in {duration(result.seconds['total'])} altogether",
        )
    )
    return tuple(tiles)


def _first_tile(result: Result) -> Tile:
    """The score, or what the study did where nobody scored it."""
    federated, sums = result.arms.federated, result.aggregation
    if federated is None and result.evaluation is not None:
        auc = result.evaluation.auc
        return Tile(
            name="AUC, noisy", value=metric(auc.value), note=f"{metric(auc.low)} to {metric(auc.high)}"
        )
    if federated is None:
        note = f"in {plural(sums.attempts, 'attempt')}, none of them scored"
        return Tile(name="Aggregations", value=count(sums.aggregations), note=note)
    return Tile(name="Federated AUC", value=metric(federated.auc), note=f"mean over {site_noun(result)}s")


def _sections(result: Result) -> tuple[MetricSection, ...]:
    """One section for each metric that any arm has."""
    wanted = (
        (
            "auc",
            "Discrimination: AUC",
            "The chance that a person with the outcome is ranked above one without it.",
        ),
        (
            "average_precision",
            "Precision among the highest risks: average precision",
            "The share of true cases when the list is read from the top; "
            "a random list has the share of cases.",
        ),
        (
            "expected_over_observed",
            "Calibration: expected / observed",
            "Predicted cases over observed cases: 1 is right, 2 predicts twice too many. "
            "The band is 0.8 to 1.25.",
        ),
    )
    found = (_section(result, name, heading=heading, explanation=text) for name, heading, text in wanted)
    return tuple(section for section in found if section is not None)


def _section(result: Result, name: str, *, heading: str, explanation: str) -> MetricSection | None:
    """One metric's table and picture; None when no arm has it."""
    arms = [arm for _, arm in known_arms(result)]
    means = tuple(_cell(getattr(arm, name), name) for arm in arms)
    rows = [(node, tuple(_node_cell(arm, node, name) for arm in arms)) for node in result.nodes]
    scored = [row for row in rows if any(cell != ABSENT for cell in row[1])]
    if not scored and all(cell == ABSENT for cell in means):
        return None
    together = tuple(metric(arm.auc_pooled_test) for arm in arms) if name == "auc" else ()
    return MetricSection(
        heading=heading,
        explanation=explanation,
        rows=((None, means), *(rows if scored else ())),
        pooled_test=together if any(cell != ABSENT for cell in together) else (),
        plot=dot_plot(result, name, description=_dots_words(result, name, heading=heading)),
    )


def _cell(value: float | None, name: str) -> str:
    """One figure of a table."""
    return ratio_text(value) if name == "expected_over_observed" else metric(value)


def _node_cell(arm: Arm, node: NodePart, name: str) -> str:
    """One node's figure of a table."""
    score = arm.per_node.get(node.key)
    return _cell(None if score is None else getattr(score, name), name)


def _dots_words(result: Result, name: str, *, heading: str) -> str:
    """A dot plot in words."""
    means = ", ".join(
        f"{look.name} {'with' if look.private else 'without'} privacy {_cell(getattr(arm, name), name)}"
        for look, arm in known_arms(result)
    )
    what = f"{heading} for each {site_noun(result)} and arm; the table beside it has the figures."
    return f"{what} Means: {means}."


def _curve_words(result: Result) -> str:
    """The curve in words."""
    if not result.curve:
        return ""
    first, last = result.curve[0], result.curve[-1]
    return (
        f"Mean AUC of the federated model from {metric(first.federated)} after {first.aggregation} to "
        f"{metric(last.federated)} after {last.aggregation} aggregations."
    )


def _calibration_words(result: Result) -> str:
    """The calibration picture in words."""
    what = "Observed share of cases against predicted risk, federated model"
    return f"{what}, one line for each {site_noun(result)}."


def _phase_words(result: Result) -> str:
    """The bars in words."""
    parts = (f"{p.phase} {duration(p.seconds)} and {byte_size(p.bytes)}" for p in result.phases)
    return f"Time and bytes of each phase: {', '.join(parts)}."


def _who_opens(sums: AggregationPart) -> str | None:
    """How many custodians it takes."""
    if sums.scheme is Scheme.CKKS:
        return f"1 of {sums.nodes}, for all hold the same; {sums.threshold} answered"
    return f"{sums.threshold} of {sums.nodes}" if sums.threshold else None


def _transport(result: Result) -> tuple[tuple[str, str], ...]:
    """The secure sum's figures, those that are known."""
    sums = result.aggregation
    packed = (
        None if sums.fields is None or sums.field_bits is None else f"{sums.fields} × {sums.field_bits} bits"
    )
    found = (
        ("Scheme", sums.scheme.value),
        ("Parameter set", sums.parameter_set),
        ("Values in a coefficient", packed),
        ("Least margin", None if sums.margin_bits is None else f"{sums.margin_bits:.1f} bits"),
        (
            "Keys that open an upload" if sums.scheme is Scheme.CKKS else "Shares that open a sum",
            _who_opens(sums),
        ),
        ("Aggregations", count(sums.aggregations)),
        ("Attempts", count(sums.attempts)),
        ("Values in a sum", count(sums.values)),
        ("Up, a value and node", f"{sums.bytes_up_per_value:.2f} bytes"),
        ("Down, a value and node", f"{sums.bytes_down_per_value:.2f} bytes"),
        ("All bytes", byte_size(sums.bytes_total)),
        ("All time", duration(result.seconds["total"])),
    )
    return tuple((name, value) for name, value in found if value is not None)
