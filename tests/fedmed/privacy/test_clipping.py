import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedmed.errors import ConfigError
from fedmed.privacy.clipping import CLIP_SLACK, ClippedSum, clip_factors, clip_update
from fedmed.types import FloatArray
from tests.examples import at_most

norms_of_any_kind = arrays(np.float64, st.integers(0, 30), elements=st.floats(width=64))
clip_norms = st.floats(1e-150, 1e150)


@settings(deadline=None)
@given(norms=norms_of_any_kind, clip_norm=clip_norms)
def test_a_factor_times_its_norm_never_exceeds_the_bound(norms, clip_norm):
    factors = clip_factors(norms, clip_norm)
    usable = np.isfinite(norms) & (norms >= 0)
    assert np.all(factors[usable] * norms[usable] <= clip_norm * (1 - CLIP_SLACK))
    assert np.all((factors >= 0) & (factors <= 1))
    assert np.all(factors[~usable] == 0)


@settings(deadline=None)
@given(share=st.floats(0, 1), clip_norm=clip_norms)
def test_a_norm_inside_the_bound_is_left_alone(share, clip_norm):
    inside = share * clip_norm * (1 - CLIP_SLACK) * (1 - 2.0**-49)
    assert clip_factors(np.array([inside]), clip_norm).tolist() == [1.0]


@settings(deadline=None)
@given(times=st.floats(1.001, 1e100), clip_norm=st.floats(1e-3, 1e3))
def test_a_norm_outside_the_bound_is_brought_close_to_it(times, clip_norm):
    norm = times * clip_norm
    clipped = clip_factors(np.array([norm]), clip_norm)[0] * norm
    assert clip_norm * (1 - 2 * CLIP_SLACK) <= clipped <= clip_norm * (1 - CLIP_SLACK)


@settings(deadline=None)
@given(
    vector=arrays(np.float64, st.integers(1, 20), elements=st.floats(-1e6, 1e6)),
    clip_norm=st.floats(1e-3, 1e3),
)
def test_a_clipped_vector_stays_within_the_clip_norm(vector, clip_norm):
    factor = clip_factors(np.array([np.linalg.norm(vector)]), clip_norm)[0]
    assert math.sqrt(math.fsum((factor * vector) ** 2)) <= clip_norm


def test_a_person_without_a_finite_norm_contributes_nothing():
    norms = np.array([math.nan, math.inf, -math.inf, -1.0, 0.0, 1e308])
    assert clip_factors(norms, 1.0)[:5].tolist() == [0.0, 0.0, 0.0, 0.0, 1.0]
    assert clip_factors(norms, 1e-3)[5] * 1e308 <= 1e-3


@pytest.mark.parametrize("clip_norm", [0.0, -1.0, math.nan, math.inf, 1e-151, 1e151])
def test_a_clip_norm_outside_its_bounds_is_refused(clip_norm):
    with pytest.raises(ConfigError, match="clip_norm"):
        clip_factors(np.ones(1), clip_norm)
    with pytest.raises(ConfigError, match="clip_norm"):
        ClippedSum(values=np.ones(1), clip_norm=clip_norm)


def test_a_clipped_sum_is_read_only_and_does_not_print_its_values():
    clipped = ClippedSum(values=np.array([123.25, 7.0]), clip_norm=1.0)
    with pytest.raises(ValueError, match="read-only"):
        clipped.values[0] = 0
    assert "123.25" not in repr(clipped)
    assert "1.0" in repr(clipped)


@pytest.mark.parametrize("values", [np.ones((2, 2)), np.ones(2, np.float32), np.ones(2, np.int32)])
def test_a_clipped_sum_of_another_shape_or_type_is_refused(values):
    with pytest.raises(ConfigError, match="values"):
        ClippedSum(values=values, clip_norm=1.0)


@given(update=arrays(np.float64, 4, elements=st.floats(-1e200, 1e200)), weight=st.floats(0, 1))
@settings(deadline=None, max_examples=at_most(25))
def test_a_clipped_update_never_exceeds_its_bound(update: FloatArray, weight: float) -> None:
    clipped = clip_update(update, clip_norm=2.0, weight=weight)
    assert np.linalg.norm(clipped.values) <= 2.0
    inside = clip_update(np.array([0.5, -0.5]), clip_norm=2.0)
    assert inside.values.tolist() == [0.5, -0.5]
    assert not clip_update(np.array([np.inf, np.nan]), clip_norm=2.0).values.any()
