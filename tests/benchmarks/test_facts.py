import json
import re
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

HEAD = re.compile(r"[0-9a-f]{40}(-dirty)?|unknown")


def test_a_result_says_where_it_is_from(benchmark: ModuleType) -> None:
    told = benchmark.facts(("numpy",), seed=7, repeats=3)
    assert set(told) == {"commit", "machine", "versions", "seed", "repeats"}
    assert HEAD.fullmatch(told["commit"])
    assert set(told["machine"]) == {"processor", "cores", "system"}
    assert told["versions"]["numpy"] == version("numpy")
    assert (told["seed"], told["repeats"]) == (7, 3)
    assert json.loads(json.dumps(told)) == told


def test_outside_a_checkout_the_commit_is_unknown(benchmark: ModuleType, tmp_path: Path) -> None:
    assert benchmark.commit(tmp_path) == "unknown"
    assert benchmark.commit(tmp_path / "not there") == "unknown"
