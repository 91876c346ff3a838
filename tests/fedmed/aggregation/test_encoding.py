import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedmed.aggregation.allowance import default_allowance
from fedmed.aggregation.encoding import (
    CHUNK_COEFFICIENTS,
    Carrier,
    SumBounds,
    chunk_values,
    decode,
    decode_integers,
    encode,
    exact_layout,
    grid_for,
    grid_steps,
    node_noise_scale,
    noisy_layout,
    rehearsal_layout,
    rounded_layout,
    sensitivity,
)
from fedmed.errors import ConfigError, OpeningOutOfBounds
from fedmed.privacy.clipping import CLIP_SLACK, ClippedSum
from fedmed.privacy.noise import DiscreteGaussian, insecure_source, tail_of
from fedmed.types import Layout
from tests.examples import at_most

any_float = st.floats(width=64)


def layout_for(values=40, *, clip_norm=4.0, clamp_persons=26_600, nodes=4, **changes):
    chosen = {
        "max_persons": clamp_persons,
        "changed": None,
        "noise_multiplier": 23.595,
        "allowance": default_allowance(nodes),
        "nodes": nodes,
        "payload_bits": 140,
    } | changes
    return noisy_layout(
        SumBounds(
            values=values,
            clip_norm=clip_norm,
            clamp_persons=clamp_persons,
            max_persons=chosen["max_persons"],
            changed=chosen["changed"],
        ),
        noise_multiplier=chosen["noise_multiplier"],
        allowance=chosen["allowance"],
        carrier=Carrier(nodes=chosen["nodes"], parameter_set="t8", payload_bits=chosen["payload_bits"]),
    )


def clipped(values, clip_norm=4.0):
    return ClippedSum(values=np.asarray(values, dtype=np.float64), clip_norm=clip_norm)


def encoded(values, noise, layout):
    return encode(values, noise, layout, clip_norm=4.0)


def noise_of(layout, seed=1):
    return DiscreteGaussian(layout.noise_scale).sample(layout.values, insecure_source(seed))


def test_the_grid_is_an_exact_fraction_of_the_clip_norm():
    assert grid_for(4.0, 1000) == 4.0 / 2**12
    assert grid_for(4.0, 1001) == 4.0 / 2**14
    assert Fraction(0.3) / Fraction(grid_for(0.3, 40)) == grid_steps(40) == 4096


@settings(deadline=None)
@given(
    values=st.integers(1, 10**6),
    clip_norm=st.floats(1e-3, 1e3),
    persons=st.integers(1, 10**8),
)
def test_sensitivity_charges_clip_rounding_and_float_error(values, clip_norm, persons):
    steps = grid_steps(values)
    root = Fraction(math.isqrt(values * 10**20), 10**10)
    exact = steps + root + 2 * steps * Fraction(2051 * 16 * persons, 2**53)
    found = sensitivity(clip_norm, grid_for(clip_norm, values), values=values, max_persons=persons)
    assert found == pytest.approx(float(exact), rel=1e-9)


def test_a_whole_province_fits_and_pays_little_for_float_summation():
    for values in (425, 34_049):
        steps = grid_steps(values)
        charged = sensitivity(4.0, grid_for(4.0, values), values=values, max_persons=80_000_000)
        assert steps + math.sqrt(values) < charged < (steps + math.sqrt(values)) * 1.001
    with pytest.raises(ConfigError, match="persons"):
        sensitivity(4.0, grid_for(4.0, 40), values=40, max_persons=0)


def test_the_float_charge_covers_the_error_of_a_float_sum():
    rng = np.random.default_rng(5)
    persons, grid = 20_000, grid_for(4.0, 2000)
    column = rng.uniform(-4, 4, persons)
    running = 0.0
    for value in column:
        running += value
    charge = 2.0 * persons**2 * 2.0**-53 * grid_steps(2000)
    assert abs(running - math.fsum(column)) / grid <= charge / 2


def test_a_nodes_share_of_the_noise_is_the_plan_over_the_root_of_the_honest():
    assert node_noise_scale(24.0, 100.0, 4) == 1200.0
    with pytest.raises(ConfigError, match="noise scale must be >= 8"):
        node_noise_scale(0.1, 100.0, 4)
    with pytest.raises(ConfigError, match="honest_contributors"):
        node_noise_scale(24.0, 100.0, 0)


