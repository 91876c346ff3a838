import json
from types import ModuleType

import pytest


@pytest.mark.slow
def test_a_toy_run_prints_one_document(benchmark: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.main(["--json", "--lines", "20000", "--repeats", "1"])
    document = json.loads(capsys.readouterr().out)
    assert {"commit", "machine", "versions", "repeats", "seed", "rows", "ratio"} <= set(document)
    scan, derived = document["rows"]
    assert (scan["work"], derived["work"]) == ("scan", "derive")
    assert scan["lines"] == derived["lines"] > 10_000
    assert derived["persons"] > 100
    assert derived["seconds_min"] <= derived["seconds"] <= derived["seconds_max"]
    assert "derive" in benchmark.table(document)
