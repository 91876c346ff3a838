import csv
import dataclasses
import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedmed.data.duckdb_files import LONGEST_HEADER, FileKind, open_engine, own_words
from fedmed.errors import ConfigError, DataContractError, StoreFailed
from fedmed.protocol.steps import PhaseKind
from fedmed.types import Scheme
from fedmed_nodes import duckdb_source
from fedmed_nodes.duckdb_source import DuckdbFiles
from fedmed_nodes.registration import DatasetEntry, open_source, register
from fedmed_nodes.sources import StoredSource
from tests.contracts.source_contract import (
    DECLARED,
    MONEY,
    SPEC,
    YEAR,
    Registered,
    SourceContract,
    as_bytes,
    contents,
    in_memory,
)
from tests.federation import DATASET, OPEN_POLICY, Trial, make_trial, small_study, small_table
from tests.federation import DECLARED as SMALL_DECLARED
from tests.federation import NOW as SMALL_NOW

Write = Callable[[pa.Table, Path], None]


def cell(value: Any) -> Any:
    """A value as an export writes it."""
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(str(code) for code in value)
    return int(value) if isinstance(value, bool) else value


def csv_text(table: pa.Table, *, line_end: str = "\n") -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=line_end)
    writer.writerow(table.column_names)
    # A short float is shown as its own shortest text, not as that of the double next to it.
    columns = [c.cast(pa.string()) if c.type == pa.float32() else c for c in table.columns]
    writer.writerows([[cell(v) for v in row] for row in zip(*(c.to_pylist() for c in columns), strict=True)])
    return text.getvalue()


def write_csv(table: pa.Table, path: Path) -> None:
    path.write_text(csv_text(table), encoding="utf-8", newline="")


def write_bom_and_crlf(table: pa.Table, path: Path) -> None:
    path.write_text("\ufeff" + csv_text(table, line_end="\r\n"), encoding="utf-8", newline="")


def write_gzip(table: pa.Table, path: Path) -> None:
    path.write_bytes(gzip.compress(csv_text(table).encode()))


def write_parquet(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, row_group_size=40)


def entry(path: Path, **changes: Any) -> DatasetEntry:
    return DatasetEntry(path=path, **{"declared_persons": DECLARED, "data_year": YEAR, **changes})


def registered_file(path: Path, **changes: Any) -> StoredSource:
    return open_source(register(entry(path, **changes)))


WAYS = {
    "rows.csv": write_csv,
    "export.csv": write_bom_and_crlf,
    "rows.csv.gz": write_gzip,
    "参保 人's.parquet": write_parquet,
}

MORE_WAYS = {"export.csv", "rows.csv.gz"}  # the contract's slow part; the fast one has text and Parquet


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in MORE_WAYS)) for name in WAYS]
)
class TestFiles(SourceContract):
    @pytest.fixture
    def registered(self, name: str, tmp_path: Path) -> Registered:
        def make(table: pa.Table) -> StoredSource:
            WAYS[name](table, tmp_path / name)
            return registered_file(tmp_path / name)

        return make


def test_all_kinds_of_files_share_one_fingerprint(tmp_path: Path) -> None:
    found = set()
    for name, write in WAYS.items():
        write(contents(), tmp_path / name)
        found.add(register(entry(tmp_path / name)).fingerprint)
    assert len(found) == 1


def test_several_files_are_one_table(tmp_path: Path) -> None:
    table = contents()
    write_parquet(table.slice(0, 90), tmp_path / "a1.parquet")
    write_parquet(table.slice(90).select(table.column_names[::-1]), tmp_path / "a2.parquet")
    write_parquet(table, tmp_path / "b.parquet")
    several = registered_file(tmp_path / "a*.parquet")
    assert several.fingerprint == registered_file(tmp_path / "b.parquet").fingerprint
    assert as_bytes(several.training_examples(SPEC)) == as_bytes(in_memory(table))


def test_files_of_one_table_have_the_same_columns(tmp_path: Path) -> None:
    write_csv(contents(), tmp_path / "a1.csv")
    write_csv(contents().drop_columns(["visits"]), tmp_path / "a2.csv")
    with pytest.raises(DataContractError, match=r"a2\.csv: other columns or types than in a1\.csv"):
        register(entry(tmp_path / "a*.csv"))


