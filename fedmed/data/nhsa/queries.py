"""From rules to SQL for DuckDB: typed views over whatever the files hold, and queries that only count."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fedmed.data.duckdb_files import literal, quoted
from fedmed.data.nhsa.rules import Rule, amounts, unfit_name
from fedmed.data.nhsa.schema import INPATIENT, CodeList, Column, Kind, Table, schema
from fedmed.data.nhsa.settings import QualitySettings
from fedmed.errors import DataContractError

_TYPES = {
    Kind.TEXT: "VARCHAR",
    Kind.INTEGER: "BIGINT",
    Kind.DATE: "DATE",
    Kind.TIME: "TIMESTAMP",
    Kind.MONTH: "VARCHAR",
}
_MONTH = r"'\d{4}-(0[1-9]|1[0-2])'"
_PART = re.compile(r"\$part\((\w+)\)")
_CODED = re.compile(r"\$coded\((\w+), (\w+)\)")
_NAMED = re.compile(r"\$(\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Rules that look at the same rows, as one query.

    Attributes:
        rules: In the order of the result's pairs (checked, failing).
        sql: Gives one row of whole numbers; ``$part`` is still in it.
    """

    rules: tuple[Rule, ...]
    sql: str

    @property
    def has_parts(self) -> bool:
        """Whether it may be run part by part, and its numbers added."""
        return _PART.search(self.sql) is not None

    def part(self, number: int, parts: int) -> str:
        """SQL of one part.

        Args:
            number: From 0.
            parts: How many there are; the parts' numbers sum to those of the whole.
        """
        if parts == 1:
            return _PART.sub("TRUE", self.sql)
        return _PART.sub(rf"(hash(\1) % {parts} = {number})", self.sql)


def typed_view(table: Table, source: str, types: Mapping[str, str]) -> str:
    """SQL of the view that rules read: the schema's columns and types, whatever the file's are.

    Args:
        table: The table.
        source: SQL relation with the file's columns.
        types: The file's columns with DuckDB's types.

    Returns:
        ``CREATE VIEW``; a cell that cannot be read is NULL, and the column ``name!unfit`` says so.

    Raises:
        DataContractError: two columns of the file are one of the schema's in other spellings.
    """
    chosen = []
    for spelling, kind in columns_of(table, types).items():
        column = table.column(schema().canonical(spelling))
        value = _value(quoted(spelling), column, stored=kind)
        chosen.append(f"{_typed(value, column)} AS {column.name}")
        chosen.append(f"{_unfit(value, column, stored=kind)} AS {quoted(unfit_name(column.name))}")
    listed = ", ".join(chosen) or "1 AS nothing"
    return f"CREATE VIEW {table.name} AS SELECT {listed} FROM {source}"  # noqa: S608  # names of the schema


def columns_of(table: Table, types: Mapping[str, str]) -> dict[str, str]:
    """The file's columns that the schema knows, as spelled, with their types.

    Raises:
        DataContractError: two of them are one of the schema's in other spellings.
    """
    known = {column.name for column in table.columns}
    found = {name: kind for name, kind in types.items() if schema().canonical(name) in known}
    names = [schema().canonical(name) for name in found]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise DataContractError(
            f"{table.name}: column {', '.join(doubled)} stands there in two spellings; drop one of them"
        )
    return found


def compile_queries(
    rules: Iterable[Rule], present: Mapping[str, frozenset[str]], settings: QualitySettings
) -> tuple[Query, ...]:
    """Make queries of the rules that can run.

    Args:
        rules: All rules.
        present: Table -> its columns that are there; tables that are not there are absent.
        settings: Tolerances, regional codes, rules switched off.

    Returns:
        One query for each source of rows; rules whose columns are not all there, or that are switched off,
        are in none.
    """
    grouped: dict[str, list[Rule]] = {}
    for rule in rules:
        is_on = not {rule.kind, rule.id} & settings.off
        if is_on and all(column in present.get(table, ()) for table, column in rule.needs):
            grouped.setdefault(rule.source, []).append(rule)
    return tuple(_query(source, tuple(found), settings) for source, found in grouped.items())


def _query(source: str, rules: tuple[Rule, ...], settings: QualitySettings) -> Query:
    """One query; an empty table counts nothing rather than NULL."""
    counts = ", ".join(f"coalesce({count}, 0)" for rule in rules for count in (rule.checked, rule.failing))
    sql = f"SELECT {counts} FROM ({source})"  # noqa: S608  # text of the packaged rules
    return Query(rules=rules, sql=_filled(sql, settings))


def _filled(sql: str, settings: QualitySettings) -> str:
    """Put values in place of the placeholders, all but ``$part``."""

    def coded(found: re.Match[str]) -> str:
        codes = schema().code_lists[found[2]]
        return _is_coded(found[1], codes, more=settings.codes.get(codes.name, ()))

    values = {
        "money": repr(settings.money),
        "line": repr(settings.line),
        "stay_days": str(settings.stay_days),
        "late_days": str(settings.late_days),
        "inpatient": ", ".join(literal(code) for code in INPATIENT),
        "amounts": ", ".join(amounts(schema().table("setl"))),
        "part": "$part",
    }
    return _NAMED.sub(lambda found: values[found[1]], _CODED.sub(coded, sql))


def _is_coded(column: str, codes: CodeList, *, more: Iterable[str]) -> str:
    """SQL: whether a value is in a code list."""
    listed = ", ".join(literal(code) for code in (*codes.codes, *more))
    is_listed = f"{column} IN ({listed})"
    return (
        f"({is_listed} OR regexp_full_match({column}, '{codes.pattern}'))"
        if codes.pattern
        else f"({is_listed})"
    )


def _value(name: str, column: Column, *, stored: str) -> str:
    """A cell as stored; an empty text is a missing value."""
    if stored == "VARCHAR":
        return f"nullif({name}, '')"
    if column.kind in (Kind.TEXT, Kind.MONTH):
        return f"CAST({name} AS VARCHAR)"
    return name


def _typed(value: str, column: Column) -> str:
    """A cell in the schema's type; NULL where it cannot be read."""
    if column.kind is Kind.MONTH:
        return f"CASE WHEN regexp_full_match({value}, {_MONTH}) THEN {value} END"
    return value if column.kind is Kind.TEXT else f"TRY_CAST({value} AS {_type(column)})"


def _unfit(value: str, column: Column, *, stored: str) -> str:
    """Whether a cell holds something that the schema's type cannot."""
    if column.kind is Kind.TEXT:
        # A coded or formed text that is too long is found by its list or pattern.
        is_free = not (column.codes or column.pattern)
        return f"coalesce(length({value}) > {column.size}, FALSE)" if is_free else "FALSE"
    if stored.replace(" ", "") == _type(column).replace(" ", "") and column.kind is not Kind.MONTH:
        return "FALSE"
    return f"({value} IS NOT NULL AND {_typed(value, column)} IS NULL)"


def _type(column: Column) -> str:
    """DuckDB's type of a column."""
    return f"DECIMAL({column.size},{column.scale})" if column.kind is Kind.DECIMAL else _TYPES[column.kind]