@settings(deadline=None)
@given(
    values=st.integers(1, 50_000),
    clamp_persons=st.integers(1, 120_000),
    nodes=st.integers(3, 64),
    noise_multiplier=st.floats(0.5, 100),
)
def test_a_layout_holds_the_sum_of_all_nodes_below_its_guard_bit(
    values, clamp_persons, nodes, noise_multiplier
):
    layout = layout_for(
        values, clamp_persons=clamp_persons, nodes=nodes, noise_multiplier=noise_multiplier, payload_bits=128
    )
    assert layout.limit * layout.grid == pytest.approx(clamp_persons * 4.0)
    assert layout.tail == tail_of(layout.noise_scale)
    most = nodes * 2 * layout.offset
    assert layout.field_bits == math.ceil(math.log2(most + 1)) + 1
    assert most < 2 ** (layout.field_bits - 1)
    assert layout.fields * layout.field_bits <= 128 < (layout.fields + 1) * layout.field_bits
    assert layout.noise_scale >= 8


def test_the_demos_layout_is_the_expected_one():
    layout = layout_for(values=431, clamp_persons=18_620, max_persons=26_600)
    moved = 4096 + math.sqrt(431) + 2 * 4096 * 2051 * 16 * 26_600 / 2**53
    assert layout.noise_scale == pytest.approx(23.595 * moved / math.sqrt(2))
    assert 2**16 < layout.noise_scale < 2**16.2
    assert (layout.limit, layout.field_bits, layout.fields) == (18_620 * 4096, 31, 4)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"values": 0}, "values"),
        ({"clip_norm": 0.0}, "clip_norm"),
        ({"clip_norm": math.nan}, "clip_norm"),
        ({"clamp_persons": 0, "max_persons": 1}, "clamp_persons"),
        ({"clamp_persons": 10**15, "max_persons": 1}, "clamp_persons"),
        ({"nodes": 3, "allowance": default_allowance(4)}, "nodes"),
        ({"noise_multiplier": 1e-3}, "noise scale"),
        ({"payload_bits": 20}, "field needs"),
        ({"max_persons": 0}, "persons"),
    ],
)
def test_an_impossible_layout_is_refused_by_name(changes, named):
    with pytest.raises(ConfigError, match=named):
        layout_for(**changes)


@pytest.mark.parametrize("payload_bits", [62, 128, 135, 140])
def test_a_rehearsal_fills_one_chunk_and_nearly_all_payload_bits(payload_bits):
    layout = rehearsal_layout("any", payload_bits)
    assert layout.coefficients == CHUNK_COEFFICIENTS
    assert payload_bits - 2 <= layout.fields * layout.field_bits <= payload_bits
    assert (layout.tail, layout.noise_scale) == (0, 0.0)
    assert len(chunk_values(layout)) == 1


@settings(deadline=None)
@given(values=st.integers(1, 200_000), fields=st.integers(1, 5))
def test_chunks_cover_every_value_once(values, fields):
    layout = dataclasses.replace(layout_for(), values=values, fields=fields)
    sizes = chunk_values(layout)
    assert sum(sizes) == values
    assert set(sizes[:-1]) <= {CHUNK_COEFFICIENTS * fields}
    assert 0 < sizes[-1] <= CHUNK_COEFFICIENTS * fields


@settings(deadline=None)
@given(values=arrays(np.float64, 12, elements=any_float), seed=st.integers(0, 99))
def test_encoding_never_raises_on_data_and_stays_in_its_range(values, seed):
    layout = layout_for(12)
    fields = encoded(clipped(values), noise_of(layout, seed), layout)
    assert fields.dtype == np.uint64
    assert np.all(fields <= 2 * layout.offset)


@settings(deadline=None)
@given(values=arrays(np.float64, 8, elements=st.floats(-1e5, 1e5)), seed=st.integers(0, 99))
def test_encoding_is_rounding_clamping_noise_and_offset(values, seed):
    layout = layout_for(8, clamp_persons=10_000)
    noise = noise_of(layout, seed)
    expected = [
        max(-layout.limit, min(layout.limit, round(v / layout.grid))) + int(e) + layout.offset
        for v, e in zip(values.tolist(), noise, strict=True)
    ]
    assert encoded(clipped(values), noise, layout).tolist() == expected


def test_values_that_are_not_finite_count_as_zero_and_halves_go_to_even():
    layout = layout_for(7)
    g, silent = layout.grid, np.zeros(7, np.int64)
    steps = encoded(
        clipped([math.nan, math.inf, -math.inf, 0.5 * g, 1.5 * g, 2.5 * g, -0.5 * g]), silent, layout
    )
    assert (steps.astype(np.int64) - layout.offset).tolist() == [0, 0, 0, 0, 2, 2, 0]


