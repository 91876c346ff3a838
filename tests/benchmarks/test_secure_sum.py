import json
from types import ModuleType

import pytest

COLUMNS = {"scheme", "parameters", "nodes", "contribute_s", "open_s", "noise_s", "combine_s"}
COLUMNS |= {"bytes_up_per_value", "bytes_down_per_value", "peak_mib", "max_abs_error"}


@pytest.mark.slow
def test_a_toy_run_prints_one_document(benchmark: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.main(["--json", "--values", "5000", "--nodes", "3", "--repeats", "2"])
    document = json.loads(capsys.readouterr().out)
    assert {"commit", "machine", "versions", "repeats", "seed", "rows"} <= set(document)
    rows = {row["scheme"]: row for row in document["rows"]}
    assert set(rows) == {"threshold", "ckks", "ckks-exact", "plain"}
    for row in rows.values():
        assert set(row) >= COLUMNS
        assert row["nodes"] == 3
        for name in benchmark.TIMES:
            assert row["spread"][name]["min"] <= row[name] <= row["spread"][name]["max"]
    assert rows["threshold"]["max_abs_error"] == rows["plain"]["max_abs_error"] == 0
    assert rows["ckks-exact"]["max_abs_error"] == 0
    assert 0 < rows["ckks"]["max_abs_error"] < 1e-3
    assert rows["threshold"]["bytes_up_per_value"] == pytest.approx(2 * 28 / 5, abs=0.01)
    (ratio,) = document["ratios_threshold_to_ckks"]
    assert 0 < ratio["bytes_up"] < 1
    assert "threshold" in benchmark.table(document)


@pytest.mark.parametrize("scheme", ["threshold", "plain", pytest.param("ckks-exact", marks=pytest.mark.slow)])
def test_our_schemes_are_timed_on_exact_sums(benchmark: ModuleType, scheme: str) -> None:
    row = benchmark.measure(scheme, values=100, nodes=4, repeats=1)
    assert row["max_abs_error"] == 0
    assert row["peak_mib"] >= 0
