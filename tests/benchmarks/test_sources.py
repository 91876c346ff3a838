import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "micro" / "sources.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sources", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_toy_run_prints_one_document(benchmark: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    server = os.environ.get("FEDMED_TEST_POSTGRES", "")
    benchmark.main(["--json", "--rows", "500", "--repeats", "1", "--postgres", server])
    document = json.loads(capsys.readouterr().out)
    assert {"commit", "machine", "versions", "repeats", "seed", "rows"} <= set(document)
    expected = ["csv", "parquet", "postgresql"][: 3 if server else 2]
    assert [row["kind"] for row in document["rows"]] == expected
    for row in document["rows"]:
        assert row["examples_s_min"] <= row["examples_s"] <= row["examples_s_max"]
        assert row["examples_rows_per_s"] > 0
        assert row["examples_mib"] == document["rows"][0]["examples_mib"]
    assert "parquet" in benchmark.table(document)
