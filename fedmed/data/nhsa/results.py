"""What a check of the tables found: counts and rates, scores, and whether the tables are fit.

Counts from 1 to 10 are never shown, nor counts that leave 1 to 10 rows over; scores are made of the shown
counts alone, so that no score tells a hidden one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from fedmed.data.nhsa.rules import MISSING_CELL, Dimension, Rule, rule_kinds
from fedmed.data.nhsa.schema import schema
from fedmed.data.nhsa.settings import LEAST_CELL, QualitySettings

FORMAT: Final = "fedmed/quality/1"


class State(Enum):
    """What became of a rule."""

    HOLDS = "holds"
    FOUND = "found"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One rule on one province's tables.

    Attributes:
        rule: The rule.
        state: Holds, found, or not checked.
        checked: Rows that it applies to, as shown: a number, ``<11``, or ``all but <11`` of the table's.
        failing: Rows of them that fail, as shown, in the same way.
        rate: failing / checked, 0 to 1; None where ``failing`` is no number or nothing was checked. Where
            ``checked`` is ``all but <11``, it is failing / the table's rows.
    """

    rule: Rule
    state: State
    checked: str
    failing: str
    rate: float | None

    @property
    def dimension(self) -> Dimension:
        """The score that it counts in."""
        return rule_kinds()[self.rule.kind].dimension

    @property
    def loss(self) -> float:
        """What it takes off the score of its table and dimension."""
        counts = self.state is State.FOUND or self.rule.kind == MISSING_CELL
        return self.rule.weight * (self.rate or 0.0) if counts else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFacts:
    """One table as found.

    Attributes:
        name: The table.
        rows: Its number of rows, as shown.
        files: How many files it lies in.
        aliases: Spelling found -> the schema's.
        unknown: Columns that the schema does not have; they are not read.
    """

    name: str
    rows: str
    files: int
    aliases: Mapping[str, str]
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """The gate's answer for one province.

    Attributes:
        settings: What it was checked by.
        tables: Those that are there, in the schema's order.
        outcomes: One for each rule, in the order of the tables.
        delay_days: Median time from a visit's end to its settlement, whole days; None without `setl`.
    """

    settings: QualitySettings
    tables: tuple[TableFacts, ...]
    outcomes: tuple[Outcome, ...]
    delay_days: int | None

    @property
    def found(self) -> tuple[Outcome, ...]:
        """What is wrong, the highest rate first; hidden counts last."""
        wrong = [outcome for outcome in self.outcomes if outcome.state is State.FOUND]
        return tuple(sorted(wrong, key=lambda outcome: -(outcome.rate or 0.0)))

    @property
    def scores(self) -> Mapping[Dimension, float | None]:
        """Score of each dimension, that of its worst table; None where nothing was checked."""
        by_table = self.table_scores
        return {
            dimension: min((s[dimension] for s in by_table.values() if dimension in s), default=None)
            for dimension in Dimension
        }

    @property
    def table_scores(self) -> Mapping[str, Mapping[Dimension, float]]:
        """Table -> dimension -> one minus the weighted rates of its rules, at least 0.

        The rate of an empty cell that may be empty counts one part in as many as the table has columns that
        should be filled; every other rate counts whole.
        """
        losses: dict[str, dict[Dimension, float]] = {table.name: {} for table in self.tables}
        for outcome in self.outcomes:
            if outcome.state is not State.NOT_CHECKED:
                of_table = losses[outcome.rule.table]
                of_table[outcome.dimension] = of_table.get(outcome.dimension, 0.0) + outcome.loss
        return {
            table: {dimension: round(max(0.0, 1.0 - loss), 6) for dimension, loss in found.items()}
            for table, found in losses.items()
        }

    @property
    def below_gate(self) -> tuple[Dimension, ...]:
        """Dimensions whose score is below the gate."""
        return tuple(
            d for d, score in self.scores.items() if score is not None and score < self.settings.gate
        )

    @property
    def is_fit(self) -> bool:
        """Whether every score that there is reaches the gate, and there is one."""
        return not self.below_gate and any(score is not None for score in self.scores.values())


