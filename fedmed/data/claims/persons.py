"""Insured persons of one chunk: who they are, since when and until when they are insured, and where."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedmed.data.claims.fraud import DEAD_WITH_VISITS, RESALE_PERSONS
from fedmed.data.claims.institutions import CITIES, FIRST_CITY
from fedmed.data.synthetic import pseudonyms
from fedmed.data.synthetic_draws import Cohort, draw_cohort
from fedmed.data.synthetic_parameters import PROVINCES
from fedmed.types import IntArray

BoolArray = npt.NDArray[np.bool_]

PERSON_TYPES = (
    "1101", "1102", "1103", "1201", "1202", "1203", "1401", "1402", "1403", "1404", "1405", "1501",
)  # fmt: skip
ACTIVE, CIVIL, FLEXIBLE, RETIRED = 0, 1, 2, 3
_NEWBORN, _PRESCHOOL, _PUPIL, _STUDENT, _MINOR, _ADULT = 6, 7, 8, 9, 10, 11

# Death follows Gompertz's law: log of the yearly chance, near 0.4 % at 50 and 5 % at 80.
_DEATH_BASE, _DEATH_AGE, _DEATH_FRAILTY = -9.65, 0.082, 0.3
_MOVES_A_YEAR, _JOINS_A_YEAR, _LEAVES_A_YEAR = 0.003, 0.006, 0.004
_POOR, _CIVIL, _FLEXIBLE = 0.04, 0.09, 0.12
NEVER = 10_000
"""A month, counted from the first January, that no window reaches."""

AWAY_TO = np.array(
    [
        [0.00, 0.50, 0.35, 0.15],
        [0.65, 0.00, 0.20, 0.15],
        [0.70, 0.20, 0.00, 0.10],
        [0.45, 0.40, 0.15, 0.00],
    ]
)
"""Where care away from home is sought and where movers go: from a row's province to a column's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Insured:
    """Persons of one chunk; arrays of shape (n,), months are counted from the first January.

    Attributes:
        cohort: What the synthetic world knows of them.
        home: Index of their province.
        names: Pseudonyms, the same wherever the person goes.
        born: Month of birth, negative.
        city: Number of the city where insured at first.
        person_type: Index into `PERSON_TYPES`.
        poor: Entitled to medical assistance.
        begins: First month insured; may be negative.
        ends: Last month insured; `NEVER` while it lasts.
        dies: Month of death; `NEVER` for the living.
        moves: Last month in the first province; `NEVER` for most.
        new_city: City after the move.
        sells_drugs: Commits drug resale.
        used_when_dead: The card goes on being used after death.
    """

    cohort: Cohort
    home: int
    names: pa.Array
    born: IntArray
    city: IntArray
    person_type: IntArray
    poor: BoolArray
    begins: IntArray
    ends: IntArray
    dies: IntArray
    moves: IntArray
    new_city: IntArray
    sells_drugs: BoolArray
    used_when_dead: BoolArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkPlace:
    """Which persons a chunk holds.

    Attributes:
        home: Index of their province.
        seed: Of the run; part of the pseudonyms.
        number: Of the chunk in the province, from 0.
        start: Index of the first person in the province.
        persons: How many.
    """

    home: int
    seed: int
    number: int
    start: int
    persons: int


def draw_insured(rng: np.random.Generator, place: ChunkPlace, *, months: int, fraud: bool = True) -> Insured:
    """Draw the persons of one chunk.

    Args:
        rng: Source of the draws; for synthetic data only.
        place: Which persons.
        months: Length of the window.
        fraud: Whether some of them commit it.

    Returns:
        The persons; a mover neither dies nor leaves, so that every end has one reason.
    """
    home, persons = place.home, place.persons
    cohort = draw_cohort(rng, PROVINCES[home], persons)
    born = -12 * cohort.age - rng.integers(0, 12, persons)
    insured = Insured(
        cohort=cohort,
        home=home,
        names=pseudonyms(place.seed, home, place.start, persons),
        born=born,
        city=FIRST_CITY[home] + _city(rng, persons),
        person_type=_person_types(rng, cohort),
        poor=~cohort.employee & (rng.random(persons) < _POOR),
        begins=np.maximum(born, -rng.integers(1, 240, persons)),
        ends=np.full(persons, NEVER),
        dies=np.full(persons, NEVER),
        moves=np.full(persons, NEVER),
        new_city=np.zeros(persons, dtype=np.int64),
        sells_drugs=cohort.conditions.any(axis=1) & (rng.random(persons) < RESALE_PERSONS * fraud),
        used_when_dead=rng.random(persons) < DEAD_WITH_VISITS * fraud,
    )
    return _with_changes(rng, insured, months=months)


