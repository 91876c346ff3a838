"""Rows of the tables ``setl`` and ``fund_split``, settlements and their reversals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fedmed.data.claims.arrow_columns import BoolArray, coded, decimals, numbered, table, yuan
from fedmed.data.claims.calendar import dates, month_of, times
from fedmed.data.claims.catalogue import BIRTH_STEM, CONDITION_STEM, TUMOUR_STEM
from fedmed.data.claims.diagnoses import Diagnoses
from fedmed.data.claims.institutions import CITIES, institutions
from fedmed.data.claims.lines import Lines
from fedmed.data.claims.money import Money
from fedmed.data.claims.persons import PERSON_TYPES, Insured
from fedmed.data.claims.visits import CHRONIC, MED_TYPES, Visits
from fedmed.data.synthetic_parameters import CONDITIONS, PROVINCES
from fedmed.types import IntArray

CHUNK_ROWS = 10**9
"""Numbers that each chunk of persons has for its rows: keys of different chunks never meet."""

REVERSED = 0.004
"""Share of settlements that are reversed within days."""

_REGIONS = tuple(code for _, code in CITIES)
_DISCHARGES = ("1", "2", "3", "4", "5", "9")
_DISCHARGE_SHARES = np.cumsum([0.915, 0.035, 0.02, 0.025, 0.0, 0.005])
_DIED = 4
_PAYMENTS = ("1", "3", "4", "5", "6")
BY_SERVICE, BY_POINTS, BY_GROUP, BY_DAY, BY_HEAD = range(5)
_UNGROUPED, _BY_DAY_NIGHTS = 0.07, 45

FUND_TYPES = (
    ("310100", "pooled", True),
    ("390100", "pooled", False),
    ("320100", "civil", True),
    ("370100", "enterprise", True),
    ("390200", "serious", False),
    ("330100", "large", True),
    ("610100", "assistance", False),
    ("310200", "account", True),
    ("310200", "account", False),
)
"""``fund_pay_type``, the amount of `Money` that it stands for, and whether for employees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Everything that is known of one chunk of persons.

    Attributes:
        number: Of the chunk in its province.
        keys: ``setl_id`` and ``mdtrt_id`` of each visit.
        insured: The persons.
        visits: Theirs.
        diagnoses: Of the visits.
        lines: Of the visits.
        money: Of the visits.
        payment: Shape (visits,), index of the way of payment.
    """

    number: int
    keys: tuple[pa.Array, pa.Array]
    insured: Insured
    visits: Visits
    diagnoses: Diagnoses
    lines: Lines
    money: Money
    payment: IntArray

    def names(self, letter: str, index: IntArray) -> pa.Array:
        """Keys of rows of one kind; they differ between provinces and chunks."""
        return _keys(letter, self.insured.home, self.number, index)

    def settlement(self, visit: IntArray) -> pa.Array:
        """``setl_id`` of visits, shape (n,)."""
        return coded(visit, self.keys[0])

    def treatment(self, visit: IntArray) -> pa.Array:
        """``mdtrt_id`` of visits, shape (n,)."""
        return coded(visit, self.keys[1])

    def persons(self, owner: IntArray) -> pa.Array:
        """Pseudonyms, shape (n,)."""
        return coded(owner, self.insured.names)

    def missing(self, rng: np.random.Generator, visit: IntArray) -> BoolArray:
        """Cells that the province of care leaves empty, shape of ``visit``."""
        share = np.array([p.missing for p in PROVINCES])[self.visits.province]
        return rng.random(visit.size) < share[visit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of one table that belong to visits.

    Attributes:
        table: Its name.
        visit: Shape (n,), the visit of each row.
        month: Shape (n,), month of its settlement.
        rows: The table, n rows.
    """

    table: str
    visit: IntArray
    month: IntArray
    rows: pa.Table


def _keys(letter: str, home: int, number: int, index: IntArray) -> pa.Array:
    """Keys of rows of one chunk, shape of ``index``."""
    return numbered(f"{letter}{PROVINCES[home].cities[0][:2]}", number * CHUNK_ROWS + index, 14)


def visit_keys(home: int, number: int, visits: int) -> tuple[pa.Array, pa.Array]:
    """``setl_id`` and ``mdtrt_id`` of the visits of one chunk."""
    index = np.arange(visits)
    return _keys("S", home, number, index), _keys("M", home, number, index)


