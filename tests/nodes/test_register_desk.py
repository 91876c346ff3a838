"""``fedmed node register``: what it finds is written whole or not at all, for files and for PostgreSQL."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from psycopg import conninfo, sql

from fedmed.errors import ConfigError, DataContractError, FedMedError, StoreFailed
from fedmed.study import StudySpec
from fedmed.types import Scheme
from fedmed_nodes.catalogue_desk import make_catalogue
from fedmed_nodes.daemon import open_office
from fedmed_nodes.home import Home
from fedmed_nodes.private_folder import open_folder
from fedmed_nodes.register_desk import register_dataset, replace_settings
from fedmed_nodes.registration import open_source
from tests.claims_tables import small_province, write_tables
from tests.federation import DATASET, DECLARED, small_study, small_table
from tests.node_home import make_home, me, write

SERVER = os.environ.get("FEDMED_TEST_POSTGRES", "")
ROWS = small_table(1)


def study(**changes: object) -> StudySpec:
    return small_study(3, scheme=Scheme.PLAIN, **changes)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home whose dataset is not registered."""
    made = Home(tmp_path / "home")
    make_home(made.path)
    rewrite(made, lambda line: "" if line.startswith(("columns", "fingerprint")) else line)
    return made


def rewrite(home: Home, change: Callable[[str], str]) -> None:
    """Change the settings line by line, as an operator with an editor would."""
    path = home.path / "node.toml"
    lines = path.read_text().splitlines(keepends=True)
    write(path, "".join(map(change, lines)).encode(), me())


def set_path(home: Home, text: str) -> None:
    rewrite(home, lambda line: f"{text}\n" if line.startswith("path") else line)


def test_rows_in_csv_and_parquet_are_found_alike_and_written_down(home: Home) -> None:
    parquet = register_dataset(home, DATASET, study=study())
    assert (parquet.rows, parquet.persons) == (ROWS.num_rows, 6)
    pacsv.write_csv(ROWS, home.path / "rows.csv")
    set_path(home, 'path = "rows.csv"  # the new export')
    csv = register_dataset(home, DATASET)
    assert (csv.rows, csv.persons) == (ROWS.num_rows, None)
    assert csv.entry.fingerprint == parquet.entry.fingerprint
    text = (home.path / "node.toml").read_text()
    assert 'path = "rows.csv"  # the new export\n' in text
    assert text.count(csv.entry.fingerprint.hex()) == 1
    assert home.node().dataset[0].columns == tuple(ROWS.column_names)
    assert (home.path / "node.toml").stat().st_mode & 0o777 == 0o600


def test_a_custodian_serves_registered_rows_and_no_others(home: Home) -> None:
    with pytest.raises(ConfigError, match=f"fedmed node register {home.path} {DATASET}"):
        open_office(home, home.node())
    register_dataset(home, DATASET)
    entry = home.node().dataset[0].entry(home.path)
    assert open_source(entry).training_examples(study().dataset_spec).persons > 0
    pq.write_table(ROWS.slice(1), home.path / "rows.parquet")
    with pytest.raises(DataContractError, match="register it again"):
        open_source(entry).training_examples(study().dataset_spec)
    register_dataset(home, DATASET)
    assert home.node().dataset[0].fingerprint != entry.fingerprint.hex()


@pytest.mark.slow
def test_claims_are_checked_and_a_custodian_withholds_a_dataset_below_its_policys_gate(home: Home) -> None:
    one = small_province()["medins"][0]
    rows = [{**one, "fixmedins_code": f"H310000{i:05d}"} for i in range(40)]
    write_tables(home.path / "claims", {"medins": rows})
    gated(home, 0.95)
    found = register_dataset(home, DATASET)
    assert (found.quality, found.withheld) == ({}, withheld(home))
    assert found.withheld.startswith("quality_gate: no scores are registered")
    rewrite(home, lambda line: f'{line}claims = "claims"\n' if line.startswith("path") else line)
    register_dataset(home, DATASET)
    assert home.node().dataset[0].quality == {"completeness": 1.0, "validity": 1.0, "uniqueness": 1.0}
    assert withheld(home) == ""
    for row in rows[:12]:
        row["own_type"] = "7"
    write_tables(home.path / "claims", {"medins": rows})
    found = register_dataset(home, DATASET)
    assert found.quality["validity"] == 0.7
    assert found.withheld == withheld(home)
    assert "validity 0.7 below the gate 0.95" in found.withheld
    gated(home, 0.7)
    assert withheld(home) == ""
    gated(home, 0.95)
    rewrite(home, lambda line: f'{line}quality_settings = "own.toml"\n' if line.startswith("path") else line)
    with pytest.raises(ConfigError, match=r"cannot read .*own\.toml"):
        register_dataset(home, DATASET)
    write(home.path / "own.toml", b'[codes]\nown_type = ["7"]\n', me())
    assert register_dataset(home, DATASET).quality["validity"] == 1.0
    assert withheld(home) == ""
    (published,) = make_catalogue(home.path)[1].datasets
    assert (published.own_rules, published.refusal) == (True, "")


