import dataclasses

import numpy as np
import pytest

from fedmed.data.examples import Examples
from fedmed.errors import ConfigError, DataContractError, ParametersUnfit
from fedmed.models.layout import ModelLayout
from fedmed.models.score import probabilities, score


def made_up(rows: int, dense: int, codes: int, seed: int = 0) -> Examples:
    draws = np.random.default_rng(seed)
    lists = [draws.permutation(codes)[: draws.integers(0, codes + 1)] for _ in range(rows)] if codes else []
    starts = np.cumsum([0, *map(len, lists)]) if codes else np.zeros(rows + 1)
    return Examples(
        dense=draws.uniform(-1, 1, (rows, dense)).astype(np.float32),
        code_starts=starts.astype(np.int64),
        codes=np.concatenate([*lists, []]).astype(np.int32),
        code_inputs=codes,
        labels=draws.integers(0, 2, rows).astype(np.float32),
        person_starts=np.arange(rows + 1),
    )


@pytest.mark.parametrize(
    "layout",
    [
        ModelLayout(kind="logistic", inputs=7),
        ModelLayout(kind="mlp", inputs=7, hidden=(5, 3)),
    ],
)
def test_probabilities_equal_the_formula_row_by_row(layout: ModelLayout) -> None:
    examples = made_up(9, 4, 3)
    vector = np.random.default_rng(1).normal(size=layout.size)
    arrays = list(layout.split(vector).values())
    expected = []
    for row in examples.matrix():
        signal = row
        for layer, (weight, bias) in enumerate(zip(arrays[::2], arrays[1::2], strict=True)):
            signal = weight @ (np.maximum(signal, 0) if layer else signal) + bias
        expected.append(1 / (1 + np.exp(-signal[0])))
    np.testing.assert_allclose(probabilities(vector, layout, examples), expected, rtol=1e-12)


def test_probabilities_are_the_same_in_one_block_and_in_several() -> None:
    """65,536 inputs are spread out 64 rows at a time: 130 rows take three blocks."""
    examples = made_up(130, 2, 3)
    wide = dataclasses.replace(examples, code_inputs=65_534)
    narrow_vector = np.linspace(-1, 1, 6)
    vector = np.concatenate([narrow_vector[:5], np.ones(65_531), narrow_vector[5:]])
    found = probabilities(vector, ModelLayout(kind="logistic", inputs=65_536), wide)
    expected = probabilities(narrow_vector, ModelLayout(kind="logistic", inputs=5), examples)
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_probabilities_refuse_unfit_parameters_and_another_width() -> None:
    layout, examples = ModelLayout(kind="logistic", inputs=7), made_up(3, 4, 3)
    with pytest.raises(ParametersUnfit):
        probabilities(np.full(8, np.nan), layout, examples)
    with pytest.raises(ConfigError, match="inputs"):
        probabilities(np.zeros(7), ModelLayout(kind="logistic", inputs=6), examples)


def test_scores_have_their_known_values() -> None:
    """Four rows: of the four pairs of a positive and a negative, three are in order: AUC 3/4."""
    found = score(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0.0, 0.0, 1.0, 1.0]))
    assert found.auc == 0.75
    assert found.average_precision == pytest.approx(0.5 * 1.0 + 0.5 * 2 / 3)
    assert found.expected_over_observed == pytest.approx(1.65 / 2)


def test_auc_counts_ordered_pairs() -> None:
    draws = np.random.default_rng(3)
    predicted, labels = draws.integers(0, 9, 60) / 9, draws.integers(0, 2, 60).astype(np.float64)
    pairs = predicted[labels == 1][:, None] - predicted[labels == 0][None, :]
    assert score(predicted, labels).auc == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)))


@pytest.mark.parametrize("only", [0.0, 1.0])
def test_labels_of_one_class_cannot_be_scored(only: float) -> None:
    with pytest.raises(DataContractError, match="one class"):
        score(np.array([0.2, 0.9]), np.array([only, only]))


def test_scores_want_one_label_a_row() -> None:
    with pytest.raises(ConfigError, match="shape"):
        score(np.array([0.2, 0.9]), np.array([1.0]))
