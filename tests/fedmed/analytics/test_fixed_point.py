"""Fixed point: what fits comes back to half a unit a node, and what does not fit is never a number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.analytics.fixed_point import HEADROOM, fixed_point

LIMIT = (1 << 61) // 8


@settings(deadline=None, max_examples=10)
@given(
    parts=st.lists(st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=3), min_size=1, max_size=5),
    bound=st.floats(1e-3, 1e6),
)
def test_a_total_of_units_is_the_sum_to_half_a_unit_a_node(parts: list[list[float]], bound: float) -> None:
    scale = fixed_point(np.array([1e4, bound * 1e4, 2e4]), rows=10, limit=LIMIT)
    total = np.sum([scale.to_units(np.array(part)) for part in parts], axis=0)
    found = scale.to_values(total)
    assert np.all(np.abs(found - np.sum(parts, axis=0)) <= len(parts) * scale.unit * (0.5 + 1e-6) + 1e-9)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan, 1e300])
def test_a_sum_that_does_not_fit_makes_the_whole_total_unknown(bad: float) -> None:
    scale = fixed_point(np.ones(2), rows=10, limit=LIMIT)
    fits, lost = scale.to_units(np.array([3.0, 4.0])), scale.to_units(np.array([3.0, bad]))
    assert (lost[-1], np.count_nonzero(lost)) == (1, 1)
    assert np.all(np.isnan(scale.to_values(fits + lost)))


def test_headroom_is_kept_and_the_resolution_is_fine() -> None:
    scale = fixed_point(np.array([5.0]), rows=1000, limit=LIMIT)
    most = np.array([5.0 * 1000 * HEADROOM])
    assert scale.to_units(most)[-1] == 0
    assert scale.unit[0] / 5000 < 1e-13
