"""What a finished deployed study leaves: status, result documents, and a release that anybody can verify."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import pytest

from fedmed import wire
from fedmed.cli.edge import run
from fedmed.cli.verify import read_files
from fedmed.crypto.identity import Identity
from fedmed.errors import CohortTooSmall, ConfigError, IntegrityError, StudyStopped
from fedmed.release.bundle import CONTENTS, MANIFEST, SIGNATURE
from fedmed.release.verify import verify
from fedmed_server.delivery import deliver
from fedmed_server.deployed_study import run_order
from fedmed_server.export import export
from fedmed_server.files import create_private, replace_private
from fedmed_server.home import Home
from fedmed_server.launch import check, follow
from fedmed_server.status_view import status_lines
from fedmed_server.study_status import (
    State,
    note_run,
    note_stop,
    read_run,
    read_study,
    studies,
    study_status,
    was_stopped,
)
from tests.federation import NOW, fresh_federation, small_study
from tests.server.test_deployed_study import Nodes, make_home, opener, order_for

# The real study behind these takes some seconds.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with one finished study; killed once in its second aggregation and resumed."""
    federation = fresh_federation(4)
    home = make_home(tmp_path_factory.mktemp("finished"), federation.roster)
    create_private(home.path / "coordinator.toml", b"# makes it a home for the commands\n")
    with pytest.raises(KeyboardInterrupt):
        run_order(order_for(home), Nodes(each_look=5), opener(federation, "open"), today=NOW.date())
    assert study_status(home, "small").state is State.STOPPED
    run_order(order_for(home, resume=True), Nodes(each_look=5), opener(federation), today=NOW.date())
    return home


@pytest.fixture
def home(finished: Home, tmp_path: Path) -> Home:
    """A copy of it, for a test to spoil."""
    shutil.copytree(finished.path, tmp_path / "home", copy_function=shutil.copy2)
    (tmp_path / "home").chmod(0o700)
    return Home(tmp_path / "home")


def test_a_finished_study_is_delivered_once_and_the_same(home: Home) -> None:
    folder, spec = home.run_folder("small"), small_study(4)
    result = deliver(folder, spec)
    assert (result.simulation, result.arms.federated, result.curve) == (False, None, ())
    assert result.aggregation.aggregations == spec.training.aggregations
    assert "null" not in result.to_json()
    assert "baselines" not in result.seconds
    written = {name: (folder / name).read_bytes() for name in ("result.json", "model_card.md", "report.html")}
    assert b"No scores are in this result" in written["report.html"]
    assert all(stat.S_IMODE((folder / name).stat().st_mode) == 0o600 for name in written)
    for name in written:
        (folder / name).unlink()
    assert deliver(folder, spec) == result
    assert {name: (folder / name).read_bytes() for name in written} == written


def test_the_release_of_a_resumed_study_holds(home: Home, tmp_path: Path) -> None:
    place = export(home, "small", out=None)
    trusted = wire.roster_digest(home.roster())
    names = [one.name for one in verify(read_files(place), roster_digest=trusted)]
    assert names[-1] == "result"
    folder = export(home, "small", out=tmp_path / "bundle")
    assert {p.name for p in folder.iterdir()} == {MANIFEST, SIGNATURE, *CONTENTS}
    assert read_files(folder) == read_files(place)
    again = export(home, "small", out=tmp_path / "again.zip")
    assert again.read_bytes() == place.read_bytes(), "the same study gives the same bytes"
    with pytest.raises(ConfigError, match="exists already"):
        export(home, "small", out=tmp_path / "again.zip")


def test_the_commands_of_both_sides_fit(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "release.zip"
    assert run(["server", "export", str(home.path), "small", "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["release"] == str(out)
    assert run(["verify", str(out), "--roster", told["roster_digest"]]) == 0
    assert "This release holds" in capsys.readouterr().out
    assert run(["verify", str(out), "--roster", "00" * 32]) == 6
    assert "not the one that you trust" in capsys.readouterr().err


def test_status_shows_the_study_in_columns(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["server", "status", str(home.path)]) == 1, "no coordinator runs"
    lines = capsys.readouterr().out.splitlines()
    head = next(line for line in lines if line.startswith("STUDY"))
    row = lines[lines.index(head) + 1]
    assert row.split()[:3] == ["small", "finished", "close"]
    assert row.index("finished") == head.index("STATE")
    assert run(["server", "status", str(home.path), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["studies"][0]["epsilon_spent"] < document["studies"][0]["epsilon_planned"]
    assert run(["server", "stop", str(home.path), "--study", "small"]) == 0
    assert "was not running" in capsys.readouterr().out
    assert run(["server", "stop", str(home.path), "--study", "other"]) == 2


def test_a_study_that_was_refused_shows_its_code(home: Home) -> None:
    folder = home.run_folder("small")
    (folder / "outcome.json").unlink()
    replace_private(folder / "failure.json", b'{"code": "too_few_nodes", "cause": "x"}')
    status = study_status(home, "small")
    assert (status.state, status.code) == (State.FAILED, "too_few_nodes")
    document = {"processes": {"superlink": 12}, "nodes": {"a": "online"}, "studies": [status.document()]}
    assert any("failed (too_few_nodes)" in line for line in status_lines(document, home=home.path))
    with pytest.raises(ConfigError, match="not finished"):
        export(home, "small", out=None)
    with pytest.raises(ConfigError, match="not finished"):
        deliver(folder, read_study(home, "small"))


def test_a_running_study_is_known_by_its_journal(home: Home) -> None:
    from fedmed_server.run_store import opened_store

    folder = home.run_folder("small")
    (folder / "outcome.json").unlink()
    with opened_store(folder / "journal"):
        assert studies(home)[0].state is State.RUNNING
    assert studies(home)[0].state is State.STOPPED
    assert read_run(folder) is None
    note_run(folder, 7)
    assert read_run(folder) == 7


def test_who_watches_a_study_that_was_stopped_is_told_so_and_a_new_launch_forgets_it(home: Home) -> None:
    folder, spec = home.run_folder("small"), read_study(home, "small")
    (folder / "outcome.json").unlink()
    note_stop(folder, 7)
    assert read_run(folder) == 7
    with pytest.raises(StudyStopped, match="was stopped here"):
        follow(home, spec, 7, on_progress=lambda _: None)
    note_run(folder, 8)
    assert not was_stopped(folder)


def test_a_release_needs_its_whole_journal_and_the_key_of_its_roster(home: Home) -> None:
    replace_private(home.path / "identity.key", Identity.create("coordinator").private_bytes())
    with pytest.raises(ConfigError, match="key was replaced"):
        export(home, "small", out=None)
    for path in (home.run_folder("small") / "journal").glob("exchange-*"):
        path.unlink()
    with pytest.raises((ConfigError, IntegrityError)):
        export(home, "small", out=None)


def test_a_run_that_kept_no_payloads_has_no_release(home: Home) -> None:
    """Of a build before they were kept; the last sum alone is enough to say so."""
    (home.run_folder("small") / "journal" / "payload-0003.bin").unlink()
    with pytest.raises(ConfigError, match="older FedMed, which kept too little"):
        export(home, "small", out=None)


def test_a_study_that_nobody_launched_is_named(home: Home) -> None:
    with pytest.raises(ConfigError, match="no study other was launched"):
        export(home, "other", out=None)


def test_a_study_whose_cohort_is_too_small_is_not_launched(home: Home) -> None:
    check(home, small_study(4))
    with pytest.raises(CohortTooSmall, match="min_cohort is 1000, node1 declares 10"):
        check(home, small_study(4, data__min_cohort=1000))
