"""The sampler against the exact law. Statistical tests: seeds fixed, chance of a false alarm 1e-6 each."""

import inspect
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fedmed.errors import ConfigError
from fedmed.privacy import noise
from fedmed.privacy.noise import DiscreteGaussian, fresh_source, insecure_source, tail_of
from tests.examples import at_most

FALSE_ALARM = 1e-6
DRAWS = 1_000_000
SCALES = [1.0, 2.7, 31.9, 32.0, 256.0, 300.5, 2.0**14 + 0.3, 2.0**16.1, 2.0**18.1, 2.0**20]


def exact_weights(scale):
    """Weights of 0, 1, ... tail, to 50 digits."""
    with mpmath.workdps(50):
        return [
            mpmath.exp(-(mpmath.mpf(x) ** 2) / (2 * mpmath.mpf(scale) ** 2))
            for x in range(tail_of(scale) + 1)
        ]


def exact_probabilities(scale):
    """Probabilities of -tail ... tail of the cut law."""
    weights = exact_weights(scale)
    total = 2 * mpmath.fsum(weights) - 1
    right = [float(w / total) for w in weights]
    return np.array(right[:0:-1] + right)


def fixed_source(*words):
    """A source that returns these 64-bit words in order and then nothing."""
    waiting = bytearray(b"".join(int(w).to_bytes(8, "little") for w in words))

    def read(size):
        taken = bytes(waiting[:size])
        del waiting[:size]
        return taken

    return read


def keep_probability(envelope, x):
    """The exact probability with which the sampler must keep the proposal x, to 60 digits."""
    with mpmath.workdps(60):
        weight = mpmath.exp(-(mpmath.mpf(x) ** 2) / (2 * mpmath.mpf(envelope.scale) ** 2))
        return envelope.height * weight / int(envelope.slots[x >> envelope.width_bits])


def keep_threshold(envelope, x):
    """First word that does not surely keep x: floor(2**64 * probability)."""
    with mpmath.workdps(60):
        return int(mpmath.floor(mpmath.mpf(2) ** 64 * keep_probability(envelope, x)))


@pytest.mark.parametrize("scale", [1.0, 1.3, 2.7, 8.0, 31.9, 32.0])
def test_small_scales_follow_the_exact_law(scale):
    drawn = DiscreteGaussian(scale).sample(DRAWS, insecure_source(1))
    expected = exact_probabilities(scale) * DRAWS
    tail = tail_of(scale)
    common = np.flatnonzero(expected >= 20)
    low, high = common[0], common[-1]
    counts = np.bincount(np.clip(drawn + tail, low, high) - low, minlength=high - low + 1)
    merged = expected[low : high + 1].copy()
    merged[0] += expected[:low].sum()
    merged[-1] += expected[high + 1 :].sum()
    assert stats.chisquare(counts, merged * (DRAWS / merged.sum())).pvalue > FALSE_ALARM


