import json
from pathlib import Path
from types import ModuleType

import pytest

from fedmed.study import canonical_bytes
from tests.drills.arena import CAN_RUN, WHY_NOT

SECONDS = {
    "contribute": [4.0, 6.0, 5.0],
    "open": [3.0, 3.0, 6.0],
    "floor_warm": [2.0, 2.0, 2.5],
    "floor_stock": [10.0, 8.0, 9.0],
}


def test_the_document_holds_both_floors_and_says_whether_the_aim_is_met(benchmark: ModuleType) -> None:
    told = benchmark.document(SECONDS, nodes=4, people=800)
    assert {"commit", "machine", "versions", "seed", "repeats", "rows"} <= set(told)
    rows = {row["phase"]: row for row in told["rows"]}
    assert (rows["contribute"]["min_s"], rows["contribute"]["median_s"], rows["contribute"]["max_s"]) == (
        4,
        5,
        6,
    )
    assert told["ratios"]["contribute_to_floor_warm"] == 2.5
    assert told["ratios"]["open_to_floor_stock"] == pytest.approx(3 / 9, abs=1e-3)
    assert told["within_aim_of_stock"]
    slow = benchmark.document({**SECONDS, "open": [20.0]}, nodes=4, people=800)
    assert not slow["within_aim_of_stock"]
    assert "above the aim of 1.5" in benchmark.table(slow)


def test_its_study_and_its_app_are_usable(benchmark: ModuleType, tmp_path: Path) -> None:
    spec = benchmark.study(4, people=800, aggregations=2)
    assert canonical_bytes(spec)
    assert benchmark.made_up(3, point=1).num_rows == 3
    app = benchmark.write_no_op(tmp_path / "app")
    compile((app / "no_op.py").read_text(), "no_op.py", "exec")


@pytest.mark.slow
@pytest.mark.drill
@pytest.mark.skipif(not CAN_RUN, reason=WHY_NOT)
def test_a_toy_run_prints_one_document(benchmark: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.main(["--json", "--nodes", "3", "--phases", "2", "--people", "600"])
    told = json.loads(capsys.readouterr().out)
    assert {row["phase"] for row in told["rows"]} == set(SECONDS)
    assert all(row["min_s"] > 0 for row in told["rows"])
