from __future__ import annotations

import math
from typing import Any

import pytest

from fedmed.errors import ConfigError
from fedmed.plans.statistics import VECTOR_NORM, Moment, blocks, digits_of, grid_edges, most_of
from fedmed.protocol.schedule import schedule_for
from fedmed.study import StatisticsStudy
from tests.every_statistic import EVERY
from tests.small_province import names
from tests.small_question import COST, STAYS, VALUE, small_question


@pytest.mark.parametrize("nodes", [4, 31])
def test_a_hundred_trillion_fen_of_every_node_fit_one_field(nodes: int) -> None:
    """10 million persons with 100 rows of up to 100,000 yuan: 1e16 fen a node at most."""
    value = {"column": "cost", "high": 1e5, "decimals": 2}
    declared = dict.fromkeys(names(nodes), 10_000_000)
    spec = small_question(
        nodes,
        statistics=[{**COST, "value": value}],
        aggregation__scheme="threshold",
        data__declared_persons=declared,
        data__max_rows_per_person=100,
    )
    layout = schedule_for(spec).stages[0].layout
    total = next(block for block in blocks(spec) if block.moment is Moment.TOTAL)
    assert most_of(spec, total) == 10**16 <= layout.limit
    assert (2 * nodes * layout.limit).bit_length() + 1 <= layout.field_bits <= 62
    assert digits_of(10**16, layout.limit) == 1


def test_squares_of_money_travel_as_digits_that_hold_them() -> None:
    value = {"column": "cost", "high": 1e7, "decimals": 2}
    variance = {"name": "a", "kind": "variance", "value": value}
    many = dict.fromkeys(names(31), 100_000_000)
    spec = small_question(31, statistics=[variance], data__declared_persons=many)
    layout = schedule_for(spec).stages[0].layout
    squares = next(block for block in blocks(spec) if block.moment is Moment.SQUARES)
    most, count = most_of(spec, squares), digits_of(most_of(spec, squares), layout.limit)
    assert most == 100_000_000 * 3 * 10**18 > 2**64
    assert most < layout.limit**count
    assert layout.values == sum(digits_of(most_of(spec, b), layout.limit) * b.cells for b in blocks(spec))


def test_a_vector_with_noise_has_one_sensitivity() -> None:
    spec = small_question(statistics=EVERY, privacy__epsilon=1.0)
    norm = math.hypot(*(block.scale * block.bound for block in blocks(spec)))
    assert VECTOR_NORM * (1 - 2.0**-18) < norm <= VECTOR_NORM * (1 - 2.0**-20)


def noise(spec: StatisticsStudy, place: int) -> float:
    return max(1 / block.scale for block in blocks(spec) if block.statistic == place)


def test_twice_the_weight_is_half_the_noise_beside_the_others() -> None:
    even = small_question(privacy__epsilon=1.0)
    heavy = small_question(statistics=[{**STAYS, "weight": 2.0}, COST], privacy__epsilon=1.0)
    ratios = [noise(spec, 0) / noise(spec, 1) for spec in (even, heavy)]
    assert ratios[0] == pytest.approx(2 * ratios[1])


def test_a_mean_is_taken_from_the_middle_of_its_bounds() -> None:
    mean: dict[str, Any] = {"name": "a", "kind": "mean", "value": {**VALUE, "low": 100}}
    total = blocks(small_question(statistics=[mean], privacy__epsilon=1.0))[1]
    assert (total.moment, total.shift, total.most) == (Moment.TOTAL, 30_000, 20_000)
    exact = blocks(small_question(statistics=[mean]))[1]
    assert (exact.shift, exact.most) == (0, 50_000)


def test_a_grid_rises_in_whole_units_from_bound_to_bound() -> None:
    entry = {"name": "a", "kind": "quantile", "value": VALUE, "steps": 7, "probabilities": [0.5]}
    spec = small_question(statistics=[entry])
    edges = grid_edges(spec.statistics[0])
    assert (edges[0], edges[-1], len(edges)) == (0, 50_000, 8)
    assert set((edges[1:] - edges[:-1]).tolist()) == {7142, 7143}
    with pytest.raises(ConfigError, match="has no grid"):
        grid_edges(small_question().statistics[0])
