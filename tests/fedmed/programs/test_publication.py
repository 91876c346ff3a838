"""What an exact statistics study shows, cell by cell, and what it keeps to itself."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fedmed.errors import ConfigError, IntegrityError
from fedmed.plans.statistics import Moment, person_unit
from fedmed.programs.publication import Publication, publication
from fedmed.programs.statistic_tables import OpenedStatistic
from fedmed.study.statistics import StatisticTable
from tests.small_question import BY, COST, STAYS, VALUE, small_question

LEVEL = BY[0]
NODES = ("a", "b", "c")


def opened(entry: dict[str, object], **sums: list[int]) -> OpenedStatistic:
    table = StatisticTable.model_validate_json(json.dumps(entry))
    return OpenedStatistic(
        entry=table,
        sums={Moment(name): np.array(values, dtype=object) for name, values in sums.items()},
        noise={},
        shift=0,
    )


def publish(
    *statistics: OpenedStatistic, nodes: tuple[str, ...] = NODES, rows: int = 1, **more: object
) -> Publication:
    return publication(statistics, contributors=nodes, max_rows_per_person=rows, minimum=11, **more)  # type: ignore[arg-type]


def persons(counts: list[int], **changes: object) -> OpenedStatistic:
    return opened({**STAYS, "unit": "persons", "by": [LEVEL], **changes}, persons=counts)


def estimates(found: Publication, place: int = 0) -> list[object]:
    return list(found.tables[place].columns["estimate"])


def test_small_and_empty_cells_look_alike_and_the_owner_knows_which() -> None:
    found = publish(persons([5, 0, 40, 50]))
    assert estimates(found) == [None, None, 40.0, 50.0]
    assert found.states["stays"]["persons"] == ["small", "zero", "shown", "shown"]


def test_a_total_beside_its_parts_takes_another_part_with_it() -> None:
    total = persons([145], name="total", by=[])
    found = publish(persons([5, 30, 50, 60]), total)
    assert estimates(found, 1) == [145.0]
    assert estimates(found) == [None, None, 50.0, 60.0]


def test_counts_by_different_columns_are_of_the_same_persons() -> None:
    by_sex = persons([605, 385, 15], name="sexes", by=[BY[1]])
    found = publish(persons([5, 300, 300, 400]), by_sex)
    assert estimates(found).count(None) == 2
    later = publish(persons([5, 300, 300, 400]), earlier=[publish(by_sex).record])
    assert estimates(later).count(None) == 2


def test_persons_with_several_rows_add_up_where_the_counts_do() -> None:
    """Nobody declares that a person has one sex and one region, but a total beside them shows it."""
    stays, total = persons([5, 300, 300, 400]), persons([1005], name="total", by=[])
    by_disease = persons([700, 900, 40], name="diseases", by=[BY[1]])  # 1005 persons, some with two of them
    found = publish(stays, total, by_disease, rows=3)
    assert estimates(found) == [None, None, 300.0, 400.0]
    assert estimates(found, 1) == [1005.0]
    assert estimates(found, 2) == [700.0, 900.0, 40.0]
    later = publish(stays, rows=3, earlier=[publish(total, rows=3).record])
    assert estimates(later) == [None, None, 300.0, 400.0]


def test_coarser_levels_of_an_earlier_study_count() -> None:
    codes = {"column": "disease", "levels": ["I21", "I22"]}
    coarse = {"column": "disease", "levels": ["I"], "prefix": 1}
    first = publish(persons([61, 90], by=[coarse]))
    assert estimates(first) == [61.0, 90.0]
    # I21 and I22 leave 4 of 61 that have another code of the prefix.
    fine = persons([20, 37, 94], by=[codes])
    assert None not in estimates(publish(fine))
    assert estimates(publish(fine, earlier=[json.loads(json.dumps(first.record))])).count(None) >= 1


def test_three_provinces_after_four_hide_the_fourth() -> None:
    four = publish(persons([204, 300, 300, 300]), nodes=("a", "b", "c", "d"))
    assert None not in estimates(four)
    three = publish(persons([200, 250, 250, 250]), earlier=[four.record])
    assert estimates(three) == [None, 250.0, 250.0, 250.0]


def test_bands_are_compared_piece_by_piece() -> None:
    wide = publish(persons([100, 100, 100], by=[{"column": "age", "bands": [0, 65]}]))
    assert None not in estimates(wide)
    narrow = persons([97, 103, 100], by=[{"column": "age", "bands": [0, 60]}])
    assert None in estimates(publish(narrow, earlier=[wide.record]))


def test_an_amount_that_one_person_may_hold_half_of_is_hidden() -> None:
    value = opened(
        {**COST, "by": [LEVEL]},
        total=[2000, 2000, 0, 900],
        persons=[20, 20, 0, 20],
        concentration=[200_000, 3_240_100, 0, 40_500],
    )
    _, unit = person_unit(StatisticTable.model_validate_json(json.dumps(COST)).value, 1)  # type: ignore[arg-type]
    assert unit == 1, "the concentration above is in whole fen"
    found = publish(value)
    assert found.tables[0].columns["units"] == (2000, None, None, 900)
    states = next(s for name, s in found.states["cost"].items() if name != "persons")
    assert states == ["shown", "dominated", "zero", "shown"]


def test_a_mean_stands_or_falls_with_its_sums() -> None:
    mean = opened(
        {"name": "mean", "kind": "mean", "value": VALUE, "by": [LEVEL]},
        rows=[9, 20, 20, 20],
        total=[900] * 4,
        persons=[9, 20, 20, 20],
        concentration=[50_000] * 4,
    )
    table = publish(mean).tables[0]
    assert table.columns["estimate"][0] is None
    assert table.columns["persons"][0] is None
    assert table.columns["estimate"][1] == 0.45


def median(rows: list[int], people: int, *, most: int = 1) -> tuple[object, ...]:
    """The first tenth and the median of costs on a grid of hundreds."""
    entry = {"name": "median", "kind": "quantile", "value": VALUE, "by": []}
    grid = {"steps": len(rows), "probabilities": [0.1, 0.5]}
    table = publish(opened({**entry, **grid}, rows=rows, persons=[people]), rows=most).tables[0]
    assert (table.columns["conf_low"][1] is None) == (table.columns["estimate"][1] is None)
    return table.columns["estimate"]


def test_a_quantile_is_a_step_of_the_grid_and_nobody_s_own_value() -> None:
    """`publication`: persons enough on both sides, and in the step."""
    assert median([11, 11, 11, 11, 11], 55) == (None, 250.0)
    assert median([30, 30, 11, 30, 30], 131) == (50.0, 250.0)
    assert median([30, 30, 10, 30, 30], 130) == (50.0, None)
    assert median([59, 0, 0, 900, 0], 60, most=1000) == (None, None), "900 rows are one person's"
    assert median([200, 0, 0, 900, 0], 400, most=3) == (50.0, 350.0)


def test_a_rate_needs_persons_in_every_stratum_that_counts() -> None:
    entry = {
        "name": "rate", "kind": "standardised_rate", "per": 1000, "by": [], "standard": [1, 1, 0],
        "strata": [LEVEL], "event": [{"column": "sex", "levels": ["f"]}],
    }  # fmt: skip

    def table(counts: list[int]) -> object:
        rate = opened(entry, rows=counts, events=[20, 20, 1, 0], persons=counts)
        return publish(rate).tables[0].columns["estimate"][0]

    assert table([100, 100, 1, 0]) == pytest.approx(200.0)
    assert table([100, 10, 100, 100]) is None


def test_warnings_need_every_month() -> None:
    entry = {
        "name": "months", "kind": "monthly", "unit": "persons", "warning": {"baseline_months": 3},
        "month": {"column": "day", "first_month": "2026-01", "last_month": "2026-05"},
    }  # fmt: skip
    whole = publish(opened(entry, persons=[50, 60, 55, 58, 90, 0])).tables[0].columns
    assert None not in whole["expected"][:5]
    gap = publish(opened(entry, persons=[50, 60, 5, 58, 90, 0])).tables[0].columns
    assert set(gap["expected"]) == {None}
    assert set(gap["alarm"]) == {None}


def test_a_record_that_was_altered_is_refused() -> None:
    for record in ({}, {"version": 2, "statistics": []}, {"version": 1, "statistics": [{}]}):
        with pytest.raises(IntegrityError):
            publish(persons([20, 20, 20, 20]), earlier=[record])


def test_only_exact_studies_have_a_minimum_cell() -> None:
    assert small_question().privacy.minimum_cell == 11
    assert small_question(privacy__minimum_cell=5).privacy.minimum_cell == 5
    with pytest.raises(ConfigError, match="minimum_cell"):
        small_question(privacy__epsilon=1.0, privacy__minimum_cell=11)
    with pytest.raises(ConfigError, match="minimum_cell"):
        small_question(privacy__minimum_cell=4)


# --- Few persons off a bound -------------------------------------------------------------------------

HIV = {"column": "hiv", "low": 0, "high": 1}
AGE = {"column": "age", "low": 94, "high": 95}


def summed(
    off: list[int], people: list[int], *, value: dict[str, object] = HIV, **changes: object
) -> OpenedStatistic:
    """A sum of a value that is at its lower bound but for some, who have the upper one."""
    low, high = int(str(value["low"])), int(str(value["high"]))
    entry = {"name": "total", "kind": "sum", "value": value, "by": [], **changes}
    return opened(
        entry,
        total=[low * n + (high - low) * k for k, n in zip(off, people, strict=True)],
        **({"rows": people} if entry["kind"] in ("mean", "variance") else {}),
        persons=people,
        concentration=[high * high * n for n in people],
        off_low=off,
        off_high=[n - k for k, n in zip(off, people, strict=True)],
    )


@pytest.mark.parametrize(
    ("off", "is_shown"), [(5, False), (10, False), (11, True), (1189, True), (1195, False)]
)
def test_a_sum_of_zeros_and_ones_counts_persons(off: int, is_shown: bool) -> None:
    """`publication`: five of 1,200 with the disease, and five of 1,200 without it."""
    found = publish(summed([off], [1200]))
    assert found.tables[0].columns["units"] == ((off,) if is_shown else (None,))
    assert is_shown == (found.tables[0].columns["persons"] == (1200,))
    amount = next(states for name, states in found.states["total"].items() if name.startswith("total"))
    # Eleven equal parts are no one person's, so dominance hides nothing here.
    assert amount == (["shown"] if is_shown else ["small"])


@pytest.mark.parametrize("kind", ["mean", "monthly"])
def test_tight_bounds_make_no_count_of_the_old(kind: str) -> None:
    """`publication`: a mean of 94.00333 over 1,200 persons would say that four are over 94."""
    month = {"month": {"column": "day", "first_month": "2026-01", "last_month": "2026-01"}}
    changes = {"kind": kind, **(month if kind == "monthly" else {})}
    several = {"mean": ([4], [1200]), "monthly": ([4, 30], [1200, 900])}[kind]
    estimate = publish(summed(*several, value=AGE, **changes)).tables[0].columns["estimate"]
    assert estimate[0] is None
    many = {"mean": ([400], [1200]), "monthly": ([400, 30], [1200, 900])}[kind]
    assert None not in publish(summed(*many, value=AGE, **changes)).tables[0].columns["estimate"]


def test_a_ratio_and_a_rate_are_of_enough_persons_with_and_without() -> None:
    """`publication`: neither the numerator, nor the denominator, nor the events."""

    def ratio(above: int, below: int) -> object:
        entry = {"name": "r", "kind": "ratio", "value": VALUE, "denominator": {**VALUE, "column": "fee"}}
        return publish(
            opened(
                entry,
                total=[9000], denominator=[90_000], persons=[300],
                concentration=[300_000], denominator_concentration=[27_000_000],
                off_low=[above], off_high=[300], denominator_off_low=[300], denominator_off_high=[below],
            )
        ).tables[0].columns["estimate"][0]  # fmt: skip

    assert [ratio(60, 60), ratio(9, 60), ratio(60, 9)] == [0.1, None, None]
    entry = {
        "name": "rate", "kind": "standardised_rate", "per": 1000, "by": [], "standard": [1, 1, 1],
        "strata": [LEVEL], "event": [{"column": "sex", "levels": ["f"]}],
    }  # fmt: skip

    def rate(events: list[int]) -> object:
        people = [100, 100, 100, 0]
        without = [n - e for n, e in zip(people, events, strict=True)]
        found = opened(entry, rows=people, events=events, persons=people, off_low=events, off_high=without)
        return publish(found).tables[0].columns["estimate"][0]

    assert rate([20, 20, 20, 0]) == pytest.approx(200.0)
    assert rate([97, 97, 97, 0]) is None


def test_persons_off_a_bound_are_protected_by_differences() -> None:
    """`publication`: of 30, 40 and 5 with a total of 75 in one study, or with the total published before."""
    cells = summed([5, 30, 40, 0], [300, 400, 500, 0], by=[LEVEL])
    total = summed([75], [1200], name="all")
    found = publish(cells, total)
    assert found.tables[1].columns["units"] == (75,)
    assert found.tables[0].columns["units"] == (None, None, 40, None)
    before = publish(total)
    assert before.tables[0].columns["units"] == (75,)
    assert publish(cells, earlier=[json.loads(json.dumps(before.record))]).tables[0].columns["units"] == (
        None, None, 40, None,
    )  # fmt: skip
    women = summed([70], [600], name="women", where=[{"column": "sex", "levels": ["f"]}])
    after = publish(women, earlier=[before.record])
    assert after.tables[0].columns["units"] == (None,), "5 of 75 are no women"


def test_who_has_several_rows_is_one_person_off_a_bound() -> None:
    """`publication`: 40 rows with a cost, of four persons."""
    cost = opened(
        {**COST, "by": []}, total=[40_000], persons=[1200], concentration=[1200],
        off_low=[4], off_high=[1200],
    )  # fmt: skip
    assert publish(cost, rows=20).tables[0].columns["units"] == (None,)


def test_sums_with_other_bounds_are_not_shown_beside_earlier_ones() -> None:
    """`publication`: cut at 94 and at 95 years, the difference of two sums counts who is over 94."""
    wide, narrow = {"column": "age", "low": 0, "high": 95}, {"column": "age", "low": 0, "high": 94}
    first = publish(summed([600], [1200], value=narrow))
    units = [
        publish(summed([600], [1200], value=value), rows=rows, earlier=[first.record])
        .tables[0]
        .columns["units"]
        for value, rows in ((narrow, 1), (wide, 1), (narrow, 2))
    ]
    assert units == [(600 * 94,), (None,), (None,)]
    second = publish(summed([600], [1200], value=wide), earlier=[first.record])
    again = publish(summed([600], [1200], value=narrow), earlier=[first.record, second.record])
    assert again.tables[0].columns["units"] == (600 * 94,), "what was never shown hides nothing"
    old = json.loads(json.dumps(first.record))
    for guard in ("off_low", "off_high"):
        del old["statistics"][0]["counted"]["sums"][guard]
    old["statistics"][0]["states"] = old["statistics"][0]["states"][:2]
    assert publish(summed([600], [1200], value=narrow), earlier=[old]).tables[0].columns["units"] == (None,)


# --- Whom events and ones count ----------------------------------------------------------------------


def rate(name: str, events: int, codes: list[str]) -> OpenedStatistic:
    """Events, rows with one of these diseases, of 1,200 persons of one level."""
    entry = {
        "name": name, "kind": "standardised_rate", "per": 1000, "by": [], "standard": [1, 0, 0],
        "strata": [LEVEL], "event": [{"column": "disease", "levels": codes}],
    }  # fmt: skip
    people, having = [1200, 0, 0, 0], [events, 0, 0, 0]
    without = [1200 - events, 0, 0, 0]
    return opened(entry, rows=people, events=having, persons=people, off_low=having, off_high=without)


def test_rates_of_two_events_tell_nothing_of_the_few_between_them() -> None:
    """`publication`: 105 with one of two diseases, 100 with the first of them; five have the second."""
    both, first = rate("both", 105, ["I21", "I22"]), rate("first", 100, ["I21"])
    shown = [t.columns["events"][0] for t in publish(both, first).tables]
    assert shown.count(None) == 1
    before = publish(both)
    assert before.tables[0].columns["events"] == (105,)
    record = json.loads(json.dumps(before.record))
    assert publish(first, earlier=[record]).tables[0].columns["events"] == (None,)
    assert publish(both, earlier=[record]).tables[0].columns["events"] == (105,)
    apart = publish(both, rate("second", 60, ["I21"]))
    assert [t.columns["events"][0] for t in apart.tables] == [105, 60]
    inside = {"where": [{"column": "level", "levels": ["1", "2", "3"]}]}
    count = persons([100, 1100], by=[{"column": "disease", "levels": ["I21"]}], **inside)
    assert None in estimates(publish(count, earlier=[record]))


@pytest.mark.slow
def test_a_sum_of_ones_is_compared_with_counts_of_who_has_them() -> None:
    """`publication`: 30 have the disease, 25 of them are women."""
    whole = summed([30], [1200])
    has_it, women = {"column": "hiv", "bands": [1]}, {"column": "sex", "levels": ["f"]}
    count = persons([25], name="women", by=[], where=[has_it, women])
    shown = [estimates(publish(whole, count), place)[0] for place in (0, 1)]
    assert shown.count(None) == 1
    for first, then in ((whole, count), (count, whole)):
        before = publish(first)
        assert None not in estimates(before)
        assert estimates(publish(then, earlier=[json.loads(json.dumps(before.record))])) == [None]
    fewer = persons([15], name="women", by=[], where=[has_it, women])
    assert [estimates(publish(whole, fewer), place) for place in (0, 1)] == [[30.0], [15.0]]


def test_ages_at_two_times_and_days_of_a_month_are_compared() -> None:
    """Three turn 65 between two Januaries; five of 600 have one of the month's last two days."""
    ages = [{"column": "born", "bands": [0, 65], "age_at": month} for month in ("2010-01", "2010-03")]
    one, two = (
        persons([900 - n, 300 + n, 40], name=f"n{n}", by=[by]) for n, by in zip((0, 3), ages, strict=True)
    )
    assert None not in estimates(publish(one))
    assert None in [*estimates(publish(one, two)), *estimates(publish(one, two), 1)]
    assert None in estimates(publish(two, earlier=[publish(one).record]))
    month = {"column": "day", "first_month": "2024-01", "last_month": "2024-01"}
    whole = persons([600, 600], name="month", by=[month])
    for days in (["2024-01-0", "2024-01-1", "2024-01-2"], ["2024010", "2024011", "2024012"]):
        parts = persons([189, 206, 200, 605], by=[{"column": "day", "prefix": len(days[0]), "levels": days}])
        assert None in estimates(publish(parts, earlier=[publish(whole).record]))
    close = {"column": "born", "bands": [0, 17.5, 17.9], "age_at": "2010-01"}
    assert estimates(publish(persons([500, 0, 600, 50], by=[close]))) == [500.0, None, 600.0, 50.0]
