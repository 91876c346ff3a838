"""The tables of medical insurance: their columns, keys, grades and code lists, read from data files.

``schema.toml`` and ``code_lists.toml`` beside this module are the only place where they are written down:
rules, documentation, JSON Schema, generator and catalogue all read them from here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from fedmed.errors import ConfigError
from fedmed.types import require

INPATIENT: Final = ("21", "22", "23", "24", "52")
"""Values of ``med_type`` that are stays."""

_KIND = re.compile(r"(text|integer|decimal|date|time|month)(?:\((\d+)(?:,(\d+))?\))?")


class Kind(Enum):
    """What a column holds."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    DATE = "date"
    TIME = "time"
    MONTH = "month"


class Grade(Enum):
    """How much a column says about a person; policies allow columns by grade."""

    PUBLIC = "public"
    INTERNAL = "internal"
    SENSITIVE = "sensitive"
    RESTRICTED = "restricted"


class Expected(Enum):
    """Where a column should be filled; what is missing there lowers the completeness score."""

    ALWAYS = "always"
    INPATIENT = "inpatient"
    NOWHERE = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeList:
    """The values that a coded column may hold.

    Attributes:
        name: As columns name it.
        version: The edition that the codes were taken from.
        zh: Its Chinese name.
        codes: Code -> (Chinese, English).
        pattern: Further codes allowed by their form; empty = none.
    """

    name: str
    version: str
    zh: str
    codes: Mapping[str, tuple[str, str]]
    pattern: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        name: The administration's field name.
        kind: What it holds.
        size: Longest text, or all digits of a decimal; 0 for other kinds.
        scale: Digits after the point of a decimal.
        required: Whether it may never be empty.
        expected: Where an empty cell lowers the completeness score.
        grade: How much it says about a person.
        unit: Of a number; empty = a count, or none.
        codes: Name of its code list; empty = none.
        pattern: Regular expression that its text fits; empty = any.
        low: Least value allowed; None = any.
        high: Largest value allowed; None = any.
        refers: ``table.column`` that its values come from; empty = none.
        zh: Chinese label.
        en: English label.
    """

    name: str
    kind: Kind
    grade: Grade
    zh: str
    en: str
    size: int = 0
    scale: int = 0
    required: bool = False
    expected: Expected = Expected.NOWHERE
    unit: str = ""
    codes: str = ""
    pattern: str = ""
    low: int | None = None
    high: int | None = None
    refers: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table.

    Attributes:
        name: Also the name of its file or folder.
        zh: Chinese label.
        en: English label.
        key: Columns that name a row; empty = none.
        columns: In order.
        month_of: Column whose month partitions the files (``setl.setl_time``: that of the settlement that
            the row belongs to); empty = one file.
        omop: Tables of OMOP CDM 5.4 with the same content.
        fhir: Resources of FHIR R4 with the same content.
        synthetic: Whether only generated provinces have it.
    """

    name: str
    zh: str
    en: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    month_of: str = ""
    omop: tuple[str, ...] = ()
    fhir: tuple[str, ...] = ()
    synthetic: bool = False

    def column(self, name: str) -> Column:
        """One column by its name.

        Raises:
            ConfigError: there is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise ConfigError(f"table {self.name} has no column {name}; see fedmed data schema {self.name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """All tables.

    Attributes:
        version: Of the files together.
        tables: In order.
        code_lists: By name.
        aliases: Another spelling -> the column's name.
        refused: Direct identifiers, which no table may hold.
        grades: Grade -> (Chinese, English) meaning, from the least to the most telling.
    """

    version: str
    tables: tuple[Table, ...]
    code_lists: Mapping[str, CodeList]
    aliases: Mapping[str, str]
    refused: tuple[str, ...]
    grades: Mapping[Grade, tuple[str, str]]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tables."""
        return tuple(table.name for table in self.tables)

    def table(self, name: str) -> Table:
        """One table by its name.

        Raises:
            ConfigError: there is none.
        """
        for table in self.tables:
            if table.name == name:
                return table
        raise ConfigError(f"the schema has no table {name}; its tables are {', '.join(self.names)}")

    def canonical(self, name: str) -> str:
        """The schema's name of a column in whatever spelling: lower case, aliases resolved."""
        lowered = name.strip().lower()
        return self.aliases.get(lowered, lowered)


