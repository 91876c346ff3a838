"""What the columns and codes of a study mean, for readers of results.

Words come from the schema of medical insurance, from the shipped feature set, and from ``words.toml`` beside
this module for columns that are derived or made up.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from fedmed.data.nhsa.schema import Column, schema

STAYS: Final = frozenset({"stay", "first_stay"})
"""Datasets whose rows are visits, as the settlements' words mean them."""
ROWS: Final = "rows"
"""What rows are called where nobody knows a better word."""
_FEATURES: Final = Path(__file__).parents[1] / "feature_sets" / "person_year.toml"
_PROVINCES: Final = "province"
_PROVINCE_DIGITS: Final = 2
_REGION: Final = "admdvs"
_DIAGNOSIS: Final = "diag_code"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A column as one of the sources tells of it; ``codes`` names a code list."""

    en: str
    zh: str
    unit: str = ""
    codes: str = ""


def glossary(
    columns: Iterable[str], levels: Mapping[str, Sequence[str]], *, dataset: str
) -> dict[str, dict[str, Any]]:
    """Explain the columns that somebody has words for.

    Args:
        columns: Columns of a study, in any spelling.
        levels: Levels that the study declares, by column.
        dataset: What its rows are. Only of `STAYS` every word of the schema holds; in a year of a person an
            age is not that of a visit, so there the feature set and ``words.toml`` speak, and of the schema
            only codes and amounts.

    Returns:
        `Meaning` as JSON by column, in the order given. A column that nobody knows is left out: a study may
        read columns of its own.
    """
    known = {**dict(_of_schema(dataset)), **_of_datasets().get(dataset, {})}
    found = {}
    for name in dict.fromkeys(columns):
        column = schema().canonical(name)
        entry = known.get(column)
        if entry is not None:
            codes = _codes(column, entry.codes, levels.get(name, ()))
            found[name] = asdict(Meaning(en=entry.en, zh=entry.zh, unit=entry.unit, codes=codes))
    return found


def row_word(dataset: str) -> str:
    """What rows of a dataset are, in the plural: ``stays``; `ROWS` of one that nobody knows."""
    return str(_words()["rows"].get(dataset, ROWS))


def _of_schema(dataset: str) -> Iterator[tuple[str, _Entry]]:
    """The words of the schema that hold in a dataset."""
    for table in schema().tables:
        for column in table.columns:
            if dataset in STAYS or _holds_anywhere(column):
                yield (
                    column.name,
                    _Entry(en=column.en, zh=column.zh, unit=column.unit, codes=column.codes),
                )


def _holds_anywhere(column: Column) -> bool:
    """Whether a column means the same whatever a row is."""
    return bool(column.codes) or column.unit == "yuan" or column.name.endswith(_REGION)


@cache
def _of_datasets() -> Mapping[str, Mapping[str, _Entry]]:
    """Words of derived columns, by dataset."""
    features = tomllib.loads(_FEATURES.read_text(encoding="utf-8"))
    of_set = {
        entry["name"]: _Entry(
            en=entry["en"], zh=entry["zh"], unit=entry.get("unit", ""), codes=_list_of(entry)
        )
        for entry in (*features["feature"], *features["outcome"])
    }
    found = {
        dataset: {name: _Entry(**entry) for name, entry in columns.items()}
        for dataset, columns in _words()["columns"].items()
    }
    of_year = {**of_set, **found.get(features["name"], {})}
    return MappingProxyType({**found, features["name"]: of_year})


def _list_of(feature: Mapping[str, Any]) -> str:
    """The code list of a feature that takes a column's value as it is; `Any`: TOML has no types."""
    if feature["measure"] != "attribute":
        return ""
    return schema().table(feature["table"]).column(feature["column"]).codes


@cache
def _words() -> Mapping[str, Any]:
    """``words.toml``; `Any`: TOML has no types."""
    text = Path(__file__).with_name("words.toml").read_text(encoding="utf-8")
    return MappingProxyType(tomllib.loads(text))


def _codes(column: str, codes: str, levels: Sequence[str]) -> dict[str, str]:
    """The levels that a list names; the first two digits of a region are its province."""
    if column == _DIAGNOSIS:
        diseases: Mapping[str, str] = _words()["disease"]
        return {level: diseases[level] for level in levels if level in diseases}
    is_region = column.endswith(_REGION) and all(len(level) == _PROVINCE_DIGITS for level in levels)
    name = _PROVINCES if is_region else codes
    if not name:
        return {}
    known = schema().code_lists[name].codes
    return {level: known[level][1] for level in levels if level in known}
