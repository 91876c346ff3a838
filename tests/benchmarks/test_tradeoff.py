"""The studies behind the README's figures run, at toy size, so that they cannot rot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_main_job_prints_one_document_with_every_arm():
    script = "benchmarks/tradeoff/main_job.py"
    found = json.loads(run(script, "--people", "1200", "--epsilons", "1", "4", "--seeds", "7", "--json"))
    assert [(row["epsilon_planned"], row["seed"]) for row in found["rows"]] == [(1.0, 7), (4.0, 7)]
    for row, mean in zip(found["rows"], found["means"], strict=True):
        assert {"federated", "central", "alone_private", "alone", "pooled"} <= row.keys()
        assert mean["epsilon"] == row["epsilon_planned"]
        assert mean["federated_minus_central"] == pytest.approx(row["federated"] - row["central"])


@pytest.mark.slow
def test_choosing_names_the_best_setting_and_the_anchor():
    arguments = ("--people", "1200", "--clips", "3", "--rates", "1", "--seeds", "101")
    found = run("benchmarks/tradeoff/choose.py", *arguments)
    assert "chosen: clip 3, rate 1; central at epsilon 8" in found


@pytest.mark.slow
def test_the_modes_are_compared_on_the_same_persons():
    arguments = ("--nodes", "3", "--people", "900", "--epsilon", "4", "--seeds", "7", "--json")
    found = json.loads(run("benchmarks/tradeoff/modes.py", *arguments))
    (row,) = found["rows"]
    assert {"aggregate", "local", "statistics", "central", "alone_private", "pooled"} <= row.keys()
    assert found["mean"]["aggregate_minus_local"] == pytest.approx(row["aggregate"] - row["local"])
    assert row["local_fallback_epsilon"] <= 4 < row["aggregate_fallback_epsilon"]
