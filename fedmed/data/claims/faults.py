"""Faults that can be injected into clean tables: what a quality gate must find, each by its name.

A fault spoils rows chosen by chance and says how many, so that a finding's count can be compared. Most
touch one column of one table and break one rule; where a second rule must break too, `FAULTS` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fedmed.data.claims.arrow_columns import BoolArray
from fedmed.data.claims.edits import (
    day_numbers,
    equals,
    moved,
    plain,
    stacked,
    truths,
    with_more,
    with_text,
    with_values,
)
from fedmed.data.nhsa.schema import INPATIENT
from fedmed.errors import ConfigError
from fedmed.types import IntArray, require

Tables = Mapping[str, pa.Table]
_MOVED_BACK = 180
_LONG_STAY = 370
_LATE = 200
_SHORTEST_EARLIER = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of fault.

    Attributes:
        table: Where rows are changed, added or removed.
        en: What is done, for people.
        eligible: Which rows of the table it fits, shape (rows,).
        spoil: From the tables and the chosen rows, shape (rows,), to the table as spoiled.
        also: Names of other faults that it is found as, too.
    """

    table: str
    en: str
    eligible: Callable[[Tables], BoolArray]
    spoil: Callable[[Tables, BoolArray], pa.Table]
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoilt:
    """A table with a fault.

    Attributes:
        rows: The table.
        changed: Rows chosen.
        fits: Rows that the fault fits.
    """

    rows: pa.Table
    changed: int
    fits: int


def fault(name: str) -> Fault:
    """A fault by its name.

    Raises:
        ConfigError: there is none.
    """
    if name not in FAULTS:
        raise ConfigError(f"no fault {name}; choose among {', '.join(sorted(FAULTS))}")
    return FAULTS[name]


def inject(rng: np.random.Generator, tables: Tables, name: str, *, rate: float) -> Spoilt:
    """Spoil a share of the rows that a fault fits.

    Args:
        rng: Source of the choice; for synthetic data only.
        tables: Clean tables of one node, all those of the same visits together.
        name: Of the fault.
        rate: Chance of each row that the fault fits, in (0, 1].

    Returns:
        The fault's table with the faults, and how many rows were chosen of how many that it fits.

    Guarantees:
        Rows that were not chosen stay as they are; further columns of the tables are kept.

    Raises:
        ConfigError: the fault is unknown or the rate outside its bounds.
    """
    kind = fault(name)
    require(0 < rate <= 1, f"rate must be in (0, 1], got {rate}")
    fits = kind.eligible(tables)
    chosen = fits & (rng.random(fits.size) < rate)
    changed, among = int(np.count_nonzero(chosen)), int(np.count_nonzero(fits))
    return Spoilt(rows=kind.spoil(tables, chosen), changed=changed, fits=among)


def _settled(tables: Tables) -> BoolArray:
    """Settlements that are no reversals."""
    return equals(tables["setl"], "refd_setl_flag", "0")


def _stays(tables: Tables) -> BoolArray:
    """Stays that are no reversals."""
    return _settled(tables) & equals(tables["setl"], "med_type", *INPATIENT)


def _visits(tables: Tables) -> BoolArray:
    """Visits that are neither stays nor reversals."""
    return _settled(tables) & ~equals(tables["setl"], "med_type", *INPATIENT)


def _all(table: str) -> Callable[[Tables], BoolArray]:
    """Every row of a table."""
    return lambda tables: np.ones(tables[table].num_rows, dtype=np.bool_)


