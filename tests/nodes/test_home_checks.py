"""``fedmed doctor`` on a node's home: every fault is made on a real home, and found with its remedy."""

from __future__ import annotations

import datetime
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fedmed import wire
from fedmed.doctor.finding import Finding, Level, Question
from fedmed.study import StudySpec, to_toml
from fedmed.supervision.processes import free_ports
from fedmed_nodes.home_checks import examine
from tests.federation import DATASET, DECLARED, roster_of, small_study, small_table
from tests.node_home import make_home, me, running, write

# Together these take more than the fast part of the suite can spare.
pytestmark = pytest.mark.slow
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="run as root: it takes a second user")


@pytest.fixture
def home() -> Iterator[Path]:
    """A home that is well, under a short path: its socket lies below it."""
    folder = Path(tempfile.mkdtemp(prefix="fm"))
    folder.chmod(0o755)
    make_home(folder / "home")
    yield folder / "home"
    shutil.rmtree(folder)


def found(home: Path, *, study: StudySpec | None = None, **more: object) -> dict[str, Finding]:
    """Findings by name; the worse one where two have a name."""
    now = datetime.datetime.now(tz=datetime.UTC)
    question = Question(home=home, now=now, study=study, **more)  # type: ignore[arg-type]
    told = sorted(examine(question), key=lambda one: one.level is Level.BAD)
    return {one.name: one for one in told}


def bad(home: Path, **more: object) -> dict[str, Finding]:
    return {name: one for name, one in found(home, **more).items() if not one.ok}  # type: ignore[arg-type]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    write(path, text.replace(old, new).encode(), me())


def test_a_home_that_is_well(home: Path) -> None:
    told = found(home, study=small_study(3))
    assert not [one for one in told.values() if not one.ok]
    assert {"permissions", "settings", "ledger", "roster", f"dataset {DATASET}", "study small"} <= set(told)
    assert told["custodian"].level is Level.NOTE
    assert f"fedmed node serve {home}" in told["custodian"].mend


def test_a_folder_of_another_kind_is_not_ours(tmp_path: Path) -> None:
    assert found(tmp_path) == {}


def test_without_reviewed_bundles_it_says_what_remains_open(home: Path) -> None:
    one = found(home)["app bundles"]
    assert one.level is Level.NOTE
    assert "reaches no row, key or ledger" in one.why
    assert "fedmed node review" in one.mend


@pytest.mark.parametrize("name", ["", "identity.key", "policy.toml", "secrets", "store/custodian.db"])
def test_wrong_permissions_are_found_and_the_command_mends_them(home: Path, name: str) -> None:
    path = home / name
    path.chmod(path.stat().st_mode | 0o044)
    one = bad(home)["permissions"]
    assert str(path) in one.detail
    subprocess.run(one.mend.split(), check=True)
    assert "permissions" not in bad(home)


@NEEDS_ROOT
def test_another_users_file_is_found(home: Path) -> None:
    os.chown(home / "identity.key", pwd.getpwnam("nobody").pw_uid, -1)
    assert "belongs to user" in bad(home)["permissions"].detail


@NEEDS_ROOT
def test_a_foreign_user_is_told_whose_it_is(home: Path) -> None:
    code = (
        "import datetime, os, sys, pathlib; from fedmed_nodes.home_checks import Question, examine\n"
        "os.setuid(65534); now = datetime.datetime.now(tz=datetime.UTC)\n"
        "for one in examine(Question(home=pathlib.Path(sys.argv[1]), now=now)): print(one.ok, one.detail)"
    )
    command = [sys.executable, "-c", code, str(home)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"False {home} is closed to this user\n"


def test_settings_that_do_not_parse_are_found(home: Path) -> None:
    edit(home / "policy.toml", "min_cohort", "min_kohort")
    assert "min_cohort" in bad(home)["settings"].detail


def test_a_stale_roster_is_found(home: Path) -> None:
    write(home / "roster.bin", wire.encode_roster(roster_of(4, threshold=3, colluders=1)), me())
    one = bad(home)["roster"]
    assert "roster_mismatch" in one.detail
    assert "get roster.bin and its digest anew" in one.mend


def test_a_roster_with_other_keys_of_this_node_is_found(home: Path) -> None:
    roster = roster_of(3, threshold=3, colluders=1)
    write(home / "roster.bin", wire.encode_roster(roster), me())
    text = (home / "node.toml").read_text()
    lines = [
        f'roster_digest = "{wire.roster_digest(roster).hex()}"' if line.startswith("roster_digest") else line
        for line in text.splitlines()
    ]
    write(home / "node.toml", "\n".join(lines).encode(), me())
    assert "other keys for node1" in bad(home)["roster"].detail


def test_a_custodian_that_runs_on_older_settings_is_found(home: Path) -> None:
    with running(home):
        assert found(home)["custodian"].level is Level.OK
        roster = roster_of(3, threshold=3, colluders=1)
        pinned = next(
            x for x in (home / "node.toml").read_text().splitlines() if x.startswith("roster_digest")
        )
        edit(home / "node.toml", pinned, f'roster_digest = "{wire.roster_digest(roster).hex()}"')
        one = bad(home)["custodian"]
        assert (one.level, one.mend.startswith("start the custodian again")) == (Level.BAD, True)


def test_a_dataset_that_was_never_registered_is_found(home: Path) -> None:
    lines = (home / "node.toml").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("columns", "fingerprint"))]
    write(home / "node.toml", "\n".join(kept).encode(), me())
    one = bad(home)[f"dataset {DATASET}"]
    assert one.mend == f"fedmed node register {home} {DATASET}"


