import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import ConfigError, ParametersUnfit
from fedmed.models.layout import PARAMETER_LIMIT, ModelLayout, PersonClip, check_parameters
from tests.examples import at_most

SEED = hashlib.sha256(b"a study").digest()


def layouts() -> st.SearchStrategy[ModelLayout]:
    hidden = st.lists(st.integers(1, 9), max_size=3).map(tuple)
    return st.builds(
        lambda inputs, hidden: ModelLayout(
            kind="mlp" if hidden else "logistic", inputs=inputs, hidden=hidden
        ),
        st.integers(1, 20),
        hidden,
    )


@settings(deadline=None, max_examples=at_most(40))
@given(layout=layouts(), seed=st.integers(0, 2**32 - 1))
def test_flatten_is_the_inverse_of_split(layout: ModelLayout, seed: int) -> None:
    vector = np.random.default_rng(seed).normal(size=layout.size)
    arrays = layout.split(vector)
    assert {name: array.shape for name, array in arrays.items()} == layout.shapes
    assert tuple(arrays) == layout.names
    np.testing.assert_array_equal(layout.flatten(arrays), vector)


def test_the_vector_holds_weights_then_biases_layer_by_layer() -> None:
    layout = ModelLayout(kind="mlp", inputs=3, hidden=(2,))
    assert layout.size == 2 * 4 + 1 * 3
    arrays = layout.split(np.arange(11.0))
    np.testing.assert_array_equal(arrays["layer0.weight"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(arrays["layer0.bias"], [6, 7])
    np.testing.assert_array_equal(arrays["layer1.weight"], [[8, 9]])
    np.testing.assert_array_equal(arrays["layer1.bias"], [10])


def test_split_arrays_are_read_only() -> None:
    arrays = ModelLayout(kind="logistic", inputs=2).split(np.zeros(3))
    with pytest.raises(ValueError, match="read-only"):
        arrays["layer0.weight"][0, 0] = 1.0


def test_flatten_refuses_missing_and_misshapen_arrays() -> None:
    layout = ModelLayout(kind="logistic", inputs=2)
    with pytest.raises(ParametersUnfit, match="names and shapes"):
        layout.flatten({"layer0.weight": np.zeros((1, 2))})
    with pytest.raises(ParametersUnfit, match="names and shapes"):
        layout.flatten({"layer0.weight": np.zeros((2, 1)), "layer0.bias": np.zeros(1)})


def test_a_logistic_model_starts_at_zero() -> None:
    assert not ModelLayout(kind="logistic", inputs=5).initial(SEED).any()


def test_initial_values_of_an_mlp_have_he_deviation_and_zero_biases() -> None:
    layout = ModelLayout(kind="mlp", inputs=200, hidden=(128, 64))
    arrays = layout.split(layout.initial(SEED))
    assert not any(arrays[name].any() for name in layout.names if name.endswith("bias"))
    for name, factor in (("layer0.weight", 1.0), ("layer1.weight", 1.0), ("layer2.weight", 0.5)):
        fan_in = layout.shapes[name][1]
        assert np.abs(arrays[name]).max() <= factor * np.sqrt(6 / fan_in)
        # 64 draws in the last layer: five standard errors of a uniform's deviation are 28 %.
        assert arrays[name].std() == pytest.approx(factor * np.sqrt(2 / fan_in), rel=0.28)
        assert abs(arrays[name].mean()) < 0.1 * np.sqrt(6 / fan_in)


def test_initial_values_are_the_same_on_every_machine() -> None:
    """Recomputed from the definition with Python's integers and exact fractions."""
    layout = ModelLayout(kind="mlp", inputs=6, hidden=(2,))
    stream = hashlib.shake_256(b"fedmed/initial-parameters" + SEED + bytes(4)).digest(8 * 12)
    words = [int.from_bytes(stream[at : at + 8], "little") >> 11 for at in range(0, len(stream), 8)]
    expected = [word / 2**52 - 1.0 for word in words]  # sqrt(6 / 6) = 1
    np.testing.assert_array_equal(layout.initial(SEED)[:12], expected)


def test_initial_values_depend_on_the_digest_and_differ_between_layers() -> None:
    layout = ModelLayout(kind="mlp", inputs=4, hidden=(4, 4))
    first, other = layout.initial(SEED), layout.initial(hashlib.sha256(b"another").digest())
    assert not np.array_equal(first, other)
    arrays = layout.split(first)
    assert not np.array_equal(arrays["layer0.weight"], arrays["layer1.weight"])


def test_initial_values_want_a_whole_digest() -> None:
    with pytest.raises(ConfigError, match="32 bytes"):
        ModelLayout(kind="logistic", inputs=1).initial(b"short")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e308, -(PARAMETER_LIMIT * 1.0001)])
def test_unfit_parameters_are_refused(bad: float) -> None:
    layout = ModelLayout(kind="logistic", inputs=3)
    vector = np.zeros(layout.size)
    vector[2] = bad
    with pytest.raises(ParametersUnfit, match="finite"):
        check_parameters(vector, layout)


def test_parameters_at_the_limit_are_accepted() -> None:
    """One step beyond it raises, as the test above says."""
    layout = ModelLayout(kind="logistic", inputs=3)
    check_parameters(np.array([PARAMETER_LIMIT, -PARAMETER_LIMIT, 0.0, 1.0]), layout)


def test_parameters_of_another_shape_or_type_are_refused() -> None:
    layout = ModelLayout(kind="logistic", inputs=3)
    with pytest.raises(ParametersUnfit, match=r"shape \(4,\)"):
        check_parameters(np.zeros(5), layout)
    with pytest.raises(ParametersUnfit, match=r"shape \(4,\)"):
        check_parameters(np.zeros((2, 2)), layout)
    with pytest.raises(ParametersUnfit, match="float64"):
        check_parameters(np.zeros(4, dtype=np.float32), layout)


@pytest.mark.parametrize(
    ("kind", "inputs", "hidden"),
    [("logistic", 0, ()), ("logistic", 3, (2,)), ("mlp", 3, ()), ("mlp", 3, (0,)), ("tree", 3, ())],
)
def test_impossible_layouts_are_refused(kind: str, inputs: int, hidden: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError):
        ModelLayout(kind=kind, inputs=inputs, hidden=hidden)  # type: ignore[arg-type]


@pytest.mark.parametrize("norm", [0.0, -1.0, np.nan, np.inf])
def test_a_clip_norm_must_be_finite_and_positive(norm: float) -> None:
    with pytest.raises(ConfigError, match="clip norm"):
        PersonClip(norm=norm)


def test_rows_of_a_person_are_averaged_or_added() -> None:
    assert PersonClip(norm=1.0).rows == "mean"
    with pytest.raises(ConfigError, match="mean"):
        PersonClip(norm=1.0, rows="median")  # type: ignore[arg-type]
