import json
import os
from types import ModuleType

import pytest


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
