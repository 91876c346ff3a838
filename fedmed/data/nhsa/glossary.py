"""What the columns and codes of a study mean, by the schema of medical insurance, for readers of results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from fedmed.data.nhsa.schema import Column, schema

STAYS: Final = frozenset({"stay", "first_stay"})
"""Datasets whose rows are visits, as the settlements' words mean them."""
_PROVINCES: Final = "province"
_PROVINCE_DIGITS: Final = 2
_REGION: Final = "admdvs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a column is.

    Attributes:
        en: In English.
        zh: In Chinese.
        unit: Of its numbers; empty = a count, a code or none.
        codes: The study's levels that a code list knows, in the study's order -> English.
    """

    en: str
    zh: str
    unit: str
    codes: Mapping[str, str]


def glossary(
    columns: Iterable[str], levels: Mapping[str, Sequence[str]], *, dataset: str
) -> dict[str, dict[str, Any]]:
    """Explain the columns that the schema knows.

    Args:
        columns: Columns of a study, in any spelling.
        levels: Levels that the study declares, by column.
        dataset: What its rows are. Only of `STAYS` every word holds; in a year of a person an age is not that
            of a visit, so there codes and amounts are explained and nothing else.

    Returns:
        `Meaning` as JSON by column, in the order given. A column that no table has is left out: a study may
        read columns of its own.
    """
    known = {
        column.name: column
        for table in schema().tables
        for column in table.columns
        if dataset in STAYS or column.codes or column.unit == "yuan" or column.name.endswith(_REGION)
    }
    found = {}
    for name in dict.fromkeys(columns):
        column = known.get(schema().canonical(name))
        if column is not None:
            codes = _codes(column, levels.get(name, ()))
            found[name] = asdict(Meaning(en=column.en, zh=column.zh, unit=column.unit, codes=codes))
    return found


def _codes(column: Column, levels: Sequence[str]) -> dict[str, str]:
    """The levels that a code list names; the first two digits of a region are its province."""
    is_region = column.name.endswith(_REGION) and all(len(level) == _PROVINCE_DIGITS for level in levels)
    name = _PROVINCES if is_region else column.codes
    if not name:
        return {}
    known = schema().code_lists[name].codes
    return {level: known[level][1] for level in levels if level in known}
