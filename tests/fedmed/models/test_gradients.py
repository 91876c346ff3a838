"""Clipped gradient sums against slow, obvious ways: a loop of single persons, and opacus."""

import dataclasses
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.data.examples import Examples
from fedmed.errors import ConfigError, ParametersUnfit
from fedmed.models.gradients import clipped_gradient_sum, person_signals
from fedmed.models.layout import PARAMETER_LIMIT, ModelLayout, PersonClip
from fedmed.privacy.clipping import CANCELLATION, summing_error
from fedmed.types import FloatArray
from tests.examples import at_most

LOGISTIC = ModelLayout(kind="logistic", inputs=11)
MLP = ModelLayout(kind="mlp", inputs=11, hidden=(9, 5))


def made_up(lengths: Sequence[int], *, inputs: int = 11, codes: int = 6, seed: int = 0) -> Examples:
    """Persons with the given numbers of rows; the last ``codes`` inputs are code lists, some empty."""
    draws = np.random.default_rng(seed)
    rows = int(sum(lengths))
    lists = [draws.permutation(codes)[: draws.integers(0, codes + 1)] for _ in range(rows)]
    return Examples(
        dense=draws.uniform(-1, 1, (rows, inputs - codes)).astype(np.float32),
        code_starts=np.cumsum([0, *map(len, lists)]).astype(np.int64),
        codes=np.concatenate([*lists, []]).astype(np.int32),
        code_inputs=codes,
        labels=draws.integers(0, 2, rows).astype(np.float32),
        person_starts=np.cumsum([0, *lengths]).astype(np.int64),
    )


def without_person(examples: Examples, person: int) -> Examples:
    """All but one person, as a node would hold them."""
    first, last = examples.person_starts[person : person + 2]
    kept = np.r_[0:first, last : examples.rows]
    spans = np.diff(examples.code_starts)[kept]
    codes = [examples.codes[examples.code_starts[r] : examples.code_starts[r + 1]] for r in kept]
    return dataclasses.replace(
        examples,
        dense=examples.dense[kept],
        code_starts=np.concatenate([[0], np.cumsum(spans)]).astype(np.int64),
        codes=np.concatenate([*codes, np.zeros(0, np.int32)]),
        labels=examples.labels[kept],
        person_starts=np.concatenate([[0], np.cumsum(np.delete(np.diff(examples.person_starts), person))]),
    )


def drawn(layout: ModelLayout, seed: int = 5, scale: float = 0.7) -> FloatArray:
    return np.random.default_rng(seed).normal(0.0, scale, layout.size)


def network(parameters: FloatArray, layout: ModelLayout) -> torch.nn.Sequential:
    """The model as anybody would write it in torch, float64."""
    modules: list[torch.nn.Module] = []
    arrays = list(layout.split(parameters).values())
    for (outputs, inputs), weight, bias in zip(layout.layers, arrays[::2], arrays[1::2], strict=True):
        linear = torch.nn.Linear(inputs, outputs, dtype=torch.float64)
        linear.weight.data, linear.bias.data = torch.tensor(weight), torch.tensor(bias)
        modules += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*modules[:-1])


def loop_sum(parameters: FloatArray, examples: Examples, layout: ModelLayout, clip: PersonClip) -> FloatArray:
    """One person at a time, by autograd in float64."""
    model = network(parameters, layout)
    rows = torch.tensor(examples.matrix())
    labels = torch.tensor(examples.labels, dtype=torch.float64)
    total = np.zeros(layout.size)
    for first, last in zip(examples.person_starts[:-1], examples.person_starts[1:], strict=True):
        model.zero_grad()
        loss = torch.nn.BCEWithLogitsLoss(reduction=clip.rows)
        torch.autograd.backward(loss(model(rows[first:last])[:, 0], labels[first:last]))
        own = np.concatenate([p.grad.numpy().ravel() for p in model.parameters() if p.grad is not None])
        total += own * min(1.0, clip.norm / max(float(np.linalg.norm(own)), 1e-300))
    return total