@pytest.mark.slow
def test_persons_stay_whole_over_many_chunks(tmp_path: Path) -> None:
    rows = 3 * duckdb_source.CHUNK_ROWS
    draws = np.random.default_rng(3)
    table = pa.table(
        {
            "psn_no": draws.integers(0, 1000, rows),
            "age": draws.integers(0, 100, rows),
            "sick": draws.integers(0, 2, rows),
        }
    )
    spec = dataclasses.replace(SPEC, features=SPEC.features[:1], held_out=0.0)
    write_parquet(table, tmp_path / "rows.parquet")
    found = registered_file(tmp_path / "rows.parquet", declared_persons=1000).training_examples(spec)
    assert (found.rows, found.persons) == (rows, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rows.csv", "参保 人's.parquet"])
@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.slice(1),
        lambda table: pa.concat_tables([table, table.slice(3, 1)]),
        lambda table: table.set_column(9, "sick", pa.array([1 - v for v in table["sick"].to_pylist()])),
        lambda table: table.append_column("new", pa.array(["x"] * table.num_rows)).drop_columns(["remark"]),
    ],
    ids=["row-lost", "row-doubled", "labels-turned", "column-lost"],
)
def test_changed_rows_must_be_registered_again(
    name: str, change: Callable[[pa.Table], pa.Table], tmp_path: Path
) -> None:
    WAYS[name](contents(), tmp_path / name)
    source = registered_file(tmp_path / name)
    WAYS[name](change(contents()), tmp_path / name)
    with pytest.raises(
        DataContractError, match=r"dataset changed: register it again|column remark is missing"
    ):
        source.training_examples(SPEC)
    WAYS[name](contents(), tmp_path / name)
    assert source.training_examples(SPEC).rows > 0


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    write_csv(contents(), path)
    files = DuckdbFiles(pattern=path, kind=FileKind.CSV)
    with pytest.raises(DataContractError, match="dataset changed while it was read"), files.snapshot():
        write_csv(contents(), path)


def test_a_study_reads_registered_columns_only(tmp_path: Path) -> None:
    write_csv(contents(), tmp_path / "rows.csv")
    chosen = tuple(name for name in contents().column_names if name not in ("visits", "remark"))
    source = registered_file(tmp_path / "rows.csv", columns=chosen)
    with pytest.raises(DataContractError, match="column visits is missing"):
        source.training_examples(SPEC)
    fewer = dataclasses.replace(SPEC, features=SPEC.features[:2])
    assert source.training_examples(fewer).inputs == 2


