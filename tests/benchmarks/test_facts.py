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


def test_a_comparison_prints_its_document_or_a_line_for_each_mean(benchmark: ModuleType) -> None:
    document = {"rows": [{"seed": 1}], "mean": {"federated": 0.83219, "federated_minus_central": -0.0018}}
    assert json.loads(benchmark.document_or_means(document, as_json=True)) == document
    lines = benchmark.document_or_means(document, as_json=False).splitlines()
    assert [line.split() for line in lines] == [
        ["federated", "0.8322"],
        ["federated_minus_central", "-0.0018"],
    ]