@cache
def schema() -> Schema:
    """Read the schema that this version of FedMed ships.

    Returns:
        The same value at every call; it reads two package files at the first.

    Guarantees:
        Keys, code lists and references name what exists; no column is a direct identifier or an alias.
    """
    return parse_schema(_packaged("schema.toml"), _packaged("code_lists.toml"))


def parse_schema(tables: str, code_lists: str) -> Schema:
    """Read a schema from the text of its two files.

    Args:
        tables: TOML as in ``schema.toml``.
        code_lists: TOML as in ``code_lists.toml``.

    Raises:
        ConfigError: a column, key, code list, alias or reference does not fit the others.
    """
    document = tomllib.loads(tables)
    lists = {name: _code_list(name, entry) for name, entry in tomllib.loads(code_lists).items()}
    found = Schema(
        version=document["version"],
        tables=tuple(_table(entry) for entry in document["table"]),
        code_lists=MappingProxyType(lists),
        aliases=MappingProxyType(dict(document["alias"])),
        refused=tuple(document["refused"]),
        grades=MappingProxyType({Grade(k): (v["zh"], v["en"]) for k, v in document["grade"].items()}),
    )
    _check(found)
    return found


def _packaged(name: str) -> str:
    """Text of a file that lies beside this module."""
    # Not by importlib.resources: it loads modules at the first call, which a custodian that gave up root may
    # no longer be able to read.
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _code_list(name: str, entry: Mapping[str, Any]) -> CodeList:
    """One code list; `Any`: TOML has no types."""
    codes = {code: (words[0], words[1]) for code, words in entry["codes"].items()}
    return CodeList(
        name=name,
        version=entry["version"],
        zh=entry["zh"],
        codes=MappingProxyType(codes),
        pattern=entry.get("pattern", ""),
    )


def _table(entry: Mapping[str, Any]) -> Table:
    """One table; `Any`: TOML has no types."""
    values = dict(entry)
    columns = tuple(_column(column) for column in values.pop("columns"))
    for name in ("key", "omop", "fhir"):
        values[name] = tuple(values.get(name, ()))
    return Table(columns=columns, **values)


def _column(entry: Mapping[str, Any]) -> Column:
    """One column; `Any`: TOML has no types."""
    values = dict(entry)
    kind = _KIND.fullmatch(values.pop("kind"))
    if kind is None:
        raise ConfigError(f"column {values['name']}: kind must be text(N), decimal(P,S) or a plain one")
    return Column(
        kind=Kind(kind[1]),
        size=int(kind[2] or 0),
        scale=int(kind[3] or 0),
        grade=Grade(values.pop("grade")),
        expected=Expected(values.pop("expected", "")),
        **values,
    )


def _check(found: Schema) -> None:
    """Refuse a schema whose parts do not fit."""
    for table in found.tables:
        names = [column.name for column in table.columns]
        require(len(set(names)) == len(names), f"table {table.name} names a column twice")
        for name in table.key:
            require(table.column(name).required, f"{table.name}.{name} is a key and must be required")
        for column in table.columns:
            where = f"{table.name}.{column.name}"
            require(not column.codes or column.codes in found.code_lists, f"{where}: unknown code list")
            is_plain = column.name not in found.refused and column.name not in found.aliases
            require(is_plain, f"{where} is a direct identifier, or stands in the alias table")
            if column.refers:
                other, _, target = column.refers.partition(".")
                found.table(other).column(target)
