"""The operator's commands for log, backup, restore and epochs, as they are typed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from fedmed.cli.edge import run
from fedmed_nodes.home import Home, create_home
from tests.node_home import me

# Together these take more than the fast part of the suite can spare.
pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path: Path) -> Path:
    create_home(tmp_path / "home", "node1", user=me())
    return tmp_path / "home"


def told(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> dict[str, Any]:
    """The one JSON document that a command prints."""
    capsys.readouterr()
    assert run(["node", *map(str, words), "--json"]) == code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_books_are_sealed_backed_up_lost_and_restored(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = told(capsys, "key", "rotate", home)["card"]
    assert told(capsys, "key", "show", home)["next"] == card
    assert told(capsys, "seal-log", home) == {"sealed": None}
    made = told(capsys, "backup", home, tmp_path / "backup")
    assert (made["counter"], made["charges"]) == (2, 0)
    assert told(capsys, "seal-log", home, "--keep", 1)["sealed"]["last"] == 1
    log = told(capsys, "log", home, "--offline", "--verify")
    kept = f"{log['verified']['counter']}:{log['verified']['head']}"
    assert told(capsys, "log", home, "--offline", "--expect", kept)["verified"] == log["verified"]

    refused = told(capsys, "restore", home, tmp_path / "backup", "--yes", code=2)
    assert "good and newer" in refused["error"]["cause"]
    shutil.rmtree(home / "store")
    done = told(capsys, "restore", home, tmp_path / "backup", "--yes")
    assert (done["from_entry"], done["known_entry"]) == (2, 3)
    gone = told(capsys, "log", home, "--offline", "--expect", kept, code=6)
    assert gone["error"]["code"] == "integrity_failure"
    assert told(capsys, "log", home, "--offline", "--verify", "--card", home / "card.toml")["verified"]

    shutil.copytree(home / "store", tmp_path / "old")
    told(capsys, "backup", home, tmp_path / "second")
    shutil.rmtree(home / "store")
    shutil.copytree(tmp_path / "old", home / "store")
    assert told(capsys, "log", home, "--offline", "--verify", code=6)["error"]["code"] == "store_set_back"
    assert "as it lay there" in told(capsys, "restore", home, "--accept-store", "--yes")["restored"]
    assert told(capsys, "log", home, "--offline", "--verify")["verified"]["counter"] == 4


def test_epochs_are_listed_and_ended(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Home(home).secrets().put(b"\x01" * 32, b"share")
    (epoch,) = told(capsys, "epochs", "list", home)["epochs"]
    due = {"id": "01" * 32, "scheme": "threshold", "active": False, "polynomials_opened": 0, "last_day": None}
    assert epoch == due
    assert told(capsys, "epochs", "end", home, "--yes", code=2)["error"]["code"] == "config_error"
    assert told(capsys, "epochs", "end", home, "01" * 32, "--yes") == {"ended": ["01" * 32]}
    assert told(capsys, "epochs", "end", home, "--all", "--yes") == {"ended": []}


def test_what_does_not_go_together_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["restore", home], ["restore", home, "x", "--accept-store"], ["pin", home, "12"]):
        assert run(["node", *map(str, words)]) == 2
    assert run(["node", "restore", str(home), "--accept-store", "--lost-key"]) == 2
    assert "go with a backup FILE" in capsys.readouterr().err
    assert run(["node", "log", str(home), "--offline", "--expect", "5"]) == 2
    assert run(["node", "log", str(home), "--verify"]) == 1
    assert "--offline reads the files without it" in capsys.readouterr().err
