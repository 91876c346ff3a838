from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fedmed.errors import ConfigError
from fedmed.supervision.processes import Program, children, is_there
from fedmed.supervision.run_folder import RunFolder


def folder_at(path: Path) -> RunFolder:
    return RunFolder(path=path, what="node", at=path)


def test_one_supervisor_holds_a_folder(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    assert not folder.is_running()
    with folder.locked():
        assert folder.is_running()
        with pytest.raises(ConfigError, match="a node already runs on"), folder_at(tmp_path).locked():
            pass
    assert not folder.is_running()
    with folder.locked():
        pass


def test_what_runs_is_noted_for_as_long_as_it_runs(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    with folder.locked():
        folder.note({"a": 5})
        assert folder.processes() == {"node": os.getpid(), "a": 5}
        assert stat.S_IMODE((tmp_path / "processes.json").stat().st_mode) == 0o600
    assert folder.processes() == {}, "its supervisor is gone"
    assert not folder.stop(timeout_s=1)


def test_only_what_names_the_folder_is_ended_as_an_orphan(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    words = {"ours": str(tmp_path / "x"), "another": "/elsewhere"}
    with children() as running:
        for name, word in words.items():
            command = ("/bin/sh", "-c", "sleep 600; true", word)
            running.start(Program(name=name, command=command, log=tmp_path / f"{name}.log"))
        pids = running.pids()
        folder.note(pids)
        folder.end_orphans([tmp_path])
        assert not is_there(pids["ours"])
        assert is_there(pids["another"])
        folder.end_orphans([tmp_path])


def test_a_damaged_note_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "processes.json").write_text("[")
    with pytest.raises(ConfigError, match="remove it"):
        folder_at(tmp_path).end_orphans([tmp_path])
