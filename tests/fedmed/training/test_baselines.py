from collections.abc import Callable

import numpy as np
import pytest

from fedmed.data.examples import Examples, concatenate
from fedmed.errors import ConfigError, ParametersUnfit
from fedmed.models.gradients import clipped_gradient_sum
from fedmed.models.layout import ModelLayout, PersonClip
from fedmed.models.score import probabilities, score
from fedmed.training.baselines import PrivateTraining, train_plain, train_private
from fedmed.types import FloatArray

LAYOUT = ModelLayout(kind="logistic", inputs=8)
MLP = ModelLayout(kind="mlp", inputs=8, hidden=(6,))
SEED = bytes(range(32))


def province(persons: int, seed: int) -> Examples:
    """A logistic world: half the inputs matter."""
    draws = np.random.default_rng(seed)
    lengths = draws.integers(1, 4, persons)
    rows = int(lengths.sum())
    dense = draws.uniform(-1, 1, (rows, 8)).astype(np.float32)
    chance = 1 / (1 + np.exp(-(dense @ np.array([2.0, -2, 1, -1, 0, 0, 0, 0]) - 0.5)))
    return Examples(
        dense=dense,
        code_starts=np.zeros(rows + 1, dtype=np.int64),
        codes=np.zeros(0, dtype=np.int32),
        code_inputs=0,
        labels=(draws.random(rows) < chance).astype(np.float32),
        person_starts=np.cumsum([0, *lengths]),
    )


def training(persons: int, *, aggregations: int = 15, layout: ModelLayout = LAYOUT) -> PrivateTraining:
    return PrivateTraining(
        layout=layout,
        start=layout.initial(SEED),
        clip=PersonClip(norm=1.0),
        persons=persons,
        aggregations=aggregations,
        learning_rate=1.0,
        momentum=0.9,
    )


def silence(count: int) -> FloatArray:
    return np.zeros(count)


def seeded_noise(deviation: float) -> Callable[[int], FloatArray]:
    draws = np.random.default_rng(9)
    return lambda count: deviation * draws.normal(size=count)


def auc(parameters: FloatArray, layout: ModelLayout = LAYOUT) -> float:
    test = province(4000, seed=99)
    return score(probabilities(parameters, layout, test), test.labels).auc


def test_central_training_is_the_same_in_parts_and_pooled() -> None:
    parts = [province(300, 1), province(200, 2)]
    plan = training(500)
    apart = train_private(parts, plan, noise=silence)
    pooled = train_private([concatenate(parts)], plan, noise=silence)
    np.testing.assert_allclose(apart, pooled, rtol=0, atol=1e-12)


def test_one_step_is_the_noisy_mean_of_clipped_gradients() -> None:
    part, plan = province(50, 1), training(64, aggregations=1)
    noise = np.arange(9.0)
    found = train_private([part], plan, noise=lambda count: noise[:count])
    clean = clipped_gradient_sum(plan.start, part, layout=LAYOUT, clip=plan.clip).values
    np.testing.assert_allclose(found, -(clean + noise) / 64)


def test_noise_is_asked_for_once_a_step() -> None:
    asked: list[int] = []

    def noise(count: int) -> FloatArray:
        asked.append(count)
        return np.zeros(count)

    train_private([province(20, 1), province(20, 2)], training(40, aggregations=5), noise=noise)
    assert asked == [LAYOUT.size] * 5


def test_equal_noise_gives_equal_bits_and_the_start_is_kept() -> None:
    part, plan = province(100, 1), training(100)
    before = plan.start.copy()
    runs = [train_private([part], plan, noise=seeded_noise(5.0)) for _ in range(2)]
    assert runs[0].tobytes() == runs[1].tobytes()
    np.testing.assert_array_equal(plan.start, before)