@pytest.mark.parametrize("limit", [2**56 - 1, 2**56, 1])
def test_the_ends_of_the_range_are_clamped_also_where_floats_are_coarse(limit):
    # float(2**56 - 1) is 2**56: the limit must hold as an integer.
    wide = dataclasses.replace(layout_for(4), limit=limit, field_bits=62, grid=1.0 / 4096)
    values = clipped([1e308, -1e308, 1e300, -1e13], clip_norm=1.0)
    steps = encoded(values, np.zeros(4, np.int64), wide).astype(np.int64) - wide.offset
    assert steps.tolist() == [limit, -limit, limit, -min(limit, 4096 * 10**13)]


@settings(deadline=None, max_examples=at_most(60))
@given(
    base=arrays(np.float64, 16, elements=st.floats(-2e5, 2e5)),
    direction=arrays(np.float64, 16, elements=st.floats(-1, 1)),
)
def test_one_person_never_moves_the_encoded_sum_beyond_its_sensitivity(base, direction):
    layout = layout_for(16, clamp_persons=25_000)
    length = np.linalg.norm(direction)
    person = direction * (4.0 * (1 - CLIP_SLACK) / length) if length > 1e-3 else direction
    silent = np.zeros(16, np.int64)
    without = encoded(clipped(base), silent, layout).astype(np.int64)
    with_person = encoded(clipped(base + person), silent, layout).astype(np.int64)
    moved = math.sqrt(float(((with_person - without) ** 2).sum()))
    assert moved <= sensitivity(4.0, layout.grid, values=16, max_persons=25_000)


def test_the_rounding_charge_is_nearly_attained():
    # 399 coordinates, each pushed by a little more than 205 steps from half-way: every one moves 206.
    layout, dim = layout_for(399), 399
    base = np.full(dim, 0.5 * layout.grid)
    push = 4.0 * (1 - CLIP_SLACK) / math.sqrt(dim)
    silent = np.zeros(dim, np.int64)
    steps = [encoded(clipped(v), silent, layout).astype(np.int64) for v in (base, base + push)]
    moved = math.sqrt(float(((steps[1] - steps[0]) ** 2).sum()))
    bound = sensitivity(4.0, layout.grid, values=dim, max_persons=26_600)
    assert 4096 + 0.9 * math.sqrt(dim) < moved <= bound


@settings(deadline=None, max_examples=at_most(50))
@given(nodes=st.integers(3, 8), data=st.data())
def test_decoding_a_sum_of_fields_gives_the_sum_of_the_steps(nodes, data):
    layout = layout_for(9, nodes=nodes, clamp_persons=1000)
    contributors = data.draw(st.integers(1, nodes))
    values = data.draw(arrays(np.float64, (contributors, 9), elements=st.floats(-5000, 5000)))
    noises = [noise_of(layout, seed) for seed in range(contributors)]
    total = sum(
        (encoded(clipped(v), e, layout) for v, e in zip(values, noises, strict=True)), np.zeros(9, np.uint64)
    )
    steps = [
        sum(
            max(-layout.limit, min(layout.limit, round(v[i] / layout.grid))) + int(e[i])
            for v, e in zip(values.tolist(), noises, strict=True)
        )
        for i in range(9)
    ]
    assert decode(total, layout, contributors).tolist() == [s * layout.grid for s in steps]


def test_both_ends_of_a_sum_decode_and_one_step_more_is_refused():
    layout = layout_for(2)
    most = 3 * 2 * layout.offset
    ends = decode(np.array([0, most], np.uint64), layout, 3)
    assert ends.tolist() == [-3 * layout.offset * layout.grid, 3 * layout.offset * layout.grid]
    for bad in (most + 1, 2**63, 2**64 - 1):
        with pytest.raises(OpeningOutOfBounds):
            decode(np.array([0, bad], np.uint64), layout, 3)


@pytest.mark.parametrize("contributors", [0, -1, 1000])
def test_a_number_of_contributors_that_does_not_fit_is_refused(contributors):
    layout = layout_for(2)
    with pytest.raises(ConfigError, match="contributors"):
        decode(np.zeros(2, np.uint64), layout, contributors)