def _city(rng: np.random.Generator, persons: int) -> IntArray:
    """A province's cities differ in size: the first has about 30 %, the last 13 %."""
    shares = np.array([0.30, 0.22, 0.19, 0.16, 0.13])
    return rng.choice(5, size=persons, p=shares)


def _person_types(rng: np.random.Generator, cohort: Cohort) -> IntArray:
    """``psn_type`` after scheme, age and chance; it agrees with the scheme."""
    age, draw = cohort.age, rng.random(cohort.persons)
    work = np.where(draw < _CIVIL, CIVIL, np.where(draw < _CIVIL + _FLEXIBLE, FLEXIBLE, ACTIVE))
    retired = age >= np.where(cohort.male, 60, 55)
    minor = np.where(age < 7, _PRESCHOOL, np.where(draw < 0.03, _MINOR, _PUPIL))
    minor = np.where(age < 1, _NEWBORN, minor)
    adult = np.where((age < 23) & (draw < 0.6), _STUDENT, _ADULT)
    return np.where(cohort.employee, work + RETIRED * retired, np.where(age < 18, minor, adult))


def _with_changes(rng: np.random.Generator, insured: Insured, *, months: int) -> Insured:
    """Add deaths, moves, late joiners and leavers, at most one end a person."""
    cohort, n, years = insured.cohort, insured.cohort.persons, months / 12
    hazard = np.exp(_DEATH_BASE + _DEATH_AGE * cohort.age + _DEATH_FRAILTY * cohort.frailty)
    when = np.floor(12 * rng.exponential(1 / hazard)).astype(np.int64)
    dies = np.where(when < months, when, NEVER)
    change = rng.integers(1, months - 1, n)
    fate = rng.random(n)
    stays = dies == NEVER
    moves = stays & (fate < _MOVES_A_YEAR * years)
    leaves = stays & ~moves & (fate < (_MOVES_A_YEAR + _LEAVES_A_YEAR) * years)
    joins = rng.random(n) < _JOINS_A_YEAR * years
    new = rng.choice(4, size=n, p=AWAY_TO[insured.home])
    ends = np.where(dies < NEVER, dies, np.where(moves | leaves, change, NEVER))
    begins = np.where(joins, np.minimum(rng.integers(0, months, n), ends), insured.begins)
    return replace(
        insured,
        begins=begins,
        ends=ends,
        dies=dies,
        moves=np.where(moves, change, NEVER),
        new_city=np.array(FIRST_CITY)[new] + _city(rng, n),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolments:
    """Periods of insurance; arrays of shape (n,), one for most persons and two for movers.

    Attributes:
        owner: Person, index into the chunk.
        city: Number of the insuring city.
        begins: First month.
        ends: Last month; `NEVER` while it lasts.
    """

    owner: IntArray
    city: IntArray
    begins: IntArray
    ends: IntArray


def enrolments(insured: Insured) -> Enrolments:
    """All periods of insurance: first those in the first province, then those of movers in their new one."""
    n = insured.cohort.persons
    moved = np.flatnonzero(insured.moves < NEVER)
    return Enrolments(
        owner=np.concatenate([np.arange(n), moved]),
        city=np.concatenate([insured.city, insured.new_city[moved]]),
        begins=np.concatenate([insured.begins, insured.moves[moved] + 1]),
        ends=np.concatenate([insured.ends, np.full(moved.size, NEVER)]),
    )


def insured_by_month(insured: Insured, months: int) -> IntArray:
    """Count the insured by city, scheme and month, for the funds' monthly figures.

    Args:
        insured: Persons of one chunk.
        months: Length of the window.

    Returns:
        Shape (cities, 2, months); in the second place residents come first.
    """
    periods = enrolments(insured)
    scheme = insured.cohort.employee[periods.owner].astype(np.int64)
    steps = np.zeros((len(CITIES), 2, months + 1), dtype=np.int64)
    np.add.at(steps, (periods.city, scheme, np.clip(periods.begins, 0, months)), 1)
    np.add.at(steps, (periods.city, scheme, np.clip(periods.ends + 1, 0, months)), -1)
    counts: IntArray = np.cumsum(steps, axis=2)[:, :, :months]
    return counts
