"""Feature sets as data: what a person's year is made of, with public bounds, named by digest.

A definition chooses among a few measures and never holds SQL: whoever approves a set can read what it does,
and no text of a study or a set reaches a province's engine as a command.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from fedmed.data.nhsa.schema import Grade, schema
from fedmed.data.tables import nearest
from fedmed.errors import ConfigError
from fedmed.types import Feature, FeatureKind, digest, require

FORMAT_VERSION: Final = 1
PERSON_YEAR: Final = "person_year"
PERSON: Final = "psn_no"

_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_PLAIN_WORD = re.compile(r"[A-Za-z0-9.+_-]{1,20}")
OWNED: Final = frozenset({"fee_list"})
"""Tables below settlements whose rows name a person besides the visit."""
_TABLES: Final = ("psn_insu", "setl", "setl_diag", "setl_oprn", "fee_list")
_KEYS: Final = {"name", "zh", "en", "measure", "table", "column", "where", "away", "unit"}
_KEYS_OF_BOUNDS: Final = {"low", "high", "log", "categories", "vocabulary", "signs"}


def _nowhere() -> Mapping[str, tuple[str, ...]]:
    """No condition."""
    return MappingProxyType({})


class Measure(Enum):
    """How a column is made of a person's rows."""

    ATTRIBUTE = "attribute"
    AGE = "age"
    COUNT = "count"
    SUM = "sum"
    DISTINCT = "distinct"
    CODES = "codes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One derived column.

    Attributes:
        name: Of the column.
        zh: Chinese label.
        en: English label.
        measure: ``attribute``: a column of ``psn_insu``; ``age``: whole years at the end of the year;
            ``count``: rows, for ``setl`` settlements less their reversals; ``sum``: of an amount, reversals
            taken off; ``distinct``: different values, reversed visits left out; ``codes``: which words of
            the vocabulary occur.
        table: Where it comes from.
        column: Of that table; empty for ``count``.
        where: Column -> values of it; only such rows count.
        away: Only settlements of care outside the home regions count.
        unit: Of a number; empty = a count.
        low: Public lower bound of a number.
        high: Public upper bound of a number.
        log: Whether a study scales it by its logarithm.
        categories: Values of an attribute.
        vocabulary: Words, each standing for its position.
        signs: Leading signs of a code that are compared with the words.
    """

    name: str
    zh: str
    en: str
    measure: Measure
    table: str
    column: str = ""
    where: Mapping[str, tuple[str, ...]] = field(default_factory=_nowhere)
    away: bool = False
    unit: str = ""
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    categories: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()
    signs: int = 0

    def __post_init__(self) -> None:
        where = f"feature {self.name}"
        require(
            _NAME.fullmatch(self.name) is not None, f"{where}: names are of a-z, 0-9 and _, from a letter"
        )
        require(self.table in _TABLES, f"{where}: table must be one of {', '.join(_TABLES)}")
        of_person = self.measure in (Measure.ATTRIBUTE, Measure.AGE)
        require(of_person == (self.table == "psn_insu"), f"{where}: attribute and age are of psn_insu alone")
        require((self.measure is Measure.COUNT) == (not self.column), f"{where}: all but count name a column")
        only_setl = self.measure in (Measure.SUM, Measure.DISTINCT) or self.away
        require(not only_setl or self.table == "setl", f"{where}: sum, distinct and away are of setl alone")
        coded = self.measure is Measure.CODES
        require(not coded or self.table in ("setl_diag", "setl_oprn", "fee_list"), f"{where}: no codes there")
        words = [*self.vocabulary, *(value for values in self.where.values() for value in values)]
        require(all(map(_PLAIN_WORD.fullmatch, words)), f"{where}: words are plain, of at most 20 signs")
        lengths = {len(word) for word in self.vocabulary}
        require(not coded or lengths == {self.signs}, f"{where}: every word must have {self.signs} signs")
        require(len(set(self.vocabulary)) == len(self.vocabulary), f"{where}: a word stands there twice")
        for column in (*self.where, *((self.column,) if self.column else ())):
            schema().table(self.table).column(column)
        if self.measure is Measure.SUM:
            found = schema().table(self.table).column(self.column)
            require(found.unit in ("yuan", "day"), f"{where}: sum is for amounts and days")
        _ = self.feature

    @property
    def feature(self) -> Feature:
        """The column as a study declares it, with its public bounds."""
        if self.measure is Measure.CODES:
            return Feature(name=self.name, kind=FeatureKind.CODES, vocabulary_size=len(self.vocabulary))
        if self.measure is Measure.ATTRIBUTE:
            return Feature(name=self.name, kind=FeatureKind.CATEGORY, categories=self.categories)
        return Feature(name=self.name, kind=FeatureKind.NUMBER, low=self.low, high=self.high, log=self.log)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSet:
    """All columns of one derived table.

    Attributes:
        name: Of the set, and of the dataset that it gives.
        version: The authors' own; the digest is what counts.
        zh: Chinese label.
        en: English label.
        features: Of year t, codes last.
        outcomes: Of year t + 1, numbers; a study names one of them and a threshold.
        digest: Of everything that decides what is computed, and the labels, 32 bytes.
    """

    name: str
    version: str
    zh: str
    en: str
    features: tuple[Definition, ...]
    outcomes: tuple[Definition, ...]
    digest: bytes

    def __post_init__(self) -> None:
        require(_NAME.fullmatch(self.name) is not None, "a feature set's name is of a-z, 0-9 and _")
        names = [PERSON, *(one.name for one in (*self.features, *self.outcomes))]
        doubled = sorted({name for name in names if names.count(name) > 1})
        require(not doubled, f"feature set {self.name}: {', '.join(doubled)} stands there twice")
        require(bool(self.features) and bool(self.outcomes), "a feature set needs features and an outcome")
        for one in self.outcomes:
            is_number = one.table == "setl" and one.measure is not Measure.CODES
            require(is_number, f"outcome {one.name} must be a count, sum or distinct of setl")
        kinds = [one.measure is Measure.CODES for one in self.features]
        require(kinds == sorted(kinds), "codes come last among the features")

    @property
    def reference(self) -> str:
        """What a study names: ``name@digest``."""
        return f"{self.name}@{self.digest.hex()}"

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the derived table, in order, the person first."""
        return (PERSON, *(one.name for one in self.features), *(one.name for one in self.outcomes))

    @property
    def needs(self) -> Mapping[str, frozenset[str]]:
        """Table -> columns that deriving reads."""
        needed: dict[str, set[str]] = {
            "psn_insu": {PERSON, "insu_admdvs", "begn_ym", "end_ym"},
            "setl": {PERSON, "mdtrt_id", "enddate", "refd_setl_flag"},
        }
        for one in (*self.features, *self.outcomes):
            found = needed.setdefault(one.table, {"mdtrt_id"})
            found |= {*one.where, *((one.column,) if one.column else ())}
            found |= {"mdtrtarea_admdvs"} if one.away else set()
            found |= {PERSON} if one.table in OWNED else set()
        return {table: frozenset(columns) for table, columns in needed.items()}


