"""fedmed data generate: the rows that the demonstration uses, on disk."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from fedmed.cli.edge import run
from fedmed.data.synthetic import province_tables


def test_the_file_holds_the_demonstrations_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "provinces.parquet"
    assert run(["data", "generate", "--people", "700", "--seed", "3", str(path)]) == 0
    assert "700" in capsys.readouterr().out
    found = pq.read_table(path)
    for site, table in province_tables(700, 3).items():
        rows = found.filter(pc.equal(found.column("site"), site))
        assert rows.drop_columns(["site"]).to_pylist() == table.to_pylist()
    assert [p.name for p in tmp_path.iterdir()] == ["provinces.parquet"]


@pytest.mark.parametrize("people", ["499", "5000001"])
def test_a_number_out_of_range_writes_nothing(tmp_path: Path, people: str) -> None:
    assert run(["data", "generate", "--people", people, str(tmp_path / "x.parquet")]) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_file_named_as_another_format_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "generate", "--people", "600", str(tmp_path / "x.csv")]) == 2
    assert "call it x.parquet" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"mine")
    assert run(["data", "generate", "--people", "600", str(path)]) == 2
    assert path.read_bytes() == b"mine"
    assert run(["data", "generate", "--people", "600", str(tmp_path / "no" / "x.parquet")]) == 2
