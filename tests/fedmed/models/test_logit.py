from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.models.logit import sigmoid
from tests.examples import at_most


@settings(deadline=None, max_examples=at_most(30))
@given(values=st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=20))
def test_sigmoid_stays_in_its_range_and_is_symmetric(values: list[float]) -> None:
    logits = np.array(values)
    found = sigmoid(logits)
    assert np.all((found >= 0) & (found <= 1))
    np.testing.assert_allclose(found + sigmoid(-logits), 1.0, rtol=0, atol=5e-16)


def test_sigmoid_has_its_known_values() -> None:
    found = sigmoid(np.array([0.0, np.log(3.0), -np.log(3.0), 800.0, -800.0]))
    np.testing.assert_allclose(found, [0.5, 0.75, 0.25, 1.0, 0.0], rtol=1e-15)