def withheld(home: Home) -> str:
    """Why the custodian of a home, which opens all the same, serves no study on its dataset."""
    store = home.store()
    (card,) = open_office(home, home.node(), store=store).catalogue().datasets
    store.close()
    return card.withheld


def gated(home: Home, gate: float) -> None:
    """Write the gate into the home's policy."""
    path = home.path / "policy.toml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("quality_gate")]
    at = next((i for i, line in enumerate(lines) if line.startswith("[")), len(lines))
    lines.insert(at, f"quality_gate = {gate}")
    write(path, ("\n".join(lines) + "\n").encode(), me())


def test_only_the_columns_that_the_operator_names_are_registered(home: Home) -> None:
    set_path(home, 'path = "rows.parquet"\ncolumns = ["psn_no", "age"]')
    assert register_dataset(home, DATASET).entry.columns == ("psn_no", "age")
    before = (home.path / "node.toml").read_bytes()
    with pytest.raises(DataContractError, match="visits is missing"):
        register_dataset(home, DATASET, study=study())
    assert (home.path / "node.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data__dataset": "other"}, "reads dataset other"),
        ({"data__person": "age2"}, "person: the study says age2"),
        ({"data__declared_persons": dict.fromkeys(("node1", "node2", "node3"), DECLARED + 1)}, "says 11"),
    ],
)
def test_a_study_that_a_custodian_would_refuse_is_named_and_nothing_is_written(
    home: Home, change: dict[str, Any], said: str
) -> None:
    before = (home.path / "node.toml").read_bytes()
    with pytest.raises(FedMedError, match=said):
        register_dataset(home, DATASET, study=study(**change))
    assert (home.path / "node.toml").read_bytes() == before


def test_an_unknown_dataset_and_missing_rows_are_named(home: Home) -> None:
    with pytest.raises(ConfigError, match=f"no dataset nothing, only {DATASET}; add"):
        register_dataset(home, "nothing")
    (home.path / "rows.parquet").unlink()
    with pytest.raises(DataContractError, match="no such file"):
        register_dataset(home, DATASET)


def test_one_registration_at_a_time_and_a_running_custodian_is_no_hindrance(home: Home) -> None:
    folder = os.open(home.path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with pytest.raises(StoreFailed, match="another registration"):
        register_dataset(home, DATASET)
    os.close(folder)
    with home.locked():
        assert register_dataset(home, DATASET).rows == ROWS.num_rows


def test_an_edit_made_while_the_rows_were_read_is_kept(home: Home) -> None:
    path = home.path / "node.toml"
    old = path.read_text()
    rewrite(home, lambda line: line.replace("rows.parquet", "later.parquet"))
    with open_folder(home.path, hidden=True) as folder:
        with pytest.raises(ConfigError, match="was edited"):
            replace_settings(home, folder, old=old, new=old + "# new\n")
        assert path.read_text() == old.replace("rows.parquet", "later.parquet")
        replace_settings(home, folder, old=path.read_text(), new=old)
    assert path.read_text() == old


@pytest.fixture
def table() -> Iterator[tuple[str, str]]:
    """The rows in a schema of their own, and the connection of a role that may read them."""
    name = f"fedmed_test_{secrets.token_hex(6)}"
    with psycopg.connect(SERVER, autocommit=True) as connection:

        def run(text: str) -> None:
            connection.execute(sql.SQL(text).format(sql.Identifier(name)))

        run("CREATE SCHEMA {0}")
        run("CREATE ROLE {0} LOGIN")
        run("CREATE TABLE {0}.rows (psn_no text, age float8, visits float8, sick bigint)")
        with connection.cursor() as cursor, cursor.copy(f"COPY {name}.rows FROM STDIN") as copy:
            for row in zip(*(ROWS[c].to_pylist() for c in ("psn_no", "age", "visits", "sick")), strict=True):
                copy.write_row(row)
        run("GRANT USAGE ON SCHEMA {0} TO {0}")
        run("GRANT SELECT ON {0}.rows TO {0}")
        try:
            yield name, conninfo.make_conninfo(SERVER, user=name)
        finally:
            run("DROP SCHEMA {0} CASCADE")
            run("DROP ROLE {0}")


@pytest.mark.skipif(
    not SERVER, reason="set FEDMED_TEST_POSTGRES to the connection string of a PostgreSQL superuser"
)
def test_a_table_in_postgresql_is_registered_and_served_as_the_same_rows(
    home: Home, table: tuple[str, str]
) -> None:
    files = register_dataset(home, DATASET)
    write(home.path / "rows.conn", table[1].encode(), me())
    lines = f'kind = "postgresql"\nconnection_file = "rows.conn"\ntable = "rows"\nschema = "{table[0]}"'
    set_path(home, lines)
    found = register_dataset(home, DATASET, study=study())
    assert found.entry.fingerprint == files.entry.fingerprint
    served = open_source(home.node().dataset[0].entry(home.path))
    assert served.training_examples(study().dataset_spec).persons > 0
    (home.path / "rows.conn").chmod(0o640)
    with pytest.raises(ConfigError, match="closed to group"):
        register_dataset(home, DATASET)
