"""The combiner's form checks and its running sum; exactness is in test_threshold_node.py."""

from __future__ import annotations

import numpy as np
import pytest

from fedmed.aggregation.contract import Opening
from fedmed.aggregation.threshold_coordinator import ThresholdCombiner
from fedmed.aggregation.threshold_node import ThresholdContributor, insecure_epoch_keys
from fedmed.crypto.lattice_public import pack, residues_to_bytes
from fedmed.crypto.lattice_secret import keystream
from fedmed.crypto.parameters import PRIMES
from fedmed.errors import CiphertextMalformed, ConfigError, LayoutMismatch, OpeningOutOfBounds
from fedmed.types import Layout, WordArray

PLAN, HEADERS = b"p" * 32, b"h" * 32


def layout_of(values: int, *, fields: int = 5, parameter_set: str = "t8") -> Layout:
    return Layout(
        grid=1.0,
        limit=1,
        tail=0,
        values=values,
        field_bits=28,
        fields=fields,
        parameter_set=parameter_set,
        noise_scale=0.0,
    )


def in_the_clear(fields: WordArray, layout: Layout) -> tuple[bytes, ...]:
    """A noiseless payload under the zero key: as good as a contribution for the combiner."""
    return tuple(residues_to_bytes(chunk, chunk.shape[1]) for chunk in pack(fields, layout))


def zeros(layout: Layout) -> tuple[bytes, ...]:
    return in_the_clear(np.zeros(layout.values, np.uint64), layout)


@pytest.fixture(scope="module")
def nodes() -> list[ThresholdContributor]:
    return [ThresholdContributor(keys) for keys in insecure_epoch_keys(3, 2, source=keystream(bytes(32)))]


def test_the_order_of_additions_does_not_matter(nodes: list[ThresholdContributor]) -> None:
    layout = layout_of(60)
    fields = np.arange(60, dtype=np.uint64)
    sent = [node.contribute(fields, plan_digest=PLAN, layout=layout) for node in nodes]
    opened = [
        node.open(
            Opening(
                plan_digest=PLAN,
                layout=layout,
                contributors=(1, 2, 3),
                openers=(1, 2),
                headers_digest=HEADERS,
            )
        )
        for node in nodes[:2]
    ]
    forward, backward = ThresholdCombiner(layout), ThresholdCombiner(layout)
    for chunks in sent:
        forward.add_contribution(chunks)
    for chunks in opened:
        forward.add_opening(chunks)
        backward.add_opening(chunks)
    for chunks in reversed(sent):
        backward.add_contribution(chunks)
    assert forward.total().tolist() == backward.total().tolist() == (3 * fields).tolist()


@pytest.mark.parametrize("bad_chunk", [0, 1])
@pytest.mark.parametrize("fault", ["short", "long", "range", "missing", "more"])
def test_malformed_chunks_are_refused_and_leave_the_sum_unchanged(bad_chunk: int, fault: str) -> None:
    layout = layout_of(8192 * 5 + 9)
    fields = np.arange(layout.values, dtype=np.uint64)
    good = in_the_clear(fields, layout)
    bad = list(good)
    if fault == "missing":
        del bad[bad_chunk]
    elif fault == "more":
        bad.append(b"")
    else:
        chunk = bad[bad_chunk]
        ends = {"short": chunk[:-1], "long": chunk + b"\0", "range": b"\xff" * 7 + chunk[7:]}
        bad[bad_chunk] = ends[fault]
    combiner = ThresholdCombiner(layout)
    combiner.add_contribution(good)
    combiner.add_opening(zeros(layout))
    for add in (combiner.add_contribution, combiner.add_opening):
        with pytest.raises(CiphertextMalformed):
            add(tuple(bad))
    assert np.array_equal(combiner.total(), fields)


def test_a_total_needs_contributions_and_openings() -> None:
    layout = layout_of(5)
    combiner = ThresholdCombiner(layout)
    with pytest.raises(OpeningOutOfBounds, match="wait"):
        combiner.total()
    combiner.add_contribution(zeros(layout))
    with pytest.raises(OpeningOutOfBounds, match="wait"):
        combiner.total()
    combiner.add_opening(zeros(layout))
    assert combiner.total().tolist() == [0] * 5


def test_more_terms_than_a_word_holds_lazily_are_reduced_in_between() -> None:
    layout = layout_of(5)
    combiner = ThresholdCombiner(layout)
    # Every residue at its end: 700 of them would overflow 64 bits twice.
    ends = residues_to_bytes(np.array([[p - 1] for p in PRIMES], np.uint64), 1)
    payload = in_the_clear(np.array([1, 2, 3, 4, 5], np.uint64), layout)
    for _ in range(350):
        combiner.add_contribution((ends,))  # -1 each: noise
        combiner.add_contribution(payload)
    combiner.add_opening(zeros(layout))
    assert combiner.total().tolist() == [350, 700, 1050, 1400, 1750]


def test_a_sum_above_the_fields_is_refused() -> None:
    layout = layout_of(5)
    combiner = ThresholdCombiner(layout)
    for _ in range(2):
        combiner.add_contribution(in_the_clear(np.full(5, 2**26, np.uint64), layout))
    combiner.add_opening(zeros(layout))
    with pytest.raises(OpeningOutOfBounds, match="guard"):
        combiner.total()


def test_noise_above_what_these_nodes_can_cause_is_refused() -> None:
    layout = layout_of(5)
    combiner = ThresholdCombiner(layout)
    noise = (1 << 72) + 2**60  # one opener's smudging reaches 2^72 and no further, with one error of 21
    chunk = residues_to_bytes(np.array([[noise % p] for p in PRIMES], np.uint64), 1)
    combiner.add_contribution((chunk,))
    combiner.add_opening(zeros(layout))
    with pytest.raises(OpeningOutOfBounds, match="noise"):
        combiner.total()
    combiner.add_opening(zeros(layout))
    assert combiner.total().tolist() == [0] * 5


def test_layouts_of_other_schemes_are_refused() -> None:
    with pytest.raises(ConfigError, match="parameter_set"):
        ThresholdCombiner(layout_of(5, parameter_set="plain"))
    with pytest.raises(LayoutMismatch):
        ThresholdCombiner(layout_of(5, fields=6))