def _earlier_stay(tables: Tables) -> tuple[BoolArray, IntArray]:
    """Stays with an earlier one of the person shortly before, and the row of that one."""
    rows, stays = tables["setl"], _stays(tables)
    person = np.asarray(plain(rows, "psn_no").combine_chunks().dictionary_encode().indices)
    begin, end = day_numbers(rows, "begndate"), day_numbers(rows, "enddate")
    order = np.flatnonzero(stays)
    order = order[np.lexsort((begin[order], person[order]))]
    before = np.full(stays.size, -1)
    before[order[1:]] = order[:-1]
    has = np.zeros(stays.size, dtype=np.bool_)
    near = begin[order[1:]] - begin[order[:-1]] < _MOVED_BACK
    long = end[order[:-1]] - begin[order[:-1]] >= _SHORTEST_EARLIER
    has[order[1:]] = (person[order[1:]] == person[order[:-1]]) & near & long
    return has, before


def _overlapping(tables: Tables, chosen: BoolArray) -> pa.Table:
    """Move stays back to the day after the person's earlier stay began."""
    rows = tables["setl"]
    _, before = _earlier_stay(tables)
    begin = day_numbers(rows, "begndate")
    by = np.where(chosen, begin[before] + 1 - begin, 0)
    return moved(rows, chosen, begndate=by, enddate=by, setl_time=by)


def _overlap_fits(tables: Tables) -> BoolArray:
    """Every second stay of a chain at most: an earlier stay must stay where it is."""
    has, before = _earlier_stay(tables)
    return has & ~has[before]


def _only_stay(tables: Tables) -> BoolArray:
    """Stays of persons with one stay, so that a longer one cannot overlap another."""
    rows, stays = tables["setl"], _stays(tables)
    person = np.asarray(plain(rows, "psn_no").combine_chunks().dictionary_encode().indices)
    count = np.bincount(person[stays], minlength=int(person.max(initial=0)) + 1)
    found: BoolArray = stays & (count[person] == 1)
    return found


def _long_stay(tables: Tables, chosen: BoolArray) -> pa.Table:
    """Let stays begin more than a year before they end, days counted accordingly."""
    rows = tables["setl"]
    by = day_numbers(rows, "enddate") - _LONG_STAY - day_numbers(rows, "begndate")
    rows = moved(rows, chosen, begndate=by)
    return with_values(rows, "act_ipt_days", chosen, pa.scalar(_LONG_STAY))


def _shifted(name: str, days: int) -> Callable[[Tables, BoolArray], pa.Table]:
    """Move one date column of ``setl``."""
    return lambda t, chosen: moved(t["setl"], chosen, **{name: np.full(chosen.size, days)})


def _settled_again(tables: Tables, chosen: BoolArray) -> pa.Table:
    """Write chosen settlements a second time."""
    return stacked(tables["setl"], tables["setl"].filter(pa.array(chosen)))


def _billed_again(*fresh: str) -> Callable[[Tables, BoolArray], pa.Table]:
    """Write chosen lines a second time, with keys of their own in some columns."""

    def spoil(tables: Tables, chosen: BoolArray) -> pa.Table:
        copies = tables["fee_list"].filter(pa.array(chosen))
        for name in fresh:
            other = pc.replace_substring_regex(plain(copies, name), "^.", "X")
            copies = copies.set_column(copies.schema.get_field_index(name), name, other)
        return stacked(tables["fee_list"], copies)

    return spoil


def _first_lines(tables: Tables) -> BoolArray:
    """The first line of every settlement."""
    place = np.asarray(plain(tables["fee_list"], "setl_id").combine_chunks().dictionary_encode().indices)
    first = np.zeros(place.size, dtype=np.bool_)
    first[np.unique(place, return_index=True)[1]] = True
    return first


def _of_visit(tables: Tables, name: str) -> pa.Array:
    """A text column of ``setl`` for every row of ``setl_diag``, through the visit."""
    keys = plain(tables["setl"], "mdtrt_id").combine_chunks()
    place = pc.index_in(plain(tables["setl_diag"], "mdtrt_id"), value_set=keys)
    return plain(tables["setl"], name).combine_chunks().take(place)


def _main_of_stay(tables: Tables) -> BoolArray:
    """Main diagnoses of stays."""
    stay = truths(pc.is_in(_of_visit(tables, "med_type"), value_set=pa.array(INPATIENT)))
    return stay & equals(tables["setl_diag"], "maindiag_flag", "1")


