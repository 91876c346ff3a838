"""Time one step with clipped per-row gradients against plain SGD, opacus ghost and opacus hooks.

The model is an MLP 200-128-64-1, every row one person. ``plain`` has our kernel's precision and block
shapes (float32 passes in padded blocks, float64 sum) and neither norms nor clipping, so its ratio is the
price of privacy alone; ``plain_autograd`` is what anybody would write, all in float32.

    python benchmarks/micro/clipped_gradients.py [--json] [--repeats 30] [--threads 1] [--batches 512,4096]

Methods take turns in every repeat, so that a busy machine is busy for all of them: read the ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedmed.data.examples import Examples
from fedmed.models.gradients import clipped_gradient_sum
from fedmed.models.layout import ModelLayout, PersonClip, check_parameters
from fedmed.models.passes import BLOCK_ROWS, BlockedPasses, computing, padded, torch_threads
from fedmed.types import FloatArray

# Not as benchmarks.facts: opacus installs a package named benchmarks.
sys.path.append(str(Path(__file__).resolve().parents[1]))
from facts import facts

LAYOUT = ModelLayout(kind="mlp", inputs=200, hidden=(128, 64))
CLIP = PersonClip(norm=1.0)
RATE = 0.05
SEED = 20_240_601
PLAIN = "plain"
PACKAGES = ("torch", "numpy", "opacus")

Step = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch in both forms."""

    examples: Examples
    inputs: torch.Tensor
    labels: torch.Tensor
    threads: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.examples.rows


def made_up_batch(rows: int, threads: int) -> Batch:
    draws = np.random.default_rng(SEED)
    dense = draws.uniform(-1, 1, (rows, LAYOUT.inputs)).astype(np.float32)
    labels = draws.integers(0, 2, rows).astype(np.float32)
    examples = Examples(
        dense=dense,
        code_starts=np.zeros(rows + 1, dtype=np.int64),
        codes=np.zeros(0, dtype=np.int32),
        code_inputs=0,
        labels=labels,
        person_starts=np.arange(rows + 1),
    )
    inputs, outcomes = torch.from_numpy(dense.copy()), torch.from_numpy(labels.copy())
    return Batch(examples=examples, inputs=inputs, labels=outcomes, threads=threads)


def start() -> FloatArray:
    return LAYOUT.initial(bytes(32))


def network() -> torch.nn.Sequential:
    """The same model as torch modules, at the same initial values."""
    modules: list[torch.nn.Module] = []
    arrays = list(LAYOUT.split(start()).values())
    for (outputs, inputs), weight, bias in zip(LAYOUT.layers, arrays[::2], arrays[1::2], strict=True):
        linear = torch.nn.Linear(inputs, outputs)
        linear.weight.data = torch.tensor(weight, dtype=torch.float32)
        linear.bias.data = torch.tensor(bias, dtype=torch.float32)
        modules += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*modules[:-1])


def clipped_step(batch: Batch) -> Step:
    parameters = start()

    def step() -> None:
        nonlocal parameters
        total = clipped_gradient_sum(
            parameters, batch.examples, layout=LAYOUT, clip=CLIP, threads=batch.threads
        )
        parameters = parameters - RATE / batch.rows * total.values

    return step


def plain_sum(parameters: FloatArray, batch: Batch) -> FloatArray:
    """`clipped_gradient_sum` less everything that persons need."""
    check_parameters(parameters, LAYOUT)
    chunk = min(2048, padded(batch.rows, BLOCK_ROWS))
    total = np.zeros(LAYOUT.size)
    with computing(batch.threads):
        passes = BlockedPasses(parameters, LAYOUT, rows=chunk)
        for at in range(0, batch.rows, chunk):
            stop = min(at + chunk, batch.rows)
            passes.run(batch.examples, at, stop)
            total += passes.product(0, stop - at)
    return total


def plain_step(batch: Batch) -> Step:
    parameters = start()

    def step() -> None:
        nonlocal parameters
        parameters = parameters - RATE / batch.rows * plain_sum(parameters, batch)

    return step


def plain_autograd_step(batch: Batch) -> Step:
    model = network()
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE)
    loss = torch.nn.BCEWithLogitsLoss()

    def step() -> None:
        with torch_threads(batch.threads):
            optimiser.zero_grad()
            torch.autograd.backward(loss(model(batch.inputs)[:, 0], batch.labels))
            optimiser.step()

    return step


