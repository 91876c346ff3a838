"""From a feature set to SQL for DuckDB, over the typed views of a province's tables.

Persons are those insured at home in December of year t and beyond it: at most one node is that, for who
moves in December is insured at two places in it, and counts where the insurance goes on. Their visits are
those that end in year t; a visit whose settlements were all reversed counts for nothing. Sums are exact
decimals until they are whole, so that no order of rows, kind of storage or number of threads shows in the
result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from fedmed.data.duckdb_files import literal
from fedmed.data.feature_sets.definition import OWNED, PERSON, Definition, FeatureSet, Measure
from fedmed.data.feature_sets.recipe import RESULT, at_home, first_day, one_part, require_regions
from fedmed.types import require

_CODED = ("setl_diag", "setl_oprn", "fee_list")


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """What to derive.

    Attributes:
        features: The set.
        year: Year t of the features; outcomes are of t + 1.
        regions: Six-digit codes of the node's own regions; 310000 stands for the whole province, 320400 for
            the city, 320402 for itself.
    """

    features: FeatureSet
    year: int
    regions: tuple[str, ...]

    def __post_init__(self) -> None:
        require(1900 <= self.year <= 9998, f"year must be in 1900..9998, got {self.year}")
        require_regions(self.regions)

    @property
    def reference(self) -> str:
        """See `fedmed.data.feature_sets.recipe.Recipe.reference`: the set's."""
        return self.features.reference

    @property
    def columns(self) -> tuple[str, ...]:
        """See `fedmed.data.feature_sets.recipe.Recipe.columns`."""
        return self.features.columns

    @property
    def needs(self) -> Mapping[str, frozenset[str]]:
        """See `fedmed.data.feature_sets.recipe.Recipe.needs`."""
        return self.features.needs

    @property
    def must_reach(self) -> int | None:
        """See `fedmed.data.feature_sets.recipe.Recipe.must_reach`: the year of the outcomes."""
        return self.year + 1

    def statements(self, parts: int) -> Iterator[str]:
        """See `fedmed.data.feature_sets.recipe.Recipe.statements`."""
        yield from _beginning(self)
        for number in range(parts):
            yield from _part(self, number, parts)


def _beginning(derivation: Derivation) -> Iterator[str]:
    """Statements that come first: the words of the vocabularies, and an empty result."""
    for one in derivation.features.features:
        if one.measure is Measure.CODES:
            words = ", ".join(f"({literal(word)}, {at})" for at, word in enumerate(one.vocabulary))
            yield f"CREATE TABLE {_words(one)} AS SELECT * FROM (VALUES {words}) AS v(word, position)"  # noqa: S608
    yield f"CREATE TABLE {RESULT} ({', '.join(f'{name} {kind}' for name, kind in _types(derivation))})"


def _part(derivation: Derivation, number: int, parts: int) -> Iterator[str]:
    """Statements that derive one part of the persons and append it to `RESULT`."""
    mine = one_part(number, parts)
    yield f"CREATE TABLE d_persons AS {_persons(derivation, mine)}"
    yield f"CREATE TABLE d_settled AS {_settled(derivation, mine)}"
    yield f"CREATE TABLE d_visits AS {_VISITS} WHERE stands AND enddate < {first_day(derivation.year + 1)}"
    yield f"INSERT INTO {RESULT} {_joined(derivation)}"
    for table in ("d_persons", "d_settled", "d_visits"):
        yield f"DROP TABLE {table}"


_VISITS: Final = f"SELECT DISTINCT mdtrt_id, {PERSON} FROM d_settled"  # noqa: S608  # fixed text


def _types(derivation: Derivation) -> Iterator[tuple[str, str]]:
    """Columns of the result with their types."""
    yield PERSON, "VARCHAR"
    for one in (*derivation.features.features, *derivation.features.outcomes):
        yield one.name, _type(one)


def _type(one: Definition) -> str:
    """DuckDB's type of a derived column; sums leave as the nearest double of an exact decimal."""
    return {
        Measure.ATTRIBUTE: "VARCHAR",
        Measure.SUM: "DOUBLE",
        Measure.CODES: "INTEGER[]",
    }.get(one.measure, "BIGINT")


def _persons(derivation: Derivation, mine: str) -> str:
    """Persons insured at home in December of year t and beyond; a pseudonym there twice is one person."""
    month = f"'{derivation.year:04d}-12'"
    of_person = [one for one in derivation.features.features if one.table == "psn_insu"]
    chosen = "".join(f", min({_of_person(one, derivation.year)}) AS {one.name}" for one in of_person)
    return (
        f"SELECT {PERSON}{chosen} FROM psn_insu WHERE {PERSON} IS NOT NULL AND {mine} "  # noqa: S608
        f"AND {at_home('insu_admdvs', derivation.regions)} AND coalesce(begn_ym, {month}) <= {month} "
        f"AND (end_ym IS NULL OR end_ym > {month}) GROUP BY {PERSON}"
    )


