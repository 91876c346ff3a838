"""``fedmed audit`` as its user runs it: the block that is added, the page, the document, the exit code."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pytest

from fedmed.cli.audit import AuditOptions, audit_and_show, with_canaries
from fedmed.cli.edge import run
from fedmed.errors import ConfigError
from fedmed.report.audit_result import AuditResult
from fedmed.study import TrainingStudy, to_toml
from fedmed.types import Scheme
from tests.small_province import names, small_study, small_table


def study(**changes: object) -> TrainingStudy:
    return small_study(scheme=Scheme.PLAIN, data__held_out=0.4, **changes)


def test_a_study_gets_a_block_and_keeps_its_own() -> None:
    bare, own = study(), study(audit__canaries=120)
    added = with_canaries(bare, None)
    assert added.audit is not None
    assert added.audit.canaries == 1000
    assert added.model_copy(update={"audit": None}) == bare
    assert with_canaries(own, None) is own
    changed = with_canaries(own, 200)
    assert changed.audit is not None
    assert changed.audit.canaries == 200
    with pytest.raises(ConfigError, match=r"audit\.canaries: must be >= 100, got 7"):
        with_canaries(bare, 7)


@pytest.mark.parametrize("runs", [0, 101])
def test_runs_are_bounded(runs: int, tmp_path: Path) -> None:
    options = AuditOptions(out=tmp_path, canaries=None, runs=runs, as_json=False)
    with pytest.raises(ConfigError, match=r"--runs must be in 1\.\.100"):
        audit_and_show(study(), {}, options=options)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_command_writes_page_and_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = []
    for point, name in enumerate(names(4), start=1):
        table = small_table(point).drop_columns(["sick"])
        table = table.append_column("sick", pa.array([i % 2 for i in range(table.num_rows)]))
        tables.append(table.append_column("site", pa.array([name] * table.num_rows)))
    pyarrow.csv.write_csv(pa.concat_tables(tables), tmp_path / "rows.csv")
    (tmp_path / "small.toml").write_text(to_toml(study()), encoding="utf-8")
    files = [
        str(tmp_path / "small.toml"),
        "--data",
        str(tmp_path / "rows.csv"),
        "--out",
        str(tmp_path / "out"),
    ]
    assert run(["audit", *files, "--canaries", "200", "--runs", "2", "--json"]) == 0
    found = AuditResult.from_json(capsys.readouterr().out)
    assert found.passed
    assert (found.canaries, found.rounds, len(found.runs)) == (200, 3, 2)
    assert found.membership is not None
    assert found.membership.members + found.membership.others == 24
    folder = tmp_path / "out" / "small-audit"
    assert AuditResult.from_json((folder / "audit.json").read_bytes()) == found
    assert "risk figure, no guarantee" in (folder / "audit.html").read_text(encoding="utf-8")
