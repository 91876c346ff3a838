"""What three tables give away together, though no two of them do."""

import numpy as np
import pytest

from fedmed.analytics.disclosure.cells import Dimension, ValueSets, known_values
from fedmed.analytics.disclosure.net import Quantity
from fedmed.analytics.disclosure.points import Points
from fedmed.analytics.disclosure.protect import protect
from fedmed.analytics.disclosure.tables import PERSONS, ExactTable
from tests.disclosure_attack import assert_nothing_small_is_known

MINIMUM = 11
REGIONS = {"31": frozenset({"31"}), "32": frozenset({"32"}), "rest": frozenset()}
VALUES = {"region": ("31", "32", "33"), "sex": ("m", "f"), "disease": ("i21", "i22", "c34")}


def groups(column, *levels):
    return Dimension(column=column, levels={level: frozenset(level.split()) for level in levels})


def table(name, persons, dimensions, **where):
    return ExactTable(
        name=name,
        dimensions=dimensions,
        where={column: frozenset(values.split()) for column, values in where.items()},
        persons=np.asarray(persons, dtype=np.int64),
        is_partition=True,
        with_margins=False,
    )


def three(*, numbers=((1640,), (380, 3, 16), (640, 1300, 11, 12, 20, 56))):
    """The second adds up to what the third has more than the first: 399, so its small cell is 3."""
    regions, sexes = Dimension(column="region", levels=REGIONS), groups("sex", "m", "f")
    return (
        table("two", numbers[0], (groups("sex", "m f"),), disease="i21 i22"),
        table("third", np.reshape(numbers[1], (3, 1)), (regions, groups("sex", "m f")), disease="c34"),
        table("sexes", np.reshape(numbers[2], (3, 2)), (regions, sexes)),
    )


def cells_of(tables):
    """Cells of the tables, and which sets of values they ask for."""
    sets = ValueSets(known_values((t.dimensions, t.where) for t in tables))
    each = [sets.cells_of(t.dimensions, t.where, kept=tuple(range(t.persons.ndim))) for t in tables]
    return np.concatenate([cells.reshape(-1, len(sets.columns)) for cells in each]), sets


def points_of(tables):
    """Points of the tables, their numbers, and which of them are small and so are hidden."""
    points = Points.of(*cells_of(tables))
    counts = np.concatenate([t.persons.ravel() for t in tables])[points.given]
    needs = np.where((counts > 0) & (counts < MINIMUM), MINIMUM, 0)
    return points, Quantity(values=counts, needs=needs, floor=MINIMUM)


def look(points, quantity, *, published=None, **more):
    blank = quantity.needs > 0
    published = np.zeros_like(blank) if published is None else published
    return points.too_narrow(quantity, blank, published=published, good=np.zeros_like(blank), **more)


@pytest.mark.parametrize("before", [0, 1, 2])
def test_what_three_tables_tell_together_is_not_told(before):
    tables = three()
    first = protect(tables[:before], minimum=MINIMUM)
    shown = (*first, *protect(tables[before:], minimum=MINIMUM, earlier=first))
    assert_nothing_small_is_known(shown, MINIMUM)
    assert shown[1].shown(PERSONS)[1, 0] is None


def test_points_are_the_finest_parts_that_cells_tell_apart():
    points, _ = points_of(three())
    members = points.members.toarray()
    assert members.any(axis=0).all()
    assert len({tuple(column) for column in members.T}) == members.shape[1] == 3 * 2 * 3


def test_a_grid_that_is_too_large_has_no_points(monkeypatch):
    monkeypatch.setattr("fedmed.analytics.disclosure.points.MOST_SIZE", 18 * 10 - 1)
    cells, sets = cells_of(three())
    assert len(cells) == 10
    assert Points.of(cells, sets) is None
    assert Points.of(cells[:0], sets) is None


def test_the_least_number_of_a_bound_goes_unless_it_was_published():
    points, quantity = points_of(three())
    found = look(points, quantity)
    assert quantity.values[found.narrow].tolist() == [3]
    assert quantity.values[found.above].tolist() == [11]
    published = quantity.values < 20
    assert quantity.values[look(points, quantity, published=published).above].tolist() == [20]
    of_others = look(points, quantity, published=quantity.needs == 0)
    assert of_others.narrow.any()
    assert not of_others.above.any()


def test_what_cannot_be_proved_in_time_loses_all_that_shares_a_person_with_it(monkeypatch):
    points, quantity = points_of(three())
    expected = [11, 12]
    assert sorted(quantity.values[look(points, quantity, is_last=True).above].tolist()) == expected
    monkeypatch.setattr("fedmed.analytics.disclosure.points.MOST_WORK", 0)
    found = look(points, quantity)
    assert quantity.values[found.narrow].tolist() == [3]
    assert sorted(quantity.values[found.above].tolist()) == expected


def test_after_the_last_turn_nothing_small_is_known_either(monkeypatch):
    monkeypatch.setattr("fedmed.analytics.disclosure.protect.MOST_TURNS", 0)
    shown = protect(three(), minimum=MINIMUM)
    assert_nothing_small_is_known(shown, MINIMUM)
    assert [n is None for n in shown[2].shown(PERSONS)[1]] == [True, True]


def test_numbers_that_contradict_each_other_bound_nothing():
    points, quantity = points_of(three(numbers=((9640,), (380, 3, 16), (640, 1300, 11, 12, 20, 56))))
    found = look(points, quantity)
    assert not found.narrow.any()
    assert not found.above.any()


def test_the_choice_does_not_depend_on_the_order_of_tables():
    one, other = protect(three(), minimum=MINIMUM), protect(three()[::-1], minimum=MINIMUM)
    for here, there in zip(one, other[::-1], strict=True):
        assert here.shown(PERSONS).tolist() == there.shown(PERSONS).tolist()


def overlapping(generator, cube, name):
    """Each column cut by chance into levels that may leave values out, or restricted, or added up."""
    dimensions, where = [], {}
    for axis in reversed(range(3)):
        column = list(VALUES)[axis]
        values = np.array(VALUES[column])
        labels = generator.integers(0, len(values), len(values))
        cut = [np.flatnonzero(labels == label) for label in range(len(values)) if (labels == label).any()]
        choice = generator.random()
        if choice < 0.25:
            cube = cube.sum(axis=axis)
        elif choice < 0.4:
            where[column], cube = " ".join(values[cut[0]]), cube.take(cut[0], axis=axis).sum(axis=axis)
        else:
            cube = np.stack([cube.take(places, axis=axis).sum(axis=axis) for places in cut], axis=axis)
            dimensions.insert(0, groups(column, *(" ".join(values[places]) for places in cut)))
    return table(name, cube, tuple(dimensions), **where)


@pytest.mark.slow
def test_no_small_count_can_be_worked_out_of_levels_that_overlap():
    generator = np.random.default_rng(20261122)
    for case in range(12):
        cube = generator.integers(0, 6, (3, 2, 3))
        cube[0] = generator.integers(0, 300, (2, 3))
        tables = [overlapping(generator, cube, name) for name in "abcd"]
        first = protect(tables[: case % 4], minimum=MINIMUM)
        shown = (*first, *protect(tables[case % 4 :], minimum=MINIMUM, earlier=first))
        assert_nothing_small_is_known(shown, MINIMUM)
