"""Makes claims chunk by chunk and says which province, table and month each row belongs to.

A chunk of persons is drawn with all its years at once, from a random stream keyed by (seed, province,
chunk): chunks need no memory of each other, and leaving out a province changes nothing at the others but
what its travellers and movers leave there. The caller writes; nothing here touches a disk.

What a node holds: all persons insured there with all their claims, wherever they were treated; and of
persons insured elsewhere who were treated there, the person's record, with the region where insured, and
those claims. A mover stands at both nodes under one pseudonym, insured here until the move and there from
the month after. Whoever keeps a person only where ``insu_admdvs`` is the node's own counts nobody twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from fedmed.data import synthetic_parameters as world
from fedmed.data.claims.arrow_columns import BoolArray
from fedmed.data.claims.calendar import month_name, month_of
from fedmed.data.claims.detail_rows import (
    diagnosis_rows,
    fee_lines,
    fraud_labels,
    group_rows,
    operation_rows,
)
from fedmed.data.claims.diagnoses import draw_diagnoses
from fedmed.data.claims.institutions import CITIES
from fedmed.data.claims.lines import draw_lines
from fedmed.data.claims.money import settle
from fedmed.data.claims.persons import (
    NEVER,
    ChunkPlace,
    Enrolments,
    draw_insured,
    enrolments,
    insured_by_month,
)
from fedmed.data.claims.public_rows import (
    care_rows,
    fund_rows_of_province,
    hospital_labels,
    institution_rows,
    person_rows,
)
from fedmed.data.claims.settlement_rows import (
    Chunk,
    Rows,
    fund_rows,
    settlements,
    visit_keys,
    ways_of_payment,
)
from fedmed.data.claims.visits import Visits, draw_visits
from fedmed.data.nhsa.schema import schema
from fedmed.data.synthetic_parameters import PROVINCES
from fedmed.types import IntArray, require

CHUNK_PERSONS = 16_000
"""Persons that are drawn together; part of the definition of the rows, so it is no setting."""
LEAST_PEOPLE, MOST_PEOPLE = 100, 20_000_000
MOST_YEARS = 5
_MOST_SEED = 2**32


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsSettings:
    """What to generate; equal settings give equal rows.

    Attributes:
        people: Persons insured at first, all provinces together, 100 to 20,000,000.
        seed: Names the run, 0 to 2^32 - 1; the world (institutions, prices, effects) is always the same.
        provinces: Node keys; persons are shared out as in the demonstration.
        years: Length of the window from 2023 on, 1 to 5.
        fraud: Whether fraud is committed, and labelled.

    Raises:
        ConfigError: a value lies outside its bounds, or a province is unknown or named twice.
    """

    people: int
    seed: int = 1
    provinces: tuple[str, ...] = tuple(p.key for p in PROVINCES)
    years: int = 3
    fraud: bool = True

    def __post_init__(self) -> None:
        known = [p.key for p in PROVINCES]
        for name, value, low, high in (
            ("people", self.people, LEAST_PEOPLE, MOST_PEOPLE),
            ("seed", self.seed, 0, _MOST_SEED - 1),
            ("years", self.years, 1, MOST_YEARS),
        ):
            require(low <= value <= high, f"{name} must be in {low}..{high}, got {value}")
        unknown = sorted(set(self.provinces) - set(known))
        require(not unknown, f"no province {', '.join(unknown)}; choose among {', '.join(known)}")
        require(
            len(set(self.provinces)) == len(self.provinces) > 0, "name each province once, and at least one"
        )

    @property
    def months(self) -> int:
        """Length of the window."""
        return 12 * self.years

    def persons(self) -> dict[str, int]:
        """Persons insured at first, by node key, in roster order; they add up to ``people``."""
        chosen = [p for p in PROVINCES if p.key in self.provinces]
        ends = np.cumsum([0, *(p.demo_persons for p in chosen)])
        cuts = self.people * ends // ends[-1]
        return {p.key: int(cuts[k + 1] - cuts[k]) for k, p in enumerate(chosen)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Rows of one table at one node.

    Attributes:
        node: Node key.
        table: Name of the table.
        rows: The rows; texts may be dictionary-encoded.
        month: Shape (rows,), month of the window that files them; None for tables in one file.
    """

    node: str
    table: str
    rows: pa.Table
    month: IntArray | None = None

    def by_month(self) -> Iterator[tuple[str, pa.Table]]:
        """The rows month by month, in their order; one pair with an empty name where there are no months."""
        if self.month is None:
            yield "", self.rows
            return
        month, rows = self.month, self.rows
        if np.any(np.diff(month) < 0):
            order = np.argsort(month, kind="stable")
            month, rows = month[order], rows.take(pa.array(order))
        for first in np.flatnonzero(np.diff(month, prepend=-1)):
            length = int(np.searchsorted(month, month[first], side="right") - first)
            yield month_name(int(month[first])), rows.slice(int(first), length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one step of the generator made.

    Attributes:
        node: Node whose persons were drawn; empty at the end.
        number: Of the chunk at that node, from 0.
        persons: Persons drawn in this step.
        parts: Rows for this node and for others.
    """

    node: str
    number: int
    persons: int
    parts: tuple[Part, ...]


def generate_claims(settings: ClaimsSettings) -> Iterator[Batch]:
    """Make the claims of all provinces.

    Args:
        settings: What to make.

    Yields:
        One batch a chunk of `CHUNK_PERSONS` persons, province by province; last one with the tables that
        need all persons (institutions, the funds' months, labels of hospitals).

    Guarantees:
        Equal settings give equal rows. Memory is that of one chunk. Every validation rule of
        `fedmed.data.nhsa` holds. Keys are unique at a node; persons stay in their chunk.
    """
    totals = _Totals(settings.months)
    for key, count in settings.persons().items():
        home = [p.key for p in PROVINCES].index(key)
        for number, start in enumerate(range(0, count, CHUNK_PERSONS)):
            persons = min(CHUNK_PERSONS, count - start)
            place = ChunkPlace(home=home, seed=settings.seed, number=number, start=start, persons=persons)
            parts = tuple(_chunk_parts(settings, place, totals))
            yield Batch(node=key, number=number, persons=persons, parts=parts)
    yield Batch(node="", number=0, persons=0, parts=tuple(_last_parts(settings, totals)))


class _Totals:
    """Sums over all chunks, by city, scheme and month: what ``fund_month`` needs."""

    def __init__(self, months: int) -> None:
        shape = (len(CITIES), 2, months)
        self.insured, self.expend, self.visits, self.admissions = (
            np.zeros(shape, dtype=np.int64) for _ in range(4)
        )

    def add(self, chunk: Chunk, reversals: Rows) -> None:
        """Add a chunk; a reversal takes back what was paid, in its own month."""
        visits = chunk.visits
        self.insured += insured_by_month(chunk.insured, self.insured.shape[2])
        scheme = chunk.insured.cohort.employee[visits.owner].astype(np.int64)
        where = (visits.insured_city, scheme, month_of(visits.settled))
        np.add.at(self.expend, where, chunk.money.funds)
        np.add.at(self.admissions, where, visits.is_stay)
        np.add.at(self.visits, where, ~visits.is_stay)
        undone = reversals.visit
        where = (visits.insured_city[undone], scheme[undone], reversals.month)
        np.add.at(self.expend, where, -chunk.money.funds[undone])


def draw_chunk(settings: ClaimsSettings, place: ChunkPlace) -> tuple[np.random.Generator, Chunk]:
    """Draw all that is true of one chunk of persons.

    Args:
        settings: Of the run.
        place: Which persons.

    Returns:
        The generator, for what the records add (empty cells, times), and the chunk.
    """
    key = np.random.SeedSequence((world.WORLD_SEED, settings.seed, place.home, place.number))
    rng = np.random.Generator(np.random.PCG64(key))
    insured = draw_insured(rng, place, months=settings.months, fraud=settings.fraud)
    visits = draw_visits(rng, insured, months=settings.months, fraud=settings.fraud)
    diagnoses = draw_diagnoses(rng, insured, visits)
    visits = replace(visits, cost=visits.cost * diagnoses.case)
    lines = draw_lines(rng, insured.cohort, visits, operated=diagnoses.operated)
    return rng, Chunk(
        keys=visit_keys(place.home, place.number, visits.count),
        number=place.number,
        insured=insured,
        visits=visits,
        diagnoses=diagnoses,
        lines=lines,
        money=settle(rng, insured, visits, lines),
        payment=ways_of_payment(rng, visits),
    )


def _chunk_parts(settings: ClaimsSettings, place: ChunkPlace, totals: _Totals) -> Iterator[Part]:
    """All rows of one chunk, for its own node and for those where its persons were treated or moved."""
    rng, chunk = draw_chunk(settings, place)
    settled, reversals = settlements(rng, chunk)
    totals.add(chunk, reversals)
    tables = [
        settled,
        reversals,
        *fund_rows(chunk, reversals),
        fee_lines(rng, chunk),
        diagnosis_rows(rng, chunk),
        operation_rows(rng, chunk),
        group_rows(chunk),
        fraud_labels(chunk),
    ]
    periods = enrolments(chunk.insured)
    _, care = care_rows(rng, chunk.insured, months=settings.months)
    yield Part(node=PROVINCES[place.home].key, table="ltc_assess", rows=care)
    for number, province in enumerate(PROVINCES):
        if province.key not in settings.provinces:
            continue
        seen = _seen_at(chunk.visits, number)
        yield from _parts_at(province.key, tables, seen)
        known = _periods_at(chunk, periods, seen, province=number)
        yield Part(node=province.key, table="psn_insu", rows=person_rows(chunk.insured, known))


def _seen_at(visits: Visits, province: int) -> BoolArray:
    """Visits that a province's node holds: paid there or treated there, shape (visits,)."""
    seen: BoolArray = (visits.insured_province == province) | (visits.province == province)
    return seen


def _parts_at(node: str, tables: list[Rows], seen: BoolArray) -> Iterator[Part]:
    """The rows of some visits, as parts of one node."""
    for rows in tables:
        kept = seen[rows.visit]
        month = rows.month[kept] if schema().table(rows.table).month_of else None
        found = _kept(rows.rows, kept)
        if found.num_rows:
            yield Part(node=node, table=rows.table, rows=found, month=month)


def _kept(rows: pa.Table, kept: BoolArray) -> pa.Table:
    """Some of the rows; without a copy where they come first, as those of the province itself do."""
    count = int(np.count_nonzero(kept))
    return rows.slice(0, count) if kept[:count].all() else rows.take(pa.array(np.flatnonzero(kept)))


def _periods_at(chunk: Chunk, periods: Enrolments, seen: BoolArray, *, province: int) -> Enrolments:
    """Periods of insurance that a node knows: its own, and those of persons who were treated there."""
    own = np.array([p for p, _ in CITIES])[periods.city] == province
    treated = np.zeros(chunk.insured.cohort.persons, dtype=np.bool_)
    treated[chunk.visits.owner[seen]] = True
    # A mover never travels, so that no node knows one person twice.
    guest = treated[periods.owner] & (chunk.insured.moves[periods.owner] == NEVER)
    known = own | guest
    return Enrolments(
        owner=periods.owner[known],
        city=periods.city[known],
        begins=periods.begins[known],
        ends=periods.ends[known],
    )


def _last_parts(settings: ClaimsSettings, totals: _Totals) -> Iterator[Part]:
    """Tables that are known once all persons are."""
    for number, province in enumerate(PROVINCES):
        if province.key not in settings.provinces:
            continue
        yield Part(node=province.key, table="medins", rows=institution_rows())
        funds = fund_rows_of_province(
            number,
            insured=totals.insured,
            expend=totals.expend,
            visits=totals.visits,
            admissions=totals.admissions,
        )
        yield Part(node=province.key, table="fund_month", rows=funds)
        if settings.fraud:
            yield Part(node=province.key, table="label_fraud", rows=hospital_labels(number))
