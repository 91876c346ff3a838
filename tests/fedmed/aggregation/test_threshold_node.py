"""Exactness of the threshold secure sum, from contribution to decoding, and a custodian's refusals."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.aggregation import threshold_node
from fedmed.aggregation.contract import Opening
from fedmed.aggregation.threshold_coordinator import ThresholdCombiner
from fedmed.aggregation.threshold_node import EpochKeys, ThresholdContributor, insecure_epoch_keys
from fedmed.crypto.lattice_secret import keystream
from fedmed.crypto.parameters import fields_per_coefficient, parameter_set_for
from fedmed.errors import (
    ConfigError,
    EpochMismatch,
    LayoutMismatch,
    OpenersMiscounted,
    OpeningOutOfBounds,
    SetMalformed,
)
from fedmed.types import IntArray, Layout, WordArray

HEADERS = b"h" * 32


@functools.cache
def epoch(custodians: int, threshold: int) -> tuple[EpochKeys, ...]:
    return insecure_epoch_keys(custodians, threshold, source=keystream(bytes([custodians, threshold]) * 16))


@functools.cache
def contributors_of(custodians: int, threshold: int) -> tuple[ThresholdContributor, ...]:
    return tuple(ThresholdContributor(keys) for keys in epoch(custodians, threshold))


def layout_for(custodians: int, threshold: int, *, values: int, field_bits: int = 27) -> Layout:
    chosen = parameter_set_for(custodians, threshold)
    return Layout(
        grid=1.0,
        limit=1,
        tail=0,
        values=values,
        field_bits=field_bits,
        fields=fields_per_coefficient(chosen, field_bits),
        parameter_set=chosen.name,
        noise_scale=0.0,
    )


def plan_of(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


def fields_for(layout: Layout, nodes: int, seed: int) -> list[WordArray]:
    """Random fields whose sum stays below the guard bit, both ends among them."""
    top = (2 ** (layout.field_bits - 1) - 1) // nodes
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, top + 1, (nodes, layout.values), dtype=np.uint64)
    drawn[:, 0] = top
    drawn[:, -1] = 0
    return list(drawn)


def opened_sum(
    nodes: Sequence[ThresholdContributor],
    sent: dict[int, tuple[bytes, ...]],
    layout: Layout,
    *,
    plan: bytes,
    openers: Sequence[int],
) -> WordArray:
    """Sum of what ``sent`` holds, opened by ``openers``."""
    combiner = ThresholdCombiner(layout)
    for chunks in sent.values():
        combiner.add_contribution(chunks)
    for point in openers:
        answer = nodes[point - 1].open(
            Opening(
                plan_digest=plan,
                layout=layout,
                contributors=sorted(sent),
                openers=openers,
                headers_digest=HEADERS,
            )
        )
        combiner.add_opening(answer)
    return combiner.total()


@pytest.mark.parametrize(
    ("custodians", "threshold"), [(3, 3), (4, 3), pytest.param(5, 4, marks=pytest.mark.slow)]
)
def test_every_allowed_set_of_contributors_and_openers_gives_the_exact_sum(
    custodians: int, threshold: int
) -> None:
    nodes = contributors_of(custodians, threshold)
    layout = layout_for(custodians, threshold, values=23)
    plan = plan_of("all sets", custodians, threshold)
    values = fields_for(layout, custodians, 1)
    points = range(1, custodians + 1)
    sent = {p: nodes[p - 1].contribute(values[p - 1], plan_digest=plan, layout=layout) for p in points}
    for size in range(3, custodians + 1):
        for chosen in combinations(points, size):
            for openers in combinations(points, threshold):
                found = opened_sum(nodes, {p: sent[p] for p in chosen}, layout, plan=plan, openers=openers)
                assert np.array_equal(found, np.sum([values[p - 1] for p in chosen], axis=0))


def check_a_random_sum(rng: np.random.Generator, custodians: int, threshold: int) -> None:
    """One sum over random S, T, field width and length."""
    nodes = contributors_of(custodians, threshold)
    most = parameter_set_for(custodians, threshold).payload_bits // 2
    layout = layout_for(
        custodians,
        threshold,
        values=int(rng.integers(2, 300)),
        field_bits=int(rng.integers(8, min(most, 62) + 1)),
    )
    plan = rng.bytes(32)
    size = int(rng.integers(min(3, custodians), custodians + 1))
    chosen = sorted(rng.choice(range(1, custodians + 1), size, replace=False).tolist())
    openers = sorted(rng.choice(range(1, custodians + 1), threshold, replace=False).tolist())
    values = fields_for(layout, size, int(rng.integers(0, 2**31)))
    sent = {
        point: nodes[point - 1].contribute(one, plan_digest=plan, layout=layout)
        for point, one in zip(chosen, values, strict=True)
    }
    found = opened_sum(nodes, sent, layout, plan=plan, openers=openers)
    assert np.array_equal(found, np.sum(values, axis=0))


@pytest.mark.slow
@settings(deadline=None, max_examples=10)
@given(custodians=st.integers(3, 8), data=st.data(), seed=st.integers(0, 2**32))
def test_random_sums_of_small_rosters_are_exact(custodians: int, data: st.DataObject, seed: int) -> None:
    threshold = data.draw(st.integers(2, min(custodians, 6)))
    check_a_random_sum(np.random.default_rng(seed), custodians, threshold)


@pytest.mark.slow
@settings(deadline=None, max_examples=3)
@given(custodians=st.integers(9, 30), data=st.data(), seed=st.integers(0, 2**32))
def test_random_sums_of_large_rosters_are_exact(custodians: int, data: st.DataObject, seed: int) -> None:
    threshold = data.draw(st.integers(2, custodians))
    check_a_random_sum(np.random.default_rng(seed), custodians, threshold)


@pytest.mark.slow
def test_a_sum_of_31_nodes_opened_by_21_is_exact() -> None:
    check_a_random_sum(np.random.default_rng(31), 31, 21)


@pytest.mark.parametrize("values", [1, 4, 5, 6, 8192 * 5, 8192 * 5 + 1, 9 * 8192 * 5 + 3])
def test_vectors_of_every_length_are_exact(values: int) -> None:
    nodes = contributors_of(3, 2)
    layout = layout_for(3, 2, values=values, field_bits=28)
    plan = plan_of("length", values)
    fields = fields_for(layout, 3, values)
    sent = {
        point: nodes[point - 1].contribute(one, plan_digest=plan, layout=layout)
        for point, one in enumerate(fields, 1)
    }
    assert sum(len(chunk) for chunk in sent[1]) == 28 * layout.coefficients
    assert np.array_equal(opened_sum(nodes, sent, layout, plan=plan, openers=(1, 3)), np.sum(fields, axis=0))


def largest(count: int, sign: int) -> IntArray:
    return np.full(count, 21 * sign, np.int64)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("custodians", "threshold", "field_bits"), [(8, 6, 28), (8, 6, 46), (12, 9, 27), (12, 9, 45)]
)
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("at_top", [False, True])
def test_the_worst_noise_of_all_nodes_at_once_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, custodians: int, threshold: int, field_bits: int, sign: int, at_top: bool
) -> None:
    # Fed, not mocked: only the two draws are replaced, by the ends of their ranges.
    def extreme_smudging(source: object, coefficients: int, smudging_bits: int) -> WordArray:
        value = 0 if sign < 0 else (1 << (smudging_bits + 1)) - 1
        limbs = [value & (2**46 - 1), value >> 46]
        return np.repeat(np.array(limbs, np.uint64)[:, None], coefficients, axis=1)

    monkeypatch.setattr(threshold_node, "error_polynomial", lambda source, count: largest(count, sign))
    monkeypatch.setattr(threshold_node, "smudging_words", extreme_smudging)
    nodes = contributors_of(custodians, threshold)
    layout = layout_for(custodians, threshold, values=11, field_bits=field_bits)
    plan = plan_of("worst", custodians, field_bits, sign, at_top)
    top = (2 ** (field_bits - 1) - 1) // custodians if at_top else 0
    fields = np.full(layout.values, top, np.uint64)
    sent = {
        point: nodes[point - 1].contribute(fields, plan_digest=plan, layout=layout)
        for point in range(1, custodians + 1)
    }
    found = opened_sum(nodes, sent, layout, plan=plan, openers=range(1, threshold + 1))
    assert found.tolist() == [custodians * top] * layout.values


def answers(
    nodes: Sequence[ThresholdContributor], layout: Layout, plan: bytes, asked: dict[int, tuple[object, ...]]
) -> list[tuple[bytes, ...]]:
    return [
        nodes[point - 1].open(
            Opening(
                plan_digest=plan,
                layout=layout,
                contributors=sets[0],  # type: ignore[arg-type]
                openers=sets[1],  # type: ignore[arg-type]
                headers_digest=sets[2],  # type: ignore[arg-type]
            )
        )
        for point, sets in asked.items()
    ]


OTHER = {"contributors": ((1, 2, 3), (1, 2, 3), HEADERS), "headers": ((1, 2, 3, 4), (1, 2, 3), b"i" * 32)}


@pytest.mark.parametrize("difference", OTHER)
def test_answers_to_different_sets_or_headers_never_open(difference: str) -> None:
    nodes = contributors_of(4, 3)
    layout = layout_for(4, 3, values=400)
    plan = plan_of("difference", difference)
    same = ((1, 2, 3, 4), (1, 2, 3), HEADERS)
    fields = fields_for(layout, 4, 1)
    combiner = ThresholdCombiner(layout)
    for node, one in zip(nodes, fields, strict=True):
        combiner.add_contribution(node.contribute(one, plan_digest=plan, layout=layout))
    for answer in answers(nodes, layout, plan, {1: same, 2: same, 3: OTHER[difference]}):
        combiner.add_opening(answer)
    with pytest.raises(OpeningOutOfBounds):
        combiner.total()


def test_answers_of_another_plan_or_epoch_never_open() -> None:
    layout = layout_for(4, 3, values=400)
    nodes, plan = contributors_of(4, 3), plan_of("epoch")
    strangers = [ThresholdContributor(k) for k in insecure_epoch_keys(4, 3, source=keystream(b"x" * 32))]
    fields = fields_for(layout, 4, 1)
    same = ((1, 2, 3, 4), (1, 2, 3), HEADERS)
    for last, digest in ((strangers, plan), (nodes, plan_of("another plan"))):
        combiner = ThresholdCombiner(layout)
        for node, one in zip(nodes, fields, strict=True):
            combiner.add_contribution(node.contribute(one, plan_digest=plan, layout=layout))
        for answer in answers(nodes, layout, plan, {1: same, 2: same}):
            combiner.add_opening(answer)
        combiner.add_opening(answers(last, layout, digest, {3: same})[0])
        with pytest.raises(OpeningOutOfBounds):
            combiner.total()


def test_too_few_answers_open_nothing() -> None:
    layout = layout_for(4, 3, values=400)
    nodes, plan = contributors_of(4, 3), plan_of("few")
    combiner = ThresholdCombiner(layout)
    for node, one in zip(nodes, fields_for(layout, 4, 1), strict=True):
        combiner.add_contribution(node.contribute(one, plan_digest=plan, layout=layout))
    same = ((1, 2, 3, 4), (1, 2, 3), HEADERS)
    for answer in answers(nodes, layout, plan, {1: same, 2: same}):
        combiner.add_opening(answer)
        with pytest.raises(OpeningOutOfBounds):
            combiner.total()


def test_the_same_fields_never_give_the_same_bytes() -> None:
    layout = layout_for(3, 2, values=40)
    node = contributors_of(3, 2)[0]
    fields = fields_for(layout, 3, 1)[0]
    first, again = (node.contribute(fields, plan_digest=plan_of("twice"), layout=layout) for _ in range(2))
    assert first != again


def test_entropy_is_taken_once_a_call() -> None:
    asked: list[int] = []

    def entropy(size: int) -> bytes:
        asked.append(size)
        return bytes(size)

    layout = layout_for(3, 2, values=100_000, field_bits=28)
    node = ThresholdContributor(epoch(3, 2)[0], entropy=entropy)
    plan = plan_of("entropy")
    node.contribute(np.zeros(layout.values, np.uint64), plan_digest=plan, layout=layout)
    answers([node], layout, plan, {1: ((1, 2, 3), (1, 2), HEADERS)})
    assert asked == [32, 32]


@pytest.mark.parametrize(
    ("contributors", "openers", "error"),
    [
        ((), (1, 2, 3), SetMalformed),
        ((1, 1, 2), (1, 2, 3), SetMalformed),
        ((3, 2, 1), (1, 2, 3), SetMalformed),
        ((1, 2, 3), (1, 3, 2), SetMalformed),
        ((1, 2, 3), (1, 2), OpenersMiscounted),
        ((1, 2, 3), (1, 2, 3, 4), OpenersMiscounted),
        ((1, 2, 3), (2, 3, 4), OpenersMiscounted),
        ((1, 2, 9), (1, 2, 3), EpochMismatch),
        ((1, 2, 3), (1, 2, 9), EpochMismatch),
    ],
)
def test_sets_that_cannot_be_answered_are_refused(
    contributors: tuple[int, ...], openers: tuple[int, ...], error: type[Exception]
) -> None:
    layout = layout_for(4, 3, values=5)
    with pytest.raises(error):
        answers(contributors_of(4, 3), layout, plan_of("sets"), {1: (contributors, openers, HEADERS)})


def test_a_parameter_set_too_small_for_the_nodes_is_refused() -> None:
    layout = dataclasses.replace(layout_for(4, 3, values=5), parameter_set="t8")
    sets = (tuple(range(1, 10)), tuple(range(1, 7)), HEADERS)
    with pytest.raises(LayoutMismatch, match="9 with 6"):
        answers([ThresholdContributor(epoch(9, 6)[0])], layout, plan_of("small"), {1: sets})
    sets = (tuple(range(1, 9)), tuple(range(1, 8)), HEADERS)
    with pytest.raises(LayoutMismatch, match="8 with 7"):
        answers([ThresholdContributor(epoch(8, 7)[0])], layout, plan_of("small"), {1: sets})


def test_fields_and_layouts_that_do_not_fit_are_refused() -> None:
    node, layout = contributors_of(4, 3)[0], layout_for(4, 3, values=5)
    with pytest.raises(ConfigError, match="shape"):
        node.contribute(np.zeros(4, np.uint64), plan_digest=bytes(32), layout=layout)
    with pytest.raises(ConfigError, match=r"2\*\*26"):
        node.contribute(np.full(5, 2**26, np.uint64), plan_digest=bytes(32), layout=layout)
    wide = Layout(
        grid=1.0,
        limit=1,
        tail=0,
        values=5,
        field_bits=29,
        fields=5,
        parameter_set="t8",
        noise_scale=0.0,
    )
    with pytest.raises(LayoutMismatch):
        node.contribute(np.zeros(5, np.uint64), plan_digest=bytes(32), layout=wide)


def test_a_contributor_shows_no_key() -> None:
    assert repr(contributors_of(3, 2)[1]) == "ThresholdContributor(point=2)"