def ways_of_payment(rng: np.random.Generator, visits: Visits) -> IntArray:
    """How the fund pays each visit: stays mostly by group, as the paying province does it."""
    by_points = np.array([False, False, False, True])[visits.insured_province]
    by_points |= (visits.insured_province == 0) & (visits.institution % 2 == 1)
    group = np.where(by_points, BY_POINTS, BY_GROUP)
    group = np.where(rng.random(visits.count) < _UNGROUPED, BY_SERVICE, group)
    group = np.where(visits.nights > _BY_DAY_NIGHTS, BY_DAY, group)
    first_level = institutions().level[visits.institution] == 1
    head = first_level & (rng.random(visits.count) < 0.5)
    return np.where(visits.is_stay, group, np.where(head, BY_HEAD, BY_SERVICE))


def settlements(rng: np.random.Generator, chunk: Chunk) -> tuple[Rows, Rows]:
    """All settlements of a chunk, and the reversals of some of them.

    Args:
        rng: Source of the draws: cells left empty, ways of discharge, reversals.
        chunk: Persons with their visits.

    Guarantees:
        A reversal has the visit's number, a key of its own and every amount negated; it is settled one
        to five days later. Each settlement keeps all identities between its amounts.
    """
    visits = chunk.visits
    everything = np.arange(visits.count)
    rows = _setl(rng, chunk)
    month = month_of(visits.settled)
    later = visits.settled + rng.integers(1, 6, visits.count)
    chosen = np.flatnonzero((rng.random(visits.count) < REVERSED) & (month_of(later) <= month.max(initial=0)))
    settled = Rows(table="setl", visit=everything, month=month, rows=rows)
    undone = _negated(rows.take(pa.array(chosen)))
    undone = _exchanged(
        undone,
        setl_id=chunk.names("R", chosen),
        setl_time=times(later[chosen], visits.second[chosen]),
        refd_setl_flag=coded(np.zeros(chosen.size, dtype=np.int64), ["1"]),
    )
    return settled, Rows(table="setl", visit=chosen, month=month_of(later[chosen]), rows=undone)


def fund_rows(chunk: Chunk, reversals: Rows) -> tuple[Rows, Rows]:
    """What each fund paid of each settlement, and the same negated for the reversals; zeros have no row."""
    visit, amount, kind = _fund_amounts(chunk)
    month = month_of(chunk.visits.settled)
    rows = _fund_table(chunk.settlement(visit), amount, kind)
    settled = Rows(table="fund_split", visit=visit, month=month[visit], rows=rows)
    place = np.full(chunk.visits.count, -1)
    place[reversals.visit] = np.arange(reversals.visit.size)
    undone = np.flatnonzero(place[visit] >= 0)
    reversal = place[visit[undone]]
    names = coded(reversal, chunk.names("R", reversals.visit))
    rows = _fund_table(names, -amount[undone], kind[undone])
    month = reversals.month[reversal]
    return settled, Rows(table="fund_split", visit=visit[undone], month=month, rows=rows)


def _fund_amounts(chunk: Chunk) -> tuple[IntArray, IntArray, IntArray]:
    """Visit, fen and index into `FUND_TYPES` of every amount above zero, by visit."""
    employee = chunk.insured.cohort.employee[chunk.visits.owner]
    paid = np.stack([getattr(chunk.money, name) * (employee == of) for _, name, of in FUND_TYPES], axis=1)
    visit, kind = np.nonzero(paid)
    return visit, paid[visit, kind], kind


def _fund_table(names: pa.Array, amount: IntArray, kind: IntArray) -> pa.Table:
    """Rows of ``fund_split``."""
    code = coded(kind, [code for code, _, _ in FUND_TYPES])
    return table("fund_split", {"setl_id": names, "fund_pay_type": code, "fund_payamt": yuan(amount)})


def _exchanged(rows: pa.Table, **columns: pa.Array) -> pa.Table:
    """The rows with some columns exchanged."""
    for name, column in columns.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, column)
    return rows


def _negated(rows: pa.Table) -> pa.Table:
    """The rows with every amount in yuan negated; ages and ratios stay."""
    kind = pa.decimal128(16, 2)
    amounts = {f.name: pc.negate(rows.column(f.name)) for f in rows.schema if f.type == kind}
    return _exchanged(rows, **amounts)


def _setl(rng: np.random.Generator, chunk: Chunk) -> pa.Table:
    """Rows of ``setl``, one a visit, in their order."""
    visits = chunk.visits
    return table(
        "setl",
        {
            "setl_id": chunk.keys[0],
            "mdtrt_id": chunk.keys[1],
            **_person_columns(rng, chunk),
            "med_type": coded(visits.kind, MED_TYPES),
            "setl_time": times(visits.settled, visits.second),
            "begndate": dates(visits.begin),
            "enddate": dates(visits.begin + visits.nights),
            **_place_columns(rng, chunk),
            **_stay_columns(rng, chunk),
            **_money_columns(chunk.money),
            "refd_setl_flag": coded(np.zeros(visits.count, dtype=np.int64), ["0"]),
        },
    )


