import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.data.examples import Examples, chosen_persons, concatenate
from fedmed.errors import ConfigError
from tests.examples import at_most


def made_up(lengths: list[int], seed: int, *, dense: int = 3, codes: int = 5) -> Examples:
    draws = np.random.default_rng(seed)
    rows = sum(lengths)
    lists = [draws.permutation(codes)[: draws.integers(0, codes + 1)] for _ in range(rows)]
    return Examples(
        dense=draws.uniform(-1, 1, (rows, dense)).astype(np.float32),
        code_starts=np.cumsum([0, *map(len, lists)]).astype(np.int64),
        codes=np.concatenate([*lists, []]).astype(np.int32),
        code_inputs=codes,
        labels=draws.integers(0, 2, rows).astype(np.float32),
        person_starts=np.cumsum([0, *lengths]).astype(np.int64),
    )


@settings(deadline=None, max_examples=at_most(25))
@given(
    parts=st.lists(
        st.builds(made_up, st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(0, 99)),
        min_size=1,
        max_size=4,
    )
)
def test_pooling_keeps_rows_persons_and_labels_in_order(parts: list[Examples]) -> None:
    pooled = concatenate(parts)
    np.testing.assert_array_equal(pooled.matrix(), np.concatenate([part.matrix() for part in parts]))
    np.testing.assert_array_equal(pooled.labels, np.concatenate([part.labels for part in parts]))
    lengths = np.concatenate([np.diff(part.person_starts) for part in parts])
    np.testing.assert_array_equal(np.diff(pooled.person_starts), lengths)
    assert pooled.persons == sum(part.persons for part in parts)


def test_parts_of_different_widths_are_not_pooled() -> None:
    part = made_up([1, 2], 0)
    with pytest.raises(ConfigError, match="widths"):
        concatenate([part, dataclasses.replace(part, code_inputs=6)])
    with pytest.raises(ConfigError, match="at least one"):
        concatenate([])


def test_a_block_is_the_rows_of_the_matrix_with_zeros_around() -> None:
    examples = made_up([2, 3, 1], 4)
    block = examples.block(1, 4, rows=5, width=10)
    np.testing.assert_array_equal(block[:3, :8], examples.matrix()[1:4].astype(np.float32))
    assert not block[3:].any()
    assert not block[:, 8:].any()


def test_spreading_writes_just_the_rows() -> None:
    examples = made_up([2, 3, 1], 4)
    into = np.zeros((4, 9), dtype=np.float32)
    examples.spread(2, 5, into=into)
    np.testing.assert_array_equal(into, examples.block(2, 5, rows=4, width=9))


@settings(deadline=None, max_examples=at_most(15))
@given(lengths=st.lists(st.integers(1, 4), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_chosen_persons_bring_all_their_rows_in_the_given_order(lengths: list[int], seed: int) -> None:
    everyone = made_up(lengths, seed)
    persons = np.random.default_rng(seed).permutation(len(lengths))[: seed % (len(lengths) + 1)]
    found = chosen_persons(everyone, persons)
    starts = everyone.person_starts
    rows = np.concatenate([np.arange(0), *[np.arange(starts[p], starts[p + 1]) for p in persons]]).astype(int)
    np.testing.assert_array_equal(found.matrix(), everyone.matrix()[rows])
    np.testing.assert_array_equal(found.labels, everyone.labels[rows])
    assert np.diff(found.person_starts).tolist() == [lengths[p] for p in persons]
