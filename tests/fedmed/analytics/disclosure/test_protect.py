"""Plays the attacker: nothing small appears, and nothing small can be worked out from what appears."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linprog
from scipy.sparse import csr_matrix

from fedmed.analytics.disclosure.cells import Dimension
from fedmed.analytics.disclosure.protect import protect
from fedmed.analytics.disclosure.tables import (
    CONTRIBUTORS,
    PERSONS,
    ExactTable,
    Number,
    ProtectedTable,
    State,
    derived,
)
from fedmed.errors import ConfigError
from tests.disclosure_attack import Attacker, assert_nothing_small_is_known

MINIMUM = 11
NODES = ("a", "b", "c", "d")
REGION = Dimension(
    column="region", levels={"31": frozenset({"31"}), "32": frozenset({"32"}), "rest": frozenset()}
)
DISEASE = Dimension(column="disease", levels={n: frozenset({n}) for n in ("i21", "i22", "c34")})
COARSE = Dimension(column="disease", levels={"i": frozenset({"i21", "i22"}), "c": frozenset({"c34"})})
small_numbers = st.one_of(st.integers(0, 30), st.integers(0, 3000))
cubes = arrays(np.int64, (len(NODES), 3, 3), elements=small_numbers)


def count(persons, dimensions, *, nodes=NODES, name="t", numbers=(), **more):
    return ExactTable(
        name=name,
        dimensions=dimensions,
        where={CONTRIBUTORS: frozenset(nodes)},
        persons=np.asarray(persons, dtype=np.int64),
        is_partition=more.pop("is_partition", True),
        numbers=numbers,
        **more,
    )


def coarse(persons):
    return np.stack([persons[..., :2].sum(axis=-1), persons[..., 2]], axis=-1)


def check_rows_columns_and_totals(cube):
    shown = protect([count(cube.sum(axis=0), (REGION, DISEASE))], minimum=MINIMUM)
    assert_nothing_small_is_known(shown, MINIMUM)


def check_coarser_tables(cube):
    persons = cube.sum(axis=0)
    tables = [
        count(persons, (REGION, DISEASE)),
        count(coarse(persons).sum(axis=0), (COARSE,), name="coarse"),
    ]
    assert_nothing_small_is_known(protect(tables, minimum=MINIMUM), MINIMUM)


def check_successive_queries(cube):
    persons = cube.sum(axis=0)
    first = protect([count(coarse(persons), (REGION, COARSE), with_margins=False)], minimum=MINIMUM)
    second = protect([count(persons, (REGION, DISEASE))], minimum=MINIMUM, earlier=first)
    assert_nothing_small_is_known([*first, *second], MINIMUM)


def check_overlapping_nodes(cube):
    """All four, then three: the difference is one province."""
    shown = protect([count(cube.sum(axis=0), (REGION, DISEASE))], minimum=MINIMUM)
    for nodes in (("a", "b", "c"), ("b", "c", "d")):
        places = [NODES.index(n) for n in nodes]
        table = count(cube[places].sum(axis=0), (REGION, DISEASE), nodes=nodes)
        shown = (*shown, *protect([table], minimum=MINIMUM, earlier=shown))
    assert_nothing_small_is_known(shown, MINIMUM)
    attacker = Attacker(shown)
    for node, rows in zip(NODES, cube, strict=True):
        everybody = np.array([float(node in point) for point in attacker.points])
        low, high = attacker.interval(everybody)
        assert low - 1e-4 <= rows.sum() <= high + 1e-4
        assert not (low > 1e-4 and high < MINIMUM - 1e-4)


CHECKS = (
    check_rows_columns_and_totals,
    check_coarser_tables,
    check_successive_queries,
    check_overlapping_nodes,
)


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
@given(cube=cubes)
@settings(max_examples=10)
def test_no_small_count_can_be_worked_out(check, cube):
    """Each check raises where its attacker can tell a small count."""
    check(cube)


@pytest.mark.slow
def test_no_small_count_can_be_worked_out_in_a_sweep_of_seeded_tables():
    """Each check raises where its attacker can tell a small count."""
    generator = np.random.default_rng(20261122)
    for case in range(120):
        cube = generator.negative_binomial(1, 0.04 if case % 2 else 0.3, (len(NODES), 3, 3)).astype(np.int64)
        CHECKS[case % 3](cube)


@pytest.mark.slow
@given(cube=cubes, unit=st.integers(1, 10_000))
@settings(max_examples=10)
def test_no_amount_of_few_persons_or_of_one_large_one_can_be_worked_out(cube, unit):
    persons = cube.sum(axis=0)
    most = 100 * unit
    cost = Number(name="cost", values=persons * 30 * unit, most_of_person=most, is_amount=True)
    shown = protect([count(persons, (REGION, DISEASE), numbers=(cost,))], minimum=MINIMUM)
    attacker = Attacker(shown, "cost")
    for table in shown:
        for true, few, members in attacker.blanks(table):
            _, high = attacker.interval(members)
            if 0 < few < MINIMUM:
                assert high >= (true + most) * (1 - 1e-4)


def test_a_lone_small_cell_takes_others_with_it():
    persons = np.array([[5, 200, 300], [400, 500, 600], [700, 800, 900]])
    (shown,) = protect([count(persons, (REGION, DISEASE))], minimum=MINIMUM)
    states = shown.states[PERSONS, (0, 1)]
    assert states[0, 0] == State.SMALL
    assert np.count_nonzero(states == State.COMPLEMENTARY) == 3
    assert shown.shown(PERSONS, ()).item() == persons.sum()
    assert_nothing_small_is_known([shown], MINIMUM)


def test_large_tables_without_small_cells_are_shown_whole():
    persons = np.arange(9).reshape(3, 3) + 20
    (shown,) = protect([count(persons, (REGION, DISEASE))], minimum=MINIMUM)
    assert shown.shown(PERSONS).tolist() == persons.tolist()


def test_blanks_look_alike_and_only_the_owner_sees_why():
    persons = np.array([[5, 0, 300], [400, 500, 600], [700, 800, 900]])
    (shown,) = protect([count(persons, (REGION, DISEASE))], minimum=MINIMUM)
    states = shown.states[PERSONS, (0, 1)]
    assert {State.ZERO, State.SMALL, State.COMPLEMENTARY} <= set(states.ravel())
    assert all(n is None for n in shown.shown(PERSONS)[states != State.SHOWN])


def test_the_fourth_province_is_hidden_when_three_were_shown_before():
    def table(nodes, persons):
        return count(persons, (), nodes=nodes)

    three = protect([table("abc", 5000)], minimum=MINIMUM)
    (four,) = protect([table("abcd", 5004)], minimum=MINIMUM, earlier=three)
    assert four.shown(PERSONS).item() is None
    (large,) = protect([table("abcd", 5400)], minimum=MINIMUM, earlier=three)
    assert large.shown(PERSONS).item() == 5400


def test_one_person_s_part_of_an_amount_stays_below_half():
    persons = np.full(3, 100)
    cost = Number(name="cost", values=np.array([2353, 2352, 0]), most_of_person=1000, is_amount=True)
    table = count(persons, (DISEASE,), numbers=(cost,), with_margins=False)
    (shown,) = protect([table], minimum=MINIMUM)
    assert shown.shown("cost").tolist() == [2353, None, None]
    assert shown.shown(PERSONS).tolist() == [100, 100, 100]
    assert shown.states["cost", (0,)].tolist() == [State.SHOWN, State.DOMINATED, State.ZERO]


def test_numbers_of_a_hidden_cell_are_hidden_and_so_is_what_is_worked_out_of_them():
    persons = np.array([10, 50, 60])
    cost = Number(name="cost", values=np.array([9000, 8000, 7000]), most_of_person=10, is_amount=True)
    (shown,) = protect([count(persons, (DISEASE,), numbers=(cost,))], minimum=MINIMUM)
    mean = derived(lambda total, people: total / people, shown.shown("cost"), shown.shown(PERSONS))
    for people, total, average in zip(shown.shown(PERSONS), shown.shown("cost"), mean, strict=True):
        assert people is not None or (total is None and average is None)
    assert mean.tolist() == [None, None, 7000 / 60]


def test_a_guarded_number_tells_no_small_count_of_those_who_guard_it():
    """`protect`: whoever takes shown zeros and ones for a count of persons has no small one."""
    generator = np.random.default_rng(20261123)
    off = generator.negative_binomial(1, 0.04, (3, 3)).astype(np.int64)
    guard = Number(name="off", values=off, most_of_person=1, is_amount=False, is_persons=True)
    total = Number(name="n", values=off.copy(), most_of_person=1, is_amount=True, guards=("off",))
    people = count(off + 1000, (REGION, DISEASE), numbers=(guard, total))
    (shown,) = protect([people], minimum=MINIMUM)
    told = {(PERSONS, kept): states for (name, kept), states in shown.states.items() if name == "n"}
    for (_, kept), states in told.items():
        assert np.all(shown.states["off", kept][states == State.SHOWN] == State.SHOWN)
    attacked = ProtectedTable(table=count(off, (REGION, DISEASE)), states=told)
    assert_nothing_small_is_known([attacked], MINIMUM)


def test_persons_in_several_cells_are_not_added_up():
    visits = Number(name="visits", values=np.array([40, 500, 600]), most_of_person=9, is_amount=False)
    table = count(np.array([8, 90, 95]), (DISEASE,), numbers=(visits,), is_partition=False)
    (shown,) = protect([table], minimum=MINIMUM)
    assert (PERSONS, ()) not in shown.states
    assert shown.shown("visits", ()).item() == 1140
    assert shown.shown("visits").tolist() == [None, None, 600]


def test_a_complementary_blank_that_another_table_gives_away_hides_nothing():
    """35 persons, of whom the sexes of region 31 add up to 25: the other two regions have ten together."""
    sexes = Dimension(column="sex", levels={"m": frozenset({"m"}), "f": frozenset()})
    tables = [
        count(35, (), name="all"),
        count([25, 5, 5], (REGION,), name="region", with_margins=False),
        ExactTable(
            name="sexes",
            dimensions=(sexes,),
            where={CONTRIBUTORS: frozenset(NODES), "region": frozenset({"31"})},
            persons=np.array([12, 13]),
            is_partition=True,
            with_margins=False,
        ),
    ]
    assert_nothing_small_is_known(protect(tables, minimum=MINIMUM), MINIMUM)
    first = protect(tables[:1], minimum=MINIMUM)
    assert_nothing_small_is_known([*first, *protect(tables[1:], minimum=MINIMUM, earlier=first)], MINIMUM)


def test_two_tables_without_a_common_cell_count_the_same_persons():
    sexes = Dimension(column="sex", levels={"m": frozenset({"m"}), "f": frozenset()})
    by_sex = count([605, 400], (sexes,), name="sex", with_margins=False)
    by_region = count([500, 5, 500], (REGION,), name="region", with_margins=False)
    first = protect([by_sex], minimum=MINIMUM)
    assert first[0].shown(PERSONS).tolist() == [605, 400]
    for shown in (
        protect([by_sex, by_region], minimum=MINIMUM),
        [*first, *protect([by_region], minimum=MINIMUM, earlier=first)],
    ):
        assert_nothing_small_is_known(shown, MINIMUM)
        assert sum(n is None for n in shown[1].shown(PERSONS)) == 2


def test_a_total_beside_a_table_of_two_columns_counts_without_the_sums_between():
    both = count([[5, 300], [200, 200], [300, 200]], (REGION, COARSE), name="both", with_margins=False)
    shown = protect([both, count(1205, (), name="all")], minimum=MINIMUM)
    assert_nothing_small_is_known(shown, MINIMUM)
    assert shown[1].shown(PERSONS).item() == 1205


SEX = {"m": frozenset({"m"}), "rest": frozenset()}
CHAPTERS = {"i": frozenset({"i21", "i22"}), "rest": frozenset()}
LEVELS = {
    "region": ("31", "32", "*"),
    "sex": ("m", "*"),
    "disease": ("i21", "i22", "c34", "*"),
}
FORMS = (
    (REGION, [[0], [1], [2]]),
    (Dimension(column="region", levels={"north": frozenset({"31"})}), [[0]]),
    (Dimension(column="sex", levels=SEX), [[0], [1]]),
    (Dimension(column="disease", levels={n: frozenset({n}) for n in ("i21", "c34")}), [[0], [2]]),
    (
        Dimension(column="disease", levels={"i": frozenset({"i21", "i22"}), "rest": frozenset()}),
        [[0, 1], [2, 3]],
    ),
)


def some_table(generator, cube, name):
    """A table without margins over some of the columns, within one value of another one now and then."""
    dimensions, where = [], {}
    for axis in reversed(range(3)):
        column, forms = list(LEVELS)[axis], [f for f in FORMS if f[0].column == list(LEVELS)[axis]]
        choice = generator.random()
        if choice < 0.6:
            form, groups = forms[generator.integers(len(forms))]
            cube = np.stack([cube.take(g, axis=axis).sum(axis=axis) for g in groups], axis=axis)
            dimensions.insert(0, form)
        elif choice < 0.75:
            where[column], cube = frozenset({LEVELS[column][0]}), cube.take(0, axis=axis)
        else:
            cube = cube.sum(axis=axis)
    return ExactTable(
        name=name,
        dimensions=tuple(dimensions),
        where=where,
        persons=np.asarray(cube),
        is_partition=True,
        with_margins=False,
    )


@pytest.mark.slow
def test_no_small_count_can_be_worked_out_of_tables_without_their_sums():
    generator = np.random.default_rng(20261122)
    for case in range(90):
        cube = generator.negative_binomial(1, 0.04 if case % 2 else 0.1, (3, 2, 4)).astype(np.int64)
        tables = [some_table(generator, cube, name) for name in "abc"]
        shown = protect(tables[: case % 3], minimum=MINIMUM)
        shown = (*shown, *protect(tables[case % 3 :], minimum=MINIMUM, earlier=shown))
        assert_nothing_small_is_known(shown, MINIMUM)


@pytest.mark.parametrize(("persons", "expected"), [(10, None), (11, 11)])
def test_a_total_of_everybody_needs_no_columns(persons, expected):
    table = ExactTable(name="t", dimensions=(), where={}, persons=np.array(persons), is_partition=True)
    assert protect([table], minimum=MINIMUM)[0].shown(PERSONS).item() == expected


def test_where_every_cell_is_small_nothing_but_blanks_is_left():
    (shown,) = protect([count(np.full((3, 3), 1), (REGION, DISEASE))], minimum=MINIMUM)
    assert all(n is None for n in shown.shown(PERSONS).ravel())


@pytest.mark.slow
def test_a_component_too_large_to_audit_loses_its_sums(monkeypatch):
    monkeypatch.setattr("fedmed.analytics.disclosure.interval.MOST_AUDITED", 3)
    persons = np.random.default_rng(5).integers(0, 60, (3, 3))
    (shown,) = protect([count(persons, (REGION, DISEASE))], minimum=MINIMUM)
    assert shown.shown(PERSONS, ()).item() is None
    assert_nothing_small_is_known([shown], MINIMUM)


def test_the_choice_does_not_depend_on_the_order_of_levels():
    persons = np.random.default_rng(3).integers(0, 40, (3, 3))
    turned = Dimension(column="region", levels={k: REGION.levels[k] for k in ("32", "31", "rest")})
    (first,) = protect([count(persons, (REGION, DISEASE))], minimum=MINIMUM)
    (second,) = protect([count(persons[[1, 0, 2]], (turned, DISEASE))], minimum=MINIMUM)
    assert first.shown(PERSONS).tolist() == second.shown(PERSONS)[[1, 0, 2]].tolist()


@pytest.mark.parametrize("minimum", [4, 31])
def test_a_minimum_outside_its_bounds_is_refused(minimum):
    with pytest.raises(ConfigError, match="5 to 30"):
        protect([], minimum=minimum)


def least_and_most(hidden, persons, cells):
    """What somebody who sees all else, and the sums of rows and columns, knows about some hidden cells."""
    rows, columns = np.nonzero(hidden)
    size = len(rows)
    ends = np.concatenate([rows, len(persons) + columns]), np.tile(np.arange(size), 2)
    matrix = csr_matrix((np.ones(2 * size), ends), shape=(sum(persons.shape), size))
    unseen = np.where(hidden, persons, 0)
    right = np.concatenate([unseen.sum(axis=1), unseen.sum(axis=0)])
    for cell in cells:
        goal = (np.arange(size) == np.flatnonzero((rows == cell[0]) & (columns == cell[1]))[0]).astype(float)
        found = [linprog(s * goal, A_eq=matrix, b_eq=right, bounds=(0, None)) for s in (1, -1)]
        assert [f.status for f in found] == [0, 0]
        yield found[0].fun, -found[1].fun


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.04, 1 / 3])
def test_ten_thousand_cells_keep_their_sums_and_hide_no_more_than_they_must(share):
    generator = np.random.default_rng(20261122)
    persons = generator.integers(20, 400, (100, 100))
    is_small = generator.random(persons.shape) < share
    persons[is_small] = generator.integers(0, MINIMUM, np.count_nonzero(is_small))
    axes = tuple(
        Dimension(column=column, levels={str(v): frozenset({str(v)}) for v in range(100)}) for column in "ab"
    )
    (shown,) = protect([count(persons, axes)], minimum=MINIMUM)
    assert all(np.all(shown.states[PERSONS, kept] == State.SHOWN) for kept in ((), (0,), (1,)))
    states = shown.states[PERSONS, (0, 1)]
    assert np.all(states[is_small] != State.SHOWN)
    assert np.count_nonzero(states == State.COMPLEMENTARY) <= 50
    few = np.argwhere((persons > 0) & is_small)
    asked = few[generator.choice(len(few), 20, replace=False)]
    for (_, high), cell in zip(least_and_most(states != State.SHOWN, persons, asked), asked, strict=True):
        assert high >= MINIMUM - 1e-4 > persons[tuple(cell)]
