"""What every derivation from insurance tables gives: its name, its columns, its statements.

A node's persons are those insured in its own regions, so that what one settlement tells is told by one node,
although the place of care has a row of it too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

from fedmed.data.duckdb_files import literal
from fedmed.data.feature_sets.definition import PERSON
from fedmed.errors import DataContractError
from fedmed.types import require

RESULT: Final = "derived"
"""Table that the statements leave behind."""
_REGION: Final = re.compile(r"[1-9]\d{5}")


class Recipe(Protocol):
    """A derivation of one table from a province's tables."""

    @property
    def reference(self) -> str:
        """What a study names: ``name@digest`` of what is computed; years and regions are not in it."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the derived table, in order, the person first."""
        ...

    @property
    def needs(self) -> Mapping[str, frozenset[str]]:
        """Table -> columns that deriving reads."""
        ...

    @property
    def must_reach(self) -> int | None:
        """Year that the settlements must tell of; None = whatever they tell of."""
        ...

    def statements(self, parts: int) -> Iterator[str]:
        """SQL that makes `RESULT` from typed views under the schema's names.

        Args:
            parts: In how many parts persons are taken, each with a scan of its own.
        """
        ...


def require_tables(recipe: Recipe, present: Mapping[str, frozenset[str]]) -> None:
    """Raise `DataContractError` for tables and columns that a derivation reads and that are not there."""
    name, _, _ = recipe.reference.partition("@")
    for table, columns in sorted(recipe.needs.items()):
        if table not in present:
            raise DataContractError(f"table {table} is missing; the feature set {name} reads it")
        missing = sorted(columns - present[table])
        if missing:
            raise DataContractError(
                f"{table}: column {', '.join(missing)} is missing; the feature set {name} reads it"
            )


def require_regions(regions: Sequence[str]) -> None:
    """Raise `ConfigError` unless these are regions of a node: at least one, of six digits each."""
    require(bool(regions), "regions must name at least one region of the node, such as 310000")
    for region in regions:
        is_region = region.isascii() and _REGION.fullmatch(region) is not None
        require(is_region, f"a region has six digits, such as 310000, got {region!r}")


def at_home(column: str, regions: Sequence[str]) -> str:
    """SQL: whether a region is one of the node's own; 310000 is the whole province, 320400 the city."""
    prefixes = (re.sub(r"(00){1,2}$", "", region) for region in regions)
    return "(" + " OR ".join(f"starts_with({column}, {literal(prefix)})" for prefix in prefixes) + ")"


def first_day(year: int) -> str:
    """SQL: a year's first day."""
    return f"DATE '{year:04d}-01-01'"


def one_part(number: int, parts: int) -> str:
    """SQL: whether a person is in part ``number``, from 0, of ``parts``; every person is in exactly one."""
    return "TRUE" if parts == 1 else f"hash({PERSON}) % {parts} = {number}"
