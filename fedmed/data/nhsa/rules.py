"""What must hold in a province's tables: the rules, as values.

Rules of single columns follow from the schema; the others stand in ``rules.toml``. A rule is two SQL
aggregates over a table or a relation: how many rows it looked at, and how many of them fail. Nothing but
these two counts ever comes out of a table.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from fedmed.data.nhsa.schema import Column, Expected, Schema, Table, schema
from fedmed.errors import ConfigError

FAULTS: Final = (
    "duplicate_setl_id",
    "unpaired_reversal",
    "money_identity_total",
    "money_identity_fund",
    "money_identity_person",
    "fund_over_scope",
    "ratio_out_of_range",
    "negative_amount",
    "line_price_mismatch",
    "lines_not_sum",
    "end_before_begin",
    "days_mismatch",
    "long_stay",
    "settle_before_end",
    "overlapping_stays",
    "age_birth_mismatch",
    "bad_code_value",
    "bad_diag_format",
    "sex_specific_code",
    "no_main_diagnosis",
    "insutype_psn_type_mismatch",
    "duplicate_line",
    "null_key_column",
    "orphan_fee_line",
    "unknown_institution",
    "late_settlement",
    "unspecified_codes",
)
"""Faults that the generator can inject; each is the kind of the rules that find it."""

MISSING_CELL: Final = "missing_cell"
_REFERENCES: Final[Mapping[str, str]] = MappingProxyType(
    {"fee_list.setl_id": "orphan_fee_line", "setl.fixmedins_code": "unknown_institution"}
)


class Dimension(Enum):
    """The scores; `fedmed.data.nhsa.comparability` has the one that needs the federation."""

    COMPLETENESS = "completeness"
    VALIDITY = "validity"
    CONSISTENCY = "consistency"
    UNIQUENESS = "uniqueness"
    TIMELINESS = "timeliness"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleKind:
    """What rules of one kind mean.

    Attributes:
        name: Stable.
        dimension: The score that they lower.
        zh: What is wrong, in Chinese.
        en: What is wrong, in English.
        remedy: What the data steward can do.
    """

    name: str
    dimension: Dimension
    zh: str
    en: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule.

    Attributes:
        kind: Its kind's name.
        table: Where a finding is reported.
        column: The column that it is about; empty = several.
        source: SQL of the rows that it looks at, with placeholders; rules of one source run together.
        needs: (table, column) pairs without which it cannot run.
        checked: SQL aggregate: rows that the rule applies to.
        failing: SQL aggregate: rows of them that fail.
        allowed: Rate up to which it is no finding.
        weight: How much its rate counts in the score.
    """

    kind: str
    table: str
    source: str
    needs: frozenset[tuple[str, str]]
    checked: str
    failing: str
    column: str = ""
    allowed: float = 0.0
    weight: float = 1.0

    @property
    def id(self) -> str:
        """``kind:table`` or ``kind:table.column``; stable."""
        return f"{self.kind}:{self.table}.{self.column}" if self.column else f"{self.kind}:{self.table}"


@cache
def rule_kinds() -> Mapping[str, RuleKind]:
    """Every kind of rule by its name."""
    return MappingProxyType(
        {
            name: RuleKind(name=name, **{**entry, "dimension": Dimension(entry["dimension"])})
            for name, entry in _document()["kind"].items()
        }
    )


@cache
def rules() -> tuple[Rule, ...]:
    """All rules of the packaged schema, in the order of its tables.

    Guarantees:
        Ids are unique; every kind of `FAULTS` has at least one rule.
    """
    tables = schema()
    made = [rule for table in tables.tables for rule in _table_rules(table)]
    made += [_written_rule(entry, tables) for entry in _document()["rule"]]
    order = {name: i for i, name in enumerate(tables.names)}
    return tuple(sorted(made, key=lambda rule: order[rule.table]))


def unfit_name(column: str) -> str:
    """Name of the truth value, beside a typed column, that says whether the cell could not be read."""
    return f"{column}!unfit"


@cache
def _document() -> Mapping[str, Any]:
    """The packaged rules; `Any`: TOML has no types."""
    # By path, as the schema: a custodian that gave up root may be unable to load further modules.
    return tomllib.loads(Path(__file__).with_name("rules.toml").read_text(encoding="utf-8"))


def _table_rules(table: Table) -> Iterator[Rule]:
    """Rules that follow from a table's columns and key."""
    filled = sum(c.required or c.expected is not Expected.NOWHERE for c in table.columns)
    for column in table.columns:
        yield from _column_rules(table, column, filled=filled)
        if column.refers:
            yield _reference_rule(table, column)
    if table.key:
        yield _key_rule(table)


