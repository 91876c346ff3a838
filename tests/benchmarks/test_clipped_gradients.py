import json
from types import ModuleType

import numpy as np
import pytest
import torch

from fedmed.models.gradients import clipped_gradient_sum


@pytest.mark.slow
def test_a_toy_run_prints_one_document(benchmark: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.main(["--json", "--repeats", "2", "--batches", "8,16"])
    document = json.loads(capsys.readouterr().out)
    assert {"commit", "machine", "versions", "repeats", "seed", "rows"} <= set(document)
    assert [(row["method"], row["batch"]) for row in document["rows"]] == [
        (method, batch) for batch in (8, 16) for method in benchmark.METHODS
    ]
    for row in document["rows"]:
        assert row["step_ms_min"] <= row["step_ms"] <= row["step_ms_max"]
        assert row["ratio_to_plain"] > 0
    plain = [row["ratio_to_plain"] for row in document["rows"] if row["method"] == "plain"]
    assert plain == [1.0, 1.0]
    assert "fedmed" in benchmark.table(document)


def test_the_timed_ways_compute_the_same_gradient(benchmark: ModuleType) -> None:
    """Plain is our kernel without a bound, and equals what autograd gives."""
    batch = benchmark.made_up_batch(300, 1)
    model = benchmark.network()
    loss = torch.nn.BCEWithLogitsLoss(reduction="sum")(model(batch.inputs)[:, 0], batch.labels)
    torch.autograd.backward(loss)
    expected = np.concatenate([p.grad.numpy().ravel() for p in model.parameters() if p.grad is not None])
    unbounded = benchmark.PersonClip(norm=1e6)
    found = clipped_gradient_sum(benchmark.start(), batch.examples, layout=benchmark.LAYOUT, clip=unbounded)
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_array_equal(found.values, benchmark.plain_sum(benchmark.start(), batch))
