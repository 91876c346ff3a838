from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedmed.cli.edge import run
from fedmed.report import Result


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demonstration's study, cut down to a few seconds."""
    path = tmp_path_factory.mktemp("study") / "small.toml"
    assert run(["study", "new", str(path)]) == 0
    text = path.read_text(encoding="utf-8")
    for old, new in (
        ("shanghai = 13400", "shanghai = 335"),
        ("jiangsu = 26600", "jiangsu = 665"),
        ("zhejiang = 20000", "zhejiang = 500"),
        ("anhui = 20000", "anhui = 500"),
        ("aggregations = 40", "aggregations = 3"),
        ("baselines = true", "baselines = false"),
        ('scheme = "threshold"', 'scheme = "plain"'),
    ):
        assert old in text
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(study: Path) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A finished run, by the command as it is installed."""
    out = study.parent / "runs"
    words = ["study", "run", str(study), "--json", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-c", "from fedmed.cli import main; main()", *words],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    return out / "demo", done


@pytest.mark.slow
def test_json_leaves_one_document_on_stdout_and_logs_on_stderr(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = finished
    assert done.returncode == 0, done.stderr
    assert done.stdout == (folder / "result.json").read_text(encoding="utf-8")
    result = Result.from_json(done.stdout)
    assert result.aggregation.aggregations == 3
    assert result.privacy.epsilon_spent <= result.privacy.epsilon
    assert "aggregation 3/3" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_report_is_rendered_again_from_the_folder(
    finished: tuple[Path, subprocess.CompletedProcess[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = finished
    page = folder / "report.html"
    before = page.read_bytes()
    page.unlink()
    assert run(["study", "report", str(folder)]) == 0
    assert page.read_bytes() == before
    assert "Report" in capsys.readouterr().out


@pytest.mark.slow
def test_a_node_lost_in_the_middle_ends_with_5(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = study.parent / "lost"
    words = ["study", "run", str(study), "--lose", "anhui@contribute:2", "--out", str(out)]
    assert run(words) == 5
    shown = capsys.readouterr()
    assert "too_few_nodes" in shown.err
    assert "anhui: node_lost in contribute, round 2" in shown.out
    assert not out.exists(), "a study that stopped leaves no result"


@pytest.mark.slow
def test_a_small_cohort_is_refused_with_3(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = study.with_name("strict.toml")
    text = study.read_text(encoding="utf-8").replace("min_cohort = 100", "min_cohort = 400")
    path.write_text(text, encoding="utf-8")
    assert run(["study", "run", str(path), "--out", str(study.parent / "strict"), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "cohort_too_small"


def test_rows_that_nobody_can_generate_are_asked_for(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = study.with_name("foreign.toml")
    text = study.read_text(encoding="utf-8").replace('"person_year"', '"our_claims"')
    path.write_text(text, encoding="utf-8")
    assert run(["study", "run", str(path)]) == 2
    assert "--data FILE" in capsys.readouterr().err


def test_counts_that_the_generator_does_not_deal_are_named(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = study.with_name("counts.toml")
    path.write_text(study.read_text(encoding="utf-8").replace("= 335", "= 336"), encoding="utf-8")
    assert run(["study", "run", str(path)]) == 2
    assert "data.declared_persons" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "code"), [(None, 2), ("{", 2), ('{"version": 99}', 6)], ids=["absent", "broken", "newer"]
)
def test_a_folder_without_a_readable_result_is_refused(
    content: str | None, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "result.json").write_text(content, encoding="utf-8")
    assert run(["study", "report", str(tmp_path)]) == code
    assert "what to do" in capsys.readouterr().err


def test_the_demonstration_refuses_people_and_epsilon_out_of_range(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["demo", "--people", "10"]) == 2
    assert "500..5000000" in capsys.readouterr().err
    assert run(["demo", "--epsilon", "-1"]) == 2
    assert "privacy.epsilon: must be > 0" in capsys.readouterr().err