def shown_count(number: int, *, of: int | None = None) -> str:
    """A count as it may be shown.

    Args:
        number: The count.
        of: What it is a part of; the rest is then hidden as well.

    Guarantees:
        Two counts from 1 to 10 give the same text, and so do two that leave 1 to 10 of ``of`` over.
    """
    if 0 < number < LEAST_CELL:
        return f"<{LEAST_CELL}"
    if of is not None and 0 < of - number < LEAST_CELL:
        return f"all but <{LEAST_CELL}"
    return str(number)


def allowed_rate(rule: Rule, settings: QualitySettings) -> float:
    """Rate up to which a rule's failures are no finding: the settings' by id, by kind, or the rule's own."""
    return settings.allowed.get(rule.id, settings.allowed.get(rule.kind, rule.allowed))


def judge(
    rule: Rule, *, checked: int, failing: int, settings: QualitySettings, rows: int | None = None
) -> Outcome:
    """Turn a rule's two counts into what may be shown.

    Args:
        rule: The rule.
        checked: Rows that it applies to.
        failing: Rows of them that fail.
        settings: Its allowed rate may stand there.
        rows: Rows of its table, which the report shows too; None = it shows none.

    Guarantees:
        No count from 1 to 10 can be read off the outcome, nor off any score of a report; nor, by taking
        ``checked`` or what a rate says of it from ``rows``, how many rows the rule does not apply to.
    """
    is_wrong = failing > 0 and failing > allowed_rate(rule, settings) * checked
    base = checked if rows is None or not 0 < rows - checked < LEAST_CELL else rows
    shown = shown_count(failing, of=base)
    rate: float | None = None
    if shown.isdigit() and checked >= LEAST_CELL:
        rate = failing / base
    elif shown.startswith("all"):
        rate = 1.0
    return Outcome(
        rule=rule,
        state=State.FOUND if is_wrong else State.HOLDS,
        checked=shown_count(checked, of=rows),
        failing=shown,
        rate=rate,
    )


def not_checked(rule: Rule) -> Outcome:
    """The outcome of a rule that could not run, or is switched off."""
    return Outcome(rule=rule, state=State.NOT_CHECKED, checked="0", failing="0", rate=None)


def quality_document(report: QualityReport) -> dict[str, Any]:
    """The report as one JSON document; `Any`: JSON.

    Returns:
        ``format``, ``schema``, ``gate``, ``fit``, ``scores``, ``below_gate``, ``delay_days``, ``tables``,
        ``found`` (one entry a finding), ``missing`` (share of expected cells that are empty, by column) and
        ``not_checked`` (ids).
    """
    missing = [o for o in report.outcomes if o.rule.kind == MISSING_CELL and o.state is not State.NOT_CHECKED]
    return {
        "format": FORMAT,
        "schema": schema().version,
        "gate": report.settings.gate,
        "fit": report.is_fit,
        "scores": {dimension.value: score for dimension, score in report.scores.items()},
        "below_gate": [dimension.value for dimension in report.below_gate],
        "delay_days": report.delay_days,
        "tables": [_table_document(table, report) for table in report.tables],
        "found": [_outcome_document(outcome) for outcome in report.found],
        "missing": {f"{o.rule.table}.{o.rule.column}": o.rate for o in missing},
        "not_checked": _ids(o for o in report.outcomes if o.state is State.NOT_CHECKED),
    }


def _table_document(table: TableFacts, report: QualityReport) -> dict[str, Any]:
    """One table; `Any`: JSON."""
    return {
        "name": table.name,
        "rows": table.rows,
        "files": table.files,
        "aliases": dict(table.aliases),
        "unknown": list(table.unknown),
        "scores": {d.value: score for d, score in report.table_scores[table.name].items()},
    }


def _outcome_document(outcome: Outcome) -> dict[str, Any]:
    """One finding; `Any`: JSON."""
    kind = rule_kinds()[outcome.rule.kind]
    return {
        "id": outcome.rule.id,
        "kind": kind.name,
        "table": outcome.rule.table,
        "column": outcome.rule.column,
        "dimension": kind.dimension.value,
        "checked": outcome.checked,
        "failing": outcome.failing,
        "rate": outcome.rate,
        "zh": kind.zh,
        "en": kind.en,
        "remedy": kind.remedy,
    }


def _ids(outcomes: Iterable[Outcome]) -> list[str]:
    """Ids of rules."""
    return [outcome.rule.id for outcome in outcomes]
