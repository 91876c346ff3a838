"""Who lives where when a frontier asks for other numbers of provinces or of people than the rows have."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fedmed.errors import DataContractError
from fedmed.types import IntArray


def deal(
    tables: Mapping[str, pa.Table], *, person: str, people: int, nodes: int, seed: int
) -> dict[str, pa.Table]:
    """Choose people and split them into nodes.

    Args:
        tables: Rows of each node, with equal columns.
        person: Column with the person's pseudonym.
        people: Persons to keep, at most all.
        nodes: Nodes to split them into. With as many as there are tables everybody stays at home; otherwise
            persons are dealt by chance into equal nodes ``node001``, ..., so the differences between
            provinces are gone.
        seed: Decides who is kept and who goes where. This is simulation: nothing here protects anybody.

    Returns:
        Rows by node; all rows of a person at one node, in their order.

    Guarantees:
        Equal arguments give equal rows; everybody at home and everybody kept gives the tables themselves.

    Raises:
        DataContractError: there are fewer persons than ``people``, or a node would be empty.
    """
    homes = list(tables)
    whole = pa.concat_tables(tables.values())
    home = np.repeat(np.arange(len(homes)), [table.num_rows for table in tables.values()])
    codes = pc.dictionary_encode(whole[person].combine_chunks()).indices
    of_row = np.asarray(codes.to_numpy(zero_copy_only=False), dtype=np.int64)
    persons = int(of_row.max()) + 1 if of_row.size else 0
    if people > persons:
        raise DataContractError(
            f"the rows hold {persons:,} persons, so {people:,} cannot be had: ask for fewer"
        )
    if people == persons and nodes == len(homes):
        return dict(tables)
    rank = np.random.default_rng(seed).permutation(persons)[of_row]
    names = homes if nodes == len(homes) else [f"node{i:03d}" for i in range(1, nodes + 1)]
    place: IntArray = home if nodes == len(homes) else rank % nodes
    dealt = {name: whole.filter(pa.array((rank < people) & (place == i))) for i, name in enumerate(names)}
    empty = [name for name, table in dealt.items() if table.num_rows == 0]
    if empty:
        raise DataContractError(f"{len(empty)} of {nodes} nodes would have nobody: ask for more people")
    return dealt


def persons_of(tables: Mapping[str, pa.Table], *, person: str) -> dict[str, int]:
    """Persons at each node, counted: in a simulation the declared numbers are the true ones."""
    return {name: pc.count_distinct(table[person]).as_py() for name, table in tables.items()}


def salted(tables: Mapping[str, pa.Table], *, person: str, seed: int) -> dict[str, pa.Table]:
    """The same rows under other pseudonyms, so that another seed holds out other persons."""
    found = {}
    for name, table in tables.items():
        text = pc.cast(table[person], pa.string())
        other = pc.binary_join_element_wise(f"{seed}", text, "/")
        found[name] = table.set_column(table.column_names.index(person), person, other)
    return found
