import time

import numpy as np
import pytest
import torch

from fedmed.data.examples import Examples
from fedmed.errors import ConfigError, RowsNotIndependent
from fedmed.models.gradients import PersonSignals
from fedmed.models.layout import ModelLayout
from fedmed.models.passes import torch_threads
from fedmed.models.row_independence import check_surroundings, prove_row_independence, trial_examples

LAYOUTS = [
    ModelLayout(kind="logistic", inputs=430),
    ModelLayout(kind="logistic", inputs=3),
    ModelLayout(kind="mlp", inputs=430, hidden=(64,)),
    ModelLayout(kind="mlp", inputs=200, hidden=(128, 64)),
    ModelLayout(kind="mlp", inputs=37, hidden=(5, 3)),
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_are_independent_on_this_machine(layout: ModelLayout) -> None:
    """The proof raises where one bit differs."""
    prove_row_independence(layout, threads=1)


@pytest.mark.slow
@pytest.mark.parametrize("layout", [LAYOUTS[0], LAYOUTS[2]])
def test_rows_are_independent_with_two_threads(layout: ModelLayout) -> None:
    """Raises where one bit differs. Where threads outnumber cores, torch's workers wait for each other."""
    prove_row_independence(layout, threads=2)


def test_at_least_one_thread_is_needed() -> None:
    with pytest.raises(ConfigError, match="threads"):
        prove_row_independence(LAYOUTS[0], threads=0)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_proof_is_quick(layout: ModelLayout) -> None:
    """Half a second of the processor at a custodian's start; other processes may share the machine."""
    seconds = []
    for _ in range(3):
        begun = time.process_time()
        prove_row_independence(layout, threads=1)
        seconds.append(time.process_time() - begun)
    assert min(seconds) < 0.5


class NaivePasses:
    """What the padded blocks replace: one pass over just the rows that are there."""

    def __init__(self, layout: ModelLayout) -> None:
        draws = np.random.default_rng(0)
        vector = draws.normal(0, layout.inputs**-0.5, layout.size)
        arrays = [torch.tensor(array, dtype=torch.float32) for array in layout.split(vector).values()]
        self.weights, self.biases = arrays[::2], arrays[1::2]

    def __call__(self, examples: Examples, threads: int) -> PersonSignals:
        with torch_threads(threads), torch.inference_mode():
            signal = torch.tensor(examples.dense)
            forward = [signal]
            for weight, bias in zip(self.weights, self.biases, strict=True):
                signal = torch.addmm(bias, signal, weight.T).relu()
                forward.append(signal)
        nothing = np.zeros(examples.persons)
        return PersonSignals(forward=tuple(forward), backward=(), norms=nothing, factors=nothing)


def test_passes_of_changing_shape_are_caught() -> None:
    """If this library build were independent without padding, no trial could tell: then it passes."""
    caught = 0
    for layout in LAYOUTS:
        try:
            check_surroundings(NaivePasses(layout), trial_examples(layout), threads=1)
        except RowsNotIndependent:
            caught += 1
    assert caught > 0


class LeakingPasses(NaivePasses):
    """Adds one millionth of the first row to all: a fault that every build shows."""

    def __call__(self, examples: Examples, threads: int) -> PersonSignals:
        signals = super().__call__(examples, threads)
        forward = tuple(tensor + 1e-6 * tensor[0] for tensor in signals.forward)
        return PersonSignals(forward=forward, backward=(), norms=signals.norms, factors=signals.factors)


def test_a_leak_between_rows_is_caught_and_named() -> None:
    layout = LAYOUTS[-1]
    with pytest.raises(RowsNotIndependent, match="shifted by one person, 1 threads"):
        check_surroundings(LeakingPasses(layout), trial_examples(layout), threads=1)
