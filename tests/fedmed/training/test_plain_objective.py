import numpy as np
import pytest
import torch

from fedmed.data.examples import Examples
from fedmed.errors import ConfigError
from fedmed.models.layout import ModelLayout
from fedmed.training.plain_objective import PlainObjective

LOGISTIC = ModelLayout(kind="logistic", inputs=9)
MLP = ModelLayout(kind="mlp", inputs=9, hidden=(6, 4))


def made_up(rows: int, *, dense: int = 5, codes: int = 4, seed: int = 0) -> Examples:
    draws = np.random.default_rng(seed)
    lists = [draws.permutation(codes)[: draws.integers(0, codes + 1)] for _ in range(rows)]
    return Examples(
        dense=draws.uniform(-1, 1, (rows, dense)).astype(np.float32),
        code_starts=np.cumsum([0, *map(len, lists)]).astype(np.int64),
        codes=np.concatenate([*lists, []]).astype(np.int32),
        code_inputs=codes,
        labels=draws.integers(0, 2, rows).astype(np.float32),
        person_starts=np.arange(rows + 1),
    )


@pytest.mark.parametrize("layout", [LOGISTIC, MLP])
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_loss_and_gradient_equal_autograd(layout: ModelLayout, ridge: float) -> None:
    examples = made_up(30)
    parameters = np.random.default_rng(1).normal(size=layout.size)
    arrays = [torch.tensor(array, requires_grad=True) for array in layout.split(parameters).values()]
    signal = torch.tensor(examples.matrix())
    for layer, (weight, bias) in enumerate(zip(arrays[::2], arrays[1::2], strict=True)):
        signal = (signal.relu() if layer else signal) @ weight.T + bias
    labels = torch.tensor(examples.labels, dtype=torch.float64)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(signal[:, 0], labels)
    expected = expected + ridge / 2 * torch.stack([w.square().sum() for w in arrays[::2]]).sum()
    torch.autograd.backward(expected)
    loss, gradient = PlainObjective.of(examples, layout).loss_and_gradient(parameters, ridge)
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    slopes = np.concatenate([array.grad.numpy().ravel() for array in arrays if array.grad is not None])
    np.testing.assert_allclose(gradient, slopes, rtol=1e-9, atol=1e-14)


def test_an_objective_without_codes_works() -> None:
    layout = ModelLayout(kind="logistic", inputs=5)
    loss, gradient = PlainObjective.of(made_up(8, codes=0), layout).loss_and_gradient(np.zeros(6), 0.0)
    assert loss == pytest.approx(np.log(2))
    assert gradient.shape == (6,)


def test_a_restriction_keeps_just_the_rows() -> None:
    examples, parameters = made_up(20), np.linspace(-1, 1, LOGISTIC.size)
    kept = np.arange(20) % 3 == 0
    whole = PlainObjective.of(examples, LOGISTIC)
    parts = [whole.restricted(kept), whole.restricted(~kept)]
    losses = [part.loss_and_gradient(parameters, 0.0)[0] for part in parts]
    together = (losses[0] * kept.sum() + losses[1] * (~kept).sum()) / 20
    assert whole.loss_and_gradient(parameters, 0.0)[0] == pytest.approx(together, rel=1e-12)


def test_another_width_is_refused() -> None:
    with pytest.raises(ConfigError, match="inputs"):
        PlainObjective.of(made_up(3), ModelLayout(kind="logistic", inputs=8))