def test_rows_that_are_gone_and_columns_that_are_gone_are_found(home: Path) -> None:
    pq.write_table(small_table(1).drop_columns(["visits"]), home / "rows.parquet")
    one = bad(home)[f"dataset {DATASET}"]
    assert "columns are missing: visits" in one.detail
    (home / "rows.parquet").unlink()
    assert f"dataset {DATASET}" in bad(home)


def test_a_study_with_a_column_that_is_not_here_is_found(home: Path) -> None:
    study = small_study(3, data__label={"column": "sick"})
    features = [{"name": "age", "kind": "number", "low": 0.0, "high": 100.0}]
    features += [{"name": "income", "kind": "number", "low": 0.0, "high": 9.0}]
    study = small_study(3, data__features=features)
    one = bad(home, study=study)["study small: columns"]
    assert "no registered column income" in one.detail
    assert "data_unfit" in one.why


def test_a_dataset_below_the_policys_quality_gate_is_found(home: Path) -> None:
    write(home / "policy.toml", b"quality_gate = 0.95\n" + (home / "policy.toml").read_bytes(), me())
    one = bad(home)[f"dataset {DATASET}: quality"]
    assert "no scores are registered" in one.detail
    assert f"fedmed node register {home} {DATASET}" in one.mend


def test_a_study_on_a_dataset_that_is_not_here_is_found(home: Path) -> None:
    assert (
        "there is no dataset other"
        in bad(home, study=small_study(3, data__dataset="other"))["study small"].detail
    )


def test_a_cohort_that_is_too_small_is_found(home: Path) -> None:
    edit(home / "policy.toml", "min_cohort = 1", f"min_cohort = {DECLARED + 1}")
    told = bad(home, study=small_study(3))
    assert "10 persons are declared" in told[f"dataset {DATASET}: cohort"].detail
    assert "cohort_too_small" in told["study small: cohort"].why


def test_a_damaged_ledger_is_found(home: Path) -> None:
    database = home / "store" / "custodian.db"
    for name in home.glob("store/custodian.db-*"):
        name.unlink()
    data = bytearray(database.read_bytes())
    data[:100] = bytes(100)
    database.write_bytes(data)
    assert "backup" in bad(home)["ledger"].mend


def test_the_front_door_is_found_by_the_courier(home: Path) -> None:
    port = free_ports(1)[0]
    folder = home / "courier"
    folder.mkdir(mode=0o700)
    text = f'version = 1\nfront_door = "127.0.0.1:{port}"\nsocket = "{home}/run/custodian.sock"\n'
    write(folder / "courier.toml", text.encode(), me())
    assert "ca.crt" in bad(home)["courier"].detail
    write(folder / "ca.crt", b"no certificate", me())
    told = bad(home)
    assert "courier" not in told
    assert "cannot be reached" in told["front door"].detail


def test_a_courier_elsewhere_is_looked_at_when_it_is_named(home: Path) -> None:
    folder = home.parent / "apart"
    folder.mkdir(mode=0o700)
    (folder / "trusted").write_bytes(b"")
    text = (
        f'version = 1\nfront_door = "127.0.0.1:{free_ports(1)[0]}"\nsocket = "{home}/run/custodian.sock"\n'
        f'trusted = "{folder}/trusted"\n'
    )
    write(folder / "courier.toml", text.encode(), me())
    write(folder / "ca.crt", b"no certificate", me())
    unnamed = found(home)
    assert "front door" not in unnamed
    assert "--courier" in unnamed["app bundles"].mend
    told = found(home, courier=folder)
    assert "cannot be reached" in told["front door"].detail
    assert told["app bundles"].level is Level.OK


def test_it_changes_nothing(home: Path) -> None:
    def state() -> dict[str, tuple[int, bytes]]:
        files = [p for p in home.rglob("*") if p.is_file() and not p.name.endswith(("-wal", "-shm"))]
        return {str(p): (p.stat().st_mode, p.read_bytes()) for p in files}

    before = state()
    study = home.parent / "my.toml"
    study.write_text(to_toml(small_study(3)))
    list(found(home))
    assert state() == before