def _of_person(one: Definition, year: int) -> str:
    """An attribute, or whole years at the end of the year."""
    if one.measure is Measure.AGE:
        return f"{year} - TRY_CAST(left({one.column}, 4) AS BIGINT)"
    return one.column


def _settled(derivation: Derivation, mine: str) -> str:
    """Settlements of visits of both years, each with its sign and whether the visit stands.

    A visit is a person's: where two persons' rows bear one number, neither's stand or fall with the other's.
    """
    columns = sorted(derivation.features.needs["setl"])
    return (
        f"SELECT {', '.join(columns)}, CASE refd_setl_flag WHEN '1' THEN -1 ELSE 1 END AS sign, "  # noqa: S608
        f"sum(CASE refd_setl_flag WHEN '1' THEN -1 ELSE 1 END) OVER (PARTITION BY {PERSON}, mdtrt_id) > 0 "
        f"AS stands "
        f"FROM setl SEMI JOIN d_persons USING ({PERSON}) WHERE {mine} "
        f"AND enddate >= {first_day(derivation.year)} AND enddate < {first_day(derivation.year + 2)}"
    )


def _joined(derivation: Derivation) -> str:
    """One row a person: attributes, sums over settlements, and what hangs on visits."""
    features = derivation.features
    hanging = [one for one in features.features if one.table in _CODED]
    cells = ", ".join(_cell(one) for one in (*features.features, *features.outcomes))
    joins = " ".join(f"LEFT JOIN ({_hanging(one)}) AS q_{one.name} USING ({PERSON})" for one in hanging)
    return (
        f"SELECT {PERSON}, {cells} FROM d_persons "  # noqa: S608  # names of the set, which are plain
        f"LEFT JOIN ({_sums(derivation)}) AS q USING ({PERSON}) {joins}"
    )


def _cell(one: Definition) -> str:
    """A column of the result; nothing of a kind is none of it, an unknown attribute stays unknown."""
    if one.table == "psn_insu":
        return f"d_persons.{one.name}"
    source = "q" if one.table == "setl" else f"q_{one.name}"
    nothing = "[]" if one.measure is Measure.CODES else "0"
    return f"CAST(coalesce({source}.{one.name}, {nothing}) AS {_type(one)})"


def _sums(derivation: Derivation) -> str:
    """Person by person, everything that is made of settlements."""
    features, middle = derivation.features, first_day(derivation.year + 1)
    chosen = [_of_settlements(one, f"enddate < {middle}", derivation) for one in features.features]
    chosen += [_of_settlements(one, f"enddate >= {middle}", derivation) for one in features.outcomes]
    listed = ", ".join([PERSON, *filter(None, chosen)])
    return f"SELECT {listed} FROM d_settled GROUP BY {PERSON}"  # noqa: S608


def _of_settlements(one: Definition, year: str, derivation: Derivation) -> str:
    """One aggregate over settlements; empty for a definition of another table."""
    if one.table != "setl":
        return ""
    conditions = [year, *_conditions(one)]
    if one.away:
        conditions.append(f"NOT {at_home('mdtrtarea_admdvs', derivation.regions)}")
    chosen = " AND ".join(conditions)
    if one.measure is Measure.DISTINCT:
        return f"count(DISTINCT CASE WHEN stands AND {chosen} THEN {one.column} END) AS {one.name}"
    # An empty flag or amount must not decide whether a person is counted: such a row adds nothing.
    value = "sign" if one.measure is Measure.COUNT else one.column
    return f"sum(CASE WHEN {chosen} THEN {value} END) AS {one.name}"


def _hanging(one: Definition) -> str:
    """Person by person, what hangs on the standing visits of year t: rows counted, or words that occur."""
    conditions = " AND ".join(["TRUE", *_conditions(one)])
    # A line that names its person is that person's, whoever else has a visit of that number.
    keys = f"mdtrt_id, {PERSON}" if one.table in OWNED else "mdtrt_id"
    rows = f"FROM {one.table} JOIN d_visits USING ({keys})"
    person = f"d_visits.{PERSON}"
    if one.measure is Measure.COUNT:
        return f"SELECT {person}, count(*) AS {one.name} {rows} WHERE {conditions} GROUP BY ALL"
    return (
        f"SELECT {PERSON}, list_sort(list(position)) AS {one.name} FROM (SELECT DISTINCT {person}, "  # noqa: S608
        f"position {rows} JOIN {_words(one)} ON left({one.table}.{one.column}, {one.signs}) = word "
        f"WHERE {conditions}) GROUP BY {PERSON}"
    )


def _conditions(one: Definition) -> Iterator[str]:
    """SQL of ``where``."""
    for column, values in one.where.items():
        yield f"{column} IN ({', '.join(map(literal, values))})"


def _words(one: Definition) -> str:
    """Table with a vocabulary."""
    return f"w_{one.name}"