def _person_columns(rng: np.random.Generator, chunk: Chunk) -> dict[str, pa.Array]:
    """Who was treated, with the age at the beginning to a tenth of a year."""
    visits, insured = chunk.visits, chunk.insured
    owner = visits.owner
    months = month_of(visits.begin) - insured.born[owner]
    missing = chunk.missing(rng, np.arange(visits.count))
    return {
        "psn_no": chunk.persons(owner),
        "gend": coded(np.where(insured.cohort.male[owner], 0, 1), ["1", "2"]),
        "age": decimals(months * 10 // 12, 4, 1),
        "insutype": coded(insured.cohort.employee[owner].astype(np.int64), ["390", "310"]),
        "psn_type": coded(insured.person_type[owner], PERSON_TYPES, empty=missing),
    }


def _place_columns(rng: np.random.Generator, chunk: Chunk) -> dict[str, pa.Array]:
    """Where the person was treated and who pays."""
    visits, where = chunk.visits, institutions()
    level, city = where.level[visits.institution], where.city[visits.institution]
    silent = [number for number, (p, code) in enumerate(CITIES) if PROVINCES[p].city_without_level == code]
    unknown = (level == 0) | np.isin(city, silent) | chunk.missing(rng, np.arange(visits.count))
    return {
        "fixmedins_code": coded(visits.institution, where.names),
        "hosp_lv": coded(np.maximum(level, 1) - 1, ["1", "2", "3"], empty=unknown),
        "insu_admdvs": coded(visits.insured_city, _REGIONS),
        "mdtrtarea_admdvs": coded(city, _REGIONS),
        "fix_blng_admdvs": coded(city, _REGIONS),
    }


def _stay_columns(rng: np.random.Generator, chunk: Chunk) -> dict[str, pa.Array]:
    """Days and discharge of stays, the listed disease of chronic visits, the way of payment."""
    visits = chunk.visits
    stay = visits.is_stay
    main = np.where(chunk.diagnoses.main > BIRTH_STEM, TUMOUR_STEM, chunk.diagnoses.main)
    listed = np.clip(main - CONDITION_STEM, 0, len(CONDITIONS) - 1)
    not_listed = (visits.kind != CHRONIC) | chunk.missing(rng, np.arange(visits.count))
    way = np.searchsorted(_DISCHARGE_SHARES, rng.random(visits.count), side="right")
    way = np.where(_last_of_the_dead(chunk), _DIED, np.minimum(way, len(_DISCHARGES) - 1))
    unknown = ~stay | chunk.missing(rng, np.arange(visits.count))
    return {
        "dise_no": coded(listed, [f"M{39 + k:03d}00" for k in range(len(CONDITIONS))], empty=not_listed),
        "hi_paymtd": coded(chunk.payment, _PAYMENTS),
        "dscg_way": coded(way, _DISCHARGES, empty=unknown),
        "act_ipt_days": pa.array(np.maximum(1, visits.nights), mask=~stay),
    }


def _last_of_the_dead(chunk: Chunk) -> BoolArray:
    """Stays that end in the month of death and are the person's last, shape (visits,)."""
    visits, dies = chunk.visits, chunk.insured.dies
    end = np.where(visits.is_stay, visits.begin + visits.nights, -1)
    last = np.full(dies.size, -1)
    np.maximum.at(last, visits.owner, end)
    found: BoolArray = (end >= 0) & (end == last[visits.owner]) & (month_of(end) == dies[visits.owner])
    return found


def _money_columns(money: Money) -> dict[str, pa.Array]:
    """All amounts and the fund's ratio."""
    none = yuan(np.zeros(money.total.size, dtype=np.int64))
    return {
        "medfee_sumamt": yuan(money.total),
        "fulamt_ownpay_amt": yuan(money.own),
        "overlmt_selfpay": yuan(money.over),
        "preselfpay_amt": yuan(money.first),
        "inscp_scp_amt": yuan(money.scope),
        "act_pay_dedc": yuan(money.deductible),
        "pool_prop_selfpay": decimals(money.ratio, 5, 4),
        "hifp_pay": yuan(money.pooled),
        "cvlserv_pay": yuan(money.civil),
        "hifes_pay": yuan(money.enterprise),
        "hifmi_pay": yuan(money.serious),
        "hifob_pay": yuan(money.large),
        "maf_pay": yuan(money.assistance),
        "oth_pay": none,
        "fund_pay_sumamt": yuan(money.funds),
        "psn_part_amt": yuan(money.person),
        "acct_pay": yuan(money.account),
        "psn_cash_pay": yuan(money.cash),
        "hosp_part_amt": yuan(money.hospital),
    }
