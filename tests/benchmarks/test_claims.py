import json
from types import ModuleType

import pytest


@pytest.mark.slow
def test_a_toy_run_prints_one_document(benchmark: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.main(["--json", "--people", "300", "--repeats", "1"])
    document = json.loads(capsys.readouterr().out)
    assert {"commit", "machine", "versions", "repeats", "seed"} <= set(document)
    assert document["rows"] > 3_000
    assert document["rows_per_second"]["min"] <= document["rows_per_second"]["median"]
    assert document["peak_mib"] > 50
    assert document["times_a_copy"] > 0