def test_exactly_the_asked_columns_come(tmp_path: Path) -> None:
    write_parquet(contents(), tmp_path / "rows.parquet")
    with DuckdbFiles(pattern=tmp_path / "rows.parquet", kind=FileKind.PARQUET).snapshot() as snapshot:
        (empty, *chunks) = snapshot.chunks((MONEY, "psn_no"))
    assert empty.num_rows == 0
    assert {tuple(chunk.column_names) for chunk in (empty, *chunks)} == {(MONEY, "psn_no")}
    assert sum(chunk.num_rows for chunk in chunks) == 150


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("psn_no,sick\np1,1\np2\n", "not readable"),
        ("psn_no,sick\np1,1\np2,0,SECRET\n", "not readable"),
        ('psn_no,sick\np1,"SECRET\n', "not readable"),
        ("psn_no,sick\np1,性\n".encode("gb18030"), "not readable"),
        ("参保,sick\np1,1\n".encode("gb18030"), "not readable"),
        ("psn_no,Sick,sick\np1,1,1\n", "have one name but for capitals"),
        ("psn_no,\np1,1\n", "empty column name"),
        ("psn_no,certno\np1,SECRET\n", "identifies persons directly"),
        ("psn_no,sick\n", "no rows"),
        ("", "the file is empty"),
        ("a" * LONGEST_HEADER, "not readable"),
    ],
)
def test_a_broken_csv_is_refused_without_quoting_it(body: str | bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(body if isinstance(body, bytes) else body.encode())
    with pytest.raises(DataContractError, match=words) as fault:
        register(entry(path))
    assert "SECRET" not in str(fault.value)


def test_a_broken_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_parquet(contents(), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataContractError, match="not readable"):
        register(entry(path))
    pq.write_table(pa.table({"psn_no": ["a"], "x": [{"y": 1}]}), path)
    with pytest.raises(ConfigError, match=r"column x has type STRUCT.*leave it out"):
        register(entry(path))
    assert register(entry(path, columns=("psn_no",))).columns == ("psn_no",)


def test_the_engine_opens_the_named_files_and_nothing_else(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine.csv", tmp_path / "other.csv"
    for path in (mine, other):
        write_csv(contents(), path)
    settings = DuckdbFiles(pattern=mine, kind=FileKind.CSV)
    with open_engine((mine,), memory_mib=settings.memory_mib, threads=settings.threads) as engine:
        assert engine.execute(f"SELECT count(*) FROM read_csv('{mine}')").fetchall() == [(150,)]  # noqa: S608
        for attempt in (
            f"SELECT * FROM read_csv('{other}')",  # noqa: S608
            f"COPY (SELECT 1) TO '{tmp_path / 'out.csv'}'",
            f"COPY (SELECT 1) TO '{mine}.new'",
            f"ATTACH '{tmp_path / 'new.db'}'",
            "SELECT * FROM read_text('/etc/hostname')",
            "INSTALL httpfs",
            "LOAD httpfs",
            "SELECT * FROM read_csv('https://localhost/x.csv')",
            "SET enable_external_access = true",
            "SET threads = 2",
        ):
            with pytest.raises(duckdb.Error):
                engine.execute(attempt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.csv", "other.csv"]


def test_too_little_memory_is_said_and_nothing_goes_to_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "rows.parquet"
    write_parquet(contents(), path)
    settings = DuckdbFiles(pattern=path, kind=FileKind.PARQUET, memory_mib=64)
    hungry = "SELECT count(*) FROM (SELECT DISTINCT i, hash(i) h FROM range(40000000) t(i))"
    with (
        pytest.raises(StoreFailed, match="memory_mib is too small"),
        own_words("rows"),
        open_engine((path,), memory_mib=settings.memory_mib, threads=settings.threads) as engine,
    ):
        engine.execute(hungry)
    assert os.listdir(tmp_path) == ["rows.parquet"]  # noqa: PTH208


def test_paths_that_the_engine_would_read_as_patterns_are_refused(tmp_path: Path) -> None:
    write_csv(contents(), tmp_path / "rows[1].csv")
    with pytest.raises(ConfigError, match="rename it"):
        register(entry(tmp_path / "rows[1].csv"))
    with pytest.raises(DataContractError, match="no such file"):
        register(entry(tmp_path / "nothing*.csv"))
    with pytest.raises(ConfigError, match="path must be absolute"):
        register(entry(Path("rows.csv")))


def test_the_operator_learns_before_a_study_comes_what_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    write_csv(contents(), path)
    assert registered_file(path).check(SPEC).rows == 150
    with pytest.raises(DataContractError, match="more persons than were declared"):
        register(entry(path, declared_persons=10), SPEC)
    strict = dataclasses.replace(SPEC.features[-1], vocabulary_size=3)
    with pytest.raises(DataContractError, match=r"codes lie outside 0\.\.2"):
        register(entry(path), dataclasses.replace(SPEC, features=(strict,)))


def test_an_over_budget_study_is_refused_before_the_first_read(tmp_path: Path) -> None:
    """The rows are gone after registration, so that any read would be a refusal of another kind."""
    path = tmp_path / "rows.parquet"
    trial = make_trial(scheme=Scheme.PLAIN)
    node = trial.federation.nodes[2]
    write_parquet(small_table(2), path)
    source = registered_file(path, declared_persons=SMALL_DECLARED, data_year=SMALL_NOW.year)
    path.unlink()
    node.with_source(source)
    assert node.settings.datasets[DATASET] is source
    node.with_policy(dataclasses.replace(OPEN_POLICY, max_epsilon_per_year=OPEN_POLICY.max_epsilon_per_study))
    second = Trial(trial.federation, small_study(scheme=Scheme.PLAIN, training__learning_rate=0.5))
    assert trial.federation.refused(2, PhaseKind.PROPOSE, second.proposal()) == "budget_exceeded"
    assert trial.federation.ask(2, PhaseKind.PROPOSE, trial.proposal()).code == "data_unfit"
