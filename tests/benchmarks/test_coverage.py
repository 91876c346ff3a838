import json
from types import ModuleType

import pytest


@pytest.mark.slow
def test_a_toy_run_prints_one_document(benchmark: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--json", "--runs", "3", "--auc-runs", "1", "--only", "logistic", "kaplan_meier"]
    benchmark.main(arguments)
    document = json.loads(capsys.readouterr().out)
    assert {"commit", "machine", "versions", "repeats", "seed", "persons"} <= set(document)
    assert [row["variant"] for row in document["rows"]] == ["logistic", "kaplan_meier", "kaplan_meier"]
    assert all(0 <= row["coverage"] <= 1 for row in document["rows"])
    assert document["auc"][0]["lost_median"] < 0.02
    assert "logistic" in benchmark.table(document)