def _other_sex(tables: Tables, chosen: BoolArray) -> pa.Table:
    """A birth for men, a prostate tumour for women."""
    male = pc.equal(_of_visit(tables, "gend"), "1")
    codes = pc.if_else(male, pa.scalar("O80.0"), pa.scalar("C61.x"))
    return with_values(tables["setl_diag"], "diag_code", chosen, codes)


def _vague(tables: Tables, chosen: BoolArray) -> pa.Table:
    """The fourth sign of diagnoses becomes 9."""
    codes = pc.binary_join_element_wise(
        pc.utf8_slice_codeunits(plain(tables["setl_diag"], "diag_code"), 0, 3), "9", "."
    )
    return with_values(tables["setl_diag"], "diag_code", chosen, codes)


def _wrong_kind(tables: Tables, chosen: BoolArray) -> pa.Table:
    """Employees become adult residents, residents employees."""
    employee = pc.equal(plain(tables["setl"], "insutype"), "310")
    return with_values(
        tables["setl"], "psn_type", chosen, pc.if_else(employee, pa.scalar("1501"), pa.scalar("1101"))
    )


def _negative(tables: Tables, chosen: BoolArray) -> pa.Table:
    """One fund pays less than nothing and another as much more, so that the sums hold."""
    return with_more(with_more(tables["setl"], "oth_pay", chosen, "-1.00"), "cvlserv_pay", chosen, "1.00")


def _fund_pays(tables: Tables) -> BoolArray:
    """Settlements of which the pooled fund pays more than a yuan."""
    return _settled(tables) & truths(pc.greater(tables["setl"].column("hifp_pay"), pa.scalar(Decimal(1))))


def _all_deductible(tables: Tables, chosen: BoolArray) -> pa.Table:
    """The whole scope is below the deductible, and the fund paid all the same."""
    return with_values(tables["setl"], "act_pay_dedc", chosen, tables["setl"].column("inscp_scp_amt"))


def _added(column: str, amount: str, table: str = "setl") -> Callable[[Tables, BoolArray], pa.Table]:
    """Add an amount to a decimal column."""
    return lambda tables, chosen: with_more(tables[table], column, chosen, amount)


def _texted(table: str, column: str, value: str | None) -> Callable[[Tables, BoolArray], pa.Table]:
    """Write one text, or nothing, into a column."""
    return lambda tables, chosen: with_text(tables[table], column, chosen, value)


def _days_more(tables: Tables, chosen: BoolArray) -> pa.Table:
    """Stays count three days more than lie between their dates."""
    rows = tables["setl"]
    return with_values(rows, "act_ipt_days", chosen, pc.add(rows.column("act_ipt_days"), 3))


def _dearer(tables: Tables, chosen: BoolArray) -> pa.Table:
    """Prices grow by a yuan, amounts do not."""
    return with_more(tables["fee_list"], "pric", chosen, "1")


def _ratio(tables: Tables, chosen: BoolArray) -> pa.Table:
    """The fund's ratio is above one."""
    ratio = pa.scalar(Decimal("1.5000"), pa.decimal128(5, 4))
    return with_values(tables["setl"], "pool_prop_selfpay", chosen, ratio)


def _without(tables: Tables, chosen: BoolArray) -> pa.Table:
    """Lines that were not exported."""
    return tables["fee_list"].filter(pa.array(~chosen))


def _reversals(tables: Tables) -> BoolArray:
    """Reversals of visits; a stay of its own would need diagnoses, too."""
    return ~_settled(tables) & ~equals(tables["setl"], "med_type", *INPATIENT)


def _unpaired(tables: Tables, chosen: BoolArray) -> pa.Table:
    """Reversals name a visit that nobody had."""
    names = pc.replace_substring_regex(plain(tables["setl"], "mdtrt_id"), "^.", "X")
    return with_values(tables["setl"], "mdtrt_id", chosen, names)