def opacus_sum(
    parameters: FloatArray, examples: Examples, layout: ModelLayout, clip: PersonClip
) -> FloatArray:
    """Per-row gradients by opacus' hooks, then grouped by person and clipped."""
    from opacus import GradSampleModule

    with warnings.catch_warnings():
        # torch warns about every hook on a module whose input needs no gradient.
        warnings.simplefilter("ignore")
        model = GradSampleModule(network(parameters, layout), loss_reduction="sum")
        logits = model(torch.tensor(examples.matrix()))[:, 0]
        labels = torch.tensor(examples.labels, dtype=torch.float64)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
        torch.autograd.backward(loss)
    rows = np.concatenate([_per_row(p) for p in model.parameters()], axis=1)
    sums = np.add.reduceat(rows, examples.person_starts[:-1], axis=0)
    if clip.rows == "mean":
        sums /= np.diff(examples.person_starts)[:, None]
    norms = np.maximum(np.linalg.norm(sums, axis=1), 1e-300)
    clipped: FloatArray = (sums * np.minimum(1.0, clip.norm / norms)[:, None]).sum(axis=0)
    return clipped


def _per_row(parameter: Any) -> FloatArray:
    found: FloatArray = parameter.grad_sample.numpy()
    return found.reshape(found.shape[0], -1)


