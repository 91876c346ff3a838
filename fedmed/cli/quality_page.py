"""The page of ``fedmed data check``: from what was found to a sheet for people."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from fedmed.data.nhsa.results import Outcome, QualityReport, State, allowed_rate
from fedmed.data.nhsa.rules import MISSING_CELL, Dimension, rule_kinds
from fedmed.data.nhsa.schema import schema
from fedmed.data.nhsa.settings import LEAST_CELL
from fedmed.report.page import Tile
from fedmed.report.sheet import Cell, Section, Sheet, Tone
from fedmed.report.units import ABSENT, plural

ZH = {
    Dimension.COMPLETENESS: "完整性",
    Dimension.VALIDITY: "有效性",
    Dimension.CONSISTENCY: "一致性",
    Dimension.UNIQUENESS: "唯一性",
    Dimension.TIMELINESS: "及时性",
}
"""Chinese names of the scores."""


def quality_sheet(report: QualityReport, *, title: str) -> Sheet:
    """Say what a check found, as a page.

    Args:
        report: What was found.
        title: Whose tables they are.
    """
    return Sheet(
        kicker="FedMed quality gate · 数据质量检查",
        title=title,
        finding=finding(report),
        is_good=report.is_fit,
        meta=(
            ("Gate", f"{report.settings.gate:g}"),
            ("Tables", str(len(report.tables))),
            ("Rules that ran", str(sum(o.state is not State.NOT_CHECKED for o in report.outcomes))),
            ("Schema", schema().version),
        ),
        tiles=tuple(_tiles(report)),
        sections=tuple(_sections(report)),
        footer=(
            "Made on this machine from counts alone. No row, name or value left the tables: "
            f"counts from 1 to {LEAST_CELL - 1} are shown as <{LEAST_CELL}, and do not move the scores."
        ),
    )


def finding(report: QualityReport) -> str:
    """The one sentence that says whether the tables are fit, and if not, why."""
    gate = f"{report.settings.gate:g}"
    kinds = len({outcome.rule.kind for outcome in report.found})
    if report.is_fit and not kinds:
        return f"Fit. Every score reaches the gate {gate}, and no rule is broken."
    if report.is_fit:
        return (
            f"Fit. Every score reaches the gate {gate}; {plural(kinds, 'kind')} of fault should be looked at."
        )
    low = ", ".join(f"{d.value} {score_text(report.scores[d])}" for d in report.below_gate)
    if not low:
        return "Not fit. Nothing could be checked: no table has the columns that a rule needs."
    worst = max((o for o in report.outcomes if o.dimension in report.below_gate), key=lambda o: o.loss)
    costs = f"{rule_kinds()[worst.rule.kind].en}, in {rate_text(worst.rate)} of {place(worst)}"
    return f"Not fit. Below the gate {gate}: {low}. What costs most: {costs}."


def score_text(score: float | None) -> str:
    """A score with three digits after the point, never rounded up; unknown as a dash."""
    return ABSENT if score is None else f"{int(score * 1000 + 1e-9) / 1000:.3f}"


def rate_text(rate: float | None) -> str:
    """A rate in percent with two significant digits; of a hidden count ``few``."""
    if rate is None:
        return "few"
    return "0 %" if rate == 0 else f"{float(f'{100 * rate:.2g}'):g} %"


def count_text(count: str) -> str:
    """A shown count with thousands set apart."""
    return f"{int(count):,}" if count.isdigit() else count


def place(outcome: Outcome) -> str:
    """``table`` or ``table.column`` of a finding."""
    rule = outcome.rule
    return f"{rule.table}.{rule.column}" if rule.column else rule.table


def _tiles(report: QualityReport) -> Iterator[Tile]:
    """One tile a score, and the delay."""
    for dimension, score in report.scores.items():
        worst = [
            name
            for name, scores in report.table_scores.items()
            if score is not None and score < 1 and scores.get(dimension) == score
        ]
        below = " · below the gate" if dimension in report.below_gate else ""
        note = f"{ZH[dimension]}{' · worst in ' + worst[0] if worst else ''}{below}"
        yield Tile(name=dimension.value.capitalize(), value=score_text(score), note=note)
    if report.delay_days is not None:
        yield Tile(
            name="Median delay", value=f"{report.delay_days} d", note="结算延迟 · visit's end to settlement"
        )


def _sections(report: QualityReport) -> Iterator[Section]:
    """Found, scores, empty cells, tables, tolerated, not checked."""
    if report.found:
        yield _found(report)
    yield _scores(report)
    empty = _empty(report)
    if empty.rows:
        yield empty
    yield _tables(report)
    tolerated = _tolerated(report)
    if tolerated.sentences:
        yield tolerated
    skipped = _not_checked(report)
    if skipped.sentences:
        yield skipped


def _found(report: QualityReport) -> Section:
    """One row a finding."""
    rows = []
    for outcome in report.found:
        kind = rule_kinds()[outcome.rule.kind]
        tone = Tone.BAD if outcome.dimension in report.below_gate and outcome.loss else Tone.WARN
        rows.append(
            (
                Cell(text=kind.zh, note=kind.en),
                Cell(text=place(outcome), note=outcome.rule.kind, tone=Tone.CODE),
                Cell(text=rate_text(outcome.rate), tone=tone, is_number=True),
                _rows_cell(outcome),
                Cell(text=outcome.dimension.value, note=ZH[outcome.dimension]),
                Cell(text=kind.remedy),
            )
        )
    return Section(
        name="found",
        heading="What was found 发现的问题",
        lead="The highest rate first. Red: lowers a score that is below the gate.",
        columns=("Rule", "Where", "Rate", "Rows", "Lowers", "What to do"),
        rows=tuple(rows),
    )


def _rows_cell(outcome: Outcome) -> Cell:
    """Failing rows, and of how many."""
    return Cell(text=count_text(outcome.failing), note=f"of {count_text(outcome.checked)}", is_number=True)


def _scores(report: QualityReport) -> Section:
    """Table by dimension."""
    rows = []
    for name, scores in report.table_scores.items():
        cells = [Cell(text=name, note=schema().table(name).zh)]
        for dimension in Dimension:
            score = scores.get(dimension)
            low = score is not None and score < report.settings.gate
            tone = Tone.BAD if low else Tone.PLAIN
            cells.append(Cell(text=score_text(score), tone=tone, is_number=True))
        rows.append(tuple(cells))
    return Section(
        name="scores",
        heading="Scores by table 各表得分",
        lead=(
            "A table's score is one minus the rates of its broken rules, added up. "
            "The score that counts is that of the worst table."
        ),
        columns=("Table", *(f"{d.value.capitalize()} {ZH[d]}" for d in Dimension)),
        rows=tuple(rows),
    )


def _empty(report: QualityReport) -> Section:
    """Expected cells that are empty, by column."""
    missing = [o for o in report.outcomes if o.rule.kind == MISSING_CELL and o.failing != "0"]
    rows = []
    for outcome in sorted(missing, key=lambda o: -(o.rate or 0.0)):
        column = schema().table(outcome.rule.table).column(outcome.rule.column)
        rows.append(
            (
                Cell(text=f"{outcome.rule.table}.{column.name}", tone=Tone.CODE),
                Cell(text=column.zh, note=column.en),
                Cell(text=rate_text(outcome.rate), share=outcome.rate),
                _rows_cell(outcome),
            )
        )
    return Section(
        name="empty",
        heading="Empty cells 空值",
        lead="Columns that may be empty, but should be filled. They lower completeness; they are no faults.",
        columns=("Column", "What it is", "Empty", "Rows"),
        rows=tuple(rows),
    )


def _tables(report: QualityReport) -> Section:
    """What was read."""
    rows = []
    for table in report.tables:
        spelled = ", ".join(f"{name} = {column}" for name, column in table.aliases.items())
        rows.append(
            (
                Cell(text=table.name, note=schema().table(table.name).zh),
                Cell(text=count_text(table.rows), is_number=True),
                Cell(text=f"{table.files:,}", is_number=True),
                Cell(text=spelled or ABSENT),
                Cell(text=", ".join(table.unknown) or ABSENT),
            )
        )
    absent = [
        t.zh + " " + t.name for t in schema().tables if t.name not in report.table_scores and not t.synthetic
    ]
    return Section(
        name="tables",
        heading="Tables read 读取的表",
        columns=("Table", "Rows", "Files", "Other spellings, read as", "Unknown columns, not read"),
        rows=tuple(rows),
        sentences=(f"Not there: {', '.join(absent)}.",) if absent else (),
    )


def _tolerated(report: QualityReport) -> Section:
    """Rules that ran and name nothing below a rate."""
    sentences = []
    for outcome in report.outcomes:
        rate = allowed_rate(outcome.rule, report.settings)
        has_run = outcome.state is not State.NOT_CHECKED and outcome.rule.kind != MISSING_CELL
        if has_run and rate > 0:
            words, where = rule_kinds()[outcome.rule.kind], f"{outcome.rule.kind}, {place(outcome)}"
            sentences.append(f"{words.zh} {words.en} ({where}): named above {rate_text(rate)} only")
    return Section(
        name="tolerated",
        heading="Tolerated 容许范围",
        lead="Up to these rates it is no finding and lowers no score; the settings may change them.",
        sentences=tuple(sentences),
    )


def _not_checked(report: QualityReport) -> Section:
    """Rules that could not run on tables that are there, by table."""
    there = set(report.table_scores)
    skipped = [o for o in report.outcomes if o.state is State.NOT_CHECKED and o.rule.table in there]
    sentences = []
    for table, group in groupby(skipped, key=lambda o: o.rule.table):
        names = sorted({o.rule.id.split(":")[0] if not o.rule.column else o.rule.id for o in group})
        sentences.append(f"{table}: {', '.join(names)}")
    return Section(
        name="not-checked",
        heading="Not checked 未检查",
        lead="A column or a table that these rules need is not there, or the settings switch them off.",
        sentences=tuple(sentences),
    )
