import dataclasses

import numpy as np
import pytest
import torch

from fedmed.data.examples import Examples
from fedmed.errors import ConfigError
from fedmed.models.layout import ModelLayout
from fedmed.models.passes import BLOCK_ROWS, WIDTH_STEP, BlockedPasses, computing, padded, torch_threads

LAYOUT = ModelLayout(kind="mlp", inputs=5, hidden=(3,))


def made_up(rows: int) -> Examples:
    draws = np.random.default_rng(0)
    return Examples(
        dense=draws.uniform(-1, 1, (rows, 5)).astype(np.float32),
        code_starts=np.zeros(rows + 1, dtype=np.int64),
        codes=np.zeros(0, dtype=np.int32),
        code_inputs=0,
        labels=draws.integers(0, 2, rows).astype(np.float32),
        person_starts=np.arange(rows + 1),
    )


def passed(examples: Examples, rows: int = 512) -> BlockedPasses:
    parameters = np.random.default_rng(1).normal(size=LAYOUT.size)
    with computing(1):
        passes = BlockedPasses(parameters, LAYOUT, rows=rows)
        passes.run(examples, 0, examples.rows)
    return passes


def test_blocks_and_widths_are_padded() -> None:
    passes = passed(made_up(300))
    assert (BLOCK_ROWS, WIDTH_STEP) == (256, 32)
    assert [tuple(x.shape) for x in passes.forward] == [(512, 32), (512, 32)]
    assert [tuple(x.shape) for x in passes.backward] == [(512, 32), (512, 32)]
    assert [x.dtype for x in (*passes.forward, *passes.backward)] == [torch.float32] * 4
    assert [tuple(x.shape) for x in passes.errors] == [(512, 3), (512, 1)]
    assert [x.dtype for x in (*passes.inputs, *passes.errors)] == [torch.float64] * 4


def test_padding_of_the_widths_stays_zero() -> None:
    passes = passed(made_up(300))
    assert not passes.forward[0][:300, 5:].any()
    assert not passes.forward[1][:300, 3:].any()
    assert not passes.backward[0][:300, 3:].any()
    assert not passes.backward[1][:300, 1:].any()


def test_a_shorter_run_in_used_buffers_equals_one_in_new_buffers() -> None:
    examples = made_up(300)
    passes = passed(examples)
    with computing(1):
        passes.run(examples, 100, 150)
        reused = passes.product(0, 50)
        fresh = BlockedPasses(np.random.default_rng(1).normal(size=LAYOUT.size), LAYOUT, rows=256)
        fresh.run(examples, 100, 150)
        assert reused.tobytes() == fresh.product(0, 50).tobytes()
        assert passes.squares(50).tobytes() == fresh.squares(50).tobytes()


def test_the_three_ways_to_a_norm_agree() -> None:
    """One row by itself, several by cross terms, and the gradient written out."""
    passes = passed(made_up(40))
    with computing(1):
        direct = [float(np.square(passes.product(row, row + 1)).sum()) for row in range(40)]
        np.testing.assert_allclose(passes.squares(40), direct, rtol=1e-12)
        starts, lengths = np.arange(0, 40, 4), np.full(10, 4)
        pairs = passes.gram_squares(starts, lengths, size=4)
        assert pairs.tobytes() == passes.gram_squares(starts, lengths, size=4).tobytes()
        wider = passes.gram_squares(starts, lengths, size=16)
        np.testing.assert_allclose(wider, pairs, rtol=1e-12)
        written = [float(np.square(passes.product(row, row + 4)).sum()) for row in range(0, 40, 4)]
        np.testing.assert_allclose(pairs, written, rtol=1e-12)


def test_cross_terms_are_not_touched_by_what_pads_them() -> None:
    """A person of three rows beside rows that are not finite, padding pointing at one of them."""
    examples = made_up(8)
    dense = examples.dense.copy()
    dense[0] = np.inf
    passes, clean = passed(dataclasses.replace(examples, dense=dense)), passed(examples)
    with computing(1):
        start, length = np.array([4]), np.array([3])
        found = passes.gram_squares(start, length, size=4)
        assert found.tobytes() == clean.gram_squares(start, length, size=4).tobytes()
        assert np.isfinite(found).all()


def test_rows_with_factor_zero_vanish_even_when_they_are_not_finite() -> None:
    examples = made_up(3)
    dense = examples.dense.copy()
    dense[1] = np.inf
    passes = passed(
        Examples(
            dense=dense,
            code_starts=examples.code_starts,
            codes=examples.codes,
            code_inputs=0,
            labels=examples.labels,
            person_starts=examples.person_starts,
        )
    )
    with computing(1):
        expected = passes.product(0, 1) + 0.5 * passes.product(2, 3)
        passes.scale(np.array([1.0, 0.0, 0.5]))
        np.testing.assert_allclose(passes.product(0, 3), expected, rtol=1e-12)


def test_threads_are_set_for_a_while() -> None:
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(ConfigError, match="threads"), torch_threads(0):
        pass


@pytest.mark.parametrize(("count", "expected"), [(0, 0), (1, 32), (32, 32), (33, 64)])
def test_padded_is_the_next_multiple(count: int, expected: int) -> None:
    assert padded(count, 32) == expected
