"""Moments of rows: what a loop gives, and how far one person can move them."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.analytics.moment_sums import clipped_moments
from fedmed.analytics.moments import moment_bound, moment_values
from fedmed.data.examples import Examples, chosen_persons
from fedmed.types import FloatArray
from tests.examples import at_most


def people(lengths: list[int], *, seed: int) -> Examples:
    draws, rows = np.random.default_rng(seed), sum(lengths)
    lists = [draws.permutation(4)[: draws.integers(0, 4)] for _ in range(rows)]
    return Examples(
        dense=draws.uniform(-1, 1, (rows, 2)).astype(np.float32),
        code_starts=np.cumsum([0, *map(len, lists)]).astype(np.int64),
        codes=np.concatenate([*lists, []]).astype(np.int32),
        code_inputs=4,
        labels=draws.integers(0, 2, rows).astype(np.float32),
        person_starts=np.cumsum([0, *lengths]).astype(np.int64),
    )


def by_a_loop(examples: Examples, *, row_norm: float) -> FloatArray:
    width = examples.inputs + 1
    matrix, crossed = np.zeros((width, width)), np.zeros(width)
    starts = examples.person_starts
    for first, last in itertools.pairwise(starts):
        for row in range(first, last):
            x = np.append(examples.matrix()[row], 1.0)
            weight = min(1.0, row_norm / np.linalg.norm(x)) ** 2 / (last - first)
            matrix += weight * np.outer(x, x)
            crossed += weight * x * (2 * examples.labels[row] - 1)
    scaled = matrix * np.where(np.eye(width) == 1, 1.0, 2**0.5)
    return np.concatenate([scaled[np.triu_indices(width)], crossed])


def test_moments_are_what_a_loop_over_rows_gives() -> None:
    rows = people([1, 3, 2, 1, 4], seed=3)
    for row_norm in (1.2, 5.0):
        found = clipped_moments(rows, row_norm=row_norm)
        np.testing.assert_allclose(found.values, by_a_loop(rows, row_norm=row_norm), rtol=1e-5, atol=1e-5)
        assert found.values.shape == (moment_values(rows.inputs),)


@settings(deadline=None, max_examples=at_most(15))
@given(seed=st.integers(0, 10**6), row_norm=st.floats(0.1, 10.0), gone=st.integers(0, 3))
def test_one_person_moves_the_moments_by_at_most_their_bound(seed: int, row_norm: float, gone: int) -> None:
    rows = people([2, 1, 3, 1], seed=seed)
    rest = chosen_persons(rows, np.delete(np.arange(4), gone))
    found = [clipped_moments(part, row_norm=row_norm) for part in (rows, rest)]
    assert np.linalg.norm(found[0].values - found[1].values) <= moment_bound(row_norm)
    assert found[0].clip_norm == moment_bound(row_norm)


def test_a_row_that_is_no_number_weighs_nothing() -> None:
    rows = people([1, 1, 1], seed=5)
    dense, labels = rows.dense.copy(), rows.labels.copy()
    dense[0], labels[2] = np.inf, np.nan
    spoiled = dataclasses.replace(rows, dense=dense, labels=labels)
    alone = chosen_persons(rows, np.array([1]))
    np.testing.assert_array_equal(
        clipped_moments(spoiled, row_norm=3.0).values, clipped_moments(alone, row_norm=3.0).values
    )


def test_nobody_gives_zeros() -> None:
    nobody = chosen_persons(people([1], seed=1), np.zeros(0, dtype=np.int64))
    assert not clipped_moments(nobody, row_norm=1.0).values.any()
