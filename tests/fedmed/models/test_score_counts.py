from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.data.examples import Examples
from fedmed.errors import ConfigError, ParametersUnfit
from fedmed.models.layout import PARAMETER_LIMIT, ModelLayout
from fedmed.models.score import probabilities
from fedmed.models.score_bins import bin_of
from fedmed.models.score_counts import score_counts

MODEL = ModelLayout(kind="logistic", inputs=3)
BINS = 5


def made_up(seed: int, *, persons: int = 40) -> Examples:
    """Persons with one to three rows."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 4, persons)
    rows = int(lengths.sum())
    return Examples(
        dense=rng.uniform(-1, 1, (rows, 3)).astype(np.float32),
        code_starts=np.zeros(rows + 1, dtype=np.int64),
        codes=np.zeros(0, dtype=np.int64),
        code_inputs=0,
        labels=rng.integers(0, 2, rows).astype(np.float32),
        person_starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    )


def without(examples: Examples, person: int) -> Examples:
    """The examples less one person."""
    starts = examples.person_starts
    kept = np.ones(examples.rows, dtype=bool)
    kept[starts[person] : starts[person + 1]] = False
    lengths = np.delete(np.diff(starts), person)
    return Examples(
        dense=examples.dense[kept],
        code_starts=np.zeros(int(kept.sum()) + 1, dtype=np.int64),
        codes=examples.codes,
        code_inputs=0,
        labels=examples.labels[kept],
        person_starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    )


def counts(parameters: np.ndarray, examples: Examples) -> np.ndarray:
    return score_counts(parameters, examples, layout=MODEL, bins=BINS).values


def test_every_person_counts_once_by_mean_score_and_label() -> None:
    examples, parameters = made_up(1), np.array([2.0, -1.0, 0.5, 0.1])
    rows = probabilities(parameters, MODEL, examples)
    due = np.zeros((2, BINS))
    for start, stop in zip(examples.person_starts[:-1], examples.person_starts[1:], strict=True):
        label = int(examples.labels[start:stop].mean() >= 0.5)
        due[label, bin_of(rows[start:stop].mean(), BINS)] += 1
    assert counts(parameters, examples).reshape(2, BINS).tolist() == due.tolist()


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 999), scale=st.sampled_from([1.0, 1e3, PARAMETER_LIMIT]))
def test_taking_a_person_away_changes_one_cell_by_one(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    examples, parameters = made_up(seed), rng.uniform(-scale, scale, MODEL.size)
    moved = counts(parameters, examples) - counts(parameters, without(examples, int(rng.integers(40))))
    assert sorted(np.abs(moved)) == [0.0] * (2 * BINS - 1) + [1.0]


def test_a_person_without_a_label_counts_nowhere_and_nobody_at_all_is_no_error() -> None:
    examples = made_up(2, persons=3)
    unknown = np.where(np.arange(examples.rows) == 0, np.nan, examples.labels).astype(np.float32)
    lacking = Examples(
        dense=examples.dense,
        code_starts=examples.code_starts,
        codes=examples.codes,
        code_inputs=0,
        labels=unknown,
        person_starts=examples.person_starts,
    )
    assert counts(np.zeros(4), lacking).sum() == 2
    assert counts(np.zeros(4), without(made_up(3, persons=1), 0)).sum() == 0


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(ConfigError, match="bins"):
        score_counts(np.zeros(4), made_up(1), layout=MODEL, bins=1)
    with pytest.raises(ParametersUnfit):
        counts(np.array([0.0, 0.0, 0.0, np.nan]), made_up(1))