@pytest.mark.slow
def test_little_noise_costs_little_and_much_noise_costs_much() -> None:
    part = province(3000, 1)
    plan = training(3000, aggregations=20)
    clean, mild, wild = (auc(train_private([part], plan, noise=seeded_noise(s))) for s in (0.0, 20.0, 3000.0))
    anchor = auc(train_plain(part, LAYOUT, start=LAYOUT.initial(SEED)))
    assert anchor - clean < 0.01
    assert anchor - mild < 0.02
    assert wild < anchor - 0.05


def test_the_watcher_sees_every_step_of_a_private_arm() -> None:
    seen: list[tuple[int, FloatArray]] = []
    found = train_private(
        [province(30, 1)], training(30, aggregations=4), noise=silence, watch=lambda *step: seen.append(step)
    )
    assert [number for number, _ in seen] == [1, 2, 3, 4]
    np.testing.assert_array_equal(seen[-1][1], found)


def test_private_arms_refuse_no_nodes_and_noise_of_another_shape() -> None:
    with pytest.raises(ConfigError, match="at least one node"):
        train_private([], training(1), noise=silence)
    with pytest.raises(ConfigError, match="noise"):
        train_private([province(5, 1)], training(5), noise=lambda count: np.zeros(count + 1))
    with pytest.raises(ConfigError, match="aggregations"):
        training(5, aggregations=0)


@pytest.mark.parametrize("layout", [LAYOUT, pytest.param(MLP, marks=pytest.mark.slow)])
def test_the_anchor_is_not_starved_and_has_equal_bits(layout: ModelLayout) -> None:
    """Known answer: the world's own weights order new rows with AUC .83."""
    part = province(3000, 1)
    truth = np.array([2.0, -2, 1, -1, 0, 0, 0, 0, -0.5])
    runs = [train_plain(part, layout, start=layout.initial(SEED)) for _ in range(2)]
    assert runs[0].tobytes() == runs[1].tobytes()
    assert auc(truth) - auc(runs[0], layout) < 0.01


def test_the_anchor_agrees_with_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    part = province(3000, 1)
    found = train_plain(part, LAYOUT, start=LAYOUT.initial(SEED))
    fits = [
        LogisticRegression(C=1 / (ridge * part.rows), tol=1e-8).fit(part.matrix(), part.labels)
        for ridge in (1e-2, 1e-3, 1e-4)
    ]
    differences = [np.abs(np.append(fit.coef_[0], fit.intercept_) - found).max() for fit in fits]
    assert min(differences) < 2e-3


@pytest.mark.slow
def test_an_anchor_of_few_rows_and_many_inputs_does_not_overfit() -> None:
    """60 persons: without a choice of ridge the weights run away."""
    parameters = train_plain(province(60, 5), MLP, start=MLP.initial(SEED))
    assert auc(parameters, MLP) > 0.7


def test_the_anchor_watches_and_checks() -> None:
    steps: list[int] = []
    train_plain(
        province(3, 1), LAYOUT, start=LAYOUT.initial(SEED), watch=lambda number, _: steps.append(number)
    )
    assert steps == list(range(1, len(steps) + 1))
    assert steps
    with pytest.raises(ParametersUnfit):
        train_plain(province(3, 1), LAYOUT, start=np.zeros(3))
    with pytest.raises(ConfigError, match="inputs"):
        train_plain(
            province(3, 1),
            ModelLayout(kind="logistic", inputs=7),
            start=np.zeros(8),
        )


def test_pooled_examples_hold_all_rows_and_keep_persons_apart() -> None:
    parts = [province(3, 1), province(4, 2)]
    pooled = concatenate(parts)
    assert (pooled.persons, pooled.rows) == (7, parts[0].rows + parts[1].rows)
    np.testing.assert_array_equal(pooled.matrix(), np.concatenate([p.matrix() for p in parts]))
    np.testing.assert_array_equal(
        np.diff(pooled.person_starts), np.concatenate([np.diff(p.person_starts) for p in parts])
    )
    with pytest.raises(ConfigError, match="at least one"):
        concatenate([])