@pytest.mark.slow
@pytest.mark.parametrize("scale", [s for s in SCALES if s >= 256])
def test_large_scales_follow_the_law_in_bins_and_are_uniform_within_cells(scale):
    drawn = DiscreteGaussian(scale).sample(DRAWS, insecure_source(2))
    # Bins end half-way between integers: the midpoint rule errs by less than 1 / (24 s**2) of a bin.
    edges = np.floor(np.linspace(-4.2, 4.2, 400) * scale) + 0.5
    edges = np.concatenate([[-np.inf], edges, [np.inf]])
    expected = np.diff(stats.norm.cdf(edges / scale)) * DRAWS
    counts = np.bincount(np.searchsorted(edges, drawn) - 1, minlength=expected.size)
    assert stats.chisquare(counts, expected).pvalue > FALSE_ALARM
    # Residues modulo the cell width are equally likely up to exp(-2 pi**2 256): cell edges leave no trace.
    width = 1 << noise._envelope(scale).width_bits
    residues = np.bincount((drawn % width) * 8 // width, minlength=8)
    assert stats.chisquare(residues).pvalue > FALSE_ALARM


@pytest.mark.slow
@pytest.mark.parametrize("scale", SCALES)
def test_moments_are_those_of_the_law(scale):
    drawn = DiscreteGaussian(scale).sample(DRAWS, insecure_source(3)).astype(float)
    z = stats.norm.isf(FALSE_ALARM / 2)
    assert abs(drawn.mean()) < z * scale / math.sqrt(DRAWS)
    assert abs(drawn.var() / scale**2 - 1) < z * math.sqrt(2 / DRAWS)


@pytest.mark.parametrize("scale", SCALES)
def test_the_envelope_covers_the_law_and_the_sure_words_never_keep_too_much(scale):
    envelope = noise._envelope(scale)
    assert np.array_equal(np.bincount(envelope.cell_of_slot), envelope.slots)
    assert envelope.slots.sum() == 1 << 16
    for cell in range(envelope.slots.size):
        first = cell << envelope.width_bits
        last = first + (1 << envelope.width_bits) - 1
        assert keep_probability(envelope, first) <= 1
        assert int(envelope.sure[cell]) <= keep_threshold(envelope, last)


@pytest.mark.parametrize("scale", [1.0, 300.5, 2.0**18.1])
def test_keeping_is_decided_exactly_at_the_threshold(scale):
    envelope = noise._envelope(scale)
    for x in {0, 1, tail_of(scale) // 3, tail_of(scale) // 2, tail_of(scale) - 1, tail_of(scale)}:
        threshold = keep_threshold(envelope, x)
        at = np.array([x])
        nothing = fixed_source()  # words beside the threshold must decide without more randomness
        for level in {level for level in (0, threshold // 2, threshold - 1) if 0 <= level < threshold}:
            assert noise._float_decision(envelope, at, np.array([level], np.uint64), nothing)[0]
        for level in (threshold + 1, (threshold + 2**64) // 2, 2**64 - 1):
            assert not noise._float_decision(envelope, at, np.array([level], np.uint64), nothing)[0]
        level = np.array([threshold], np.uint64)
        assert noise._float_decision(envelope, at, level, fixed_source(*[0] * 40))[0]
        assert not noise._float_decision(envelope, at, level, fixed_source(*[2**64 - 1] * 40))[0]


@settings(deadline=None, max_examples=at_most(50))
@given(
    numerator=st.integers(0, 10**12),
    denominator=st.integers(10**10, 10**12),
    digits=st.sampled_from([37, 80]),
)
def test_the_enclosure_of_the_exponential_holds(numerator, denominator, digits):
    exponent = Fraction(numerator, denominator)
    low, high = noise._exp_minus(exponent, digits=digits)
    with mpmath.workdps(digits + 20):
        true = mpmath.exp(-mpmath.mpf(numerator) / denominator)
        assert mpmath.mpf(low.numerator) / low.denominator < true
        assert true < mpmath.mpf(high.numerator) / high.denominator
    assert (high - low) / high < Fraction(1, 10 ** (digits - 5))


def test_the_machines_exponential_is_far_better_than_the_float_decision_needs():
    arguments = -np.concatenate([np.linspace(0, 73, 2000), np.logspace(-12, 1, 500)])
    for argument, value in zip(arguments, np.exp(arguments), strict=True):
        with mpmath.workdps(30):
            true = mpmath.exp(mpmath.mpf(float(argument)))
            assert abs(mpmath.mpf(float(value)) / true - 1) < mpmath.mpf(2) ** -48


@settings(deadline=None, max_examples=at_most(60))
@given(scale=st.floats(1, 2.0**20), words=st.binary(min_size=16 * 64, max_size=16 * 64))
def test_no_bytes_whatever_exceed_the_tail_and_the_sign_bit_mirrors(scale, words):
    envelope = noise._envelope(scale)
    places, levels = np.frombuffer(words, "<u8").reshape(2, 64)
    zeros = fixed_source(*[0] * 64 * 40)
    kept = noise._kept(envelope, places, levels, zeros)
    mirrored = noise._kept(envelope, places ^ np.uint64(1 << 16), levels, fixed_source(*[0] * 64 * 40))
    assert np.all(np.abs(kept) <= tail_of(scale))
    assert np.array_equal(kept[kept != 0], -mirrored[mirrored != 0])
    assert kept.dtype == np.int64


@pytest.mark.parametrize("scale", [1.0, 31.9, 300.5, 2.0**20])
def test_the_farthest_values_are_reachable_and_none_beyond(scale):
    envelope = noise._envelope(scale)
    width = 1 << envelope.width_bits
    last_slot, tail = (1 << 16) - 1, tail_of(scale)
    reached = set()
    for point in {0, tail % width, min(tail % width + 1, width - 1), width - 1}:
        place = np.array([point << 17 | last_slot], np.uint64)
        kept = noise._kept(envelope, place, np.zeros(1, np.uint64), fixed_source(*[0] * 40))
        reached |= set(kept.tolist())
    assert max(reached) == tail


def test_zero_is_kept_with_one_sign_only():
    envelope = noise._envelope(300.0)
    zero, minus_zero = np.zeros(1, np.uint64), np.array([1 << 16], np.uint64)
    nothing = fixed_source()
    assert noise._kept(envelope, zero, zero, nothing).tolist() == [0]
    assert noise._kept(envelope, minus_zero, zero, nothing).tolist() == []


@pytest.mark.parametrize("scale", [1.0, 2.5, 8.0])
def test_the_stated_variation_covers_the_mass_of_the_cut(scale):
    with mpmath.workdps(60):
        s, tail = mpmath.mpf(scale), tail_of(scale)
        beyond = 2 * mpmath.fsum(
            mpmath.exp(-(mpmath.mpf(x) ** 2) / (2 * s**2)) for x in range(tail + 1, 2 * tail)
        )
        total = 2 * mpmath.fsum(exact_weights(scale)) - 1
        assert 0 < beyond / total < DiscreteGaussian(scale).total_variation_per_draw <= 2.0**-62


def test_the_sum_of_shares_has_the_planned_variance():
    nodes, planned = 4, 70_000.0
    share = DiscreteGaussian(planned / math.sqrt(nodes))
    shares = np.array([share.sample(DRAWS // 4, insecure_source(10 + i)) for i in range(nodes)])
    z = stats.norm.isf(FALSE_ALARM / 2)
    assert abs(shares.sum(axis=0).var() / planned**2 - 1) < z * math.sqrt(8 / DRAWS)
    correlations = np.corrcoef(shares)[np.triu_indices(nodes, 1)]
    assert np.all(np.abs(correlations) < stats.norm.isf(FALSE_ALARM / 12) / math.sqrt(DRAWS / 4))


def test_neighbouring_draws_do_not_depend_on_each_other():
    drawn = DiscreteGaussian(300.0).sample(DRAWS, insecure_source(20)).astype(float)
    lag = np.corrcoef(drawn[:-1], drawn[1:])[0, 1]
    assert abs(lag) < stats.norm.isf(FALSE_ALARM / 2) / math.sqrt(DRAWS)


def test_draws_follow_from_the_bytes_alone():
    law = DiscreteGaussian(1000.0)
    assert np.array_equal(law.sample(5000, insecure_source(7)), law.sample(5000, insecure_source(7)))
    assert not np.array_equal(law.sample(50, insecure_source(7)), law.sample(50, insecure_source(8)))


def test_each_fresh_source_is_another_and_takes_no_seed():
    assert fresh_source()(64) != fresh_source()(64)
    assert not inspect.signature(fresh_source).parameters
    stream = insecure_source(1)
    assert stream(16) != stream(16)


@pytest.mark.parametrize("given_bytes", [0, 15, 16 * 17 - 1])
def test_a_short_source_is_refused(given_bytes):
    with pytest.raises(ConfigError, match="source must return"):
        DiscreteGaussian(50.0).sample(1, lambda size: bytes(min(size, given_bytes)))


def test_a_source_that_runs_dry_in_an_undecided_comparison_is_refused():
    envelope = noise._envelope(300.5)
    threshold = keep_threshold(envelope, 900)
    with pytest.raises(ConfigError, match="source must return 8 bytes"):
        noise._float_decision(envelope, np.array([900]), np.array([threshold], np.uint64), fixed_source())


@pytest.mark.parametrize("scale", [0.0, 0.999, -3.0, math.nan, math.inf, 2.0**41])
def test_a_scale_outside_its_bounds_is_refused(scale):
    with pytest.raises(ConfigError, match="scale"):
        DiscreteGaussian(scale)


def test_any_count_is_served():
    law = DiscreteGaussian(5.0)
    assert [law.sample(n, insecure_source(n)).size for n in (0, 1, 2, 40_000)] == [0, 1, 2, 40_000]
    with pytest.raises(ConfigError, match="count"):
        law.sample(-1, insecure_source(1))


def test_the_tail_is_the_floor_of_twelve_scales():
    assert [tail_of(s) for s in (0.0, 1.0, 8.5, 2.0**18)] == [0, 12, 102, 12 * 2**18]
    assert DiscreteGaussian(8.5).tail == 102
