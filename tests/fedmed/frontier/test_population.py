"""Who lives where: everybody once, all rows of a person together, nobody invented."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import DataContractError
from fedmed.frontier.population import deal, persons_of, salted


def tables(persons: list[int]) -> dict[str, pa.Table]:
    """Nodes with that many persons, each with two rows."""
    return {
        f"home{i}": pa.table(
            {
                "id": [f"{i}-{person}" for person in range(count) for _ in range(2)],
                "row": [[i, person, row] for person in range(count) for row in range(2)],
            }
        )
        for i, count in enumerate(persons)
    }


def rows(found: dict[str, pa.Table]) -> list[list[int]]:
    return sorted(row for table in found.values() for row in table["row"].to_pylist())


@settings(max_examples=8)
@given(
    persons=st.lists(st.integers(3, 9), min_size=3, max_size=4),
    nodes=st.integers(3, 6),
    seed=st.integers(0, 9),
)
def test_everybody_is_dealt_once_and_whole(persons: list[int], nodes: int, seed: int) -> None:
    before = tables(persons)
    found = deal(before, person="id", people=sum(persons), nodes=nodes, seed=seed)
    assert rows(found) == rows(before)
    homes = [set(table["id"].to_pylist()) for table in found.values()]
    assert sum(len(home) for home in homes) == len(set.union(*homes)) == sum(persons)
    if nodes != len(persons):
        sizes = persons_of(found, person="id").values()
        assert max(sizes) - min(sizes) <= 1
    else:
        assert found == before


def test_fewer_people_stay_at_home_and_equal_seeds_choose_alike() -> None:
    before = tables([8, 8, 8])
    one, again, other = (deal(before, person="id", people=10, nodes=3, seed=seed) for seed in (1, 1, 2))
    assert one == again != other
    assert sum(persons_of(one, person="id").values()) == 10
    for name, table in one.items():
        assert set(table["id"].to_pylist()) <= set(before[name]["id"].to_pylist())


def test_more_people_than_there_are_and_empty_nodes_are_refused() -> None:
    with pytest.raises(DataContractError, match="hold 9 persons"):
        deal(tables([3, 3, 3]), person="id", people=10, nodes=3, seed=1)
    with pytest.raises(DataContractError, match="would have nobody"):
        deal(tables([3, 3, 3]), person="id", people=3, nodes=4, seed=1)


def test_another_seed_gives_every_person_another_pseudonym_and_nothing_else() -> None:
    before = tables([3])
    one, other = (salted(before, person="id", seed=seed)["home0"] for seed in (1, 2))
    assert set(one["id"].to_pylist()).isdisjoint(other["id"].to_pylist())
    assert one["row"] == other["row"] == before["home0"]["row"]
    assert one["id"].to_pylist()[:3] == ["1/0-0", "1/0-0", "1/0-1"]
