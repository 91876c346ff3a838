"""A run's folder: refused before anything is computed when it cannot be used, and never shared."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedmed.cli.runs import owned_folder
from fedmed.errors import ConfigError


def test_a_folder_that_cannot_be_made_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match=r"cannot write.*--out"), owned_folder(tmp_path / "file" / "run"):
        pass


def test_two_runs_never_write_to_one_folder(tmp_path: Path) -> None:
    with (
        owned_folder(tmp_path / "run"),
        pytest.raises(ConfigError, match="another run"),
        owned_folder(tmp_path / "run"),
    ):
        pass


def test_results_stay_and_an_empty_folder_goes(tmp_path: Path) -> None:
    with owned_folder(tmp_path / "runs" / "empty"):
        assert (tmp_path / "runs" / "empty").is_dir()
    assert not (tmp_path / "runs").exists()
    with owned_folder(tmp_path / "full"):
        (tmp_path / "full" / "result.json").write_text("{}")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["result.json"]
