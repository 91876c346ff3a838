"""Every example runs on what the README's commands write."""

from __future__ import annotations

import datetime
import importlib
from pathlib import Path

import pytest

from fedmed.cli.edge import run
from fedmed.cli.ready_kinds import ReadyStudy
from fedmed.cli.ready_studies import PERSONS_LINE, PROVINCES_LINE, ready_study


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the README's two commands were run."""
    folder = tmp_path_factory.mktemp("generated")
    for line in (PROVINCES_LINE, PERSONS_LINE):
        *words, out = line.split()[1:]
        assert run([*words, str(folder / out)]) == 0
    return folder


def study_file(kind: ReadyStudy, folder: Path) -> str:
    path = folder / f"{kind.value}.toml"
    path.write_text(ready_study(kind, today=datetime.datetime.now(tz=datetime.UTC).date()), encoding="utf-8")
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "data", "expected"),
    [
        ("mean_cost", ReadyStudy.STATISTICS, "provinces", "I25"),
        ("cross_province", ReadyStudy.FLOW, "provinces", "34"),
        ("visits", ReadyStudy.GLM, "persons.parquet", "cond_diabetes"),
        ("readmission", ReadyStudy.SURVIVAL, "provinces", "p_value"),
    ],
)
def test_an_example_prints_its_table(
    name: str,
    kind: ReadyStudy,
    data: str,
    expected: str,
    *,
    generated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    importlib.import_module(f"fedmed.examples.{name}").main(study_file(kind, tmp_path), str(generated / data))
    assert expected in capsys.readouterr().out
