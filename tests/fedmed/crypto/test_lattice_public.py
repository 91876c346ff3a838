"""Wire bytes, packing and decoding, the last against Python's integers up to the noise margin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.crypto.lattice_public import (
    chunks_of,
    decode,
    pack,
    public_polynomial,
    residues_from_bytes,
    residues_to_bytes,
)
from fedmed.crypto.parameters import MODULUS, PARAMETER_SETS, PRIMES, named_set, noise_bound, scale
from fedmed.crypto.residues import Residues, uniform_residues
from fedmed.errors import CiphertextMalformed, ConfigError, LayoutMismatch, OpeningOutOfBounds
from fedmed.types import Layout, WordArray
from tests.examples import at_most

SHAPES = [("t8", 5, 28), ("t8", 4, 35), ("t8", 3, 46), ("t8", 2, 62), ("t64", 5, 27), ("t64", 3, 45)]
SHAPES += [("t64", 1, 40), ("t400", 4, 32), ("t400", 3, 42), ("t8", 17, 8), ("t8", 70, 2)]


def layout_of(name: str, fields: int, field_bits: int, *, values: int) -> Layout:
    return Layout(
        grid=1.0,
        limit=1,
        tail=0,
        values=values,
        field_bits=field_bits,
        fields=fields,
        parameter_set=name,
        noise_scale=0.0,
    )


def residues_of(values: list[int]) -> Residues:
    return np.array([[value % prime for value in values] for prime in PRIMES], np.uint64)


def worst_noise(name: str) -> int:
    one = PARAMETER_SETS[name]
    return noise_bound(one, contributors=one.max_custodians, openers=one.max_threshold)


def reference_decode(x: int, layout: Layout) -> int:
    distance = scale(layout.fields, layout.field_bits)
    return ((x + distance // 2) % MODULUS) // distance


def payloads_of(fields: WordArray, layout: Layout) -> list[int]:
    rows = fields.reshape(layout.fields, -1).astype(object)
    return [sum(int(v) << (layout.field_bits * f) for f, v in enumerate(column)) for column in rows.T]


@given(count=st.integers(0, 40), seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=at_most(50))
def test_residues_survive_the_wire(count: int, seed: int) -> None:
    polynomial = uniform_residues(np.random.default_rng(seed).bytes, 40)
    data = residues_to_bytes(polynomial, count)
    assert len(data) == 28 * count
    assert data == b"".join(int(v).to_bytes(7, "little") for v in polynomial[:, :count].reshape(-1))
    assert np.array_equal(residues_from_bytes(data, count), polynomial[:, :count])


def test_more_coefficients_than_there_are_cannot_be_written() -> None:
    with pytest.raises(ConfigError, match="coefficients"):
        residues_to_bytes(np.zeros((4, 3), np.uint64), 4)


@pytest.mark.parametrize("size", [0, 27, 55, 57, 84])
def test_a_polynomial_of_the_wrong_size_is_refused(size: int) -> None:
    with pytest.raises(CiphertextMalformed, match="56 bytes"):
        residues_from_bytes(bytes(size), 2)


@pytest.mark.parametrize("index", range(4))
def test_a_residue_at_its_prime_is_refused_and_one_below_is_not(index: int) -> None:
    values = [[0, prime - 1] for prime in PRIMES]
    data = residues_to_bytes(np.array(values, np.uint64), 2)
    assert residues_from_bytes(data, 2).tolist() == values
    for bad in (PRIMES[index], 2**56 - 1):
        values[index][1] = bad
        with pytest.raises(CiphertextMalformed, match="prime"):
            residues_from_bytes(residues_to_bytes(np.array(values, np.uint64), 2), 2)


def test_public_polynomials_differ_by_plan_and_chunk_and_are_read_only() -> None:
    first = public_polynomial(bytes(32), 0)
    assert first.shape == (4, 8192)
    assert not first.flags.writeable
    assert bool((first < np.array(PRIMES, np.uint64)[:, None]).all())
    for other in (public_polynomial(bytes(32), 1), public_polynomial(b"\1" + bytes(31), 0)):
        assert (first == other).mean() < 0.001
    with pytest.raises(ConfigError, match="plan_digest"):
        public_polynomial(b"short", 0)


@given(values=st.integers(1, 200_000))
@settings(deadline=None, max_examples=at_most(50))
def test_chunks_cover_the_vector_in_as_few_coefficients_as_the_layout_says(values: int) -> None:
    layout = layout_of("t8", 5, 28, values=values)
    chunks = chunks_of(layout)
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert [chunk.start for chunk in chunks[1:]] == [chunk.stop for chunk in chunks[:-1]]
    assert (chunks[0].start, chunks[-1].stop) == (0, values)
    assert sum(chunk.coefficients for chunk in chunks) == layout.coefficients
    assert all(chunk.coefficients == 8192 for chunk in chunks[:-1])


def test_fields_that_do_not_fit_the_payload_are_refused() -> None:
    with pytest.raises(LayoutMismatch, match="140 bits"):
        chunks_of(layout_of("t8", 5, 29, values=10))
    with pytest.raises(ConfigError, match="parameter_set"):
        chunks_of(layout_of("plain", 5, 28, values=10))


@pytest.mark.parametrize(("name", "fields", "field_bits"), SHAPES)
def test_packing_gives_the_residues_of_the_scaled_payload(name: str, fields: int, field_bits: int) -> None:
    layout = layout_of(name, fields, field_bits, values=fields * 6)
    rng = np.random.default_rng(field_bits)
    values = rng.integers(0, 2 ** (field_bits - 1), layout.values, dtype=np.uint64)
    values[:2], values[-2:] = 2 ** (field_bits - 1) - 1, 0
    (chunk,) = pack(values, layout)
    distance = scale(fields, field_bits)
    assert np.array_equal(chunk, residues_of([distance * m for m in payloads_of(values, layout)]))


def test_a_field_that_would_run_into_its_neighbour_is_refused() -> None:
    layout = layout_of("t8", 5, 28, values=5)
    values = np.zeros(5, np.uint64)
    values[3] = 2**27
    with pytest.raises(ConfigError, match=r"2\*\*27"):
        list(pack(values, layout))
    with pytest.raises(ConfigError, match="shape"):
        list(pack(values[:4], layout))
    with pytest.raises(ConfigError, match="uint64"):
        list(pack(values.astype(np.int64).astype(object), layout))


@pytest.mark.parametrize(("name", "fields", "field_bits"), SHAPES)
@settings(deadline=None, max_examples=at_most(15))
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_decoding_is_the_integer_formula_up_to_the_worst_noise(
    name: str, fields: int, field_bits: int, data: st.DataObject, seed: int
) -> None:
    count = 12
    layout = layout_of(name, fields, field_bits, values=fields * count)
    rng = np.random.default_rng(seed)
    top = 2 ** (field_bits - 1) - 1
    values = rng.integers(0, top + 1, layout.values, dtype=np.uint64)
    values.reshape(fields, count)[:, 0] = 0
    values.reshape(fields, count)[:, 1] = 0
    values.reshape(fields, count)[:, 2] = top
    bound = worst_noise(name)
    noise = [bound, -bound, bound, *(data.draw(st.sampled_from([-bound, bound, 0, 1, -1])) for _ in range(3))]
    noise += [data.draw(st.integers(-bound, bound)) for _ in range(count - len(noise))]
    distance = scale(fields, field_bits)
    payloads = payloads_of(values, layout)
    sums = [distance * m + e for m, e in zip(payloads, noise, strict=True)]
    assert [reference_decode(x, layout) for x in sums] == payloads
    found = decode([residues_of(sums)], layout, noise_bound=bound)
    assert np.array_equal(found, values)


@pytest.mark.parametrize(("name", "fields", "field_bits"), SHAPES)
def test_a_zero_sum_with_negative_noise_is_zero(name: str, fields: int, field_bits: int) -> None:
    bound = worst_noise(name)
    layout = layout_of(name, fields, field_bits, values=fields * 4)
    sums = [residues_of([-bound, -1, 0, bound])]
    assert not decode(sums, layout, noise_bound=bound).any()


def test_unreduced_sums_decode_alike() -> None:
    layout = layout_of("t64", 5, 27, values=5)
    (chunk,) = pack(np.arange(5, dtype=np.uint64), layout)
    lifted = chunk + np.array([[250 * prime] for prime in PRIMES], np.uint64)
    assert decode([lifted], layout, noise_bound=1).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("sign", [-1, 1])
def test_noise_above_its_bound_is_refused(sign: int) -> None:
    layout = layout_of("t8", 5, 28, values=5)
    distance = scale(5, 28)
    bound = worst_noise("t8")
    for beyond in (bound + distance // 2**26, distance // 2, distance // 2 - 1):
        with pytest.raises(OpeningOutOfBounds, match="noise"):
            decode([residues_of([7 * distance + sign * beyond])], layout, noise_bound=bound)


@pytest.mark.parametrize("field", range(5))
def test_a_set_guard_bit_is_refused(field: int) -> None:
    layout = layout_of("t8", 5, 28, values=5)
    payload = scale(5, 28) << (28 * field + 27)
    with pytest.raises(OpeningOutOfBounds, match="guard"):
        decode([residues_of([payload])], layout, noise_bound=1 << 74)


def test_a_payload_above_all_fields_is_refused() -> None:
    layout = layout_of("t8", 5, 28, values=5)
    top = (MODULUS // scale(5, 28)) * scale(5, 28)  # payload floor(q / D) > 2^140
    for x in (top, top - scale(5, 28), MODULUS - scale(5, 28) * 3):
        with pytest.raises(OpeningOutOfBounds):
            decode([residues_of([x])], layout, noise_bound=1 << 74)


def test_padding_that_is_not_zero_is_refused() -> None:
    layout = layout_of("t8", 5, 28, values=8)  # two coefficients, the last two fields are padding
    wide = layout_of("t8", 5, 28, values=10)
    values = np.arange(10, dtype=np.uint64)
    (chunk,) = pack(values, wide)
    with pytest.raises(OpeningOutOfBounds, match="padding"):
        decode([chunk], layout, noise_bound=1)
    values[8:] = 0
    (chunk,) = pack(values, wide)
    assert decode([chunk], layout, noise_bound=1).tolist() == list(range(8))


def test_random_residues_are_refused() -> None:
    # A uniform coefficient has noise within its bound with a chance of 2^-2.4 and five clear guard bits with
    # 2^-5; that all of 64 pass has a chance below 2^-400.
    layout = layout_of("t8", 5, 28, values=5 * 64)
    garbage = uniform_residues(np.random.default_rng(3).bytes, 64)
    with pytest.raises(OpeningOutOfBounds):
        decode([garbage], layout, noise_bound=worst_noise("t8"))


def test_a_bound_that_leaves_no_margin_is_refused() -> None:
    layout = layout_of("t8", 5, 28, values=5)
    with pytest.raises(ConfigError, match="noise_bound"):
        decode([residues_of([0])], layout, noise_bound=scale(5, 28) // 2)


def test_the_largest_sum_that_a_layout_allows_is_exact() -> None:
    # All contributors at the top together just below the guard bit.
    layout = layout_of("t400", 4, 32, values=4)
    top = np.full(4, (2**31 - 1) // 400, np.uint64)
    (chunk,) = pack(top, layout)
    bound = noise_bound(named_set("t400"), contributors=400, openers=267)
    sums = np.array(chunk * np.uint64(256))  # 256 lazily, the rest reduced: 400 in all
    rest = np.array(
        [[int(v) * 144 % p for v in row] for row, p in zip(chunk, PRIMES, strict=True)], np.uint64
    )
    assert decode([sums + rest], layout, noise_bound=bound).tolist() == [400 * int(top[0])] * 4