def assert_close(found: FloatArray, expected: FloatArray) -> None:
    """Float32 passes: 24 bits, some lost in sums of a few dozen terms."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * max(1.0, float(np.linalg.norm(expected))))


SINGLE = [1] * 40
MIXED = [1, 2, 1, 5, 1, 3, 40, 2, 1, 17, 33, 1]


@pytest.mark.parametrize("oracle", [loop_sum, pytest.param(opacus_sum, marks=pytest.mark.slow)])
@pytest.mark.parametrize("rows", ["mean", "sum"])
@pytest.mark.parametrize("lengths", [SINGLE, MIXED])
@pytest.mark.parametrize("layout", [LOGISTIC, MLP])
def test_the_sum_equals_the_oracle(oracle: Any, rows: Any, lengths: list[int], layout: ModelLayout) -> None:
    examples, parameters = made_up(lengths), drawn(layout)
    clip = PersonClip(norm=0.8, rows=rows)
    factors = person_signals(parameters, examples, layout=layout, clip=clip).factors
    assert factors.min() < 0.9
    assert factors.max() == 1.0, "the trial must hold clipped and unclipped persons"
    found = clipped_gradient_sum(parameters, examples, layout=layout, clip=clip)
    assert found.clip_norm == 0.8
    assert_close(found.values, oracle(parameters, examples, layout, clip))


@settings(deadline=None, max_examples=at_most(25))
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=12),
    norm=st.floats(0.01, 50.0),
    rows=st.sampled_from(["mean", "sum"]),
    seed=st.integers(0, 1000),
)
def test_the_sum_equals_the_loop_for_any_persons(
    lengths: list[int], norm: float, rows: Any, seed: int
) -> None:
    examples, parameters = made_up(lengths, seed=seed), drawn(MLP, seed)
    clip = PersonClip(norm=norm, rows=rows)
    found = clipped_gradient_sum(parameters, examples, layout=MLP, clip=clip).values
    assert_close(found, loop_sum(parameters, examples, MLP, clip))


@pytest.mark.slow
@pytest.mark.parametrize("rows", ["mean", "sum"])
@pytest.mark.parametrize("lengths", [[300], [200, 200, 1], [3, 2100, 2], [2300], [1, 2049]])
def test_persons_longer_than_a_block_or_a_chunk_count_whole(lengths: list[int], rows: Any) -> None:
    examples, parameters = made_up(lengths), drawn(MLP)
    clip = PersonClip(norm=0.05, rows=rows)
    found = clipped_gradient_sum(parameters, examples, layout=MLP, clip=clip).values
    assert_close(found, loop_sum(parameters, examples, MLP, clip))


@pytest.mark.slow
def test_several_chunks_add_up() -> None:
    examples, parameters = made_up([1, 2, 3] * 800), drawn(LOGISTIC)
    clip = PersonClip(norm=0.7)
    found = clipped_gradient_sum(parameters, examples, layout=LOGISTIC, clip=clip).values
    assert_close(found, loop_sum(parameters, examples, LOGISTIC, clip))


@pytest.mark.parametrize("layout", [LOGISTIC, MLP])
def test_one_row_is_enough(layout: ModelLayout) -> None:
    examples, parameters, clip = made_up([1]), drawn(layout), PersonClip(norm=0.1)
    found = clipped_gradient_sum(parameters, examples, layout=layout, clip=clip).values
    assert_close(found, loop_sum(parameters, examples, layout, clip))


def test_empty_code_lists_are_rows_like_others() -> None:
    examples = dataclasses.replace(
        made_up([1, 2, 1]), code_starts=np.zeros(5, dtype=np.int64), codes=np.zeros(0, dtype=np.int32)
    )
    parameters, clip = drawn(MLP), PersonClip(norm=0.5)
    found = clipped_gradient_sum(parameters, examples, layout=MLP, clip=clip).values
    assert_close(found, loop_sum(parameters, examples, MLP, clip))


@settings(deadline=None, max_examples=at_most(20))
@given(
    lengths=st.lists(st.integers(1, 45), min_size=2, max_size=12),
    seed=st.integers(0, 1000),
    rows=st.sampled_from(["mean", "sum"]),
    data=st.data(),
)
def test_removing_a_person_moves_the_sum_by_at_most_the_clip(
    lengths: list[int], seed: int, rows: Any, data: st.DataObject
) -> None:
    person = data.draw(st.integers(0, len(lengths) - 1))
    examples, parameters, clip = (
        made_up(lengths, seed=seed),
        drawn(MLP, seed),
        PersonClip(norm=0.3, rows=rows),
    )
    whole = clipped_gradient_sum(parameters, examples, layout=MLP, clip=clip).values
    rest = clipped_gradient_sum(parameters, without_person(examples, person), layout=MLP, clip=clip).values
    assert np.linalg.norm(whole - rest) <= 0.3


@settings(deadline=None, max_examples=at_most(20))
@given(
    lengths=st.lists(st.integers(1, 45), min_size=2, max_size=40),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_removing_a_person_leaves_every_bit_of_the_others(
    lengths: list[int], seed: int, data: st.DataObject
) -> None:
    layout = ModelLayout(kind="mlp", inputs=45, hidden=(37, 9))
    person = data.draw(st.integers(0, len(lengths) - 1))
    examples, clip = made_up(lengths, inputs=45, seed=seed), PersonClip(norm=0.3)
    parameters = drawn(layout, seed)
    whole = person_signals(parameters, examples, layout=layout, clip=clip)
    rest = person_signals(parameters, without_person(examples, person), layout=layout, clip=clip)
    first, last = examples.person_starts[person : person + 2]
    for a, b in zip(whole.of_rows, rest.of_rows, strict=True):
        assert np.delete(a, np.s_[first:last], axis=0).tobytes() == b.tobytes()
    for c, d in zip(whole.of_persons, rest.of_persons, strict=True):
        assert np.delete(c, person).tobytes() == d.tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("lengths", [[1, 1, 1, 1], [2, 3, 1, 4], [2, 40, 1, 1], [1, 2100, 1]])
def test_a_person_that_is_not_finite_contributes_zero(bad: float, lengths: list[int]) -> None:
    examples, parameters, clip = made_up(lengths), drawn(MLP, scale=3.0), PersonClip(norm=0.3)
    dense = examples.dense.copy()
    dense[examples.person_starts[1], 0] = bad
    spoilt = dataclasses.replace(examples, dense=dense)
    found = clipped_gradient_sum(parameters, spoilt, layout=MLP, clip=clip).values
    rest = clipped_gradient_sum(parameters, without_person(examples, 1), layout=MLP, clip=clip).values
    assert np.all(np.isfinite(found))
    moved = float(np.linalg.norm(found - rest))
    # 3e38 is finite, and so may the person's gradient be: then it counts, clipped.
    assert moved <= (0.3 if bad == 3e38 else 1e-12)


@pytest.mark.parametrize("layout", [LOGISTIC, MLP])
@pytest.mark.parametrize("lengths", [SINGLE, MIXED])
def test_the_largest_parameters_give_a_finite_sum(layout: ModelLayout, lengths: list[int]) -> None:
    examples, clip = made_up(lengths), PersonClip(norm=0.3)
    signs = np.sign(drawn(layout))
    found = clipped_gradient_sum(signs * PARAMETER_LIMIT, examples, layout=layout, clip=clip).values
    assert np.all(np.isfinite(found))
    assert np.linalg.norm(found) <= 0.3 * examples.persons


@pytest.mark.parametrize("bad", [1e308, np.nan, np.inf])
def test_unfit_parameters_are_refused(bad: float) -> None:
    parameters = drawn(LOGISTIC)
    parameters[3] = bad
    with pytest.raises(ParametersUnfit):
        clipped_gradient_sum(parameters, made_up([1]), layout=LOGISTIC, clip=PersonClip(norm=1.0))


@pytest.mark.parametrize("lengths", [[2], [2100]])
def test_huge_rows_that_cancel_are_shrunk_so_that_rounding_cannot_leave_with_them(lengths: list[int]) -> None:
    """Opposite labels at half certainty and equal inputs: rows are large, their sum is tiny."""
    layout = ModelLayout(kind="logistic", inputs=1)
    rows = lengths[0]
    labels = np.resize([0.0, 1.0], rows).astype(np.float32)
    examples = Examples(
        dense=np.full((rows, 1), 1e9, dtype=np.float32),
        code_starts=np.zeros(rows + 1, dtype=np.int64),
        codes=np.zeros(0, dtype=np.int32),
        code_inputs=0,
        labels=labels,
        person_starts=np.array([0, rows]),
    )
    parameters = np.array([1e-12, 0.0])
    clip = PersonClip(norm=1.0, rows="sum")
    found = clipped_gradient_sum(parameters, examples, layout=layout, clip=clip).values
    # Each row's norm is about 5e8; the float sum of all is within the bound although they cancel.
    assert np.linalg.norm(found) <= 1.0
    if rows == 2:
        factor = person_signals(parameters, examples, layout=layout, clip=clip).factors[0]
        assert factor * rows * 5e8 <= CANCELLATION * 1.01


def test_cancelling_rows_of_ordinary_size_are_not_shrunk() -> None:
    examples = made_up([30] * 4)
    clip = PersonClip(norm=4.0, rows="mean")
    factors = person_signals(drawn(LOGISTIC), examples, layout=LOGISTIC, clip=clip).factors
    np.testing.assert_array_equal(factors, 1.0)


def test_the_number_of_threads_is_restored_even_after_a_refusal() -> None:
    before = torch.get_num_threads()
    clip = PersonClip(norm=1.0)
    clipped_gradient_sum(drawn(MLP), made_up([1]), layout=MLP, clip=clip, threads=before + 1)
    with pytest.raises(ParametersUnfit):
        clipped_gradient_sum(np.zeros(1), made_up([1]), layout=MLP, clip=clip, threads=before + 1)
    assert torch.get_num_threads() == before
    with pytest.raises(ConfigError, match="threads"):
        clipped_gradient_sum(drawn(MLP), made_up([1]), layout=MLP, clip=clip, threads=0)


def test_examples_of_another_width_are_refused() -> None:
    with pytest.raises(ConfigError, match="inputs"):
        clipped_gradient_sum(drawn(MLP), made_up([1], inputs=12), layout=MLP, clip=PersonClip(norm=1.0))


def test_signals_are_for_few_rows_only() -> None:
    with pytest.raises(ConfigError, match="rows"):
        person_signals(drawn(MLP), made_up([1] * 2049), layout=MLP, clip=PersonClip(norm=1.0))


@pytest.mark.slow
def test_a_wide_vocabulary_takes_few_rows_at_a_time() -> None:
    """30,000 inputs: chunks of one block; the answer is the same as with the inputs that occur."""
    narrow = made_up([1, 2] * 150)
    wide = dataclasses.replace(narrow, code_inputs=29_995)
    layout = ModelLayout(kind="logistic", inputs=30_000)
    clip = PersonClip(norm=0.7)
    found = clipped_gradient_sum(np.zeros(layout.size), wide, layout=layout, clip=clip).values
    expected = clipped_gradient_sum(np.zeros(LOGISTIC.size), narrow, layout=LOGISTIC, clip=clip).values
    np.testing.assert_allclose(found[[*range(11), -1]], expected, rtol=0, atol=1e-12)
    assert not found[11:-1].any()


def test_the_sum_of_many_chunks_errs_by_less_than_the_charge():
    rng = np.random.default_rng(7)
    persons, inputs = 30_000, 3
    rows = Examples(
        dense=rng.uniform(-1, 1, (persons, inputs)).astype(np.float32),
        code_starts=np.zeros(persons + 1, dtype=np.int64),
        codes=np.zeros(0, dtype=np.int32),
        code_inputs=0,
        labels=(rng.random(persons) < 0.3).astype(np.float32),
        person_starts=np.arange(persons + 1),
    )
    layout = ModelLayout(kind="logistic", inputs=inputs)
    parameters, clip = rng.normal(size=4), PersonClip(norm=0.01)
    found = clipped_gradient_sum(parameters, rows, layout=layout, clip=clip).values
    exact = np.zeros(4)
    for coordinate in range(4):
        parts = [
            clipped_gradient_sum(parameters, one, layout=layout, clip=clip).values[coordinate]
            for one in _thousands(rows)
        ]
        exact[coordinate] = math.fsum(parts)
    assert np.linalg.norm(found - exact) <= 2 * clip.norm * summing_error(persons)


def _thousands(rows):
    """The rows in parts of a thousand persons."""
    for start in range(0, rows.rows, 1000):
        yield Examples(
            dense=rows.dense[start : start + 1000].copy(),
            code_starts=np.zeros(1001, dtype=np.int64),
            codes=np.zeros(0, dtype=np.int32),
            code_inputs=0,
            labels=rows.labels[start : start + 1000].copy(),
            person_starts=np.arange(1001),
        )


@pytest.mark.slow
@pytest.mark.parametrize("rows", [5, 13, 17])
@pytest.mark.parametrize("inputs", [1, 127])
def test_norms_and_factors_do_not_depend_on_others_with_as_many_rows(inputs: int, rows: int) -> None:
    """In products of changing shape the last bits told, now and then, how many others there were."""
    layout = ModelLayout(kind="mlp", inputs=inputs, hidden=(33, 5))
    for seed in range(20):
        everyone = made_up((rows, rows, 1, rows, 5), inputs=inputs, codes=0, seed=seed)
        alone = made_up((rows,), inputs=inputs, codes=0, seed=seed)
        alone = dataclasses.replace(alone, dense=everyone.dense[:rows], labels=everyone.labels[:rows])
        many, one = (
            person_signals(drawn(layout, seed), examples, layout=layout, clip=PersonClip(norm=0.1))
            for examples in (everyone, alone)
        )
        for left, right in zip(many.of_persons, one.of_persons, strict=True):
            assert left[:1].tobytes() == right.tobytes()