def derived_grades(columns: Iterable[str]) -> dict[str, Grade]:
    """Grade of derived columns: whatever is made of one person's claims stays sensitive."""
    return {name: Grade.RESTRICTED if name == PERSON else Grade.SENSITIVE for name in columns}


@cache
def packaged_feature_set() -> FeatureSet:
    """The set that FedMed ships, ``person_year``; it reads one package file at the first call."""
    return parse_feature_set(Path(__file__).with_name("person_year.toml").read_text(encoding="utf-8"))


def parse_feature_set(text: str) -> FeatureSet:
    """Read a feature set.

    Args:
        text: TOML as in ``person_year.toml``.

    Returns:
        The set; layout and comments of the file do not change its digest, anything else does.

    Raises:
        ConfigError: it is not TOML, a key is unknown, or a definition cannot be.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise ConfigError(f"the feature set is not TOML: {fault}") from None
    _require_keys(document, {"format", "name", "version", "zh", "en", "feature", "outcome"}, where="the set")
    require(document.get("format") == FORMAT_VERSION, f"the feature set's format must be {FORMAT_VERSION}")
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    try:
        return FeatureSet(
            **{key: str(document[key]) for key in ("name", "version", "zh", "en")},
            features=tuple(_definition(entry) for entry in document["feature"]),
            outcomes=tuple(_definition(entry) for entry in document["outcome"]),
            digest=digest("fedmed/feature-set", canonical.encode()),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as fault:
        raise ConfigError(f"the feature set is incomplete or has a value of a wrong type: {fault}") from None


def _definition(entry: Mapping[str, Any]) -> Definition:
    """One definition; `Any`: TOML has no types."""
    _require_keys(entry, _KEYS | _KEYS_OF_BOUNDS, where=f"feature {entry.get('name')}")
    values = dict(entry)
    values["measure"] = Measure(values["measure"])
    for key in ("categories", "vocabulary"):
        values[key] = tuple(values.get(key, ()))
    if "where" in values:
        values["where"] = MappingProxyType({name: tuple(found) for name, found in values["where"].items()})
    return Definition(**values)


def _require_keys(entry: Mapping[str, Any], known: set[str], *, where: str) -> None:
    """Refuse unknown keys, with the nearest right one; `Any`: TOML has no types."""
    for key in entry:
        require(key in known, f"{where}: unknown key {key}{nearest(key, sorted(known))}")
