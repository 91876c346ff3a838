import json
from types import ModuleType

import numpy as np
import pytest


@pytest.mark.slow
def test_a_toy_run_prints_one_document(benchmark: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--json", "--runs", "2", "--auc-runs", "1", "--only", "logistic", "kaplan_meier"]
    benchmark.main(arguments)
    document = json.loads(capsys.readouterr().out)
    assert {"commit", "machine", "versions", "repeats", "seed", "persons"} <= set(document)
    assert [row["variant"] for row in document["rows"]] == ["logistic", "kaplan_meier", "kaplan_meier"]
    assert all(0 <= row["coverage"] <= 1 for row in document["rows"])
    assert [row["runs"] for row in document["rows"]] == [8, 50, 50]
    assert len(document["rows"][0]["spread_over_stated"]) == 5
    assert document["auc"][0]["lost_median"] < 0.02
    assert "logistic" in benchmark.table(document)


def test_shares_stand_beside_their_binomial_error(benchmark: ModuleType) -> None:
    held = np.ones((400, 2), dtype=np.bool_)
    held[:20, 0], held[:44, 1] = False, False
    found = benchmark.shares(held)
    assert found["coverage_by_term"] == [0.95, 0.89]
    assert found["standard_error"] == pytest.approx(0.0109, abs=1e-4)
    assert found["farthest_in_standard_errors"] == pytest.approx(5.5, abs=0.01)


def test_no_two_variants_share_their_noise(benchmark: ModuleType) -> None:
    first = {float(benchmark.draws_of(name).standard_normal()) for name in benchmark.VARIANTS}
    assert len(first) == len(benchmark.VARIANTS)
