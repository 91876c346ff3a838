import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import ConfigError
from fedmed.training.optimiser import AdamState, OptimiserState, adam_step, begin, step
from tests.examples import at_most


def test_two_steps_are_those_of_the_heavy_ball() -> None:
    """By hand: v1 = 20/10 = 2, w1 = 1 - .5*2 = 0; v2 = .9*2 + 10/10 = 2.8, w2 = -1.4."""
    state = begin(np.array([1.0]))
    state = step(state, np.array([20.0]), persons=10, learning_rate=0.5, momentum=0.9)
    assert (state.parameters[0], state.velocity[0]) == (0.0, 2.0)
    state = step(state, np.array([10.0]), persons=10, learning_rate=0.5, momentum=0.9)
    np.testing.assert_allclose([state.parameters[0], state.velocity[0]], [-1.4, 2.8])


@settings(deadline=None, max_examples=at_most(15))
@given(rate=st.floats(0.01, 2.0), momentum=st.floats(0.0, 0.9), persons=st.integers(1, 10**6))
def test_a_constant_gradient_ends_at_the_unscaled_speed(rate: float, momentum: float, persons: int) -> None:
    state = begin(np.zeros(3))
    for _ in range(200):
        before = state.parameters
        state = step(
            state, np.full(3, float(persons)), persons=persons, learning_rate=rate, momentum=momentum
        )
    np.testing.assert_allclose(before - state.parameters, rate / (1 - momentum), rtol=1e-6)


def test_the_step_is_linear_in_the_sum_so_the_sum_of_nodes_may_be_opened_once() -> None:
    first, second = np.array([3.0, -1.0]), np.array([0.5, 4.0])
    state = OptimiserState(parameters=np.ones(2), velocity=np.array([0.1, 0.2]))
    together = step(state, first + second, persons=7, learning_rate=0.3, momentum=0.9)
    np.testing.assert_allclose(together.velocity, 0.9 * state.velocity + first / 7 + second / 7)


def test_a_step_leaves_its_arguments_alone() -> None:
    start, total = np.ones(2), np.ones(2)
    state = begin(start)
    step(state, total, persons=1, learning_rate=1.0, momentum=0.5)
    np.testing.assert_array_equal(state.parameters, [1.0, 1.0])
    np.testing.assert_array_equal(total, [1.0, 1.0])
    start[0] = 5.0
    assert state.parameters[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        state.parameters[0] = 2.0


@pytest.mark.parametrize(
    ("persons", "learning_rate", "momentum", "named"),
    [
        (0, 1.0, 0.9, "persons"),
        (1, 0.0, 0.9, "learning_rate"),
        (1, np.inf, 0.9, "learning_rate"),
        (1, 1.0, 1.0, "momentum"),
        (1, 1.0, -0.1, "momentum"),
    ],
)
def test_settings_outside_their_bounds_are_refused(
    persons: int, learning_rate: float, momentum: float, named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        step(begin(np.zeros(1)), np.zeros(1), persons=persons, learning_rate=learning_rate, momentum=momentum)


def test_a_sum_of_another_shape_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"shape \(2,\)"):
        step(begin(np.zeros(2)), np.zeros(3), persons=1, learning_rate=1.0, momentum=0.0)
    with pytest.raises(ConfigError, match="velocity"):
        OptimiserState(parameters=np.zeros(2), velocity=np.zeros(3))


def test_a_step_of_adam_refuses_what_it_cannot_take() -> None:
    state = AdamState(parameters=np.zeros(2), first=np.zeros(2), second=np.zeros(2))
    with pytest.raises(ConfigError, match="learning_rate"):
        adam_step(state, np.zeros(2), learning_rate=0.0)
    with pytest.raises(ConfigError, match="shape"):
        adam_step(state, np.zeros(3), learning_rate=0.1)
    assert adam_step(state, np.ones(2), learning_rate=0.1).parameters.min() > 0
    assert not state.parameters.any(), "the state before is unchanged"
