import json
from types import ModuleType

import pytest


@pytest.mark.slow
def test_a_toy_run_prints_one_document(benchmark: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    cases = ["flat", "third", "noise"]
    benchmark.main(["--json", "--rows", "500", "--levels", "3", "--repeats", "1", "--cases", *cases])
    document = json.loads(capsys.readouterr().out)
    assert {"commit", "machine", "versions", "repeats", "seed", "rows"} <= set(document)
    assert [row["case"] for row in document["rows"]] == cases
    for row in document["rows"]:
        assert row["cells"] == 16
        assert row["ratio_min"] <= row["ratio"] <= row["ratio_max"]
    assert "third" in benchmark.table(document)