def opacus_hooks_step(batch: Batch) -> Step:
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer

    model = GradSampleModule(network())
    loss = torch.nn.BCEWithLogitsLoss()
    optimiser = DPOptimizer(**_opacus_settings(model, batch))

    def step() -> None:
        with torch_threads(batch.threads):
            optimiser.zero_grad()
            torch.autograd.backward(loss(model(batch.inputs)[:, 0], batch.labels))
            optimiser.step()

    return step


def opacus_ghost_step(batch: Batch) -> Step:
    from opacus.grad_sample import GradSampleModuleFastGradientClipping
    from opacus.optimizers import DPOptimizerFastGradientClipping
    from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping

    model = GradSampleModuleFastGradientClipping(network(), max_grad_norm=CLIP.norm, use_ghost_clipping=True)
    optimiser = DPOptimizerFastGradientClipping(**_opacus_settings(model, batch))
    loss = DPLossFastGradientClipping(model, optimiser, torch.nn.BCEWithLogitsLoss(reduction="mean"))

    def step() -> None:
        with torch_threads(batch.threads):
            optimiser.zero_grad()
            loss(model(batch.inputs), batch.labels[:, None]).backward()
            optimiser.step()

    return step


def _opacus_settings(model: torch.nn.Module, batch: Batch) -> dict[str, Any]:
    """No noise: only gradients are timed here."""
    return {
        "optimizer": torch.optim.SGD(model.parameters(), lr=RATE),
        "noise_multiplier": 0.0,
        "max_grad_norm": CLIP.norm,
        "expected_batch_size": batch.rows,
    }


METHODS: dict[str, Callable[[Batch], Step]] = {
    PLAIN: plain_step,
    "fedmed": clipped_step,
    "plain_autograd": plain_autograd_step,
    "opacus_ghost": opacus_ghost_step,
    "opacus_hooks": opacus_hooks_step,
}


def measure(rows: int, *, repeats: int, threads: int) -> list[dict[str, Any]]:
    """Time all methods on one batch size.

    Args:
        rows: Rows of the batch.
        repeats: Timed steps of each method; as many, just before each, are not counted.
        threads: torch's threads.

    Returns:
        One row a method: median, least and greatest milliseconds, and the median over repeats of the ratio
        to the plain step of the same repeat.
    """
    batch = made_up_batch(rows, threads)
    steps = {name: build(batch) for name, build in METHODS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            step()  # Not counted: the method before has filled the caches with its own arrays.
            begun = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - begun)
    return [
        {
            "method": name,
            "batch": rows,
            "step_ms": round(1e3 * statistics.median(found), 4),
            "step_ms_min": round(1e3 * min(found), 4),
            "step_ms_max": round(1e3 * max(found), 4),
            "ratio_to_plain": round(_median_ratio(found, seconds[PLAIN]), 3),
        }
        for name, found in seconds.items()
    ]


def _median_ratio(times: list[float], references: list[float]) -> float:
    """Median of ratios of neighbours in time, which share whatever else the machine does."""
    return statistics.median(mine / plain for mine, plain in zip(times, references, strict=True))


def run(batches: Sequence[int], *, repeats: int, threads: int) -> dict[str, Any]:
    """Measure all batch sizes; the document that ``--json`` prints."""
    with warnings.catch_warnings():
        # opacus registers full backward hooks on inputs without gradients; torch warns at each step.
        warnings.simplefilter("ignore")
        rows = [row for size in batches for row in measure(size, repeats=repeats, threads=threads)]
    return {
        "benchmark": "clipped_gradients",
        "model": list(LAYOUT.widths),
        **facts(PACKAGES, seed=SEED, repeats=repeats),
        "threads": threads,
        "rows": rows,
    }


def table(document: dict[str, Any]) -> str:
    lines = [f"{'method':<16}{'batch':>7}{'step ms':>10}{'least':>9}{'greatest':>10}{'to plain':>10}"]
    for row in document["rows"]:
        times = f"{row['step_ms']:>10.2f}{row['step_ms_min']:>9.2f}{row['step_ms_max']:>10.2f}"
        lines.append(f"{row['method']:<16}{row['batch']:>7}{times}{row['ratio_to_plain']:>9.2f}x")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time clipped gradient sums.")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batches", default="512,4096")
    settings = parser.parse_args(arguments)
    batches = [int(size) for size in settings.batches.split(",")]
    document = run(batches, repeats=settings.repeats, threads=settings.threads)
    print(json.dumps(document, indent=1) if settings.json else table(document))


if __name__ == "__main__":
    main()