def _column_rules(table: Table, column: Column, *, filled: int) -> Iterator[Rule]:
    """Rules about a column's own cells; ``filled`` columns of the table should be filled."""
    name = column.name
    unfit = f'"{unfit_name(name)}"'
    empty = f"{name} IS NULL AND NOT {unfit}"
    yield _row_rule("wrong_type", table, column, counts=("count(*)", f"count_if({unfit})"))
    if column.required:
        yield _row_rule("null_key_column", table, column, counts=("count(*)", f"count_if({empty})"))
    if column.expected is not Expected.NOWHERE:
        where = "med_type IN ($inpatient)" if column.expected is Expected.INPATIENT else "TRUE"
        counts = (f"count_if({where})", f"count_if({where} AND {empty})")
        missing = _row_rule(MISSING_CELL, table, column, counts=counts)
        yield replace(missing, allowed=1.0, weight=1 / filled)
    if column.codes:
        fails = f"NOT $coded({name}, {column.codes})"
        yield _row_rule("bad_code_value", table, column, counts=_counts(fails))
    if column.pattern:
        fails = f"NOT regexp_full_match({name}, '{column.pattern}')"
        yield _row_rule("bad_format", table, column, counts=_counts(fails))
    if column.low is not None and column.high is not None:
        fails = f"{name} NOT BETWEEN {column.low} AND {column.high}"
        yield _row_rule("value_out_of_range", table, column, counts=_counts(fails))


def _row_rule(kind: str, table: Table, column: Column, *, counts: tuple[str, str]) -> Rule:
    """A rule about one column of a table; ``counts`` are checked and failing."""
    return Rule(
        kind=kind,
        table=table.name,
        column=column.name,
        source=_whole(table.name),
        needs=_needs({table.name: (column.name, *_mentioned(" ".join(counts), table))}),
        checked=counts[0],
        failing=counts[1],
    )


def _key_rule(table: Table) -> Rule:
    """No key twice."""
    key = ", ".join(table.key)
    filled = " AND ".join(f"{name} IS NOT NULL" for name in table.key)
    return Rule(
        kind="duplicate_setl_id" if table.name == "setl" else "duplicate_key",
        table=table.name,
        source=f"SELECT count(*) AS alike FROM {table.name} "  # noqa: S608
        f"WHERE $part({table.key[0]}) AND {filled} GROUP BY {key}",
        needs=_needs({table.name: table.key}),
        checked="sum(alike)",
        failing="sum(alike - 1)",
    )


def _reference_rule(table: Table, column: Column) -> Rule:
    """What a column refers to is there."""
    other, _, target = column.refers.partition(".")
    place = f"{table.name}.{column.name}"
    return Rule(
        kind=_REFERENCES.get(place, "orphan_row"),
        table=table.name,
        column=column.name,
        source=f"SELECT named, there IS NOT NULL AS known FROM "  # noqa: S608
        f"(SELECT {column.name} AS wanted, count(*) AS named FROM {table.name} "
        f"WHERE $part({column.name}) GROUP BY wanted) LEFT JOIN "
        f"(SELECT DISTINCT {target} AS there FROM {other} WHERE $part({target})) ON wanted = there "
        "WHERE wanted IS NOT NULL",
        needs=_needs({table.name: (column.name,), other: (target,)}),
        checked="sum(named)",
        failing="sum(CASE WHEN known THEN 0 ELSE named END)",
    )


def _written_rule(entry: Mapping[str, Any], tables: Schema) -> Rule:
    """A rule of ``rules.toml``; `Any`: TOML has no types."""
    if entry["kind"] not in rule_kinds():
        raise ConfigError(f"rules.toml: unknown kind {entry['kind']}")
    over = entry["over"]
    counts = (
        _counts(entry["fails"], applies=entry.get("applies", "TRUE"))
        if "fails" in entry
        else (entry["checked"], entry["failing"])
    )
    relation = _document()["relation"].get(over)
    if relation is None:
        needs = _needs({over: _mentioned(" ".join(counts), tables.table(over))})
    else:
        needs = _needs(relation["needs"])
    return Rule(
        kind=entry["kind"],
        table=entry.get("table", over),
        column=entry.get("column", ""),
        source=_whole(over) if relation is None else relation["sql"].strip(),
        needs=needs,
        allowed=entry.get("allowed", 0.0),
        checked=counts[0],
        failing=counts[1],
    )


def _counts(fails: str, *, applies: str = "TRUE") -> tuple[str, str]:
    """Checked and failing; a row whose cells are missing is neither."""
    return f"count_if(({applies}) AND ({fails}) IS NOT NULL)", f"count_if(({applies}) AND ({fails}))"


def _whole(table: str) -> str:
    """The rows of a table."""
    return f"SELECT * FROM {table}"  # noqa: S608  # a name of the schema


def _mentioned(sql: str, table: Table) -> tuple[str, ...]:
    """Columns of a table that occur in an SQL text."""
    words = set(re.findall(r"\$?[a-z]\w*", sql))
    names = tuple(c.name for c in table.columns if c.name in words)
    return names + (amounts(table) if "$amounts" in words else ())


def amounts(table: Table) -> tuple[str, ...]:
    """Columns of a table in yuan."""
    return tuple(column.name for column in table.columns if column.unit == "yuan")


def _needs(columns: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """Pairs of table and column; `Any`: lists from TOML, or tuples."""
    return frozenset((table, name) for table, names in columns.items() for name in names)