def test_arrays_that_do_not_belong_to_the_layout_are_refused():
    layout = layout_for(3)
    good, silent = clipped(np.zeros(3)), np.zeros(3, np.int64)
    for values, noise, named in (
        (clipped(np.zeros(4)), silent, "values"),
        (good, np.zeros(4, np.int64), "noise"),
        (good, np.zeros(3), "int64"),
        (good, np.array([0, 0, layout.tail + 1]), "tail"),
        (good, np.array([0, 0, -layout.tail - 1]), "tail"),
        (clipped(np.zeros(3), clip_norm=4.1), silent, "clip_norm"),
    ):
        with pytest.raises(ConfigError, match=named):
            encoded(values, noise, layout)
    with pytest.raises(ConfigError, match="total_fields"):
        decode(np.zeros(4, np.uint64), layout, 1)


def test_the_opened_sum_has_the_planned_noise():
    layout = layout_for(200_000, allowance=default_allowance(4, dropouts=0, colluders=0))
    nothing = clipped(np.zeros(200_000))
    total = sum(
        (encoded(nothing, noise_of(layout, 30 + i), layout) for i in range(4)), np.zeros(200_000, np.uint64)
    )
    sd = decode(total, layout, 4).std() / 4.0
    moved = sensitivity(4.0, layout.grid, values=200_000, max_persons=26_600) / grid_steps(200_000)
    # The relative error of a sample sd over 200,000 values is 0.0016; 5 of them: false alarm below 1e-6.
    assert sd == pytest.approx(23.595 * moved, rel=0.008)


def test_layouts_compare_by_value_so_a_custodian_can_check_a_plan():
    assert layout_for() == layout_for()
    assert layout_for() != layout_for(noise_multiplier=23.6)
    assert isinstance(layout_for(), Layout)


# --- Integers ------------------------------------------------------------------------------------------

PROVINCES = Carrier(nodes=31, parameter_set="t64", payload_bits=135)
FEN = 10**14


@settings(deadline=None, max_examples=at_most(30))
@given(sums=st.lists(arrays(np.int64, 3, elements=st.integers(-FEN, FEN)), min_size=1, max_size=31))
def test_totals_of_1e14_fen_a_node_are_exact_over_31_nodes(sums):
    layout = exact_layout(3, limit=FEN, carrier=PROVINCES)
    assert layout.field_bits <= 62
    silent, total = np.zeros(3, np.int64), np.zeros(3, np.uint64)
    for values in sums:
        total += encode(ClippedSum(values=values, clip_norm=1.0), silent, layout, clip_norm=1.0)
    found = decode_integers(total, layout, len(sums))
    assert found.dtype == np.int64
    assert found.tolist() == np.sum(sums, axis=0).tolist()


def test_an_integer_beyond_its_limit_is_clamped_and_never_an_error():
    layout = exact_layout(2, limit=100, carrier=PROVINCES)
    beyond = ClippedSum(values=np.array([2**62, -(2**62)]), clip_norm=1.0)
    fields = encode(beyond, np.zeros(2, np.int64), layout, clip_norm=1.0)
    assert decode_integers(fields, layout, 1).tolist() == [100, -100]


def test_integers_and_grids_other_than_one_do_not_go_together():
    layout = layout_for(2)
    whole = ClippedSum(values=np.array([1, 2]), clip_norm=4.0)
    with pytest.raises(ConfigError, match="grid of 1"):
        encode(whole, np.zeros(2, np.int64), layout, clip_norm=4.0)
    with pytest.raises(ConfigError, match="grid of 1"):
        decode_integers(np.zeros(2, np.uint64), layout, 1)


def test_a_person_who_changes_few_cells_pays_for_the_rounding_of_few():
    all_cells, one_cell = layout_for(1000), layout_for(1000, changed=1)
    due = 4097 / (4096 + math.sqrt(1000))
    assert one_cell.noise_scale / all_cells.noise_scale == pytest.approx(due, rel=1e-4)
    with pytest.raises(ConfigError, match="changed"):
        layout_for(10, changed=11)


def test_values_that_carry_their_noise_travel_by_the_grid_alone() -> None:
    layout = rounded_layout(3, bound=2.0, carrier=Carrier(nodes=4, parameter_set="plain", payload_bits=62))
    assert (layout.noise_scale, layout.tail) == (0.0, 0)
    sent = ClippedSum(values=np.array([2.0, -2.0, 0.3]), clip_norm=2.0)
    fields = encode(sent, np.zeros(3, dtype=np.int64), layout, clip_norm=2.0)
    np.testing.assert_allclose(decode(4 * fields, layout, 4), 4 * sent.values, atol=4 * layout.grid)
    beyond = ClippedSum(values=np.array([9.0, 0.0, 0.0]), clip_norm=2.0)
    clamped = decode(encode(beyond, np.zeros(3, dtype=np.int64), layout, clip_norm=2.0), layout, 1)
    assert clamped[0] == 2.0