def _setl(
    en: str,
    eligible: Callable[[Tables], BoolArray],
    spoil: Callable[[Tables, BoolArray], pa.Table],
    *also: str,
) -> Fault:
    """A fault in ``setl``."""
    return Fault(table="setl", en=en, eligible=eligible, spoil=spoil, also=also)


def _lines(en: str, spoil: Callable[[Tables, BoolArray], pa.Table], *also: str) -> Fault:
    """A fault in any line of ``fee_list``."""
    return Fault(table="fee_list", en=en, eligible=_all("fee_list"), spoil=spoil, also=also)


def _diagnoses(
    en: str, eligible: Callable[[Tables], BoolArray], spoil: Callable[[Tables, BoolArray], pa.Table]
) -> Fault:
    """A fault in ``setl_diag``."""
    return Fault(table="setl_diag", en=en, eligible=eligible, spoil=spoil)


FAULTS: Mapping[str, Fault] = {
    "duplicate_setl_id": _setl("settlements written twice", _settled, _settled_again),
    "unpaired_reversal": _setl("reversals of unknown visits", _reversals, _unpaired),
    "money_identity_total": _setl("own cost 10 yuan too high", _settled, _added("preselfpay_amt", "10.00")),
    "money_identity_fund": _setl("a fund 10 yuan too high", _settled, _added("oth_pay", "10.00")),
    "money_identity_person": _setl("cash 10 yuan too high", _settled, _added("psn_cash_pay", "10.00")),
    "fund_over_scope": _setl("everything below the deductible", _fund_pays, _all_deductible),
    "ratio_out_of_range": _setl("the fund's ratio above one", _settled, _ratio),
    "negative_amount": _setl("a fund pays minus one yuan", _settled, _negative),
    "line_price_mismatch": _lines("prices a yuan higher", _dearer),
    "lines_not_sum": Fault(
        table="fee_list", en="a settlement's first line missing", eligible=_first_lines, spoil=_without
    ),
    "end_before_begin": _setl("visits end two days early", _visits, _shifted("enddate", -2)),
    "days_mismatch": _setl("three days more than the dates say", _stays, _days_more),
    "long_stay": _setl("stays of more than a year", _only_stay, _long_stay),
    "settle_before_end": _setl("visits settled the day before", _visits, _shifted("setl_time", -1)),
    "overlapping_stays": _setl("stays inside the person's earlier one", _overlap_fits, _overlapping),
    "age_birth_mismatch": _setl("persons ten years older", _settled, _added("age", "10.0")),
    "bad_code_value": _setl("an unknown way of payment", _settled, _texted("setl", "hi_paymtd", "8")),
    "bad_diag_format": _diagnoses(
        "names for codes", _all("setl_diag"), _texted("setl_diag", "diag_code", "感冒")
    ),
    "sex_specific_code": _diagnoses("codes of the other sex", _all("setl_diag"), _other_sex),
    "no_main_diagnosis": _diagnoses(
        "no main diagnosis", _main_of_stay, _texted("setl_diag", "maindiag_flag", "0")
    ),
    "insutype_psn_type_mismatch": _setl("persons of the other scheme", _settled, _wrong_kind),
    "duplicate_line": _lines("lines written twice", _billed_again("feedetl_sn"), "lines_not_sum"),
    "null_key_column": _setl("no person", _visits, _texted("setl", "psn_no", None)),
    "orphan_fee_line": _lines("lines of unknown settlements", _billed_again("feedetl_sn", "setl_id")),
    "unknown_institution": _setl(
        "an unknown hospital", _settled, _texted("setl", "fixmedins_code", "H99999900001")
    ),
    "late_settlement": _setl("settled more than half a year late", _settled, _shifted("setl_time", _LATE)),
    "unspecified_codes": _diagnoses("unspecified diagnoses", _all("setl_diag"), _vague),
}
"""Every fault by its name, which is that of the rule that finds it."""
