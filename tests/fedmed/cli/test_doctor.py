"""``fedmed doctor`` as a person calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedmed.cli.doctor import document, lines
from fedmed.cli.edge import run
from fedmed.doctor.finding import amiss, well
from fedmed.supervision.processes import free_ports


@pytest.mark.slow
def test_it_says_what_is_wrong_and_ends_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--front-door", f"127.0.0.1:{free_ports(1)[0]}", "--crypto", "--json"]) == 2
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)["findings"]}
    assert found.pop("front door")["mend"].startswith("at the coordinator: fedmed server up HOME")
    assert all(one["ok"] for one in found.values()), "this machine is well"
    assert {"platform", "SEAL round trip", "rows are independent", "versions"} <= set(found)
    for name in ("t8", "t64", "t400"):
        assert "margin" in found[f"parameter set {name}"]["detail"]


@pytest.mark.slow
def test_a_folder_that_is_no_home_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", str(tmp_path)]) == 2
    assert "neither node.toml nor coordinator.toml" in capsys.readouterr().err


def test_a_study_is_compared_with_a_home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = tmp_path / "my.toml"
    assert run(["study", "new", str(study)]) == 0
    assert run(["doctor", "--study", str(study)]) == 2
    assert "--study needs a home" in capsys.readouterr().err


def test_findings_are_told_in_lines_and_in_json() -> None:
    bad = amiss("clock", "600 s ahead", why="refused", mend="timedatectl set-ntp true")
    assert lines(well("cores", "2 cores")) == "ok    cores: 2 cores"
    assert lines(bad).splitlines() == [
        "FAIL  clock: 600 s ahead",
        "      why it matters: refused",
        "      what to do: timedatectl set-ntp true",
    ]
    (told,) = json.loads(document([bad]))["findings"]
    assert told == {
        "name": "clock",
        "ok": False,
        "level": "bad",
        "detail": "600 s ahead",
        "why": "refused",
        "mend": "timedatectl set-ntp true",
    }
